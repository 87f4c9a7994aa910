"""Photos with objects as a run uses them: batches of one shape of photo, each photo once an epoch.

Code:     pytorch/vision references/detection group_by_aspect_ratio.py: photos of one group are
          trained on together, by width over height between powers of 2^(1/3)
Differs:  each photo is in one batch of an epoch, and those that fill none of their group's are
          joined; in that code some of them are trained on twice
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import torch
from torch import Generator, Tensor, nn

from vicinal.contracts import Detector, Method, Objects, Photos, Rows, parts
from vicinal.data.batches import OfOneSize
from vicinal.data.decode.pool import Decoder, WorkerPool
from vicinal.data.photos import PhotoSplit
from vicinal.draws import Rng, derived_seed
from vicinal.errors import RunError
from vicinal.machine import ranks

GROUPS = 3  # between an aspect of 1 and one of 2; as many below 1
TRIAL = 128  # the side of a photo that is not there


@dataclass(frozen=True)
class DetectionData:
    """Photos to train on and to test on."""

    train: PhotoSplit
    test: PhotoSplit
    mean: tuple[float, ...]  # that the trunk was trained with
    std: tuple[float, ...]
    fingerprint: dict[str, str]  # of the annotations
    canonical: bool | None = None  # False: not the original; None: no reason to doubt

    @property
    def valid(self) -> None:
        return None

    @property
    def num_classes(self) -> int:
        return len(self.train.categories)

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the largest photo, if it is broad."""
        return 3, self.train.short, self.train.long

    @property
    def replaced(self) -> dict[str, str]:
        return {}

    def to(self, device: str, decoder: Decoder | None = None) -> "DetectionData":
        """The same data on another device, read by as many threads as a decoder has workers."""
        threads = decoder.count if isinstance(decoder, WorkerPool) else 0
        moved = (split.to(device, threads) for split in (self.train, self.test))
        return replace(self, **dict(zip(("train", "test"), moved, strict=True)))

    def check_method(self, key: str, method: Method) -> None:
        for place, kind, takes in parts(method, key):
            if place == key and takes is not Photos:
                raise RunError(f"{place} must take objects in photos with this dataset, got {kind}")

    def check_network(self, body: nn.Module) -> None:
        if not isinstance(body, Detector):
            kind = type(body).__name__
            raise RunError(f"model must be a detector with this dataset, got {kind}")

    def network(self, body: nn.Module) -> nn.Module:
        assert isinstance(body, Detector)
        return body.normalized(self.mean, self.std)

    def zeros(self, device: str) -> Tensor:
        return torch.zeros(1, 3, TRIAL, TRIAL, device=device)

    def batches(self, batch_size: int, seed: int) -> "PhotoBatches":
        return PhotoBatches(self.train, batch_size, seed)

    def measured(self, last: bool = True) -> dict[str, PhotoSplit]:
        return {"test": self.test}

    def summary(self) -> dict[str, Any]:
        return {
            "samples": {"train": len(self.train), "test": len(self.test)},
            "num_classes": self.num_classes,
            "shape": list(self.shape),
            "fingerprint": self.fingerprint,
            "canonical": self.canonical,
        }


@dataclass(frozen=True)
class PhotoBatches(OfOneSize[PhotoSplit]):
    """Photos in a new order each epoch, in batches of similar shapes.

    The order is a function of (seed, epoch) alone, so that resuming needs no state. Each rank reads
    its shard of every batch.
    """

    split: PhotoSplit
    batch_size: int
    seed: int

    def order(self, epoch: int) -> list[Rows]:
        """The rows of each batch; the last one may be smaller."""
        generator = Generator().manual_seed(derived_seed(self.seed, "order", epoch))
        order = torch.randperm(len(self.split), generator=generator)
        group = groups(self.split)[order]
        full, rest = list[Rows](), list[Rows]()
        for number in group.unique():
            *whole, last = order[group == number].split(self.batch_size)
            full += whole
            (full if len(last) == self.batch_size else rest).append(last)
        joined = list(torch.cat(rest).split(self.batch_size)) if rest else []
        smaller = [joined.pop()] if joined and len(joined[-1]) < self.batch_size else []
        full += joined
        places = torch.randperm(len(full), generator=generator).tolist()
        return [full[place] for place in places] + smaller

    def epoch(self, epoch: int, first: int, rng: Rng) -> Iterator[tuple[Photos, Objects, Rows]]:
        own = [ranks.shard(rows) for rows in self.order(epoch)[first:]]
        yield from self.split.batches(own, (self.seed, epoch))

    @property
    def unlabelled(self) -> None:
        return None

    def more(self, count: int, rng: Rng) -> NoReturn:
        raise AssertionError("there are no photos without annotations")

    def trial(self, count: int, rng: Rng) -> tuple[Photos, Objects, Rows]:
        """One object in each photo of noise, of the last class and of half of the photo's size."""
        device, side = rng.device.device, TRIAL
        x = torch.rand(count, 3, side, side, generator=rng.device, device=device)
        boxes = torch.tensor([[0.0, 0.0, side / 2, side / 2]], device=device).repeat(count, 1)
        masks = torch.zeros(count, side, side, dtype=torch.uint8, device=device)
        masks[:, : side // 2, : side // 2] = 1
        labels = torch.full((count,), len(self.split.categories) - 1, device=device)
        objects = Objects(boxes, labels, masks, (1,) * count, ((side, side),) * count)
        return x, objects, torch.arange(count, device=device)


def groups(split: PhotoSplit) -> Rows:
    """The group of each photo by its aspect."""
    aspects = torch.tensor([photo.aspect for photo in split.photos], dtype=torch.float64)
    limits = 2 ** torch.linspace(-1, 1, 2 * GROUPS + 1, dtype=torch.float64)
    return torch.bucketize(aspects, limits, right=True)
