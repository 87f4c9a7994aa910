"""`hydra/launcher=gpus`: runs on the GPUs, or else the cores, of this machine."""

import os
from collections.abc import Sequence
from functools import partial

from omegaconf import DictConfig, OmegaConf

from vicinal.errors import RunError
from vicinal.launching.gpus import Gpu, visible
from vicinal.launching.launcher import Launching
from vicinal.launching.places import Cores
from vicinal.launching.process import NurseryProcess
from vicinal.launching.settings import Settings
from vicinal.launching.sharing import Sharing
from vicinal.machine.cores import allowed_cores
from vicinal.machine.mps import CONTROL, installed

THREADS = "OMP_NUM_THREADS"


def on_this_machine(settings: Settings, config: DictConfig, task: str) -> Launching:
    """Launch what a MODULE:FUNCTION executes; on CPUs each run has its share of the cores."""
    on_cpu = OmegaConf.select(config, "runtime.device") == "cpu"
    gpus = [] if on_cpu else visible(settings.gpus)
    mps = with_mps(settings, gpus)
    if gpus:
        begin = partial(NurseryProcess, task, os.environ, mps)
        return Launching(config, Sharing(gpus, settings.per_gpu), begin)
    count = settings.per_gpu or allowed_cores()
    if THREADS in os.environ:
        return Launching(config, Cores(count), partial(NurseryProcess, task, os.environ))
    threads = max(1, allowed_cores() // count)
    # It is read when torch is imported, which is before a child could set it.
    environment = os.environ | {THREADS: str(threads)}
    return Launching(config, Cores(count), partial(NurseryProcess, task, environment), threads)


def with_mps(settings: Settings, gpus: Sequence[Gpu]) -> bool:
    """Whether runs share GPUs by MPS; not those of MIG, of which nothing is known."""
    if settings.mps and not gpus:
        raise RunError("hydra.launcher.mps must be false or null without a GPU, got true")
    if settings.mps and not installed():
        raise RunError(f"hydra.launcher.mps must be false or null where {CONTROL} is missing")
    if settings.mps is not None:
        return settings.mps
    known = bool(gpus) and all(gpu.memory is not None for gpu in gpus)
    return known and settings.per_gpu != 1 and installed()
