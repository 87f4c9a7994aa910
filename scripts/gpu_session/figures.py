"""mixup's Figure 5, if it can end in time: seeds side by side, after measuring their pace."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import monotonic

from gpu_session.parts import PartError, complete
from gpu_session.pool import read
from gpu_session.processes import ROOT, Child
from vicinal.storage.files import write_json_atomically

WHOLE, LOOK, SEEDS, RUNS = 20_000, 200, (0, 1, 2), 6  # iterations; runs per seed
REHEARSED = (20, 10, (0,), 6)
CROWDED = 1.5  # times as long, at most, an iteration takes beside other processes
STARTS = 30.0  # seconds: imports, and drawing at the end


def figure5(out: Path, environment: Mapping[str, str], deadline: float, rehearse: bool) -> None:
    """Make the figure, or raise an error that says how long it would take."""
    steps, look, seeds, runs = REHEARSED if rehearse else (WHOLE, LOOK, SEEDS, RUNS)
    command = [sys.executable, str(ROOT / "scripts" / "figures.py"), "figure5"]
    command += ["--device", "cpu" if rehearse else "cuda", "--runs", str(out / "gan")]

    def made(name: str, steps: int, seeds: Sequence[int], folder: Path) -> Child:
        words = ["--steps", str(steps), "--seeds", ",".join(map(str, seeds)), "--out", str(folder)]
        return Child([*command, *words], out / "logs" / f"{name}.log", environment, out)

    if not (out / "gan" / "pace.json").exists():
        complete(made("figure5", look, seeds[:1], out / "gan" / "look"), deadline)
        ended = sorted(path.stat().st_mtime for path in (out / "gan").glob("gan/*/*/*/*.pt"))
        pace = (ended[-1] - ended[0]) / (len(ended) - 1) / look
        write_json_atomically(out / "gan" / "pace.json", {"seconds_per_iteration": pace})
    pace = (read(out / "gan" / "pace.json") or {})["seconds_per_iteration"]
    expected = pace * steps * runs * (CROWDED if len(seeds) > 1 else 1) + (
        0 if rehearse else STARTS
    )
    left = deadline - monotonic()
    if expected > left:
        raise PartError(f"not started: would take {expected:.0f} s, and {left:.0f} s were left")
    with ExitStack() as ended:
        others = [
            ended.enter_context(made(f"figure5-{k}", steps, (k,), out / "gan" / f"seed{k}"))
            for k in (seeds if len(seeds) > 1 else ())
        ]
        for child in others:
            complete(child, deadline)
    complete(made("figure5", steps, seeds, out / "figures"), deadline)
