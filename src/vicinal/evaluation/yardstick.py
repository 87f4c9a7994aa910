"""Accuracy that is left after attacks in turn, each on the images that still stand.

As in AutoAttack (Croce & Hein, ICML 2020, arXiv 2003.01690, §6), of which it has two attacks.
Attacks run in float32 (see Examined).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from vicinal.attacks.attack import Attack
from vicinal.contracts import Images, Targets
from vicinal.data.dataset import Data
from vicinal.data.split import Rows
from vicinal.draws import Rng
from vicinal.evaluation.batches import check_batch_size
from vicinal.evaluation.checks import CHECKS, percentages, signs
from vicinal.evaluation.evaluation import Numbers, Parts, each
from vicinal.evaluation.examined import Examined, attacked_passes, check_attacks, spread


@dataclass(frozen=True)
class Yardstick:
    """Robust accuracy in percent on `images` images of the test set.

    An image stands if it is right without an attack and after all attacks so far. `clean_top1` and
    NAME_top1 of each attack are the percentages that stand then; `robust_accuracy` is the last one.
    Those of CHECKS say whether the attacks can be trusted. An image's draws depend on its row, the
    attack's name and the seed alone.
    """

    attacks: Mapping[str, Attack]
    images: int | None = 1000  # evenly spaced; null: all
    batch_size: int = 250

    def __post_init__(self) -> None:
        check_attacks(self.attacks, ("clean",))
        if self.images is not None and self.images < 1:
            raise ValueError(f"images must be at least 1, got {self.images} (or null, for all)")
        check_batch_size(self.batch_size)

    def passes(self, images: int) -> int | None:
        """At most: an attack leaves out the images that no longer stand."""
        count = images if self.images is None else min(images, self.images)
        return attacked_passes(count, self.attacks.values())

    def __call__(self, model: nn.Module, data: Data, rng: Rng, parts: Parts = each) -> Numbers:
        examined = Examined(model, data, self.batch_size)
        rows = spread(len(data.test), self.images)
        checks = examined.measured(rows, lambda x, y, _: signs(model, x, y), len(CHECKS))
        standing = examined.right(rows, lambda x, y, _: x)
        left = {"clean_top1": len(standing)}
        for name in self.attacks:
            fallen = parts((name,), partial(self._fallen, examined, standing, rng))[name]
            still = [row for row in standing.tolist() if str(row) not in fallen]
            standing = torch.tensor(still, dtype=torch.int64)
            left[f"{name}_top1"] = len(standing)
        left["robust_accuracy"] = len(standing)
        return {name: 100 * count / len(rows) for name, count in left.items()} | percentages(checks)

    def _fallen(self, examined: Examined, standing: Rows, rng: Rng, name: str) -> Numbers:
        """1 for each row that the attack breaks, of those that stand before it."""
        draws = rng.fork(name)

        def attacked(x: Images, y: Targets, rows: Rows) -> Images:
            return self.attacks[name](examined.model, x, y, draws.of_rows(rows.tolist()))

        right = set(examined.right(standing, attacked).tolist())
        return {str(row): 1.0 for row in standing.tolist() if row not in right}
