"""What attacks do to test images of a network, image by image and on any number of ranks."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from vicinal.contracts import Images, Targets
from vicinal.data.split import Data, Rows
from vicinal.errors import RunError
from vicinal.evaluation.batches import device_of, rank_batches
from vicinal.evaluation.clean import rank_of_true
from vicinal.machine import ranks
from vicinal.surgery.modes import evaluating


@dataclass(frozen=True)
class Examined:
    """A network, and the test images it is examined on.

    The batches are those of the given rows, whichever ranks measure them, so that no number depends
    on the number of ranks.
    """

    model: nn.Module
    data: Data
    batch_size: int

    def __post_init__(self) -> None:
        shape = self.data.test.shape
        if len(shape) != 3:
            raise RunError(f"dataset must have images to attack, got samples of shape {shape}")

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return device_of(self.model, self.data.test)

    def measured(
        self,
        rows: Rows,
        measure: Callable[[Images, Targets, Rows], Shaped[Tensor, "m k"]],
        columns: int = 1,
    ) -> Float64[Tensor, "r k"]:
        """What is measured of each of these rows, on the CPU."""
        found = torch.zeros(len(self.data.test), columns, dtype=torch.float64, device=self.device)
        for x, y, batch in rank_batches(self.model, self.data.test, self.batch_size, rows):
            targets = F.one_hot(y, self.data.num_classes).to(x)
            found[batch.to(self.device)] = measure(x, targets, batch).double()
        return ranks.all_reduce_(found).cpu()[rows]

    def ranks(self, x: Images, y: Targets) -> Int64[Tensor, " n"]:
        """How many classes the network puts before the true one."""
        with evaluating(self.model), torch.no_grad():
            return rank_of_true(self.model(x), y.argmax(1))

    def right(self, rows: Rows, moved: Callable[[Images, Targets, Rows], Images]) -> Rows:
        """Those of these rows whose moved image the network takes for what it is."""

        def is_right(x: Images, y: Targets, batch: Rows) -> Tensor:
            return self.ranks(moved(x, y, batch), y)[:, None] == 0

        return rows[self.measured(rows, is_right)[:, 0].bool()]


def spread(count: int, wanted: int | None) -> Rows:
    """The rows of `wanted` samples, or of all: evenly spaced, as classes may stand in order."""
    rows = torch.arange(count)
    return rows if wanted is None or wanted >= count else rows[:wanted] * count // wanted
