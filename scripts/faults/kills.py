"""Processes that end when they should not: SIGKILL, preemption, two processes on one run."""

import signal
import time
from pathlib import Path
from random import Random

from faults.children import (
    RUNTIME,
    TINY,
    Trials,
    checkpoints,
    differing,
    finish,
    interrupted,
    outcome,
    record,
    said,
    start,
    undisturbed,
    wait,
)
from vicinal.cli.configs import CONFIGS
from vicinal.errors import PreemptedError
from vicinal.loop import Loop
from vicinal.storage.checkpoints import Checkpoints

METHODS = sorted(path.stem for path in (CONFIGS / "method").glob("*.yaml"))
_DIGITS = (
    "dataset=digits dataset.size=8 dataset.train_per_class=10 dataset.holdout_per_class=2 "
    "dataset.unlabelled=true model=wrn10_2 schedule.epochs=3 schedule.batch_size=24 "
    f"optimizer.ema_decay=0.9 {RUNTIME}"
)
DIGITS: list[str] = str(_DIGITS).split()


def in_a_write(scratch: Path, draw: Random, trials: int) -> Trials:
    """SIGKILL at a random instant of writing a random checkpoint."""
    whole = outcome(undisturbed(scratch.parent))
    duration = write_seconds(undisturbed(scratch.parent), scratch / "timed")
    tried = halves = 0
    attempt = 0
    while tried < trials:
        attempt += 1
        out = scratch / f"killed{attempt}"
        while tried < trials:
            at = (Checkpoints, "save", draw.randrange(6))
            code = interrupted(TINY, out, at, draw.uniform(0, 2 * duration), signal.SIGKILL)
            if code is None:
                break
            tried += 1
            halves += any(out.rglob(".*.tmp"))
            yield unsound(out)
        finish(TINY, out)
        if wrong := differing(whole, out):
            yield wrong
    return f"{halves} half-written files left behind, {attempt} runs finished and compared"


def write_seconds(whole: Path, folder: Path) -> float:
    """How long a checkpoint of this run takes to write here."""
    state = checkpoints(whole).load()
    assert state is not None
    began = time.monotonic()
    for step in range(5):
        Checkpoints(folder).save(0, step, state)
    return (time.monotonic() - began) / 5


def unsound(out: Path) -> str:
    """What is wrong with the checkpoints that a killed process left under their final names."""
    found = checkpoints(out)
    if not found.paths():
        return ""
    newest = found.load()
    return "" if newest is not None else f"{out.name}: nothing to load"


def anywhere(scratch: Path, draw: Random, trials: int) -> Trials:
    """SIGKILL at a random instant of a run; every method in turn."""
    methods = METHODS if trials >= len(METHODS) else draw.sample(METHODS, trials)
    for method in methods:
        lines = [*DIGITS, f"method={method}"]
        began = time.monotonic()
        finish(lines, scratch / method)
        duration = time.monotonic() - began
        whole = outcome(scratch / method)
        killed = attempt = 0
        while killed < trials / len(methods):
            attempt += 1
            out = scratch / f"{method}-killed{attempt}"
            while (code := wait(start(lines, out), draw.uniform(0, 1.5 * duration))) < 0:
                killed += 1
                yield unsound(out)
            if wrong := f"{method} failed: {said(out)[-1:]}" if code else differing(whole, out):
                yield wrong
    return f"{len(methods)} methods"


def asked(scratch: Path, draw: Random, trials: int) -> Trials:
    """SIGTERM or SIGUSR2 within a random step, where nothing but the signal makes a checkpoint."""
    lines = [*TINY, "runtime.checkpoint_seconds=1e9"]
    whole = outcome(undisturbed(scratch.parent))
    for trial in range(trials):
        out, number = scratch / f"asked{trial}", draw.choice([signal.SIGTERM, signal.SIGUSR2])
        at = (Loop, "step", draw.randrange(13))
        code = interrupted(lines, out, at, draw.uniform(0, 0.002), number)
        if code in (0, -number) and checkpoints(out).paths()[0].name.startswith("epoch00003"):
            finish(lines, out)  # it came after the last step: all is saved
            yield differing(whole, out)
            continue
        if code != PreemptedError.EXIT_CODE or number.name not in said(out)[-1]:
            yield f"{out.name}: exit code {code}, said {said(out)[-1:]}"
            continue
        finish(lines, out)
        resumed = record(out)["sessions"][-1]["from_step"] > at[2]
        yield differing(whole, out) if resumed else f"{out.name}: steps were lost"
    return "resumed where they stopped"


def beside_another(scratch: Path, draw: Random, trials: int) -> Trials:
    """Three processes start the same run within milliseconds; the one at work may be killed."""
    whole = outcome(undisturbed(scratch.parent))
    for trial in range(trials):
        out, children = scratch / f"beside{trial}", []
        for name in "abc":
            children.append(start(TINY, out, name=name))
            time.sleep(draw.uniform(0, 0.1))
        patience = draw.choice([None, 0.0])
        codes = [wait(children[0], patience), *map(wait, children[1:])]
        words = [" ".join(said(out, name)) for name in "abc"]
        for code, line in zip(codes, words, strict=True):
            if code not in (0, -signal.SIGKILL) and not (code == 1 and "is in use by" in line):
                yield f"{out.name}: exit code {code}, said {line}"
                break
        else:
            finish(TINY, out)  # says so and stops, where one of the three finished
            yield differing(whole, out)
    return "three processes each"
