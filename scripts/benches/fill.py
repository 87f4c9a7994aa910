"""Time a plan of short runs by hydra/launcher=gpus on CPU cores, and kill its launcher on the way.

The ideal is the sum of the runs' own seconds, one at a time on one thread in a process that has
imported everything, over the number of runs at a time. The plan's wall time is that of the whole
command, with its start. Then the same plan is begun again elsewhere, its launcher's process is
killed with SIGKILL when a quarter and when a half of the runs have ended, and the same line ends
it. No run may be lost, no epoch told twice, and all records must be those of undisturbed runs. For
a machine that does nothing else. Writes fill.json.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from time import perf_counter, sleep
from typing import Any

from benches.writing import write
from vicinal.cli.configs import build, recorded
from vicinal.run import Run
from vicinal.storage.provenance import provenance
from vicinal.tables.plan import compose_cached

TRAIN = Path(__file__).parents[2] / "train.py"
DIGITS = (
    "dataset=digits dataset.size=8 model=wrn10_2 method=mixup runtime=cpu runtime.threads=1 "
    "runtime.progress=false"
).split()
GOAL = 0.85  # of the ideal
KILLS = (1 / 4, 1 / 2)  # of the runs have ended
POLL = 0.05


def add_options(parser: argparse.ArgumentParser) -> None:
    """Define the command line."""
    parser.add_argument("overrides", nargs="*", help="for every run, e.g. method=maxup_gauss")
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--at-once", type=int, default=2, help="runs at a time")
    parser.add_argument("--epochs", type=int, default=12, help="so that a run takes 5 to 10 s")
    parser.add_argument("--alone", type=int, default=10, help="runs that are timed alone")


def bench(arguments: argparse.Namespace) -> None:
    """Measure, print, write the JSON."""
    lines = [*DIGITS, f"schedule.epochs={arguments.epochs}", *arguments.overrides]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seconds = alone(lines, arguments.alone, folder / "alone")
        launched = wall(lines, arguments, folder / "launched")
        disturbed = wall(lines, arguments, folder / "killed", KILLS)
        faults = differences(folder, arguments)
    ideal = mean(seconds) * arguments.runs / arguments.at_once
    found = {
        "seconds_alone": seconds,
        "ideal_seconds": ideal,
        "wall_seconds": launched,
        "of_the_ideal": ideal / launched,
        "wall_seconds_killed": disturbed,
        "faults": faults,
    }
    print(f"a run alone {mean(seconds):.2f} s; ideal {ideal:.1f} s, launched {launched:.1f} s")
    print(f"{ideal / launched:.3f} of the ideal (goal {GOAL}); killed twice {disturbed:.1f} s")
    print("\n".join(faults) or "nothing lost, nothing twice, all records equal")
    settings = {key: getattr(arguments, key) for key in ("runs", "at_once", "epochs", "overrides")}
    write(arguments.out, "fill", provenance("cpu") | settings | {"goal": GOAL} | found)


def alone(lines: Sequence[str], count: int, out: Path) -> list[float]:
    """Seconds of each run by itself; one before them, which imports, is dropped."""
    return [execute([*lines, f"seed={seed}"], out) for seed in (0, *range(count))][1:]


def execute(lines: Sequence[str], out: Path) -> float:
    """Seconds of one run in this process, from its data to its record; a folder is used once."""
    config, choices = compose_cached([*lines, f"out={out / str(len(list(out.glob('*'))))}"])
    run: Run = build(config)
    began = perf_counter()
    run.execute(recorded(config), choices)
    return perf_counter() - began


def wall(
    lines: Sequence[str], arguments: argparse.Namespace, out: Path, kills: Sequence[float] = ()
) -> float:
    """Seconds of a plan, from the first start of its line to its end."""
    out.mkdir()
    seeds = ",".join(map(str, range(arguments.runs)))
    launcher = ["hydra/launcher=gpus", f"hydra.launcher.per_gpu={arguments.at_once}"]
    command = [sys.executable, str(TRAIN), "-m", *lines, f"seed={seeds}", f"out={out}", *launcher]
    began = perf_counter()
    for share in kills:
        start(command, out, round(share * arguments.runs))
    if start(command, out) != 0:
        sys.exit(f"{out / 'log'}:\n{(out / 'log').read_text()}")
    return perf_counter() - began


def start(command: Sequence[str], out: Path, ended: int | None = None) -> int:
    """The launcher's exit code; it is killed once so many runs have ended."""
    with (out / "log").open("a") as log, subprocess.Popen(command, stdout=log, stderr=log) as made:
        while made.poll() is None:
            if ended is not None and len(records(out)) >= ended:
                made.kill()
            sleep(POLL)
    return made.returncode


def records(out: Path) -> list[Path]:
    """Those of the runs in a folder."""
    return list(out.rglob("record.json"))


def differences(folder: Path, arguments: argparse.Namespace) -> list[str]:
    """What was lost, told twice, or is not as it was in undisturbed runs."""
    expected = by_seed(folder / "launched")
    faults = [
        f"{kind}: seed {seed} differs"
        for kind in ("alone", "killed")
        for seed, outcome in by_seed(folder / kind).items()
        if outcome != expected.get(seed)
    ]
    for kind in ("launched", "killed"):
        found = by_seed(folder / kind)
        faults += [f"{kind}: seed {s} is lost" for s in range(arguments.runs) if s not in found]
        faults += [
            f"{kind}: seed {seed} told epochs {epochs}"
            for seed, (_, epochs) in found.items()
            if epochs != list(range(1, arguments.epochs + 1))
        ]
    return faults


def by_seed(out: Path) -> dict[int, tuple[Any, list[int]]]:
    """What each run reached, but for its time, and the epochs of its history."""
    found = {}
    for path in records(out):
        record = json.loads(path.read_text())
        curves = {key: curve for key, curve in record["curves"].items() if key != "seconds"}
        history = (path.parent / "history.jsonl").read_text().splitlines()
        reached = {"metrics": record["metrics"], "curves": curves, "weights": record["weights"]}
        found[record["seed"]] = reached, [json.loads(line)["epoch"] for line in history]
    return found
