"""A sweep of small runs by `hydra/launcher=gpus`, several on the GPU at a time."""

import sys
from collections.abc import Mapping
from pathlib import Path
from time import monotonic

from gpu_session.parts import complete
from gpu_session.processes import ROOT, Child
from vicinal.machine.mps import installed
from vicinal.storage.files import write_json_atomically

TOGETHER = 4
METHODS, SEEDS, EPOCHS = ("erm", "mixup", "maxup_gauss", "patchup_soft"), (0, 1, 2), 30
REHEARSED = (METHODS[:2], SEEDS[:1], 1)


def sweep(out: Path, environment: Mapping[str, str], deadline: float, rehearse: bool) -> None:
    """Train all runs that are missing; write how many there are then, and how long it took."""
    methods, seeds, epochs = REHEARSED if rehearse else (METHODS, SEEDS, EPOCHS)
    words = f"-m dataset=digits model=wrn10_2 schedule.epochs={epochs} hydra/launcher=gpus"
    line = [*words.split(), f"method={','.join(methods)}", f"seed={','.join(map(str, seeds))}"]
    line += [f"out='{out}/sweep'", f"results='{out}/sweep/results'"]
    line += ["runtime=cpu"] if rehearse else [f"hydra.launcher.per_gpu={TOGETHER}"]
    began = monotonic()
    command = [sys.executable, str(ROOT / "train.py"), *line]
    complete(Child(command, out / "logs" / "sweep.log", environment), deadline)
    found = {
        "runs": len(list((out / "sweep" / "results" / "runs").glob("*.json"))),
        "wanted": len(methods) * len(seeds),
        "seconds": monotonic() - began,
        "mps": installed() and not rehearse,
    }
    write_json_atomically(out / "sweep.json", found)
