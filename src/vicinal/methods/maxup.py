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
          but the last are without gradient
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vicinal.contracts import Inputs, Loss, Method, Targets, Vicinity
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
        draws = [self.vicinity(x, y, rng) for _ in range(self.copies)]
        if self.copies == 1:
            (x, y), *_ = draws
        else:
            worst = self._losses(model, draws).argmax(dim=0)
            rows = torch.arange(len(x), device=x.device)
            x = torch.stack([x for x, _ in draws])[worst, rows]
            y = torch.stack([y for _, y in draws])[worst, rows]
        yield cross_entropy(model(x), y).mean()

    @torch.no_grad()
    def _losses(
        self, model: nn.Module, draws: list[tuple[Inputs, Targets]]
    ) -> Float[Tensor, "m n"]:
        """The loss of each copy of each sample."""
        mode = frozen_statistics if self.selection == "train" else evaluating
        losses = []
        with mode(model):
            for x, y in draws:
                with torch.random.fork_rng([x.device] if x.is_cuda else []):
                    losses.append(cross_entropy(model(x), y))
        return torch.stack(losses)
