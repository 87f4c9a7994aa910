"""How strongly the channels of each stage answer to test images.

Paper:    Faramarzi et al., PatchUp, AAAI 2022, arXiv 2006.07794; "Effect on Activations",
          Figures 6 and 7
Code:     chandar-lab/PatchUp (commit 31133f3) utility/activation_study.py
Differs:  the paper's magnitude is the default; the code adds up values with their signs, which
          `signed_sum` repeats, but it reads only the first image of each batch
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from vicinal.data.dataset import Data
from vicinal.draws import Rng
from vicinal.evaluation.batches import check_batch_size, rank_batches, rank_rows
from vicinal.evaluation.evaluation import Numbers, Parts, each
from vicinal.machine import ranks
from vicinal.surgery.modes import evaluating
from vicinal.surgery.taps import Features, layer_names, tapped

QUANTILES = tuple(tenth / 10 for tenth in range(11))
PerChannel = Float64[Tensor, " c"]


@dataclass(frozen=True)
class Activations:
    """Each channel's mean |h| over space and test images, h the raw output of a stage.

    `signed_sum` sums h over space instead, and takes the mean over images. The channels' values in
    descending order are a curve: `STAGE_q0.0` is its first value, `STAGE_q1.0` its last.
    """

    signed_sum: bool = False
    batch_size: int = 250

    def __post_init__(self) -> None:
        check_batch_size(self.batch_size)

    def __call__(self, model: nn.Module, data: Data, rng: Rng, parts: Parts = each) -> Numbers:
        _, *stages = layer_names(model)
        mine = self._of_batches(model, data, stages)
        every = ranks.all_gather_object(mine)  # few, and added up in the order of one process
        batches = [of[i] for i in range(len(every[0])) for of in every if i < len(of)]
        numbers: Numbers = {}
        for stage in stages:
            mean = torch.stack([batch[stage] for batch in batches]).sum(0) / len(data.test)
            name = stage.rpartition("body.")[2]  # as the network itself calls it
            numbers |= {f"{name}_{key}": value for key, value in _curve(mean).items()}
        return numbers

    def _of_batches(
        self, model: nn.Module, data: Data, stages: Sequence[str]
    ) -> list[dict[str, PerChannel]]:
        """The sums over each batch of this rank, by stage."""
        found: list[dict[str, PerChannel]] = []
        if not rank_rows(torch.arange(len(data.test)), self.batch_size):
            return found  # a tap must see a forward

        def note(stage: str, features: Features) -> Features:
            found[-1][stage] = self._summed(features)
            return features

        with ExitStack() as taps, evaluating(model), torch.no_grad():
            for stage in stages:
                taps.enter_context(tapped(model, stage, partial(note, stage), maps=False))
            for x, _, _ in rank_batches(model, data.test, self.batch_size):
                found.append({})
                model(x)
        return [{stage: sums.cpu() for stage, sums in batch.items()} for batch in found]

    def _summed(self, features: Features) -> PerChannel:
        """Over images, of the mean magnitude over space or of the signed sum."""
        space = tuple(range(2, features.ndim))
        if self.signed_sum:
            return features.sum((0, *space), dtype=torch.float64)
        return features.abs().sum((0, *space), dtype=torch.float64) / features[0, 0].numel()


def _curve(channels: PerChannel) -> Numbers:
    """The mean over channels, and points of the channels' values in descending order."""
    places = 1 - torch.tensor(QUANTILES, dtype=torch.float64)
    values = channels.quantile(places).tolist()
    points = {f"q{q}": value for q, value in zip(QUANTILES, values, strict=True)}
    return points | {"mean": channels.mean().item()}
