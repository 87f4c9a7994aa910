"""What attacks do to test images of a network, image by image and on any number of ranks."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from vicinal.attacks.attack import Attack, Counted
from vicinal.contracts import Images, Targets
from vicinal.data.dataset import Data
from vicinal.data.split import Rows
from vicinal.evaluation.batches import check_image_data, device_of, rank_batches
from vicinal.evaluation.clean import rank_of_true
from vicinal.machine import ranks
from vicinal.surgery.modes import evaluating


@dataclass(frozen=True)
class Examined:
    """A network, and the test images it is examined on.

    It is measured in float32, whatever the caller's autocast: gradients in bf16 would weaken
    attacks. The batches are those of the given rows, whichever ranks measure them, so that no
    number depends on the number of ranks.
    """

    model: nn.Module
    data: Data
    batch_size: int

    def __post_init__(self) -> None:
        check_image_data(self.data)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return device_of(self.model, self.data.test.y)

    def measured(
        self,
        rows: Rows,
        measure: Callable[[Images, Targets, Rows], Shaped[Tensor, "m k"]],
        columns: int = 1,
    ) -> Float64[Tensor, "r k"]:
        """What is measured of each of these rows, in float32; the result is on the CPU."""
        found = torch.zeros(len(self.data.test), columns, dtype=torch.float64, device=self.device)
        with torch.autocast(self.device.type, enabled=False):
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


def attacked_passes(images: int, attacks: Collection[Attack]) -> int | None:
    """Forward passes of one image to measure so many without an attack and under each.

    None if an attack does not say how many it takes.
    """
    each = [attack.passes for attack in attacks if isinstance(attack, Counted)]
    return images * (1 + sum(each) + len(each)) if len(each) == len(attacks) else None


def check_attacks(attacks: Mapping[str, Attack], taken: Sequence[str]) -> None:
    """Refuse what is no attack, and names that other numbers have."""
    if not attacks:
        raise ValueError("attacks must name an attack, got none")
    for name, attack in attacks.items():
        if name in taken:
            raise ValueError(f"attacks must not be called {' or '.join(taken)}, got {name}")
        if not isinstance(attack, Attack):
            raise ValueError(f"attacks.{name} must be an Attack, got {type(attack).__name__}")
