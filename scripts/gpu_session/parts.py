"""Run the parts of the session one after the other, within a budget of seconds.

All computing is done in processes that a part starts and ends. A part that fails is noted with the
last lines of its traceback, and the next one begins.
"""

import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, time
from typing import Any

from gpu_session.pool import read
from gpu_session.processes import TAIL, Child
from vicinal.errors import RunError
from vicinal.launching.process import ending
from vicinal.storage.files import write_json_atomically

Note = dict[str, Any]
ENDING = 1.0  # seconds that a part needs to end after its deadline


class PartError(Exception):
    """A part failed; the message says why."""


@dataclass(frozen=True)
class Part:
    """What to do until a deadline by the monotonic clock."""

    name: str
    work: Callable[[float], None]
    weight: float = 1.0  # its share of the time left, relative to the parts that follow
    reserve: float | None = None  # it may take all the time left except these seconds

    def deadline(self, end: float, later: float) -> float:
        """When it must have ended, given the total weight of later parts."""
        now = monotonic()
        if self.reserve is not None:
            return end - self.reserve
        return now + max(0.0, end - now) * self.weight / (self.weight + later)


def run(parts: Sequence[Part], out: Path, budget: float, write_summary: Callable[[], None]) -> None:
    """Run all parts; write a summary after each, whose errors stop nothing either."""
    end = monotonic() + budget - ENDING
    out.mkdir(parents=True, exist_ok=True)
    for number, part in enumerate(parts):
        began, clock = monotonic(), time()
        deadline = part.deadline(end, sum(each.weight for each in parts[number + 1 :]))
        note: Note = {"state": "not started", "reason": "the budget was spent"}
        if began < deadline:
            note = attempt(part, deadline)
        note |= {"began": clock, "seconds": monotonic() - began}
        notes = read(out / "parts.json") or {}
        write_json_atomically(out / "parts.json", notes | {part.name: note})
        print(f"{part.name}: {note['state']}, {note['seconds']:.0f} s", flush=True)
        try:
            write_summary()
        except Exception:
            traceback.print_exc()


def leave_on_sigterm() -> None:
    """On SIGTERM end what is running, then this process; a second signal is ignored."""

    def leave(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sys.exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, leave)


def attempt(part: Part, deadline: float) -> Note:
    """Do one part; how it went."""
    try:
        part.work(deadline)
    except (PartError, RunError) as error:
        first, _, more = str(error).partition("\n")
        return {"state": "failed", "reason": first, "tail": more}
    except Exception as error:
        lines = traceback.format_exc().splitlines()[-TAIL:]
        return {"state": "failed", "reason": type(error).__name__, "tail": "\n".join(lines)}
    state = "ended" if monotonic() < deadline else "out of time"
    return {"state": state}


def complete(child: Child, deadline: float, allowed: Sequence[int] = (0,)) -> None:
    """Wait for the one process of a part; kill it and all it started at the deadline."""
    with child:
        began = monotonic()
        code = child.wait(deadline)
        if code is None:
            child.kill()
            raise PartError(f"killed after {monotonic() - began:.0f} s\n{child.tail}")
        if code not in allowed:
            raise PartError(f"{ending(code)}\n{child.tail}")
