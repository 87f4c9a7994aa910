"""The weights of a finished run: one safetensors file for each report, an epoch that counts."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from vicinal.errors import RunError
from vicinal.storage.files import checksum, write_bytes_atomically

REPORTS = ("last", "best_test", "best_valid")


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    """Copy the weights and buffers, on their device."""
    return {
        name: value.detach().clone(memory_format=torch.contiguous_format)
        for name, value in model.state_dict().items()
    }


def digest(model: nn.Module) -> str:
    """A checksum of the weights and buffers."""
    return checksum(save(snapshot(model)))


def write(folder: Path, report: str, tensors: dict[str, Tensor], words: dict[str, Any]) -> str:
    """Write tensors to a run's folder and return the file's checksum.

    `words` say what they are, as one JSON in the metadata, so that equal weights make equal files.
    """
    content = save(tensors, {"vicinal": json.dumps(words, sort_keys=True)})
    path = _path(folder, report)
    path.parent.mkdir(exist_ok=True)
    write_bytes_atomically(path, content)
    return checksum(content)


def read(folder: Path, record: dict[str, Any], report: str) -> dict[str, Tensor]:
    """Read the weights that the record of a finished run names."""
    path = _path(folder, report)
    kept = record.get("weights", {})
    if report not in kept:
        listed = ", ".join(sorted(kept)) or "none"
        raise RunError(f"{folder} keeps no weights of {report} (kept: {listed})")
    if not path.exists():
        raise RunError(f"{path} is missing; it held the weights of epoch {kept[report]['epoch']}")
    content = path.read_bytes()
    if checksum(content) != kept[report]["sha256"]:
        raise RunError(f"{path} is damaged (its checksum differs from the record's); not used")
    return load(content)


def _path(folder: Path, report: str) -> Path:
    return folder / "weights" / f"{report}.safetensors"
