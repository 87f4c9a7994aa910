"""The origin of a number: the code, the versions and the machine of a run."""

import os
import platform
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import torch

import vicinal
from vicinal.cli.versions import installed

PACKAGES = ("vicinal", "torchvision", "timm", "numpy", "hydra-core")
GIT_SECONDS = 10.0  # a network drive that hangs must not block the run
COMMIT = "VICINAL_COMMIT"  # environment variable with the commit, for copies without .git


def provenance(device: str) -> dict[str, Any]:
    """The entry about a session's origin in a record.

    To be called when the run starts, since the source tree may change while it trains. The commit
    is read once per process, since all its runs use the code that was imported then.
    """
    return {
        "git": _own_commit(),
        "versions": _versions(PACKAGES),
        "device": _device(device),
        "machine": {
            "platform": platform.platform(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
        },
    }


@cache
def _own_commit() -> dict[str, Any] | None:
    return source_commit(Path(vicinal.__file__)) or parsed_commit(os.environ.get(COMMIT))


def parsed_commit(text: str | None) -> dict[str, Any] | None:
    """Parse the output of `git describe --always --abbrev=40 --exclude='*' --dirty`."""
    if not text:
        return None
    found = re.fullmatch(r"([0-9a-f]{40})(-dirty)?", text)
    if found is None:
        raise ValueError(
            f"{COMMIT} must be the 40 digits of a commit, followed by -dirty if tracked files "
            f"differ from it, got {text}"
        )
    return {"commit": found[1], "dirty": found[2] is not None}


def source_commit(source: Path) -> dict[str, Any] | None:
    """The commit that the file `source` was imported from, and whether tracked files changed.

    None if the file is not under version control, also if it merely lies inside some checkout, like
    a virtual environment in a project folder. Untracked files do not count as dirty. Nor does
    `results/`, which holds tracked records: the runs of a sweep would make each other dirty.
    """
    folder = source.parent
    if _git(folder, "ls-files", "--error-unmatch", "--", source.name) is None:
        return None
    commit = _git(folder, "rev-parse", "HEAD")
    changes = _git(
        folder, "status", "--porcelain", "--untracked-files=no", "--", ":(exclude,top)results"
    )
    if commit is None or changes is None:
        return None
    return {"commit": commit, "dirty": changes != ""}


def _git(folder: Path, *arguments: str) -> str | None:
    """The output of git; None if git fails, hangs or is missing."""
    # Inside a hook GIT_DIR names another repository; an optional lock would disturb the user's git.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    environment["GIT_OPTIONAL_LOCKS"] = "0"
    # In a container the checkout often belongs to another user, whom git would distrust; Python
    # has already run that user's code.
    command = ["git", "-c", "safe.directory=*", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=GIT_SECONDS,
            check=True,
            env=environment,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


@cache
def _versions(packages: tuple[str, ...]) -> dict[str, Any]:
    versions: dict[str, Any] = {name: installed(name) for name in packages}
    versions["python"] = platform.python_version()
    versions["torch"] = str(torch.__version__)  # a subclass of str, which checkpoints refuse
    versions["cuda"] = torch.version.cuda
    versions["cudnn"] = torch.backends.cudnn.version()
    return versions


def _device(device: str) -> dict[str, Any]:
    kind = torch.device(device).type
    if kind == "cuda":
        name, count = torch.cuda.get_device_name(device), torch.cuda.device_count()
        return {"type": kind, "name": name, "count": count}
    return {"type": kind, "name": _processor(), "count": 1}


def _processor() -> str:
    """The model of the CPU, which Python knows on some systems only."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
