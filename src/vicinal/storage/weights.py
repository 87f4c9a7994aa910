"""The weights that a finished run leaves: one safetensors file for each epoch that is reported."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from vicinal.errors import RunError
from vicinal.storage.files import checksum, write_bytes_atomically

READINGS = ("last", "best_test", "best_valid")


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    """A copy of its weights and buffers as they are now, on its device."""
    return {
        name: value.detach().clone(memory_format=torch.contiguous_format)
        for name, value in model.state_dict().items()
    }


def write(folder: Path, reading: str, tensors: dict[str, Tensor], words: dict[str, Any]) -> str:
    """Keep them in a run's folder, with words on what they are; the file's checksum.

    The words are one JSON in the metadata: equal weights are equal files.
    """
    content = save(tensors, {"vicinal": json.dumps(words, sort_keys=True)})
    path = _path(folder, reading)
    path.parent.mkdir(exist_ok=True)
    write_bytes_atomically(path, content)
    return checksum(content)


def read(folder: Path, record: dict[str, Any], reading: str) -> dict[str, Tensor]:
    """Those that the record of a finished run names."""
    path = _path(folder, reading)
    kept = record.get("weights", {})
    if reading not in kept:
        listed = ", ".join(sorted(kept)) or "none"
        raise RunError(f"{folder} keeps no weights of {reading} (kept: {listed})")
    if not path.exists():
        raise RunError(f"{path} is missing; it held the weights of epoch {kept[reading]['epoch']}")
    content = path.read_bytes()
    if checksum(content) != kept[reading]["sha256"]:
        raise RunError(f"{path} is damaged (its checksum is not the record's); not used")
    return load(content)


def _path(folder: Path, reading: str) -> Path:
    return folder / "weights" / f"{reading}.safetensors"
