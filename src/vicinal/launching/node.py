"""A node's side of runs on a Ray cluster: a task starts one run and tells the launcher of it."""

import os
from collections.abc import Callable, Sequence

from vicinal.errors import StoppedByUserError
from vicinal.launching.process import Message, NurseryProcess

POLL = 0.5  # seconds between two looks at the run and at signals

Tell = Callable[[Sequence[Message]], list[int]]  # passes messages on; returns all signals so far


class Post:
    """What tasks have told and which signals came; an actor of Ray, which both sides call."""

    def __init__(self) -> None:
        self.told: list[Message] = []
        self.signals: list[int] = []

    def tell(self, messages: Sequence[Message]) -> list[int]:
        """Called by tasks: take messages; return all signals so far."""
        self.told += messages
        return self.signals

    def read(self, signals: Sequence[int]) -> list[Message]:
        """Called by the launcher: take new signals; return what was told since the last call."""
        self.signals = [*self.signals, *signals]
        read, self.told = self.told, []
        return read


def execute(order: Message, task: str, tell: Tell) -> list[Message]:
    """Have a nursery of this node start the run; return what that told at its end."""
    os.chdir(order["folder"])
    number, ended = order["number"], list[Message]()
    if tell([{"number": number, "started": True}]):
        return [{"number": number, "code": StoppedByUserError.EXIT_CODE}]
    nursery, passed = NurseryProcess(task, os.environ), 0
    nursery.send(order)
    while not any("code" in message for message in ended):
        heard = nursery.receive(POLL)
        ended += [message for message in heard if "news" not in message]
        signals = tell([message for message in heard if "news" in message])
        for each in signals[passed:]:
            nursery.send({"signal": each})
        passed = len(signals)
    nursery.close()
    return ended
