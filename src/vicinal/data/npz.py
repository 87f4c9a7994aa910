"""Datasets in one .npz file: x_train, y_train, x_test, y_test, never pickled.

A packed copy, which `write` makes, may hold a validation set as well, and marks: the fingerprints
of what it was made from.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from zipfile import BadZipFile, is_zipfile

import numpy as np
import torch
from torch import Tensor

from vicinal.data.split import Split
from vicinal.errors import RunError

KEYS = ("x_train", "y_train", "x_test", "y_test")
VALID = ("x_valid", "y_valid")
PARTS = ("train", "valid", "test")
CHANNELS = (1, 3)


def images(path: Path) -> tuple[Split, Split]:
    """Train and test images: uint8, as n x c x h x w or n x h x w x c with 1 or 3 channels."""
    arrays = read(path)
    return (
        Split(_channels_first(arrays, "x_train", path), _labels(arrays, "train", path)),
        Split(_channels_first(arrays, "x_test", path), _labels(arrays, "test", path)),
    )


def vectors(path: Path) -> tuple[Split, Split]:
    """Train and test feature vectors: numbers, as n x d."""
    arrays = read(path)
    for name in ("x_train", "x_test"):
        if arrays[name].ndim != 2 or arrays[name].dtype.kind not in "iuf":
            raise _error(path, name, "be numbers, n x d", arrays[name])
    return (
        Split(torch.from_numpy(arrays["x_train"]).float(), _labels(arrays, "train", path)),
        Split(torch.from_numpy(arrays["x_test"]).float(), _labels(arrays, "test", path)),
    )


def maps(path: Path) -> tuple[dict[str, Split], dict[str, str]]:
    """Training, validation and test maps (floats, n x c x h x w, kept as they are) and marks."""
    marks = [f"mark_{part}" for part in PARTS]
    arrays = read(path, (*KEYS, *VALID, *marks))
    for name in (f"x_{part}" for part in PARTS):
        if arrays[name].ndim != 4 or arrays[name].dtype.kind != "f":
            raise _error(path, name, "be floats, n x c x h x w", arrays[name])
    splits = {
        part: Split(torch.from_numpy(arrays[f"x_{part}"]), _labels(arrays, part, path))
        for part in PARTS
    }
    return splits, {part: str(arrays[f"mark_{part}"]) for part in PARTS}


def read(path: Path, keys: Sequence[str] = KEYS) -> dict[str, np.ndarray]:
    """The arrays of the file by name; an array of Python objects is refused, not unpickled."""
    if not is_zipfile(path):
        raise RunError(
            f"{path} must be an .npz file, as numpy.savez writes it, got a file of another kind"
        )
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            missing = [key for key in keys if key not in file]
            if missing:
                raise RunError(f"{path} must hold {', '.join(keys)}, got no {', '.join(missing)}")
            return {key: np.asarray(file[key]) for key in keys}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise RunError(f"{path} must be a readable .npz file, got: {error}") from error


def key(path: Path) -> str | None:
    """The key that `write` stored; None where the file is missing or damaged."""
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return str(file["key"]) if "key" in file else None
    except Exception:  # missing, damaged or foreign: NumPy and zipfile raise many kinds
        return None


def write(
    path: Path,
    train: Split,
    test: Split,
    valid: Split | None = None,
    *,
    key: str,
    marks: Mapping[str, str] | None = None,
) -> None:
    """Write the whole file or nothing, also if another process writes it at the same time."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    splits = {"train": train, "test": test} | ({} if valid is None else {"valid": valid})
    arrays = {f"x_{part}": split.x.numpy() for part, split in splits.items()}
    arrays |= {f"y_{part}": split.y.numpy() for part, split in splits.items()}
    arrays |= {f"mark_{part}": np.array(mark) for part, mark in (marks or {}).items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, key=np.array(key), **arrays)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise RunError(f"{path} could not be written: {error}") from error


def _channels_first(arrays: dict[str, np.ndarray], name: str, path: Path) -> Tensor:
    x = arrays[name]
    rule = "be uint8, n x c x h x w or n x h x w x c with c = 1 or 3"
    if x.dtype != np.uint8 or x.ndim != 4:
        raise _error(path, name, rule, x)
    first, last = x.shape[1] in CHANNELS, x.shape[3] in CHANNELS
    if first == last:  # neither, or ambiguous
        raise _error(path, name, rule, x)
    return torch.from_numpy(np.ascontiguousarray(x if first else x.transpose(0, 3, 1, 2)))


def _labels(arrays: dict[str, np.ndarray], part: str, path: Path) -> Tensor:
    y, count = arrays[f"y_{part}"], len(arrays[f"x_{part}"])
    if y.shape != (count,) or y.dtype.kind not in "iu":
        raise _error(path, f"y_{part}", f"be {count} whole numbers", y)
    return torch.from_numpy(y.astype(np.int64))


def _error(path: Path, name: str, rule: str, array: np.ndarray) -> RunError:
    shape = " x ".join(map(str, array.shape))
    return RunError(f"{name} of {path} must {rule}, got {array.dtype} {shape}")
