"""Disks that are full, and files that are not what was written."""

import json
import resource
import shutil
import subprocess
from collections.abc import Callable
from contextlib import redirect_stderr
from functools import partial
from io import StringIO
from pathlib import Path
from random import Random
from signal import SIGKILL

from faults.children import (
    TINY,
    Trials,
    checkpoints,
    differing,
    finish,
    flattened,
    interrupted,
    outcome,
    said,
    start,
    undisturbed,
    wait,
)
from vicinal.errors import RunError
from vicinal.loop import Loop
from vicinal.storage import records
from vicinal.storage.checkpoints import Checkpoints
from vicinal.storage.history import Jsonl


def full(scratch: Path, draw: Random, trials: int) -> Trials:
    """A disk of a random size for all that a run writes; later there is room, and it goes on."""
    whole = outcome(undisturbed(scratch.parent))
    written = sum(path.stat().st_size for path in undisturbed(scratch.parent).rglob("*"))
    problem = mount(scratch / "disk", 1 << 20)
    if not problem:
        unmount(scratch / "disk")
    filled = 0
    for trial in range(trials):
        out, size = scratch / f"full{trial}", draw.randrange(4096, 2 * written)
        if not problem:
            mount(out, size)
        limit = partial(limit_files, size // 4) if problem else nothing
        try:
            code = wait(start(TINY, out, limit))
            last, filled = " ".join(said(out)[-1:]), filled + (code != 0)
            told = last.startswith(("vicinal: No space left", "vicinal: File too large"))
            if code not in (0, 1) or (code and not told):
                yield f"{out.name} ({size} bytes): exit code {code}, said {last}"
                continue
            if not problem:
                subprocess.run(["mount", "-o", "remount,size=64m", out], check=True)
            finish(TINY, out)
            yield differing(whole, out)
        finally:
            if not problem:
                unmount(out)
    how = f"RLIMIT_FSIZE, because {problem}" if problem else "tmpfs"
    return f"{filled} did not fit ({how})"


def mount(folder: Path, size: int) -> str:
    """A tmpfs of that many bytes, or why there can be none."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "vicinal-torture", folder]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return str(error)
    return " ".join(done.stderr.split()) if done.returncode else ""


def unmount(folder: Path) -> None:
    """Only what `mount` made."""
    subprocess.run(["umount", folder], check=True)


def limit_files(size: int) -> None:
    """In a child: no file may grow beyond that many bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def nothing() -> None:
    """No preparation."""


def truncated(scratch: Path, draw: Random, trials: int) -> Trials:
    """A real checkpoint that ends at a random byte: the one before it is used."""

    def cut(data: bytes) -> bytes:
        return data[: draw.randrange(len(data))]

    return (yield from damaged(scratch, draw, trials, cut))


def flipped(scratch: Path, draw: Random, trials: int) -> Trials:
    """A real checkpoint with one to eight random bits flipped: the one before it is used."""

    def flip(data: bytes) -> bytes:
        changed = bytearray(data)
        for place in draw.sample(range(8 * len(data)), draw.randint(1, 8)):
            changed[place // 8] ^= 1 << place % 8
        return bytes(changed)

    return (yield from damaged(scratch, draw, trials, flip))


def damaged(scratch: Path, draw: Random, trials: int, damage: Callable[[bytes], bytes]) -> Trials:
    """Most are only loaded; every 50th is a run that goes on from there, in a child."""
    whole = outcome(undisturbed(scratch.parent))
    both = runs = 0
    for trial in range(trials):
        out = scratch / f"damaged{trial}"
        if trial % 50 == 0:
            at = (Checkpoints, "save", draw.randrange(3, 15))
            interrupted(TINY, out, at, 0.0, SIGKILL)
        else:
            shutil.copytree(checkpoints(undisturbed(scratch.parent)).folder, out / "checkpoints")
        found = checkpoints(out)
        *_, before = newest, *_ = found.paths()
        every = draw.random() < 0.2
        expected = (
            None
            if every
            else Checkpoints(
                shutil.copytree(
                    found.folder, out / "expected", ignore=shutil.ignore_patterns(newest.name)
                )
            ).load()
        )
        for path in (newest, before) if every else (newest,):
            path.write_bytes(damage(path.read_bytes()))
        both, runs = both + every, runs + (trial % 50 == 0)
        yield (
            from_command(whole, out, every) if trial % 50 == 0 else loaded(found, newest, expected)
        )
        shutil.rmtree(out)
    return f"{both} times both were damaged, {runs} whole runs"


def loaded(found: Checkpoints, newest: Path, expected: object) -> str:
    """What is wrong with what is loaded where the newest is damaged, or all are."""
    with redirect_stderr(StringIO()) as stderr:
        try:
            state = found.load()
        except RunError as error:
            state = None
            if expected is not None or "none of the 2 checkpoints" not in str(error):
                return str(error)
    if f"{newest} is damaged" not in stderr.getvalue():
        return f"{newest.name}: not reported"
    same = dict(flattened("", state)) == dict(flattened("", expected))
    return "" if same else f"{newest.name}: something else was loaded"


def from_command(whole: dict[str, object], out: Path, every: bool) -> str:
    """The same, of a run that goes on."""
    shutil.rmtree(out / "expected", ignore_errors=True)
    code = wait(start(TINY, out))
    words = " ".join(said(out))
    if "is damaged" not in words or "Traceback" in words:
        return f"{out.name}: said {words}"
    if every:
        return "" if code == 1 and "can be read" in words else f"{out.name}: exit code {code}"
    return differing(whole, out) if code == 0 else f"{out.name}: exit code {code}, {words}"


def half_lines(scratch: Path, draw: Random, trials: int) -> Trials:
    """A killed run's history ends at a random byte, or in zeros, or is gone."""
    whole = outcome(undisturbed(scratch.parent))
    tried = attempt = 0
    while tried < trials:
        attempt += 1
        out = scratch / f"lines{attempt}"
        interrupted(TINY, out, (Loop, "step", draw.randrange(7, 15)), 0.0, SIGKILL)
        if list(out.rglob("record.json")):  # the signal came late; nothing goes on from there
            continue
        tried += 1
        (path,) = out.rglob("history.jsonl")
        kept = path.read_bytes()[: draw.randrange(path.stat().st_size + 1)]
        path.write_bytes(kept + draw.choice([b"", b"\0" * draw.randint(1, 99), b'{"epoch": 1']))
        finish(TINY, out)
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        state = checkpoints(out).load()
        assert state is not None
        wrong = "" if lines == state["history"] else f"{out.name}: the history is not whole"
        yield wrong or differing(whole, out)
    return "runs that went on"


def not_finite(scratch: Path, draw: Random, trials: int) -> Trials:
    """A NaN in the weights or the loss after a random step; then the cause is gone."""
    whole = outcome(undisturbed(scratch.parent))
    for trial in range(trials):
        out = scratch / f"nan{trial}"
        seconds = draw.choice([0, 1e9])
        lines = [*TINY, f"runtime.checkpoint_seconds={seconds}"]
        poison = partial(spoil, draw.randrange(1, 16), draw.choice(["weights", "loss"]))
        code, words = wait(start(lines, out, poison)), " ".join(said(out)[-1:])
        if code != 1 or "not finite" not in words or not words.startswith("vicinal: "):
            yield f"{out.name}: exit code {code}, said {words}"
            continue
        for path in checkpoints(out).paths():
            state = Checkpoints(path.parent).load()
            assert state is not None
            weights = state["loop"]["model"].values()
            if not all(tensor.isfinite().all() for tensor in weights):
                yield f"{out.name}: a spoilt checkpoint"
        (copy,) = (out / "results").rglob("*.json")
        if "not finite" not in records.read(copy).get("failed", ""):
            yield f"{out.name}: no record of the failure"
            continue
        finish(lines, out)
        yield differing(whole, out)
    return "then resumed without it"


def spoil(step: int, what: str) -> None:
    """In a child: a NaN after that many steps."""
    original = Loop.step

    def spoilt(self: Loop, *batch: object) -> None:
        original(self, *batch)  # pyright: ignore[reportArgumentType]
        if self.steps_done == step:
            if what == "weights":
                next(self.model.parameters()).data.view(-1)[0] = float("nan")
            else:
                loss, size = self.losses[-1]
                self.losses[-1] = (loss * float("nan"), size)

    setattr(Loop, "step", spoilt)  # noqa: B010 (it takes any batch)


def twice(scratch: Path, draw: Random, trials: int) -> Trials:
    """Records that lie twice in the results: equal, different, or one of them damaged."""
    results = undisturbed(scratch.parent) / "results"
    (source,) = results.rglob("*.json")
    record = records.read(source)
    for trial in range(trials):
        folder = scratch / f"twice{trial}"
        shutil.copytree(results, folder)
        (folder / "more").mkdir()
        copy, kind = folder / "more" / "copy.json", draw.choice(["equal", "other", "cut"])
        changed = record | {"metrics": {"last": {"top1": draw.random()}}}
        text = json.dumps(changed if kind == "other" else record)
        copy.write_text(text[: draw.randrange(len(text))] if kind == "cut" else text)
        with redirect_stderr(StringIO()) as stderr:
            try:
                found, told = records.load(folder), stderr.getvalue()
            except RunError as error:
                found, told = [], str(error)
        once = len(found) == (kind == "equal")
        yield "" if once and str(copy) in told else f"{kind}: {len(found)} records, said {told}"
    return "equal ones count once, others stop the table"


def lines_cut(scratch: Path, draw: Random, trials: int) -> Trials:
    """The same without a run: every cut of many histories."""
    for trial in range(trials):
        history = [
            {"epoch": epoch, "loss": draw.random()} for epoch in range(1, draw.randint(2, 9))
        ]
        log = Jsonl(scratch / f"{trial}.jsonl")
        log.sync(history)
        whole = log.path.read_bytes()
        garbage = draw.randbytes(draw.randint(0, 9))
        log.path.write_bytes(whole[: draw.randrange(len(whole))] + garbage)
        log.sync(history)
        yield "" if log.path.read_bytes() == whole else f"{trial}: not whole"
    return "files alone"
