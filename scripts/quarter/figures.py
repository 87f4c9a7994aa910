"""mixup's Figure 5, whole, where it can end: seeds side by side, after a look at their pace."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import monotonic

from quarter.parts import PartError, whole
from quarter.pool import read
from quarter.processes import ROOT, Child
from vicinal.storage.files import write_json_atomically

WHOLE, LOOK, SEEDS, RUNS = 20_000, 200, (0, 1, 2), 6  # iterations; of one seed: runs
REHEARSED = (20, 10, (0,), 6)
CROWDED = 1.5  # as long does an iteration take where there are several processes, at most
STARTS = 30.0  # seconds: imports, and the drawing at the end


def figure5(out: Path, environment: Mapping[str, str], deadline: float, rehearse: bool) -> None:
    """The figure, or an error that says how long it would take."""
    steps, look, seeds, runs = REHEARSED if rehearse else (WHOLE, LOOK, SEEDS, RUNS)
    command = [sys.executable, str(ROOT / "scripts" / "figures.py"), "figure5"]
    command += ["--device", "cpu" if rehearse else "cuda", "--runs", str(out / "gan")]

    def made(name: str, steps: int, seeds: Sequence[int], folder: Path) -> Child:
        told = ["--steps", str(steps), "--seeds", ",".join(map(str, seeds)), "--out", str(folder)]
        return Child([*command, *told], out / "logs" / f"{name}.log", environment, out)

    if not (out / "gan" / "pace.json").exists():
        whole(made("figure5", look, seeds[:1], out / "gan" / "look"), deadline)
        ended = sorted(path.stat().st_mtime for path in (out / "gan").glob("gan/*/*/*/*.pt"))
        pace = (ended[-1] - ended[0]) / (len(ended) - 1) / look
        write_json_atomically(out / "gan" / "pace.json", {"seconds_per_iteration": pace})
    pace = (read(out / "gan" / "pace.json") or {})["seconds_per_iteration"]
    expected = pace * steps * runs * (CROWDED if len(seeds) > 1 else 1) + (
        0 if rehearse else STARTS
    )
    left = deadline - monotonic()
    if expected > left:
        raise PartError(f"not begun: would take {expected:.0f} s, and {left:.0f} s were left")
    with ExitStack() as ended:
        others = [
            ended.enter_context(made(f"figure5-{k}", steps, (k,), out / "gan" / f"seed{k}"))
            for k in (seeds if len(seeds) > 1 else ())
        ]
        for child in others:
            whole(child, deadline)
    whole(made("figure5", steps, seeds, out / "figures"), deadline)
