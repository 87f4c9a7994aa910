"""A split that stays on the disk: names and labels in memory, images decoded by the batch."""

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
from vicinal.data.decode.pool import Decoder, InProcessDecoder, Task
from vicinal.data.split import Batch, Key, Labels, Rows, on_device
from vicinal.draws import derived_seed
from vicinal.errors import RunError
from vicinal.machine import ranks


@dataclass(frozen=True)
class StreamedSplit:
    """Image files below `root`; a batch of an epoch has random crops, one without a key central.

    What is cropped from an image is a function of (seed, epoch) and its place in the split: not of
    who decodes it, nor of what was decoded before it. Under `replace` the next image in the folder
    of a corrupt one takes its place, under its label.
    """

    root: str
    names: Shaped[np.ndarray, " n"]  # as bytes: a million are 40 MB, and 100 as strings
    y: Labels
    crop: Crop
    corrupt: Literal["stop", "replace"] = "stop"
    replaced: dict[str, str] = field(default_factory=dict)  # what was said of each corrupt file
    redrawn: Bool[Tensor, " n"] | None = None
    decoder: Decoder = field(default_factory=InProcessDecoder)

    def __len__(self) -> int:
        return len(self.y)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image as a network sees it."""
        return 3, self.crop.size, self.crop.size

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
        """With a key each image's own random crop of that epoch, else the centre of each."""
        tasks = (self._tasks(batch, key) for batch in rows)
        images = self.decoder(self.crop, tasks, self._mend)
        for x, places in zip(images, on_device(rows, self.y.device), strict=True):
            here = x.to(places.device, non_blocking=True)
            if here.device.type == "cpu":  # elsewhere networks want them as decoders fill them
                here = here.contiguous()
            yield here, self.y.index_select(0, places), places

    def _tasks(self, rows: Rows, key: Key | None) -> list[Task]:
        def seed(row: int) -> int | None:
            return None if key is None else derived_seed(key[0], "crop", key[1], row)

        return [Task(row, self._path(self.names.item(row)), seed(row)) for row in rows.tolist()]

    def _path(self, name: bytes) -> str:
        return str(Path(self.root, os.fsdecode(name)))

    def _mend(self, task: Task, reason: str) -> Task:
        if self.corrupt == "stop":
            raise RunError(
                f"{task.path} must be a readable image, got: {reason} "
                "(dataset.corrupt=replace takes another of its folder)"
            )
        other = self._next_in_folder(task)
        if task.path not in self.replaced:
            said = f"{task.path} is no readable image ({reason}); {other.path} takes its place"
            self.replaced[task.path] = said
            if ranks.is_main():
                print(said, file=sys.stderr)
        return other

    def _next_in_folder(self, task: Task) -> Task:
        """The image after the task's, by name and from the last to the first; never its own again.

        A task keeps its own row while its file changes, so that the search ends where it began.
        """
        own = Path(self._path(self.names.item(task.row)))
        folder = os.fsencode(f"{own.parent.relative_to(self.root)}/")
        siblings = sorted(name for name in self.names.tolist() if name.startswith(folder))
        paths = [self._path(name) for name in siblings]
        following = paths[(paths.index(task.path) + 1) % len(paths)]
        if following == str(own):
            raise RunError(f"{own.parent} must hold a readable image, got none")
        return task._replace(path=following)
