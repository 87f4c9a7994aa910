"""The worst of m draws: the mean over samples of max_i CE(f(x'_i), y'_i), i = 1 .. m.

Paper:    Gong, Ren, Ye, Liu, MaxUp, arXiv 2002.09024; Eq. 2 (the max, per sample), Eq. 3 (only the
          worst copy's gradient), Alg. 1; §4 "Time and Memory" (m forwards, then one step)
Code:     none released
Differs:  the paper leaves open how copies are selected; we read the code that it builds on. The
          selection normalises each copy as a batch of its own, by batch statistics, and records
          none of them, since the max is over the loss that is trained and BatchNorm's momentum
          should not depend on m; hence one chunk per copy, not one batch of m·B. `selection: eval`
          uses the running statistics instead. Dropout's noise is the same in every copy's
          forward and in the update, so that the selected loss is the trained one.
          Third-party code back-propagates through all copies in one batch; the paper's cost does
          not allow that. The five standard epochs at the start are `schedule.warmup_method`.
Cost:     copies + 1 forwards (1 when copies = 1), 1 backward, 1 update of BatchNorm; all forwards
          but the last are without gradient. Memory does not grow with m: a copy is dropped once
          it is compared with the worst before it
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vicinal.contracts import Inputs, Loss, Method, PerSample, Targets, Vicinity
from vicinal.draws import Rng
from vicinal.losses import cross_entropy
from vicinal.surgery.modes import evaluating, frozen_statistics


@dataclass(frozen=True)
class MaxUp(Method):
    """`copies` is the paper's m: 4, or 10 for WRN-28-10 on CIFAR."""

    vicinity: Vicinity
    copies: int = 4
    selection: Literal["train", "eval"] = "train"

    def __post_init__(self) -> None:
        if self.copies < 1:
            raise ValueError(
                f"copies must be at least 1, got {self.copies} "
                "(MaxUp keeps the worst of m copies; m = 1 is ordinary augmentation)"
            )

    @property
    def work(self) -> float:
        return (self.copies + 3) / 3 if self.copies > 1 else 1.0

    def __call__(self, model: nn.Module, x: Inputs, y: Targets, rng: Rng) -> Iterator[Loss]:
        x, y = self.vicinity(x, y, rng) if self.copies == 1 else self._worst(model, x, y, rng)
        yield cross_entropy(model(x), y).mean()

    @torch.no_grad()
    def _worst(self, model: nn.Module, x: Inputs, y: Targets, rng: Rng) -> tuple[Inputs, Targets]:
        """The copy of each sample with the largest loss, the first of equals; NaN is the largest.

        A NaN is kept so that a run that diverges is stopped, not trained on its other copies.
        """
        mode = frozen_statistics if self.selection == "train" else evaluating
        worst_x, worst_y = self.vicinity(x, y, rng)
        with mode(model):
            worst = _loss(model, worst_x, worst_y)
            for _ in range(self.copies - 1):
                new_x, new_y = self.vicinity(x, y, rng)
                loss = _loss(model, new_x, new_y)
                worse = ~(loss <= worst) & ~worst.isnan()
                worst = torch.where(worse, loss, worst)
                worst_x = torch.where(_like(worse, x), new_x, worst_x)
                worst_y = torch.where(_like(worse, y), new_y, worst_y)
        return worst_x, worst_y


def _loss(model: nn.Module, x: Inputs, y: Targets) -> PerSample:
    """The loss of one copy of each sample; it uses up no randomness, of dropout for one."""
    with torch.random.fork_rng([x.device] if x.is_cuda else []):
        return cross_entropy(model(x), y)


def _like(chosen: Bool[Tensor, " n"], values: Float[Tensor, "n ..."]) -> Bool[Tensor, "n ..."]:
    """A choice of samples, to be broadcast over their values."""
    return chosen.view(-1, *[1] * (values.ndim - 1))
