"""The parts of the quarter of an hour, one after the other, within a budget of seconds.

What computes does so in processes that a part starts and ends; a part that fails all the same is
noted with the last lines of its traceback, and the next begins.
"""

import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, time
from typing import Any

from quarter.pool import read
from quarter.processes import TAIL, Child, ending
from vicinal.storage.files import write_json_atomically

Note = dict[str, Any]
ENDS = 1.0  # seconds in which a part that was told to end has ended


class PartError(Exception):
    """A part did not do what it should, and the message says why."""


@dataclass(frozen=True)
class Part:
    """What to do until a time by the monotonic clock."""

    name: str
    work: Callable[[float], None]
    weight: float = 1.0  # its share of what is left, against those of the parts that follow
    reserve: float | None = None  # seconds: it may take all that is left but these

    def deadline(self, end: float, later: float) -> float:
        """When it must have ended, with so much weight after it."""
        now = monotonic()
        if self.reserve is not None:
            return end - self.reserve
        return now + max(0.0, end - now) * self.weight / (self.weight + later)


def run(parts: Sequence[Part], out: Path, budget: float, tell: Callable[[], None]) -> None:
    """All of them; `tell` is called after each, and what it raises stops none either."""
    end = monotonic() + budget - ENDS
    out.mkdir(parents=True, exist_ok=True)
    for number, part in enumerate(parts):
        began, clock = monotonic(), time()
        deadline = part.deadline(end, sum(each.weight for each in parts[number + 1 :]))
        note: Note = {"state": "not begun", "reason": "the budget was spent"}
        if began < deadline:
            note = attempt(part, deadline)
        note |= {"began": clock, "seconds": monotonic() - began}
        notes = read(out / "parts.json") or {}
        write_json_atomically(out / "parts.json", notes | {part.name: note})
        print(f"{part.name}: {note['state']}, {note['seconds']:.0f} s", flush=True)
        try:
            tell()
        except Exception:
            traceback.print_exc()


def leave_on_sigterm() -> None:
    """From now on it ends what is under way, and then this process; told again, it ends once."""

    def leave(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sys.exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, leave)


def attempt(part: Part, deadline: float) -> Note:
    """How one went."""
    try:
        part.work(deadline)
    except PartError as error:
        first, _, more = str(error).partition("\n")
        return {"state": "failed", "reason": first, "tail": more}
    except Exception as error:
        lines = traceback.format_exc().splitlines()[-TAIL:]
        return {"state": "failed", "reason": type(error).__name__, "tail": "\n".join(lines)}
    state = "ended" if monotonic() < deadline else "out of time"
    return {"state": state}


def whole(child: Child, deadline: float, allowed: Sequence[int] = (0,)) -> None:
    """Wait for a process that is a part by itself; killed with all that it started when late."""
    with child:
        began = monotonic()
        code = child.wait(deadline)
        if code is None:
            child.kill()
            raise PartError(f"killed after {monotonic() - began:.0f} s\n{child.tail}")
        if code not in allowed:
            raise PartError(f"{ending(code)}\n{child.tail}")
