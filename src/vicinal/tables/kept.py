"""Numbers kept in the user's cache folder, which can be deleted at any time.

$XDG_CACHE_HOME/vicinal (or ~/.cache/vicinal) has a file for each. Its name is a digest of all that
the number depends on: what was asked, every line of this package and the libraries' versions.
"""

import hashlib
import json
import os
import platform
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import vicinal
from vicinal.cli.versions import installed
from vicinal.storage.files import write_json_atomically

LIBRARIES = ("torch", "torchvision", "timm", "hydra-core")


def read(asked: str) -> Any:
    """What was kept of this question by this code; None if nothing was."""
    with suppress(OSError, ValueError):  # there is none, or it is damaged
        return json.loads(_path(asked).read_bytes())


def keep(asked: str, found: Any) -> None:
    """Keep an answer where the folder can be written."""
    path = _path(asked)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json_atomically(path, found)


def _path(asked: str) -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    return Path(home, "vicinal", f"{hashlib.sha256((_code() + asked).encode()).hexdigest()}.json")


@cache
def _code() -> str:
    """What answers depend on beside the question."""
    sources = hashlib.sha256()
    folder = Path(vicinal.__file__).parent
    for path in sorted(folder.rglob("*.py")):
        sources.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
    versions = [f"{name} {installed(name)}" for name in LIBRARIES]
    return "\n".join([sources.hexdigest(), platform.python_version(), *versions, ""])
