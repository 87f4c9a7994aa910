"""Which runs fit into some hours on some GPUs, the most valuable first."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from math import inf

from vicinal.tables.value import Place, Runs, Step, by_value


@dataclass(frozen=True)
class Load:
    """The GPU-hours of one launch, and the fewest GPUs that it needs at once."""

    hours: float
    gpus: int = 1


Stages = Sequence[Iterable[Load]]  # in the order of their launch; a stage waits for that before


@dataclass(frozen=True)
class Budget:
    """So many hours on so many GPUs."""

    hours: float
    gpus: int = 1

    def kept(
        self,
        worth: Mapping[Runs, float],
        hours: Mapping[Place, float],
        launched: Callable[[set[Place]], Stages],
    ) -> set[Place]:
        """The most valuable runs that fit; `launched` says how long it takes to run some of them.

        A run is kept with all that a number needs beside it, or not at all.
        """
        found, left = set[Place](), self.hours * self.gpus
        if self.holds(launched(set(hours))):
            return set(hours)

        def fits(step: Step) -> bool:
            nonlocal left
            # The quick answer first: together they may need more hours than there are.
            if step.hours > left or not self.holds(launched({*found, *step.runs})):
                return False
            found.update(step.runs)
            left -= step.hours
            return True

        by_value(worth, hours, fits=fits)
        return found

    def holds(self, stages: Stages) -> bool:
        """Whether all of it ends in time."""
        return makespan(stages, self.gpus) <= self.hours


def makespan(stages: Stages, gpus: int) -> float:
    """The hours until the last launch ends, if each takes the GPUs that are free first."""
    now = 0.0
    for stage in stages:
        free = [now] * gpus
        for load in stage:
            if load.gpus > gpus:
                return inf
            begun = max(heappop(free) for _ in range(load.gpus))
            for _ in range(load.gpus):
                heappush(free, begun + load.hours / load.gpus)
        now = max(free)
    return now
