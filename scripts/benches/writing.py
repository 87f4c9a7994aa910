"""Where a bench's result goes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vicinal.storage.files import write_json_atomically


def write(folder: Path, name: str, result: Mapping[str, Any]) -> None:
    """Write a result to FOLDER/NAME.json, and say so."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}.json"
    write_json_atomically(target, dict(result))
    print(f"written: {target}")
