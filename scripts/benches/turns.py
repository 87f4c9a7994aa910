"""Two or more ways to do the same, timed in turns in one process."""

from collections.abc import Callable, Mapping
from time import perf_counter


def turns(contenders: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds by round of each; each ends with a number on the CPU, and so waits for the device.

    A round before them is dropped.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, contender in contenders.items():
            began = perf_counter()
            contender()
            if turn:
                seconds[name].append(perf_counter() - began)
    return seconds
