"""A device that is not there: it computes on the CPU, and says where a GPU would be waited for.

Its tensors hold CPU tensors. Within `unwaited()` whatever would make the CPU wait for a GPU, for
its answer or the end of a copy, is a `WaitsError`. Meeting a tensor of the CPU is always a
RuntimeError, as it is on CUDA.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Generator, Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "apart"
# At once: the first backward of a process, of whatever device, is the last to look for devices.
_setup_privateuseone_for_python_backend(NAME)

aten = torch.ops.aten
ANSWERS = {  # how many, or which: the sizes of the result are the device's answer
    aten._local_scalar_dense,
    aten.bincount,
    aten.equal,
    aten.is_nonzero,
    aten.masked_select,
    aten.nonzero,
    aten._unique2,
    aten.unique_consecutive,
    aten.unique_dim,
}
STAGED = 1 << 16  # bytes: a larger copy from memory that is not pinned may wait for the stream
COPIES = {aten._to_copy, aten.copy_}
INDEXED = {aten.index, aten.index_put, aten.index_put_, aten._unsafe_index}


class WaitsError(RuntimeError):
    """A step may not do this."""


class Apart(Tensor):
    """A tensor of the device."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "Apart":
        made = Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=torch.device(NAME, 0),
        )
        made.held = held
        return made

    def tolist(self) -> Any:
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatched(func, args, kwargs or {})


class Anywhere(Generator):
    """A generator of any device, which draws what the CPU's draws."""

    where: str

    def __new__(cls, where: str = "cpu") -> "Anywhere":
        made = super().__new__(cls, "cpu")  # pyright: ignore[reportCallIssue]
        made.where = where
        return made

    @property
    def device(self) -> torch.device:  # pyright: ignore[reportIncompatibleVariableOverride]
        return torch.device(self.where)


class Device(TorchDispatchMode):
    """The device can be used in here: sees what is made on it, where no tensor of it stands yet."""

    strict = False  # no waiting

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatched(func, args, kwargs or {})


@contextmanager
def unwaited() -> Iterator[None]:
    """No waiting in here."""
    Device.strict = True
    try:
        yield
    finally:
        Device.strict = False


def dispatched(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    here = [tensor for tensor in tensors if isinstance(tensor, Apart)]
    wanted = kwargs.get("device")
    kind = func._overloadpacket
    if wanted is not None:
        kwargs = kwargs | {"device": torch.device("cpu")}
    lands = bool(here) if wanted is None else torch.device(wanted).type == NAME
    if Device.strict:
        forbid_waiting(func, args, kwargs, lands)
    if here and kind not in {*COPIES, *INDEXED}:
        strangers = [t for t in tensors if not isinstance(t, Apart) and t.ndim > 0]
        if strangers:
            raise RuntimeError(f"{func}: expected all tensors on one device, {strangers[0].shape}")
    result = func(*held(args), **held(kwargs))
    if not lands:
        return result
    wrapped = tree_map_only(Tensor, Apart, result)
    return return_and_correct_aliasing(func, args, kwargs, wrapped) if here else wrapped


def held(tree: Any) -> Any:
    return tree_map_only(Apart, lambda tensor: tensor.held, tree)


def forbid_waiting(func: Any, args: Any, kwargs: dict[str, Any], lands: bool) -> None:
    kind = func._overloadpacket
    if kind in COPIES:
        source = args[1] if kind is aten.copy_ else args[0]
        target_here = isinstance(args[0], Apart) if kind is aten.copy_ else lands
        non_blocking = kwargs.get("non_blocking") or (len(args) > 2 and args[2])
        if isinstance(source, Apart) and not target_here:
            raise WaitsError(f"{func} of {tuple(source.shape)} to the CPU")
        if not isinstance(source, Apart) and target_here and not non_blocking:
            raise WaitsError(f"{func} of {tuple(source.shape)} from the CPU without non_blocking")
        if not isinstance(source, Apart) and target_here and source.nbytes > STAGED:
            raise WaitsError(f"{func} of {tuple(source.shape)}, {source.nbytes} bytes")
    elif lands and kind in ANSWERS:
        raise WaitsError(f"{func} waits for the device's answer")
    elif lands and kind in INDEXED:
        indices = [index for index in args[1] if index is not None]
        one_value = kind is not aten.index and args[2].numel() == 1  # a masked_fill
        if any(not isinstance(index, Apart) for index in indices):
            raise WaitsError(f"{func} with indices of the CPU")
        if not one_value and any(index.dtype == torch.bool for index in indices):
            raise WaitsError(f"{func} with a mask")
