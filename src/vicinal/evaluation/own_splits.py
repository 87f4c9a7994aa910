"""A run's own splits, measured again."""

from dataclasses import dataclass

from torch import nn

from vicinal.data.dataset import Data
from vicinal.draws import Rng
from vicinal.evaluation.clean import Clean
from vicinal.evaluation.evaluation import Numbers, Parts, each, flat


@dataclass(frozen=True)
class OwnSplits:
    """`Clean` of each split that a run measures after its last epoch: test_top1, valid_nll, …"""

    batch_size: int = 1000
    bins: int = 15

    def __post_init__(self) -> None:
        self._clean  # noqa: B018 (its constructor checks them)

    @property
    def _clean(self) -> Clean:
        return Clean(self.batch_size, self.bins)

    def passes(self, images: int) -> int | None:
        """Of the test images; others are few beside them."""
        return images

    def __call__(self, model: nn.Module, data: Data, rng: Rng, parts: Parts = each) -> Numbers:
        splits = data.measured()
        return flat(parts(list(splits), lambda name: self._clean(model, splits[name])))
