"""Normalisation with two routes, and with instance statistics on half of the channels.

`dubn` doubles every BatchNorm: M (BN_c in the paper, for clean images and for evaluation) and A
(BN_a). `dubin` does so too, and at the start of each block it gives the first half of the channels
to one InstanceNorm that both routes share (AugMax §3.3; VITA-Group/AugMax models/). `ibn` has only
that InstanceNorm: IBN-a of Pan et al., ECCV 2018, arXiv 1807.09441.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

Norm = Literal["bn", "ibn", "dubn", "dubin"]
Route = Literal["M", "A"]
NORMS: tuple[Norm, ...] = ("bn", "ibn", "dubn", "dubin")
WAY_OUT = "method.norm=bn trains the network as it is"


class DuBN(nn.Module):
    """Two BatchNorms, each with its own affine and statistics; `route` selects one."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.main, self.auxiliary = norm, copy.deepcopy(norm)
        self.route: Route = "M"

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Normalised by the selected one."""
        return self.main(x) if self.route == "M" else self.auxiliary(x)


class HalfInstance(nn.Module):
    """InstanceNorm with an affine on the first half of the channels; `rest` on the second.

    Both halves keep the weights and biases that the BatchNorm had for their channels.
    """

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        half = norm.num_features // 2
        self.eps = norm.eps
        self.weight = nn.Parameter(norm.weight[:half].detach().clone())
        self.bias = nn.Parameter(norm.bias[:half].detach().clone())
        rest = nn.BatchNorm2d(half, norm.eps, norm.momentum).to(norm.weight)
        state = {k: v[half:] if v.ndim else v for k, v in norm.state_dict().items()}
        rest.load_state_dict(state)
        self.rest: nn.Module = rest

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Each half normalised, then side by side again."""
        first, second = x.chunk(2, dim=1)
        first = F.instance_norm(first, weight=self.weight, bias=self.bias, eps=self.eps)
        return torch.cat([first, self.rest(second)], dim=1)


def with_norm(model: nn.Module, norm: Norm, places: Sequence[str] | None = None) -> nn.Module:
    """Change the network in place; `places` names the norms to halve where no rule finds them."""
    if norm not in NORMS:
        raise ValueError(f"method.norm must be one of {', '.join(NORMS)}, got {norm}")
    halving = norm in ("ibn", "dubin")
    if places is not None and not halving:
        raise ValueError(f"method.places must be null when norm is {norm}, got {list(places)}")
    if norm == "bn":
        return model
    halved = (first_norms(model) if places is None else list(places)) if halving else []
    for name in halved:
        model.set_submodule(name, HalfInstance(_to_halve(model, name)))
    if norm != "ibn":
        for name, module in list(model.named_modules()):
            if isinstance(module, nn.BatchNorm2d):
                model.set_submodule(name, DuBN(module))
    if not any(isinstance(module, DuBN | HalfInstance) for module in model.modules()):
        raise ValueError(
            f"method.norm must be bn for this network, got {norm} (it has no BatchNorm2d)"
        )
    return model


def first_norms(model: nn.Module) -> list[str]:
    """IBN-a's places: bn1 of each residual block except those of the last stage with blocks."""
    stages = [
        list(_first_norms(model, stage))
        for stage in getattr(model, "stages", ())
        if isinstance(model.get_submodule(stage), nn.Sequential)
    ]
    stages = [names for names in stages if names]
    if len(stages) < 2:
        raise ValueError(
            "method.places must name the norms to halve in this network, got null (it has no two "
            f"stages of residual blocks that begin with a BatchNorm2d named bn1); {WAY_OUT}"
        )
    return [name for names in stages[:-1] for name in names]


def _first_norms(model: nn.Module, stage: str) -> Iterator[str]:
    for block, module in model.get_submodule(stage).named_children():
        residual = hasattr(module, "shortcut") or hasattr(module, "downsample")  # ours, or timm's
        if residual and isinstance(getattr(module, "bn1", None), nn.BatchNorm2d):
            yield f"{stage}.{block}.bn1"


def _to_halve(model: nn.Module, name: str) -> nn.BatchNorm2d:
    known = [key for key, module in model.named_modules() if type(module) is nn.BatchNorm2d]
    if name not in known:
        some = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
        raise ValueError(
            f"method.places must be names of BatchNorm2d layers, got {name} "
            f"(the network has: {some or 'none'}); {WAY_OUT}"
        )
    norm = model.get_submodule(name)
    assert isinstance(norm, nn.BatchNorm2d)
    if norm.num_features % 2:
        raise ValueError(
            f"method.norm must be bn or dubn for this network: {name} has {norm.num_features} "
            "channels, an odd number, which cannot be halved"
        )
    return norm


@contextmanager
def routed(model: nn.Module, route: Route) -> Iterator[None]:
    """Put every two-route norm on this route; afterwards each goes back to its own.

    Networks without such norms are unaffected.
    """
    norms = [module for module in model.modules() if isinstance(module, DuBN)]
    before: list[Route] = [norm.route for norm in norms]
    for norm in norms:
        norm.route = route
    try:
        yield
    finally:
        for norm, was in zip(norms, before, strict=True):
            norm.route = was
