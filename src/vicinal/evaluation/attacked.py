"""Accuracy on adversarial examples of every test image, at one ε or along a curve.

Attacks run in float32, whatever the network runs in: gradients in bf16 would weaken them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from functools import cache

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from vicinal.attacks.attack import Attack
from vicinal.contracts import Images, Targets
from vicinal.data.dataset import Data
from vicinal.data.split import Rows
from vicinal.draws import Rng
from vicinal.errors import RunError
from vicinal.evaluation.batches import check_batch_size
from vicinal.evaluation.checks import CHECKS, percentages, signs
from vicinal.evaluation.evaluation import Numbers, Parts, each, flat
from vicinal.evaluation.examined import Examined, attacked_passes, check_attacks, spread

BESIDE = ("clean", "checks")  # parts that are no attacks
CHECKED = 1000  # images that tell whether attacks on a network can be trusted


@dataclass(frozen=True)
class Attacked:
    """Top-1 in percent under each attack; an image that is missed without it counts as missed.

    With `epsilons` each attack is measured at each of them, as NAME_EPSILON. With `attack_missed`
    images that the network misses anyway are attacked, too, and count as what their adversarial
    example is taken for; only then is there a top-5. `l2` and `linf` are the medians, in pixel
    values, over images that are right before and missed afterwards. With `source`, the folder of a
    finished run, adversarial examples are made on its network (a black box). The percentages of
    CHECKS, of the network that is attacked, say whether the attacks can be trusted. An image's
    draws depend on its row and the seed alone; all attacks and ε share them.
    """

    attacks: Mapping[str, Attack]
    epsilons: Sequence[float] | None = None
    attack_missed: bool = False
    source: str | None = None
    batch_size: int = 250

    def __post_init__(self) -> None:
        check_attacks(self.attacks, BESIDE)
        check_batch_size(self.batch_size)
        clips = [attack.threat.clip for attack in self.variants.values()]  # checks each ε, too
        if "batches_of_100" in clips and (self.batch_size % 100 or not self.attack_missed):
            raise ValueError(
                f"batch_size must be a multiple of 100 with clip=batches_of_100, got "
                f"{self.batch_size}, and attack_missed true, got {self.attack_missed}"
            )

    @property
    def variants(self) -> dict[str, Attack]:
        """Every attack that is measured, by the name of its part."""
        if self.epsilons is None:
            return dict(self.attacks)
        return {
            f"{name}_{epsilon:g}": _within(attack, epsilon)
            for name, attack in self.attacks.items()
            for epsilon in self.epsilons
        }

    def passes(self, images: int) -> int | None:
        """Of every image without an attack and under each."""
        return attacked_passes(images, self.variants.values())

    def __call__(self, model: nn.Module, data: Data, rng: Rng, parts: Parts = each) -> Numbers:
        if self.source is not None:
            raise RunError("source must be a finished run's, and there are no runs here")
        return self.transferred(model)(model, data, rng, parts)

    def transferred(self, source: nn.Module) -> "Transferred":
        """The evaluation with adversarial examples that are made on this network."""
        return Transferred(self, source)


@dataclass(frozen=True)
class Transferred:
    """`attacked` with adversarial examples that are made on `source`."""

    attacked: Attacked
    source: nn.Module

    def __call__(self, model: nn.Module, data: Data, rng: Rng, parts: Parts = each) -> Numbers:
        examined = Examined(model, data, self.attacked.batch_size)
        every, draws = torch.arange(len(data.test)), rng.fork("attack")
        right = cache(lambda: examined.right(every, lambda x, y, _: x))

        def measure(name: str) -> Numbers:
            if name == "clean":
                return {"top1": 100 * len(right()) / len(every)}
            if name == "checks":
                return percentages(
                    examined.measured(spread(len(every), CHECKED), self._signs, len(CHECKS))
                )
            attack = self.attacked.variants[name]
            return self._under(attack, examined, right(), draws)

        found = parts((*BESIDE, *self.attacked.variants), measure)
        checks = found.pop("checks")
        return flat(found) | checks

    def _signs(self, x: Images, y: Targets, rows: Rows) -> Tensor:
        return signs(self.source, x, y)

    def _under(self, attack: Attack, examined: Examined, right: Rows, draws: Rng) -> Numbers:
        def measure(x: Images, y: Targets, rows: Rows) -> Float64[Tensor, "m 3"]:
            """The rank of the true class, and how far the image was moved in L2 and L∞."""
            moved = attack(self.source, x, y, draws.of_rows(rows.tolist()))
            shift = (moved - x).flatten(1)
            columns = examined.ranks(moved, y), shift.norm(dim=1), shift.abs().amax(1)
            return torch.stack([each.double() for each in columns], dim=1)

        count = len(examined.data.test)
        rows = torch.arange(count) if self.attacked.attack_missed else right
        found = examined.measured(rows, measure, 3)
        rank, shifts = found[:, 0], found[:, 1:]
        numbers = {"top1": 100 * (rank == 0).sum().item() / count}
        if self.attacked.attack_missed and examined.data.num_classes > 5:
            numbers["top5"] = 100 * (rank < 5).sum().item() / count
        if (fooled := torch.isin(rows, right) & (rank > 0)).any():
            l2, linf = shifts[fooled].median(0).values.tolist()
            numbers |= {"l2": l2, "linf": linf}
        return numbers


def _within(attack: Attack, epsilon: float) -> Attack:
    """The same attack with another ε."""
    assert is_dataclass(attack)
    return replace(attack, threat=replace(attack.threat, epsilon=epsilon))
