"""The process that runs are forked from leaves none of their processes behind."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from launched import await_end, lives

from vicinal.launching.child import _become, _tell
from vicinal.launching.nursery import Nursery

Lines = Iterator[dict[str, Any]]


@contextmanager
def nursery(act: Callable[[int], int]) -> Iterator[tuple[int, Lines, int]]:
    """A forked nursery whose children act with their pipe and exit: orders, what it tells, it."""
    (source, orders), (told, target) = os.pipe(), os.pipe()
    process = os.fork()
    if process == 0:
        os.close(orders)
        os.close(told)
        birth = Nursery(source, target).serve()
        if birth is None:
            os._exit(0)
        _become(birth)
        os._exit(act(birth.pipe))
    os.close(source)
    os.close(target)
    try:
        with os.fdopen(told) as lines:
            yield orders, map(json.loads, lines), process
    finally:
        os.waitpid(process, 0)


def order(pipe: int, **words: Any) -> None:
    os.write(pipe, json.dumps(words).encode() + b"\n")


def leave_a_process(pipe: int) -> int:
    left = os.fork()
    if left == 0:
        time.sleep(600)
    _tell(pipe, {"left": left})
    return 3


def wait_for_a_signal(pipe: int) -> int:
    def note(number: int, frame: object) -> None:
        _tell(pipe, {"got": number})
        os._exit(4)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, note)
    _tell(pipe, {"ready": os.getpid()})
    time.sleep(30)
    return 5


def test_what_a_child_leaves_behind_ends_with_it() -> None:
    with nursery(leave_a_process) as (orders, lines, _):
        for number in (7, 8):
            order(orders, number=number)
        told = [next(lines) for _ in range(4)]
        os.close(orders)
    assert [(each["number"], each["code"]) for each in told if "code" in each] in (
        [(7, 3), (8, 3)],
        [(8, 3), (7, 3)],
    )
    left = [each["left"] for each in told if "left" in each]
    assert len(left) == 2
    await_end(left, 20.0)


def test_signals_reach_children_and_the_end_of_orders_is_one() -> None:
    with nursery(wait_for_a_signal) as (orders, lines, _):
        order(orders, number=0)
        assert "ready" in next(lines)
        order(orders, signal=int(signal.SIGINT))
        assert [next(lines), next(lines)] == [
            {"number": 0, "got": signal.SIGINT},
            {"number": 0, "code": 4},
        ]
        order(orders, number=1)
        assert "ready" in next(lines)
        os.close(orders)
        assert next(lines) == {"number": 1, "got": signal.SIGTERM}


def test_children_are_asked_to_stop_when_their_nursery_is_killed() -> None:
    with nursery(wait_for_a_signal) as (orders, lines, process):
        order(orders, number=0)
        child = next(lines)["ready"]
        assert lives(child)
        os.kill(process, signal.SIGKILL)
        await_end([child], 15.0)
        os.close(orders)
