"""The run's own test set, corrupted here instead of by the authors of the published sets.

For data that no published set was made from. Random corruptions cannot equal published ones, whose
generators were not seeded. Tiny-ImageNet-C was not made from Tiny-ImageNet's test images, so what
is generated from those is another benchmark.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vicinal.data.shifted.changed import Changed, Pixels
from vicinal.data.shifted.corruptions import check_corruptions, parsed, set_names
from vicinal.data.split import Part
from vicinal.draws import Rng
from vicinal.errors import RunError
from vicinal.images.corruptions.corrupt import COMMON, EXTRA, corrupted


@dataclass(frozen=True)
class Generated:
    """Each corruption at each severity, drawn again in the same way whenever it is read."""

    corruptions: Sequence[str] = COMMON
    frost: str | None = None  # a folder of pictures of frost

    def __post_init__(self) -> None:
        check_corruptions(self.corruptions, COMMON + EXTRA)

    @property
    def names(self) -> tuple[str, ...]:
        """gaussian_noise_1 and so on."""
        return set_names(self.corruptions)

    def load(self, name: str, test: Part, rng: Rng) -> Changed:
        """The images of `test`, corrupted on their device in blocks when they are read."""
        if len(test.shape) != 3 or test.shape[0] != 3:
            shape = " x ".join(map(str, test.shape))
            raise RunError(
                f"dataset must have colour images to be corrupted, got samples of {shape}"
            )
        corruption, severity = parsed(name)
        frost = None if self.frost is None else Path(self.frost).expanduser()

        def change(x: Pixels, draws: Rng) -> Pixels:
            return corrupted(corruption, severity, x, draws, frost=frost)

        return Changed(test, change, rng)
