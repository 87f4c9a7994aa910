"""CIFAR-10-C and CIFAR-100-C as published: an array per corruption in a tar archive, read in place.

Paper:    Hendrycks, Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and
          Perturbations, ICLR 2019, arXiv 1903.12261
An array holds the 10,000 test images five times, at severity 1 first. A folder of the extracted
arrays is read as well.
"""

import hashlib
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8

from vicinal.data.download import RemoteFile, fetch
from vicinal.data.shifted.agreement import check_agreement
from vicinal.data.shifted.corruptions import check_corruptions, parsed, set_names
from vicinal.data.split import Part, Split
from vicinal.draws import Rng
from vicinal.errors import RunError
from vicinal.images.corruptions.corrupt import COMMON, EXTRA, SEVERITIES

CIFAR10_C = RemoteFile(
    name="CIFAR-10-C.tar",
    urls=("https://zenodo.org/records/2535967/files/CIFAR-10-C.tar?download=1",),
    checksum="sha256:c72763e101c723b7c507b96205f7e938912a5d587376173b825850cf3cb876a7",
    size=2_918_471_680,
)
CIFAR100_C = RemoteFile(
    name="CIFAR-100-C.tar",
    urls=("https://zenodo.org/records/3555552/files/CIFAR-100-C.tar?download=1",),
    checksum="md5:11f0ed0f1191edbf9fa23466ae6021d3",
    size=2_918_473_216,
)
ARCHIVES = {"CIFAR-10-C": CIFAR10_C, "CIFAR-100-C": CIFAR100_C}
IMAGES = 10_000  # per severity
PIECE = 1 << 20  # bytes that are read at a time
MD5: Mapping[str, Mapping[str, str]] = {  # of the arrays
    "CIFAR-10-C": {
        "gaussian_noise": "ecaf8b9a2399ffeda7680934c33405fd",
        "shot_noise": "3a7239bb118894f013d9bf1984be7f11",
        "impulse_noise": "2090e01c83519ec51427e65116af6b1a",
        "defocus_blur": "7d1322666342a0702b1957e92f6254bc",
        "glass_blur": "7361fb4019269e02dbf6925f083e8629",
        "motion_blur": "fffa5f852ff7ad299cfe8a7643f090f4",
        "zoom_blur": "6ea8e63f1c5cdee1517533840641641b",
        "snow": "bb238de8555123da9c282dea23bd6e55",
        "frost": "31f6ab3bce1d9934abfb0cc13656f141",
        "fog": "7b397314b5670f825465fbcd1f6e9ccd",
        "brightness": "0a81ef75e0b523c3383219c330a85d48",
        "contrast": "3c8262171c51307f916c30a3308235a8",
        "elastic_transform": "9421657c6cd452429cf6ce96cc412b5f",
        "pixelate": "0f14f7e2db14288304e1de10df16832f",
        "jpeg_compression": "2b9cc4c864e0193bb64db8d7728f8187",
        "speckle_noise": "ef00b87611792b00df09c0b0237a1e30",
        "gaussian_blur": "c33370155bc9b055fb4a89113d3c559d",
        "spatter": "8a5a3903a7f8f65b59501a6093b4311e",
        "saturate": "1cfae0964219c5102abbb883e538cc56",
        "labels": "c439b113295ed5254878798ffe28fd54",
    },
    "CIFAR-100-C": {
        "gaussian_noise": "ecc4d366eac432bdf25c024086f5e97d",
        "shot_noise": "b0a1fa6e1e465a747c1b204b1914048a",
        "impulse_noise": "3b3c210ddfa0b5cb918ff4537a429fef",
        "defocus_blur": "d923e3d9c585a27f0956e2f2ad832564",
        "glass_blur": "0bf384f38e5ccbf8dd479d9059b913e1",
        "motion_blur": "732a7e2e54152ff97c742d4c388c5516",
        "zoom_blur": "0204613400c034a81c4830d5df81cb82",
        "snow": "0237be164583af146b7b144e73b43465",
        "frost": "3a39c6823bdfaa0bf8b12fe7004b8117",
        "fog": "4efc7ebd5e82b028bdbe13048e3ea564",
        "brightness": "f22d7195aecd6abb541e27fca230c171",
        "contrast": "322bb385f1d05154ee197ca16535f71e",
        "elastic_transform": "a0792bd6581f6810878be71acedfc65a",
        "pixelate": "96c00c60f144539e14cffb02ddbd0640",
        "jpeg_compression": "c851b7f1324e1d2ffddeb76920576d11",
        "speckle_noise": "e3f215b1a0f9fd9fd6f0d1cf94a7ce99",
        "gaussian_blur": "5204ba0d557839772ef5a4196a052c3e",
        "spatter": "12ccf41d62564d36e1f6a6ada5022728",
        "saturate": "c0697e9fdd646916a61e9c312c77bf6b",
        "labels": "bb4026e9ce52996b95f439544568cdb2",
    },
}


@dataclass(frozen=True)
class CifarC:
    """The test images of CIFAR-10 or CIFAR-100, corrupted by the authors of the benchmark."""

    name: Literal["CIFAR-10-C", "CIFAR-100-C"]
    root: str = "data"
    corruptions: Sequence[str] = COMMON

    def __post_init__(self) -> None:
        if self.name not in MD5:
            raise ValueError(f"name must be CIFAR-10-C or CIFAR-100-C, got {self.name}")
        check_corruptions(self.corruptions, COMMON + EXTRA)

    @property
    def names(self) -> tuple[str, ...]:
        """gaussian_noise_1 and so on."""
        return set_names(self.corruptions)

    def load(self, name: str, test: Part, rng: Rng) -> Split:
        """10,000 images, in the official order of the test set, with the set's own labels."""
        corruption, severity = parsed(name)
        x = self._bytes(corruption, severity, of_each=32 * 32 * 3).reshape(-1, 32, 32, 3)
        y = self._bytes("labels", severity, of_each=1)
        pixels = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
        found = Split(pixels, torch.from_numpy(y).long())
        check_agreement(f"{self.name} ({name})", found, test)
        return found.to(str(test.y.device))

    def _bytes(self, array: str, severity: int, of_each: int) -> UInt8[np.ndarray, " b"]:
        """A severity's fifth of an array: the checksum has verified what its header says."""
        place = self._place(array)
        _verify(place, MD5[self.name][array], f"{self.name}/{array}.npy")
        header = place.size - len(SEVERITIES) * IMAGES * of_each
        count = IMAGES * of_each
        start = place.offset + header + (severity - 1) * count
        return np.fromfile(place.path, np.uint8, count, offset=start)

    def _place(self, array: str) -> "Place":
        archive = ARCHIVES[self.name]
        folder, path = (Path(self.root).expanduser() / name for name in (self.name, archive.name))
        if folder.is_dir() and not path.exists():
            file = folder / f"{array}.npy"
            if not file.is_file():
                raise RunError(f"{folder} must hold {file.name}, got no such file")
            return Place(file, 0, file.stat().st_size, file.stat().st_mtime_ns)
        if not path.exists():  # else each array is verified by itself, which takes less time
            fetch(archive, path.parent)
        try:
            with tarfile.open(path) as content:
                member = content.getmember(f"{self.name}/{array}.npy")
        except (tarfile.TarError, KeyError) as error:
            raise RunError(
                f"{path} must hold {self.name}/{array}.npy, got: {error} (delete the file)"
            ) from error
        return Place(path, member.offset_data, member.size, path.stat().st_mtime_ns)


class Place(NamedTuple):
    """Where an array's bytes are."""

    path: Path
    offset: int
    size: int
    mtime: int


@cache  # a process opens an array for every severity
def _verify(place: Place, md5: str, name: str) -> None:
    digest = hashlib.md5(usedforsecurity=False)
    with place.path.open("rb") as file:
        file.seek(place.offset)
        for start in range(0, place.size, PIECE):
            digest.update(file.read(min(PIECE, place.size - start)))
    if digest.hexdigest() != md5:
        raise RunError(
            f"{name} of {place.path} must have the MD5 {md5}, got {digest.hexdigest()} "
            "(damaged, or another file; delete it)"
        )
