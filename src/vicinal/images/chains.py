"""AugMix's chains: the draws for each image, and their rendering as batched operations."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Float64, Int64, UInt8
from torch import Tensor

from vicinal.contracts import Images, PerSample
from vicinal.draws import Rng
from vicinal.images.fused import Family, families
from vicinal.images.geometry import quantized
from vicinal.images.operators import OPERATORS

LONGEST = 3  # operators per chain, if the depth is drawn
# Bytes of chains rendered, and mixed, in one piece. On a CPU a call must be worth its overhead, yet
# leave its result in a cache; the mixture is in float32. Elsewhere there must be room beside a
# network for temporaries some 50 times as large.
CACHED, MIXED, HELD = 1 << 23, 1 << 19, 1 << 26
Pixels = UInt8[Tensor, "n c h w"]
Chains = UInt8[Tensor, "n b c h w"]


@dataclass(frozen=True)
class Plan:
    """The operators of b chains per image; those beyond a chain's length are not applied.

    It is on the CPU, so that the order of work is known without waiting for the device. A level's
    sign is the operator's direction.
    """

    lengths: Int64[Tensor, "n b"]
    operators: Int64[Tensor, "n b d"]  # places in OPERATORS
    levels: Float64[Tensor, "n b d"]
    severity: float

    @classmethod
    def drawn(cls, count: int, width: int, depth: int | None, severity: float, rng: Rng) -> "Plan":
        """Operators uniform with replacement; lengths `depth`, or 1, 2 or 3 at random."""
        shape = (count, width, depth or LONGEST)
        lengths = torch.randint(1, LONGEST + 1, shape[:2], generator=rng.cpu)
        if depth is not None:
            lengths = torch.full(shape[:2], depth)
        operators = torch.randint(len(OPERATORS), shape, generator=rng.cpu)
        return cls(lengths, operators, _levels(shape, severity, rng), severity)

    def redrawn(self, rng: Rng) -> "Plan":
        """The same operators at new levels."""
        return replace(self, levels=_levels(tuple(self.levels.shape), self.severity, rng))

    def beside(self, *others: "Plan") -> "Plan":
        """The chains of all these plans, rendered together: b + b + .. per image."""
        plans = self, *others
        return Plan(
            torch.cat([plan.lengths for plan in plans], dim=1),
            torch.cat([plan.operators for plan in plans], dim=1),
            torch.cat([plan.levels for plan in plans], dim=1),
            max(plan.severity for plan in plans),
        )


def _levels(shape: tuple[int, ...], severity: float, rng: Rng) -> Float64[Tensor, "n b d"]:
    """U(0.1, severity) for each operator, with a fair sign."""
    size, sign = torch.rand((2, *shape), generator=rng.cpu, dtype=torch.float64)
    return (0.1 + (severity - 0.1) * size) * torch.where(sign < 0.5, 1.0, -1.0)


@torch.no_grad()
def rendered(x: Images, plan: Plan) -> Chains:
    """Every chain of every image, in 8 bits as in Pillow; `x` is rounded to 8 bits first."""
    count, width = plan.lengths.shape
    images = _piece(x, width, CACHED)
    chains = torch.empty((count, width, *x.shape[1:]), dtype=torch.uint8, device=x.device)
    for first in range(0, count, images):
        part = slice(first, first + images)
        pixels = quantized((x[part] * 255).round_().clamp_(0, 255)).contiguous()
        chains[part] = _rendered(pixels, plan, part).unflatten(0, (len(pixels), width))
    return chains


def mixture(x: Images, chains: Chains, m: PerSample, w: Float[Tensor, "n b"]) -> Images:
    """(1 - m) x + m Σ_i w_i a_i, differentiable in m and w."""
    shares = torch.cat([(1 - m)[:, None], m[:, None] * w / 255], dim=1)[..., None, None, None]
    images = _piece(x, w.shape[1], MIXED)
    if images >= len(x):
        return _mixed(x, chains, shares)
    pieces = zip(x.split(images), chains.split(images), shares.split(images), strict=True)
    return torch.cat([_mixed(*piece) for piece in pieces])


def _piece(x: Images, width: int, cached: int) -> int:
    """How many images are processed together."""
    most = cached if x.device.type == "cpu" else HELD
    return max(1, most // x[0].numel() // width)


def _mixed(x: Images, chains: Chains, shares: Float[Tensor, "n s 1 1 1"]) -> Images:
    own, *theirs = shares.unbind(1)
    mixed = own * x
    for share, chain in zip(theirs, chains.unbind(1), strict=True):
        mixed.addcmul_(share, chain.to(x.dtype))
    return mixed


def _rendered(x: Pixels, plan: Plan, part: slice) -> UInt8[Tensor, "m c h w"]:
    """Apply the chains step by step, together for all chains whose operators share a family.

    Chains that have ended stay in the batch, untouched.
    """
    groups, size = families(x.device), (x.shape[2], x.shape[3])
    lengths, levels = plan.lengths[part].flatten(), plan.levels[part].flatten(0, 1)
    family, kind = _members(groups)[:, plan.operators[part]].flatten(1, 2)
    numbers = [each.numbers(kind, levels, size, plan.severity) for each in groups]
    places = torch.arange(len(x)).repeat_interleave(plan.lengths.shape[1])  # of each chain in x
    for step in range(int(lengths.max())):
        now = torch.where(step < lengths, family[:, step], len(groups))
        order = now.argsort(stable=True)
        counts = now.bincount(minlength=len(groups) + 1).tolist()
        images = x.index_select(0, places[order].to(x.device, non_blocking=True)).split(counts)
        chosen = order.split(counts)
        x = torch.cat(
            [
                each.apply(images[i], numbers[i][chosen[i], step], plan.severity)
                for i, each in enumerate(groups)
                if counts[i]
            ]
            + [images[-1]]
        )
        places = order.argsort()
    return x.index_select(0, places.to(x.device, non_blocking=True))


def _members(groups: Sequence[Family]) -> Int64[Tensor, "2 9"]:
    """The family of every operator, and its position there."""
    found = {
        operator: (i, kind)
        for i, family in enumerate(groups)
        for kind, operator in enumerate(family.members)
    }
    return torch.tensor([found[operator] for operator in OPERATORS]).T
