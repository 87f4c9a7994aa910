"""A split that stays on disk: names and labels in memory, images decoded batch by batch."""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Shaped
from torch import Tensor

from vicinal.data.decode.crops import Crop
from vicinal.data.decode.pool import Decoder, DecodeTask, InProcessDecoder
from vicinal.data.split import Batch, Key, Labels, Rows, on_device
from vicinal.draws import derived_seed
from vicinal.errors import RunError
from vicinal.machine import ranks


@dataclass(frozen=True)
class StreamedSplit:
    """Image files below `root`: random crops in a training epoch, central crops without a key.

    The crop of an image is a function of (seed, epoch) and its row alone. It depends neither on
    the decoder nor on what was decoded before. With `corrupt="replace"` the next image of the same
    folder takes the place of a corrupt one, with its label.
    """

    root: str
    names: Shaped[np.ndarray, " n"]  # as bytes: a million take 40 MB, as strings 100
    y: Labels
    crop: Crop
    corrupt: Literal["stop", "replace"] = "stop"
    replaced: dict[str, str] = field(default_factory=dict)  # the message about each corrupt file
    redrawn: Bool[Tensor, " n"] | None = None
    decoder: Decoder = field(default_factory=InProcessDecoder)

    def __len__(self) -> int:
        return len(self.y)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one image as the network sees it."""
        return 3, self.crop.size, self.crop.size

    @property
    def pixels(self) -> bool:
        return True

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the folders, one per class, in the order of their labels."""
        first = np.unique(self.y.cpu().numpy(), return_index=True)[1]
        return tuple(os.fsdecode(self.names.item(row)).split("/")[0] for row in first)

    def __getitem__(self, rows: Shaped[Tensor, " m"]) -> "StreamedSplit":
        redrawn = None if self.redrawn is None else self.redrawn[rows]
        names = self.names[rows.cpu().numpy()]
        return replace(self, names=names, y=self.y[rows], redrawn=redrawn)

    def to(self, device: str, decoder: Decoder | None = None) -> "StreamedSplit":
        """The same images, for batches on another device, from another decoder."""
        redrawn = None if self.redrawn is None else self.redrawn.to(device)
        decoder = decoder or self.decoder
        return replace(self, y=self.y.to(device), redrawn=redrawn, decoder=decoder)

    def batches(self, rows: Sequence[Rows], key: Key | None = None) -> Iterator[Batch]:
        """With a key, each image's random crop of that epoch, else its centre."""
        tasks = (self._tasks(batch, key) for batch in rows)
        decoded = self.decoder(self.crop, tasks, self._replace_corrupt)
        for x, places in zip(decoded, on_device(rows, self.y.device), strict=True):
            images = x.to(places.device, non_blocking=True)
            if images.device.type == "cpu":  # on a GPU, channels_last as decoders leave them
                images = images.contiguous()
            yield images, self.y.index_select(0, places), places

    def _tasks(self, rows: Rows, key: Key | None) -> list[DecodeTask]:
        def seed(row: int) -> int | None:
            return None if key is None else derived_seed(key[0], "crop", key[1], row)

        return [
            DecodeTask(row, self._path(self.names.item(row)), seed(row)) for row in rows.tolist()
        ]

    def _path(self, name: bytes) -> str:
        return str(Path(self.root, os.fsdecode(name)))

    def _replace_corrupt(self, task: DecodeTask, reason: str) -> DecodeTask:
        if self.corrupt == "stop":
            raise RunError(
                f"{task.path} must be a readable image, got: {reason} "
                "(dataset.corrupt=replace takes another image of its folder)"
            )
        other = self._next_in_folder(task)
        if task.path not in self.replaced:
            said = f"{task.path} is not a readable image ({reason}); {other.path} takes its place"
            self.replaced[task.path] = said
            if ranks.is_main():
                print(said, file=sys.stderr)
        return other

    def _next_in_folder(self, task: DecodeTask) -> DecodeTask:
        """The next image of the folder by name; the first follows the last.

        A task keeps its row while its file changes, so that the search ends at its own file.
        """
        own = Path(self._path(self.names.item(task.row)))
        folder = os.fsencode(f"{own.parent.relative_to(self.root)}/")
        siblings = sorted(name for name in self.names.tolist() if name.startswith(folder))
        paths = [self._path(name) for name in siblings]
        following = paths[(paths.index(task.path) + 1) % len(paths)]
        if following == str(own):
            raise RunError(f"{own.parent} must hold a readable image, got none")
        return task._replace(path=following)
