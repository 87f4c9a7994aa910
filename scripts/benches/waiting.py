"""Time what a user waits for: the first step of a run, tables, plans and the report.

Each is a process of its own, as it is typed. A figure is the median over rounds, in seconds of wall
time and of a CPU: the first depends on what else the machine does. The first round fills the
disk's cache and the one in ~/.cache/vicinal, and is dropped. Writes waiting-cpu.json.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter

from benches.writing import write
from vicinal.storage import records
from vicinal.storage.provenance import provenance

ROOT = Path(__file__).parents[2]
# Ends the process where the progress bar would show the first step.
FIRST_STEP = """
import os
from vicinal.loggers.progress import Progress
Progress.step = lambda self, samples: os._exit(0)
from vicinal.train import main
main()
"""
RUN = ["dataset=digits", "model=wrn10_2", "method=mixup", "schedule.epochs=1"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Define the command line."""
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="with records")
    parser.add_argument("--records", type=int, default=10_000, help="copies of those, to read")
    parser.add_argument("--rounds", type=int, default=3)


def bench(arguments: argparse.Namespace) -> None:
    """Measure, print, write the JSON."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        count = copied(arguments.results / "runs", folder / "many" / "runs", arguments.records)
        own = folder / "own"  # the tables are written there
        copied(arguments.results / "runs", own / "runs", 0)
        found = measured(commands(own, folder), arguments.rounds)
    result = provenance("cpu") | {"rounds": arguments.rounds, "records": count, "waited": found}
    for what, each in found.items():
        print(f"{what:40} {each['seconds']:7.2f} s  {each['cpu_seconds']:7.2f} s of a CPU")
    write(arguments.out, "waiting-cpu", result)


def commands(own: Path, folder: Path) -> dict[str, list[str]]:
    """What is typed, by what it is called here."""
    vicinal = [sys.executable, "-m", "vicinal.commands.main"]
    kept = [f"out={folder}/runs", f"results={own}"]
    plan = [*vicinal, "train", "-m", *kept, "+dry_run=true"]
    every = [*vicinal, "tables", "--results"]
    return {
        "first step": [sys.executable, "-c", FIRST_STEP, *RUN, f"out={folder}/runs"],
        "tables mixup/table4": [*vicinal, "tables", "mixup/table4", "--results", str(own)],
        "all tables": [*every, str(own)],
        "all tables, many records": [*every, str(folder / "many")],
        "report": [*vicinal, "report", "--results", str(own)],
        "dry run of mixup/figure3a": [*plan, "table=mixup/figure3a"],
        "dry run of all tables": [*plan, "table=glob(*/*)"],
    }


def copied(source: Path, target: Path, least: int) -> int:
    """Write all records there, and their copies under other seeds up to this number; how many."""
    found = records.load(source)
    rounds = range(max(1, -(-least // len(found))))
    seeds = 1 + max(record["seed"] for record in found)
    for number in rounds:
        for record in found:
            seed = record["seed"] + number * seeds
            copy = record | {"seed": seed, "config": record["config"] | {"seed": seed}}
            path = records.published(str(target.parent), record["name"], seed)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(copy))
    return len(rounds) * len(found)


def measured(lines: dict[str, list[str]], rounds: int) -> dict[str, dict[str, float]]:
    """Medians of wall and CPU time, in turns."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in lines}
    for turn in range(rounds + 1):
        for name in Random(turn).sample(sorted(lines), len(lines)):
            took = seconds(lines[name])
            if turn:
                found[name].append(took)
    return {
        name: {"seconds": median(wall), "cpu_seconds": median(busy)}
        for name, (wall, busy) in ((n, zip(*each, strict=True)) for n, each in found.items())
    }


def seconds(line: list[str]) -> tuple[float, float]:
    """Wall time and CPU time of a process."""
    began = perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(line, stdout=said, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise RuntimeError(f"{' '.join(line)} failed: {said.read().decode()}")
    return perf_counter() - began, usage.ru_utime + usage.ru_stime
