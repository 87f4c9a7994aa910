"""Friendly adversarial training: CE(f(x'), y) at an x' where PGD stops soon after a miss.

Paper:    Zhang et al., Attacks Which Do Not Kill Training Make Adversarial Learning Stronger,
          ICML 2020, arXiv 2002.11242; Alg. 1 (PGD-K-τ), Alg. 2 (the training); a baseline of
          Wang et al., AugMax, NeurIPS 2021, arXiv 2110.13771; Table 10
Code:     zjfheart/Friendly-Adversarial-Training (main) FAT.py, earlystop.py: ε, α, K, ω, the start,
          the attack in eval mode, and when τ grows: after 50 and 90 of 120 epochs. Not compared.
Differs:  a method does not see the epoch, so this one counts its steps in a buffer of the network,
          which a checkpoint keeps, and learns from the data how many an epoch has; the epochs
          after which τ grows are shares of the run. In a loop that does not call `attach`
          τ stays at its first value. All K forwards are
          of whole batches, samples that are done being masked: taking them out, as the code does,
          saves time but must wait for the device to say which; the perturbations are the same.
          The code's forward of the clean images, which it does not use, is left out.
Cost:     steps + 1 forwards, 1 backward, 1 update of BatchNorm; each step of the attack also goes
          backwards to the images
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from vicinal.attacks.attack import at_images
from vicinal.attacks.threat import Threat
from vicinal.contracts import Images, Loss, Method, Targets, TrainingData, Vicinity
from vicinal.draws import Rng
from vicinal.losses import cross_entropy
from vicinal.surgery.modes import searched
from vicinal.surgery.steps import count_steps, counted_step


@dataclass(frozen=True)
class Fat(Method):
    """`step` is α and `steps` is K in the paper; a sample may be missed `tau` times."""

    vicinity: Vicinity
    epsilon: float = 0.031
    step: float = 0.007
    steps: int = 10
    tau: Sequence[int] = (0, 1, 2)  # one value per phase of the run
    omega: float = 0.001  # σ of the noise added in each step
    switches: Sequence[float] = (5 / 12, 3 / 4)  # where phases end, as shares of the run
    epochs: int = 120  # of the run; the config repeats those of the schedule
    batch_size: int = 128  # of the run, likewise

    def __post_init__(self) -> None:
        _ = Threat(self.epsilon)  # checks it
        for key in ("step", "omega"):
            if getattr(self, key) < 0:
                raise ValueError(f"{key} must be at least 0, got {getattr(self, key)}")
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps} (K of PGD-K-tau)")
        if not self.tau or min(self.tau) < 0:
            raise ValueError(f"tau must be numbers of at least 0, got {list(self.tau)}")
        if len(self.switches) != len(self.tau) - 1:
            raise ValueError(
                f"switches must be one fewer than the values of tau, got {len(self.switches)} "
                f"and {len(self.tau)} (tau=[0] switches=[] keeps one value)"
            )
        if list(self.switches) != sorted(self.switches) or not all(
            0 < share < 1 for share in self.switches
        ):
            raise ValueError(
                f"switches must grow from above 0 to below 1, got {list(self.switches)} "
                "(shares of the run, not epochs)"
            )

    @property
    def work(self) -> float:
        return (2 * self.steps + 3) / 3  # an attack goes backwards to its images

    def attach(self, data: TrainingData) -> "_Phased":
        an_epoch = ceil(len(data.train) / self.batch_size)
        return _Phased(self, [round(share * self.epochs) * an_epoch for share in self.switches])

    def prepare(self, model: nn.Module) -> nn.Module:
        """Add a counter of steps."""
        return count_steps(model)

    def __call__(self, model: nn.Module, x: Images, y: Targets, rng: Rng) -> Iterator[Loss]:
        return _Phased(self, ())(model, x, y, rng)

    def friendly(
        self, model: nn.Module, x: Images, y: Targets, tau: Int64[Tensor, ""], rng: Rng
    ) -> Images:
        """Alg. 1: a sample stops where it is missed for the (τ + 1)-th time."""
        region = Threat(self.epsilon).around(model, x)
        adversarial = region.start(rng)
        misses = torch.zeros_like(y[:, 0])
        with searched(model):
            for _ in range(self.steps):
                logits, gradient = at_images(model, adversarial, y)
                misses += logits.argmax(dim=1) != y.argmax(dim=1)
                moved = adversarial + self.step * gradient.sign()
                if self.omega > 0:
                    moved += self.omega * torch.empty_like(x).normal_(generator=rng.device)
                going = (misses <= tau).view(-1, 1, 1, 1)
                adversarial = torch.where(going, region.project(moved), adversarial)
        return adversarial


@dataclass(frozen=True)
class _Phased(Method):
    """FAT that knows after how many steps each phase ends."""

    fat: Fat
    ends: Sequence[int]

    def prepare(self, model: nn.Module) -> nn.Module:
        return self.fat.prepare(model)

    def __call__(self, model: nn.Module, x: Images, y: Targets, rng: Rng) -> Iterator[Loss]:
        x, y = self.fat.vicinity(x, y, rng)
        x = self.fat.friendly(model, x, y, self.tau(counted_step(model)), rng)
        yield cross_entropy(model(x), y).mean()

    def tau(self, done: Int64[Tensor, ""]) -> Int64[Tensor, ""]:
        """The value of this phase, found on the device, which knows how many steps were done."""
        values, ends = (
            torch.tensor(numbers, dtype=torch.int64).to(done.device, non_blocking=True)
            for numbers in (self.fat.tau, self.ends)
        )
        return values.take(torch.bucketize(done, ends, right=True))
