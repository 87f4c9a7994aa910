"""Randomness as an argument: the generators of a run, and the draws that vicinities share."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Generator, Tensor


@runtime_checkable
class Draws(Protocol):
    """Draws of the shape, type and device of a batch."""

    def uniform_like(self, x: Tensor) -> Tensor:
        """From [0, 1)."""
        ...

    def normal_like(self, x: Tensor) -> Tensor:
        """From N(0, 1)."""
        ...


@dataclass(frozen=True)
class Rng:
    """The generators of one rank.

    `cpu` serves small draws (λ, boxes, permutations), so that a GPU run draws what a CPU run does;
    `device` serves draws as large as the images; `shared` is equal on every rank.
    """

    cpu: Generator
    device: Generator
    shared: Generator

    @classmethod
    def seeded(cls, seed: int, rank: int = 0, device: str = "cpu") -> "Rng":
        """Independent streams for (seed, rank); the shared one ignores the rank."""

        def generator(where: str, purpose: str, *key: int) -> Generator:
            return Generator(where).manual_seed(derived_seed(seed, purpose, *key))

        return cls(
            cpu=generator("cpu", "cpu", rank),
            device=generator(device, "device", rank),
            shared=generator("cpu", "shared"),
        )

    def fork(self, *key: int | str) -> "Rng":
        """Generators for one part of the work, the same on every rank and in any order of parts.

        They depend on the seed of this one and on the key, not on what was drawn before.
        """
        seed = derived_seed(self.shared.initial_seed(), "fork", *key)
        return Rng.seeded(seed, device=self.device.device.type)

    def of_rows(self, rows: Iterable[int]) -> "RowDraws":
        """Draws for a batch of these rows; a row's do not depend on the other rows."""
        seed, kind = self.shared.initial_seed(), self.device.device.type
        seeds = [derived_seed(seed, "row", row) for row in rows]
        return RowDraws([Generator(kind).manual_seed(each) for each in seeds])

    def uniform_like(self, x: Tensor) -> Tensor:
        """From [0, 1)."""
        return torch.empty_like(x).uniform_(generator=self.device)

    def normal_like(self, x: Tensor) -> Tensor:
        """From N(0, 1)."""
        return torch.empty_like(x).normal_(generator=self.device)

    def state(self) -> dict[str, Tensor]:
        """Everything that a checkpoint must keep."""
        return {name: getattr(self, name).get_state() for name in ("cpu", "device", "shared")}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Continue where `state` was taken."""
        for name, value in state.items():
            getattr(self, name).set_state(value)


@dataclass(frozen=True)
class RowDraws:
    """A generator per row of a batch."""

    generators: Sequence[Generator]

    def uniform_like(self, x: Tensor) -> Tensor:
        """From [0, 1)."""
        drawn = torch.empty_like(x)
        for row, generator in zip(drawn, self.generators, strict=True):
            row.uniform_(generator=generator)
        return drawn

    def normal_like(self, x: Tensor) -> Tensor:
        """From N(0, 1)."""
        drawn = torch.empty_like(x)
        for row, generator in zip(drawn, self.generators, strict=True):
            row.normal_(generator=generator)
        return drawn


def all_states(rng: Rng) -> dict[str, Any]:
    """The states of these generators and of torch's own, from which layers draw."""
    kind = rng.device.device.type
    return {
        "device": kind,
        "rng": rng.state(),
        "torch_rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state() if kind == "cuda" else None,
    }


def restore_all(rng: Rng, own: dict[str, Any] | None, shared: Tensor, seed: int, rank: int) -> None:
    """Continue where a rank's `all_states` were taken; reseed the generators that cannot continue.

    Without a state of this rank these are all but the shared one. If the state is from another kind
    of device they are those on the device, because generators do not translate.
    """
    kind = rng.device.device.type
    rng.restore(Rng.seeded(seed, rank, kind).state() | {"shared": shared})
    torch.manual_seed(derived_seed(seed, "torch", rank))
    if own is None:
        return
    there = ("cpu", "device") if own["device"] == kind else ("cpu",)
    rng.restore({name: own["rng"][name] for name in there})
    torch.set_rng_state(own["torch_rng"])
    if kind == own["device"] == "cuda":
        torch.cuda.set_rng_state(own["cuda_rng"])


def derived_seed(seed: int, purpose: str, *key: int | str) -> int:
    """A seed for one purpose of a run; hashed, because CPU generators use only the low 32 bits."""
    digest = hashlib.sha256(repr((seed, purpose, *key)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def beta(alpha: float, count: int, rng: Rng) -> Float[Tensor, "n"]:
    """`count` draws of Beta(alpha, alpha), float64 on the CPU.

    Two gammas compared in log space, Gamma(a) = Gamma(a + 1) U^(1/a), because at a small alpha
    both underflow, and their ratio would be 0/0.
    """
    concentration = torch.full((2, count), alpha + 1.0, dtype=torch.float64)
    gammas = torch._standard_gamma(concentration, generator=rng.cpu)  # pyright: ignore[reportPrivateImportUsage]
    uniform = torch.rand((2, count), dtype=torch.float64, generator=rng.cpu)
    logs = gammas.log() + uniform.log() / alpha
    return torch.sigmoid(logs[0] - logs[1])


def dirichlet(count: int, parts: int, rng: Rng) -> Float[Tensor, "n b"]:
    """`count` draws of Dirichlet(1, .., 1), uniform on the simplex; float64 on the CPU."""
    uniform = torch.rand((count, parts), dtype=torch.float64, generator=rng.cpu)
    exponential = -torch.log1p(-uniform)  # Gamma(1); uniform may be 0 but not 1
    return exponential / exponential.sum(dim=1, keepdim=True)


def permutation(count: int, rng: Rng, device: torch.device) -> Int64[Tensor, "n"]:
    """A random order of the batch: each sample's partner."""
    return torch.randperm(count, generator=rng.cpu).to(device, non_blocking=True)


def coins(probability: float, count: int, rng: Rng) -> Bool[Tensor, "n"]:
    """`count` independent flips that come up True with the given probability."""
    return torch.rand(count, generator=rng.cpu) < probability


def integer(high: int, rng: Rng) -> int:
    """One uniform draw from 0 .. high - 1."""
    return int(torch.randint(high, (), generator=rng.cpu))


def shared_coin(probability: float, rng: Rng) -> bool:
    """One flip, the same on every rank."""
    return torch.rand((), generator=rng.shared).item() < probability


def shared_choice(options: Sequence[int], rng: Rng) -> int:
    """One of the options, uniformly, the same on every rank."""
    return options[int(torch.randint(len(options), (), generator=rng.shared))]


def class_permutation(classes: Int64[Tensor, "n"], rng: Rng) -> Int64[Tensor, "n"]:
    """A random order within each class: each sample's partner has its class."""
    shuffled = permutation(len(classes), rng, classes.device)
    partner = torch.empty_like(shuffled)
    partner[classes.argsort(stable=True)] = shuffled[classes[shuffled].argsort(stable=True)]
    return partner


def box(height: int, width: int, lam: float, rng: Rng) -> tuple[slice, slice]:
    """CutMix's rectangle: sides √(1 - λ) of the image's, centre uniform, clipped at the border."""
    side = sqrt(1 - lam)

    def clipped(limit: int) -> slice:
        centre, half = integer(limit, rng), int(limit * side) // 2
        return slice(max(centre - half, 0), min(centre + half, limit))

    return clipped(height), clipped(width)


def block_rate(gamma: float, block_size: int, height: int, width: int) -> float:
    """γ_adj of DropBlock and of PatchUp Eq. 2: γ · area / (block's area · valid region)."""
    if block_size > min(height, width):
        raise ValueError(
            f"method.block_size must be at most the side of a feature map, got {block_size} for "
            f"one of {height} x {width} (use smaller blocks or earlier layers)"
        )
    valid = (height - block_size + 1) * (width - block_size + 1)
    return gamma * height * width / (block_size**2 * valid)


def block_holes(
    gamma: float, block_size: int, shape: tuple[int, ...], rng: Rng
) -> Bool[Tensor, "n c h w"]:
    """Blocks around random seeds at every position, clipped at the borders; True is a hole.

    `block_size` is odd. The blocks may overlap; Eq. 2's valid region enters the rate alone.
    """
    rate = block_rate(gamma, block_size, *shape[2:])
    device = rng.device.device
    seeds = torch.rand(shape, generator=rng.device, device=device) < rate
    return _grown(_grown(seeds, block_size // 2, 2), block_size // 2, 3)


def _grown(seeds: Bool[Tensor, "n c h w"], reach: int, axis: int) -> Bool[Tensor, "n c h w"]:
    """True where a seed is within `reach` along an axis: a max-pool, but ten times as fast."""
    grown, size = seeds.clone(), seeds.shape[axis]
    for step in range(1, reach + 1):
        grown.narrow(axis, step, size - step).logical_or_(seeds.narrow(axis, 0, size - step))
        grown.narrow(axis, 0, size - step).logical_or_(seeds.narrow(axis, step, size - step))
    return grown
