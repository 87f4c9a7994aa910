"""Act between the stages of any network, from outside, for the forwards inside a `with`.

In the papers' notation f(x) = f_k(g_k(x)), and the method trains f_k(action(g_k(x))). Layer 0 is
the network's input, layer k the output of the k-th of its `stages`; any other module goes by its
name.

A compiled network does not see hooks that come after its compilation (dynamo leaves them out of its
guards). Where a method taps in every step it adds seams before: hooks that split the compiled
code in two, and act if a tap is there. The same code then serves every layer, and untapped passes.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from vicinal.contracts import Inputs, Logits
from vicinal.surgery.uncompiled import uncompiled

INPUT = "input"
SEAM = "seam"  # the attribute of a module with one: its taps

Features = Float[Tensor, "n c ..."]
Action = Callable[[Features], Features]
Note = TypeVar("Note")


@contextmanager
def tapped(
    model: nn.Module, place: int | str, action: Action, *, maps: bool = True
) -> Iterator[None]:
    """Replace the output of a layer, or of a module by its name, with `action` of it.

    With `maps` the output must be feature maps (n, c, h, w); without, vectors are accepted too.
    """
    name = layer_names(model)[place] if isinstance(place, int) else place
    tap = _Tap(name, action, maps)
    module = model if name == INPUT else _module(model, name)
    if (seam := getattr(module, SEAM, None)) is not None:
        with tap.at_seam(seam):
            yield
        return
    if name == INPUT:
        handle = module.register_forward_pre_hook(tap.before)
    else:
        handle = module.register_forward_hook(tap.after)
    with tap.hooked(model, handle):
        yield


@contextmanager
def tap_input(model: nn.Module, name: str, action: Action) -> Iterator[None]:
    """Replace the input of a module with `action` of it."""
    tap = _Tap(name, action)
    handle = _module(model, name).register_forward_pre_hook(tap.before)
    with tap.hooked(model, handle):
        yield


def add_seams(model: nn.Module, layers: Sequence[int]) -> nn.Module:
    """Let a network that is compiled later be tapped after these layers, which it must have."""
    check_layers(model, layers)
    names = layer_names(model)
    for name in sorted({names[layer] for layer in layers}):
        module = model if name == INPUT else _module(model, name)
        if hasattr(module, SEAM):
            continue
        if name == INPUT:
            module.register_forward_pre_hook(_unseen(_tapped_input))
        else:
            module.register_forward_hook(_unseen(_tapped_output))
        setattr(module, SEAM, [])
    return model


def run_tapped(
    model: nn.Module,
    x: Inputs,
    place: int | str,
    action: Callable[[Features], tuple[Features, Note]],
    *,
    maps: bool = True,
) -> tuple[Logits, Note]:
    """The logits of one tapped forward, and what the action returned beside the features."""
    notes: list[Note] = []
    with tapped(model, place, lambda h: _noted(action(h), notes), maps=maps):
        logits = model(x)
    if len(notes) > 1:
        raise ValueError(f"{place} must run once per forward, ran {len(notes)} times")
    return logits, notes[0]


def _noted(result: tuple[Features, Note], notes: list[Note]) -> Features:
    features, note = result
    notes.append(note)
    return features


class _Tap:
    """An action at a place, in the form that hooks need."""

    def __init__(self, place: str, action: Action, maps: bool = True) -> None:
        self.place, self.action, self.maps, self.ran = place, action, maps, False

    def before(self, _module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return self.acted(args[0]), *args[1:]

    def after(self, _module: nn.Module, _args: Any, output: Any) -> Features:
        return self.acted(output)

    def acted(self, features: object) -> Features:
        self.ran = True
        if not isinstance(features, Tensor) or (self.maps and features.ndim != 4):
            found = tuple(features.shape) if isinstance(features, Tensor) else type(features)
            raise ValueError(
                f"method must find feature maps (n, c, h, w) at {self.place} of the network, "
                f"got {found}"
            )
        return self.action(features)

    @contextmanager
    def hooked(self, model: nn.Module, handle: RemovableHandle) -> Iterator[None]:
        try:
            # These forwards run uncompiled; all others keep the compiled code.
            with uncompiled(model, "passes with a change between two layers"):
                yield
        finally:
            handle.remove()
        self._check_ran()

    @contextmanager
    def at_seam(self, seam: "list[_Tap]") -> Iterator[None]:
        seam.append(self)
        try:
            yield
        finally:
            seam.remove(self)
        self._check_ran()

    def _check_ran(self) -> None:
        if not self.ran:
            raise ValueError(f"{self.place} must run in the network's forward, but it did not")


def _tapped_input(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return _acted(module, args[0]), *args[1:]


def _tapped_output(module: nn.Module, _args: Any, output: Any) -> Any:
    return _acted(module, output)


def _acted(module: nn.Module, features: Any) -> Any:
    """What the taps at a module's seam make of it, in the order in which they came."""
    seam: list[_Tap] = getattr(module, SEAM)
    for tap in seam:
        features = tap.acted(features)
    return features


@cache
def _unseen(hook: Callable[..., Any]) -> Callable[..., Any]:
    """The hook, which no compiler looks into; cached, since this imports the compiler."""
    return torch.compiler.disable(hook)


def _module(model: nn.Module, name: str) -> nn.Module:
    try:
        return model.get_submodule(name)
    except AttributeError:
        outermost = ", ".join(child for child, _ in model.named_children())
        raise ValueError(
            f"model must have a module {name}, got none (its outermost modules: {outermost})"
        ) from None


def layer_names(model: nn.Module) -> tuple[str, ...]:
    """The names of layers 0, 1, …"""
    stages = getattr(model, "stages", None)
    if not isinstance(stages, tuple):
        raise ValueError(
            f"model must name its stages, but {type(model).__name__} does not "
            "(in a tuple `stages` of module names, in the order of the forward)"
        )
    return INPUT, *stages


def check_layers(model: nn.Module, layers: Sequence[int]) -> None:
    """Refuse layers that the network does not have."""
    names = layer_names(model)
    for layer in layers:
        if not 0 <= layer < len(names):
            known = ", ".join(f"{i} {name}" for i, name in enumerate(names))
            raise ValueError(
                f"method.layers must be layers of the network, got {layer} (it has: {known})"
            )


def between_convolutions(model: nn.Module) -> list[str]:
    """The second convolution of every block, whose input is the ReLU between the two."""
    blocks = [
        name
        for name, module in model.named_modules()
        if isinstance(getattr(module, "conv1", None), nn.Conv2d)
        and isinstance(getattr(module, "conv2", None), nn.Conv2d)
    ]
    if not blocks:
        raise ValueError(
            f"model must have blocks of convolutions conv1 and conv2, but {type(model).__name__} "
            "has none"
        )
    return [f"{block}.conv2".lstrip(".") for block in blocks]
