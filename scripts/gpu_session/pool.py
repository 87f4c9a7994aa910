"""Worker processes that go through items, with one result file per item; none stops the next.

A worker reads an item's name from its input and writes ITEM.json. One that dies or takes too long
is replaced; the item's file then has the error and the last lines of the worker's output.
"""

import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from gpu_session.processes import POLL, Child
from vicinal.launching.process import ending
from vicinal.storage.files import write_json_atomically

Row = dict[str, Any]


@dataclass
class Slot:
    """A worker process, the item it works on, and since when."""

    number: int
    child: Child | None = None
    item: str | None = None
    since: float = 0.0


@dataclass
class Pool:
    """Works through items, except those that have a result already."""

    command: Sequence[str]
    folder: Path
    environment: Mapping[str, str]
    logs: Path
    timeout: float  # seconds for an item, including the start of its worker
    waiting: deque[str] = field(default_factory=deque)

    def work(self, items: Sequence[str], workers: int, deadline: float) -> None:
        """Go on until all are done or the deadline; items running then are marked so."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.waiting = deque(item for item in items if not done(self.folder, item))
        slots = [Slot(number) for number in range(min(workers, len(self.waiting)))]
        with ExitStack() as ended:
            ended.callback(self._kill_all, slots)
            while monotonic() < deadline:
                for slot in slots:
                    self._update(slot)
                if not self.waiting and all(slot.item is None for slot in slots):
                    return
                sleep(POLL)
            for slot in slots:
                if slot.item is not None and not self._path(slot.item).exists():
                    self._fail(slot, "stopped: the time of this part was over", late=True)

    def _update(self, slot: Slot) -> None:
        if slot.item is not None:
            assert slot.child is not None
            seconds = monotonic() - slot.since
            if self._path(slot.item).exists():
                slot.item = None
            elif (code := slot.child.code) is not None:
                self._fail(slot, ending(code))
            elif seconds > self.timeout:
                slot.child.kill()
                self._fail(slot, f"hung: killed after {seconds:.0f} s", late=True)
        if slot.item is None and self.waiting:
            self._assign(slot, self.waiting[0])

    def _assign(self, slot: Slot, item: str) -> None:
        if slot.child is None or slot.child.code is not None:
            log = self.logs / f"{self.folder.name}{slot.number}.log"
            slot.child = Child(self.command, log, self.environment, stdin=True)
        self._path(item).unlink(missing_ok=True)
        if slot.child.send(item):
            slot.item, slot.since = self.waiting.popleft(), monotonic()

    def _fail(self, slot: Slot, error: str, late: bool = False) -> None:
        assert slot.child is not None
        assert slot.item is not None
        row = {"error": error, "late": late, "tail": slot.child.tail}
        write_json_atomically(self._path(slot.item), row)
        slot.item = None

    def _kill_all(self, slots: Sequence[Slot]) -> None:
        for slot in slots:
            if slot.child is not None:
                slot.child.kill()

    def _path(self, item: str) -> Path:
        return self.folder / f"{item}.json"


def done(folder: Path, item: str) -> bool:
    """Whether there is a result that is not an error."""
    row = read(folder / f"{item}.json")
    return row is not None and "error" not in row


def read(path: Path) -> Row | None:
    """A result, or None if there is none."""
    return json.loads(path.read_text()) if path.exists() else None


def rows(folder: Path) -> Iterator[tuple[str, Row]]:
    """All results of a folder, by item."""
    for path in sorted(folder.glob("*.json")):
        yield path.stem, json.loads(path.read_text())
