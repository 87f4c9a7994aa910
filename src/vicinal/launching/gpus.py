"""The GPUs that this process may use, without torch and without a CUDA context."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vicinal.errors import RunError

VISIBLE = "CUDA_VISIBLE_DEVICES"
FIELDS = "index,uuid,name,memory.total,memory.free"
TIMEOUT = 60.0  # seconds; nvidia-smi starts the driver where nothing else uses it


@dataclass(frozen=True)
class Memory:
    """A GPU's memory in MiB."""

    total: int
    free: int


@dataclass(frozen=True)
class Gpu:
    """A GPU, or a MIG instance of one, of whose memory nvidia-smi tells nothing."""

    visible: str  # CUDA_VISIBLE_DEVICES of a process that shall use it: its UUID
    name: str = ""
    index: int | None = None  # nvidia-smi's number
    memory: Memory | None = None


def gpus(environment: Mapping[str, str] = os.environ) -> list[Gpu]:
    """The GPUs of this machine that CUDA_VISIBLE_DEVICES allows, in its order."""
    words = (
        [word.strip() for word in environment[VISIBLE].split(",")]
        if VISIBLE in environment
        else None
    )
    if words is not None and "-1" in words:
        words = words[: words.index("-1")]  # as in CUDA, it ends the list
    if words in ([], [""]):
        return []
    if words is not None and all(word.startswith("MIG-") for word in words):
        return [Gpu(word) for word in words]
    found = installed()
    if words is None or not found:
        return found
    check_order(words, found, environment)
    chosen = [chosen_by(word, found) for word in words]
    for gpu in chosen:
        if chosen.count(gpu) > 1:
            raise RunError(f"{VISIBLE} must name each GPU once, got {environment[VISIBLE]}")
    return chosen


def visible(chosen: Sequence[int] | None, environment: Mapping[str, str] = os.environ) -> list[Gpu]:
    """Those of them that hydra.launcher.gpus chooses by their place; None: all."""
    found = gpus(environment)
    for place in chosen or ():
        if place not in range(len(found)) or list(chosen or ()).count(place) > 1:
            raise RunError(
                f"hydra.launcher.gpus must name GPUs by their place, each once, got {place} "
                f"(there are {len(found)})"
            )
    return found if chosen is None else [found[place] for place in chosen]


def memories(devices: Sequence[Gpu]) -> list[Memory | None]:
    """Their memory now, as far as nvidia-smi tells."""
    try:
        now = {gpu.visible: gpu.memory for gpu in installed()}
    except RunError:
        now = {}
    return [now.get(gpu.visible) for gpu in devices]


def installed() -> list[Gpu]:
    """All GPUs that nvidia-smi shows; none where it is not installed."""
    command = ["nvidia-smi", f"--query-gpu={FIELDS}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except FileNotFoundError:
        return []
    except (OSError, subprocess.SubprocessError) as error:
        raise RunError(f"nvidia-smi failed: {error} ({VISIBLE}= uses no GPU)") from error
    said = " ".join((done.stdout + done.stderr).split())
    if "No devices were found" in said:
        return []
    if done.returncode != 0:
        raise RunError(f"nvidia-smi failed: {said} ({VISIBLE}= uses no GPU)")
    return [parsed(line) for line in done.stdout.splitlines() if line.strip()]


def parsed(line: str) -> Gpu:
    """A line of nvidia-smi's."""
    index, uuid, *name, total, free = (word.strip() for word in line.split(","))
    known = total.isdecimal() and free.isdecimal()  # else [N/A], where memory is the machine's
    memory = Memory(int(total), int(free)) if known else None
    return Gpu(uuid, ",".join(name), int(index), memory)


def chosen_by(word: str, found: Sequence[Gpu]) -> Gpu:
    """The GPU that a word of CUDA_VISIBLE_DEVICES names."""
    if word.startswith("MIG-"):
        return Gpu(word)
    if word.isdecimal():
        matches = [gpu for gpu in found if gpu.index == int(word)]
    else:
        matches = [gpu for gpu in found if gpu.visible.startswith(word)] if word else []
    if len(matches) != 1:
        known = ", ".join(f"{gpu.index} {gpu.visible}" for gpu in found)
        raise RunError(
            f"{VISIBLE} must name GPUs of this machine, got {word!r} (there are: {known})"
        )
    return matches[0]


def check_order(words: Sequence[str], found: Sequence[Gpu], environment: Mapping[str, str]) -> None:
    """Numbers must mean the same to CUDA, whose default order is by speed, and to nvidia-smi."""
    kinds = {gpu.name for gpu in found}
    if len(kinds) > 1 and any(word.isdecimal() for word in words):
        if environment.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
            raise RunError(
                f"CUDA_DEVICE_ORDER must be PCI_BUS_ID where {VISIBLE} numbers GPUs of several "
                f"kinds, got {environment.get('CUDA_DEVICE_ORDER')} (or name GPUs by their UUID)"
            )
