"""What BatchNorm's running variances are: their mean over the channels of some layers.

Paper:    Wang et al., AugMax, NeurIPS 2021, arXiv 2110.13771; §3.3, Table 1
Code:     none released for it (VITA-Group/AugMax)
Differs:  the paper does not say which norm of a layer it takes: `layers` are the first ones of
          group 1, blocks 2 and 3, and of group 2, block 2
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from vicinal.data.dataset import Data
from vicinal.draws import Rng
from vicinal.errors import RunError
from vicinal.evaluation.evaluation import Numbers, Parts, each
from vicinal.surgery.dubin import DuBN, HalfInstance

LAYERS = MappingProxyType(
    {
        "block1_layer2": "stage1.1.bn1",
        "block1_layer3": "stage1.2.bn1",
        "block2_layer2": "stage2.1.bn1",
    }
)


@dataclass(frozen=True)
class NormStatistics:
    """σ²_c (route M) and, of norms with two routes, σ²_a, by the names of `layers`.

    A layer is a path in the network, whose beginning may be left out. InstanceNorm has no running
    variance: of its norms the other half counts.
    """

    layers: Mapping[str, str] = field(default_factory=lambda: dict(LAYERS))

    def __post_init__(self) -> None:
        if not self.layers:
            raise ValueError("layers must name a layer, got none")

    def passes(self, images: int) -> int | None:
        """None: it reads the network alone."""
        return 0

    def __call__(self, model: nn.Module, data: Data, rng: Rng, parts: Parts = each) -> Numbers:
        return {
            f"{name}_{route}_variance": mean
            for name, path in self.layers.items()
            for route, mean in _variances(_norm(model, path), path).items()
        }


def _norm(model: nn.Module, path: str) -> nn.Module:
    norms = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, DuBN | HalfInstance | _BatchNorm)
    }
    found = [module for name, module in norms.items() if f".{name}".endswith(f".{path}")]
    if len(found) != 1:
        raise RunError(
            f"layers must be paths of one norm each, got {path} for {len(found)} "
            f"(the network has: {', '.join(norms) or 'none'})"
        )
    return found[0]


def _variances(norm: nn.Module, path: str) -> Numbers:
    if isinstance(norm, HalfInstance):
        return _variances(norm.rest, path)
    if isinstance(norm, DuBN):
        return {"c": _variance(norm.main, path), "a": _variance(norm.auxiliary, path)}
    return {"c": _variance(norm, path)}


def _variance(norm: nn.Module, path: str) -> float:
    variance = norm.running_var
    if not isinstance(variance, Tensor):
        raise RunError(f"layers must keep running statistics, got {path}, which does not")
    return variance.double().mean().item()
