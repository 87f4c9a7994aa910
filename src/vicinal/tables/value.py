"""The order of value: which runs complete the most printed numbers for each GPU-hour.

One run of a number has a verdict, so the first seed of a number is worth 1. Each other of its n
planned seeds is worth 1/n. What needs several runs (the best of them, one that begins with the
weights of another or is attacked by it) counts once all of them are there. The next runs are
always those with the highest worth for each GPU-hour that they still need.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from math import inf

from vicinal.tables.cell import Cell

Place = tuple[str, int]  # a run's name and seed
Runs = frozenset[Place]

LEAST = 1e-6  # hours


@dataclass(frozen=True)
class Number:
    """A printed number and, for each planned seed, the runs that it needs."""

    cell: Cell
    seeds: Mapping[int, Runs]

    def left(self, unfinished: set[Place]) -> list[Runs]:
        """The runs that each seed still needs."""
        return [runs & unfinished for runs in self.seeds.values()]


@dataclass(frozen=True)
class Step:
    """Runs that are worth making together, after those of the steps before."""

    needs: Runs  # with those of the steps before
    runs: tuple[Place, ...]  # without them; those that others begin with come first
    worth: float
    hours: float  # of `runs`; inf if the length of one is not known

    @property
    def rate(self) -> float:
        """Worth per GPU-hour."""
        return self.worth / max(self.hours, LEAST)

    @property
    def key(self) -> tuple[float, tuple[Place, ...]]:
        """By which steps are sorted."""
        return -self.rate, self.runs


def worths(numbers: Iterable[Number], unfinished: set[Place]) -> dict[Runs, float]:
    """What it is worth to make some runs that are not finished: of each number, seed by seed."""
    found: dict[Runs, float] = {}
    for number in numbers:
        left = number.left(unfinished)
        begun = not all(left)  # a seed of it is there
        for i, runs in enumerate(left):
            if runs:
                worth = 1.0 if i == 0 and not begun else 1 / len(left)
                found[runs] = found.get(runs, 0.0) + worth
    return found


def by_value(
    worth: Mapping[Runs, float],
    hours: Mapping[Place, float],
    last: Iterable[Place] = (),
    fits: Callable[[Step], bool] = lambda _: True,
) -> list[Step]:
    """All runs that fit, the most valuable first.

    `last` are those that begin with the weights of others. A step that does not fit is left out;
    the runs of other steps that would have followed are looked at again.
    """
    parts = [_Part(numbers, hours, set(last)) for numbers in _parts(worth)]
    heap = [(part.best.key, i, part.best) for i, part in enumerate(parts)]
    heapify(heap)
    found = []
    while heap:
        _, i, step = heappop(heap)
        if fits(step):
            found.append(step)
            parts[i].take(step)
        else:
            del parts[i].left[step.needs]
        if parts[i].left:
            best = parts[i].best
            heappush(heap, (best.key, i, best))
    return found


@dataclass
class _Part:
    """Numbers that share runs: what is left of them, and the runs that are taken."""

    left: dict[Runs, float]
    hours: Mapping[Place, float]
    behind: set[Place]
    done: set[Place] = field(default_factory=set)

    @property
    def best(self) -> Step:
        """What to take next."""
        return min(map(self._step, self.left), key=lambda step: step.key)

    def take(self, step: Step) -> None:
        """Take its runs, and so complete numbers."""
        self.done.update(step.runs)
        self.left = {runs: value for runs, value in self.left.items() if not runs <= self.done}

    def _step(self, runs: Runs) -> Step:
        new = sorted(runs - self.done, key=lambda place: (place in self.behind, place))
        after = runs | self.done
        completed = sum(value for needed, value in self.left.items() if needed <= after)
        return Step(runs, tuple(new), completed, sum(self.hours.get(place, inf) for place in new))


def _parts(worth: Mapping[Runs, float]) -> list[dict[Runs, float]]:
    """Numbers that share runs, directly or through others; the parts share none."""
    of: dict[Place, dict[Runs, float]] = {}
    for runs, value in worth.items():
        joined = {runs: value}
        for place in runs:
            if (other := of.get(place)) is not None and other is not joined:
                joined |= other
        for needed in joined:
            of.update(dict.fromkeys(needed, joined))
    return list({id(part): part for part in of.values()}.values())
