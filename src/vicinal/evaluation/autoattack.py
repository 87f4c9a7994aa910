"""Robust accuracy by AutoAttack itself: the authors' package, their `standard` attacks.

Paper:    Croce & Hein, ICML 2020, arXiv 2003.01690, §6
Code:     fra31/auto-attack (commit a392200): APGD-CE, targeted APGD and FAB, Square, in turn
Differs:  each batch is attacked by itself, with the same seed, and images that still stand are not
          regrouped; so the numbers do not depend on the number of ranks. Where there are fewer than
          ten classes, targeted attacks take all the others instead of nine
"""

from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from vicinal.contracts import Images, Targets
from vicinal.data.dataset import Data
from vicinal.data.split import Rows
from vicinal.draws import Rng
from vicinal.errors import RunError
from vicinal.evaluation.batches import check_batch_size
from vicinal.evaluation.evaluation import Numbers, Parts, each
from vicinal.evaluation.examined import Examined, spread
from vicinal.surgery.modes import searched

NORMS = {"linf": "Linf", "l2": "L2"}  # ours, and the package's names
INSTALL = "pip install git+https://github.com/fra31/auto-attack"


@dataclass(frozen=True)
class AutoAttack:
    """Accuracy in percent on `images` images of the test set, without an attack and after all.

    It runs in float32, and leaves torch's generators as they were.
    """

    epsilon: float = 8 / 255
    norm: str = "linf"
    images: int | None = 1000  # evenly spaced; null: all
    batch_size: int = 250

    def __post_init__(self) -> None:
        if not self.epsilon > 0:
            raise ValueError(f"epsilon must be above 0, got {self.epsilon}")
        if self.norm not in NORMS:
            raise ValueError(f"norm must be one of {', '.join(NORMS)}, got {self.norm}")
        if self.images is not None and self.images < 1:
            raise ValueError(f"images must be at least 1, got {self.images} (or null, for all)")
        check_batch_size(self.batch_size)
        _package()

    def __call__(self, model: nn.Module, data: Data, rng: Rng, parts: Parts = each) -> Numbers:
        if data.num_classes < 4:
            raise RunError(
                f"dataset must have at least 4 classes for AutoAttack, got {data.num_classes} "
                "(its DLR loss compares four logits)"
            )
        examined = Examined(model, data, self.batch_size)
        rows = spread(len(data.test), self.images)
        clean = examined.right(rows, lambda x, y, _: x)
        robust = examined.right(clean, partial(self._attacked, model))
        return {
            "clean_top1": 100 * len(clean) / len(rows),
            "robust_accuracy": 100 * len(robust) / len(rows),
        }

    def _attacked(self, model: nn.Module, x: Images, y: Targets, _: Rows) -> Tensor:
        with torch.random.fork_rng([x.device] if x.is_cuda else []), searched(model):
            settings = {"norm": NORMS[self.norm], "eps": self.epsilon, "seed": 0}
            attack = _package().AutoAttack(
                model, **settings, version="standard", device=x.device, verbose=False
            )
            others = min(9, y.shape[1] - 1)
            attack.apgd_targeted.n_target_classes = attack.fab.n_target_classes = others
            return attack.run_standard_evaluation(x, y.argmax(1), bs=len(x))


def _package() -> Any:
    try:
        return import_module("autoattack")
    except ImportError as error:
        raise ValueError(f"autoattack must be installed ({INSTALL})") from error
