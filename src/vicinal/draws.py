"""Randomness as an argument: the generators a run owns, and the draws that vicinities share."""

import hashlib
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Generator, Tensor


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

    def state(self) -> dict[str, Tensor]:
        """All that a checkpoint must keep."""
        return {name: getattr(self, name).get_state() for name in ("cpu", "device", "shared")}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Continue where `state` was taken."""
        for name, value in state.items():
            getattr(self, name).set_state(value)


def derived_seed(seed: int, purpose: str, *key: int) -> int:
    """A seed for one purpose of a run; hashed, because CPU generators use only the low 32 bits."""
    digest = hashlib.sha256(repr((seed, purpose, *key)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def beta(alpha: float, count: int, rng: Rng) -> Float[Tensor, "n"]:
    """`count` draws of Beta(alpha, alpha), float64 on the CPU.

    Two gammas compared in log space, Gamma(a) = Gamma(a + 1) U^(1/a), because at a small alpha
    both underflow and their ratio would be 0/0.
    """
    concentration = torch.full((2, count), alpha + 1.0, dtype=torch.float64)
    gammas = torch._standard_gamma(concentration, generator=rng.cpu)  # pyright: ignore[reportPrivateImportUsage]
    uniform = torch.rand((2, count), dtype=torch.float64, generator=rng.cpu)
    logs = gammas.log() + uniform.log() / alpha
    return torch.sigmoid(logs[0] - logs[1])


def permutation(count: int, rng: Rng, device: torch.device) -> Int64[Tensor, "n"]:
    """A random order of the batch: each sample's partner."""
    return torch.randperm(count, generator=rng.cpu).to(device, non_blocking=True)


def coins(probability: float, count: int, rng: Rng) -> Bool[Tensor, "n"]:
    """`count` independent flips that come up True with the given probability."""
    return torch.rand(count, generator=rng.cpu) < probability


def integer(high: int, rng: Rng) -> int:
    """One uniform draw from 0 .. high - 1."""
    return int(torch.randint(high, (), generator=rng.cpu))
