"""Items that worker processes go through, one result a file; none can stop the next.

A worker is told an item's name on its input and leaves ITEM.json. One that dies or takes too long
is replaced, and the item's file then says so, with the last lines that the worker said.
"""

import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from quarter.processes import POLL, Child, ending
from vicinal.storage.files import write_json_atomically

Row = dict[str, Any]


@dataclass
class Desk:
    """A worker's place: who sits there, what it works on, and since when."""

    number: int
    child: Child | None = None
    item: str | None = None
    since: float = 0.0


@dataclass
class Pool:
    """Works through items; those whose result is there already are left alone."""

    command: Sequence[str]
    folder: Path
    environment: Mapping[str, str]
    logs: Path
    patience: float  # seconds for an item, the start of its worker included
    waiting: deque[str] = field(default_factory=deque)

    def work(self, items: Sequence[str], workers: int, deadline: float) -> None:
        """Until all are done or the time is over; what was under way then is said to be."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.waiting = deque(item for item in items if not done(self.folder, item))
        desks = [Desk(number) for number in range(min(workers, len(self.waiting)))]
        with ExitStack() as ended:
            ended.callback(self._clear, desks)
            while monotonic() < deadline:
                for desk in desks:
                    self._look_after(desk)
                if not self.waiting and all(desk.item is None for desk in desks):
                    return
                sleep(POLL)
            for desk in desks:
                if desk.item is not None and not self._path(desk.item).exists():
                    self._fail(desk, "stopped: the time of this part was over", late=True)

    def _look_after(self, desk: Desk) -> None:
        if desk.item is not None:
            assert desk.child is not None
            seconds = monotonic() - desk.since
            if self._path(desk.item).exists():
                desk.item = None
            elif (code := desk.child.code) is not None:
                self._fail(desk, ending(code))
            elif seconds > self.patience:
                desk.child.kill()
                self._fail(desk, f"hung: killed after {seconds:.0f} s", late=True)
        if desk.item is None and self.waiting:
            self._give(desk, self.waiting[0])

    def _give(self, desk: Desk, item: str) -> None:
        if desk.child is None or desk.child.code is not None:
            log = self.logs / f"{self.folder.name}{desk.number}.log"
            desk.child = Child(self.command, log, self.environment, asked=True)
        self._path(item).unlink(missing_ok=True)
        if desk.child.ask(item):
            desk.item, desk.since = self.waiting.popleft(), monotonic()

    def _fail(self, desk: Desk, error: str, late: bool = False) -> None:
        assert desk.child is not None
        assert desk.item is not None
        row = {"error": error, "late": late, "tail": desk.child.tail}
        write_json_atomically(self._path(desk.item), row)
        desk.item = None

    def _clear(self, desks: Sequence[Desk]) -> None:
        for desk in desks:
            if desk.child is not None:
                desk.child.kill()

    def _path(self, item: str) -> Path:
        return self.folder / f"{item}.json"


def done(folder: Path, item: str) -> bool:
    """Whether there is a result, and no error in its place."""
    row = read(folder / f"{item}.json")
    return row is not None and "error" not in row


def read(path: Path) -> Row | None:
    """A result, where there is one."""
    return json.loads(path.read_text()) if path.exists() else None


def rows(folder: Path) -> Iterator[tuple[str, Row]]:
    """All results of a folder, by item."""
    for path in sorted(folder.glob("*.json")):
        yield path.stem, json.loads(path.read_text())
