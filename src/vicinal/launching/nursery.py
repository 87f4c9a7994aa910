"""The process that launched runs are forked from; it has imported what they need by then.

`python -P -m vicinal.launching.nursery MODULE:FUNCTION [--mps]` reads lines of JSON: a job, for
which it forks a child that executes the function's run (see `child`), or a signal for all children.
It writes what the children tell, and how they end. It computes nothing, starts no threads of its
own and does not touch CUDA: such a process can be forked. At the end of its input, which is also
that of a launcher that was killed, children are asked to stop at a checkpoint; it ends after the
last one.
"""

import gc
import json
import os
import selectors
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from hydra.core.plugins import Plugins

from vicinal.cli.configs import compose
from vicinal.errors import RunError
from vicinal.launching.child import Birth, live
from vicinal.machine.mps import mps

Message = dict[str, Any]

# What runs import in their first second; an optimizer imports dynamo, and scikit-learn has digits.
NEEDED = ("vicinal.run", "torch._dynamo", "sklearn.datasets")
ROOMS = ("data", "evaluation", "methods", "vicinities")  # of which a run has some modules
ASKING = (signal.SIGINT, signal.SIGTERM)  # which a child gets, once it can take them
CHUNK = 1 << 16


@dataclass
class Child:
    """A run's process, and what it has told so far of its next line."""

    number: int
    process: int
    pipe: int
    text: bytes = b""


@dataclass
class Nursery:
    """Forks children as it is told to."""

    source: int  # descriptors of pipes: orders,
    target: int  # and what is told
    children: dict[int, Child] = field(default_factory=dict)  # by their pipes
    _text: bytes = b""
    _ended: bool = False  # the input
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    _wake: tuple[int, int] = field(default_factory=os.pipe)  # written to when a child ends

    def serve(self) -> Birth | None:
        """Return once input and children have ended; in a child at once, with what it is to do."""
        self._listen()
        while self.children or not self._ended:
            for key, _ in self._selector.select():
                if key.fd == self.source:
                    if (birth := self._obey()) is not None:
                        return birth
                elif key.fd == self._wake[0]:
                    os.read(self._wake[0], CHUNK)
                    self._bury()
                elif (child := self.children.get(key.fd)) is not None:
                    self._forward(child)
        return None

    def _listen(self) -> None:
        for number in (signal.SIGINT, signal.SIGHUP):  # a terminal's, which the launcher gets
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: self._end())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for end in self._wake:
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._wake[1], warn_on_full_buffer=False)
        for end in (self.source, self._wake[0]):
            self._selector.register(end, selectors.EVENT_READ)

    def _obey(self) -> Birth | None:
        """Do what has been read; in a child, return its own job."""
        read = os.read(self.source, CHUNK)
        if not read:
            self._end()
        *lines, self._text = (self._text + read).split(b"\n")
        for line in lines:
            order = json.loads(line)
            if "signal" in order:
                self._signal(order["signal"])
            elif (birth := self._fork(order)) is not None:
                return birth
        return None

    def _fork(self, job: Message) -> Birth | None:
        reader, writer = os.pipe()
        signal.pthread_sigmask(signal.SIG_BLOCK, ASKING)
        parent = os.getpid()
        process = os.fork()
        if process == 0:
            self._forget(reader)
            return Birth(job, writer, parent)
        with suppress(PermissionError, ProcessLookupError):  # the child does so, too
            os.setpgid(process, process)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ASKING)
        os.close(writer)
        os.set_blocking(reader, False)
        self.children[reader] = Child(job["number"], process, reader)
        self._selector.register(reader, selectors.EVENT_READ)
        return None

    def _forget(self, *more: int) -> None:
        """In a child: close what belongs to the nursery alone."""
        signal.set_wakeup_fd(-1)
        self._selector.close()
        for end in (self.source, self.target, *self._wake, *self.children, *more):
            os.close(end)

    def _forward(self, child: Child) -> None:
        """Pass on the whole lines that a child has written."""
        for read in _chunks(child.pipe):
            if not read:
                self._ignore(child.pipe)  # or it would be ready for ever
                return
            *lines, child.text = (child.text + read).split(b"\n")
            for line in lines:
                self._tell({"number": child.number, **json.loads(line)})

    def _bury(self) -> None:
        """Tell of the children that have ended, and end what they have left behind."""
        while self.children:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None:
                return
            with suppress(ProcessLookupError):  # while the group's id still belongs to it
                os.killpg(ended.si_pid, signal.SIGKILL)
            _, status = os.waitpid(ended.si_pid, 0)
            (child,) = (each for each in self.children.values() if each.process == ended.si_pid)
            self._forward(child)
            self._ignore(child.pipe)
            del self.children[child.pipe]
            os.close(child.pipe)
            self._tell({"number": child.number, "code": os.waitstatus_to_exitcode(status)})

    def _ignore(self, pipe: int) -> None:
        with suppress(KeyError):
            self._selector.unregister(pipe)

    def _signal(self, number: int) -> None:
        for child in self.children.values():
            os.kill(child.process, number)

    def _tell(self, message: Message) -> None:
        text = json.dumps(message).encode() + b"\n"
        with suppress(BrokenPipeError):  # the launcher was killed
            while text:
                text = text[os.write(self.target, text) :]

    def _end(self) -> None:
        """Take no more orders, and ask the children to stop."""
        if not self._ended:
            self._ended = True
            self._ignore(self.source)
            self._signal(signal.SIGTERM)


def _chunks(pipe: int) -> Iterator[bytes]:
    """What can be read now; the last is empty if nothing will follow."""
    with suppress(BlockingIOError):
        while read := os.read(pipe, CHUNK):
            yield read
        yield read


def _modules(room: str) -> Iterator[str]:
    folder = import_module(room).__path__
    return (module.name for module in iter_modules(folder, f"{room}."))


def prepare(task: str) -> Callable[..., float]:
    """Import what runs need, and compose once, which fills the parser's caches."""
    module, _, function = task.partition(":")
    execute = getattr(import_module(module), function)
    for name in (*NEEDED, *(name for room in ROOMS for name in _modules(f"vicinal.{room}"))):
        with suppress(ImportError):  # of an extra that is not installed
            import_module(name)
    Plugins.instance()
    compose(with_hydra=True)
    gc.collect()
    gc.freeze()  # children that collect their garbage need not copy all this
    return execute


def main() -> None:
    """Serve the launcher at the other end of standard input and output."""
    source, target = os.dup(0), os.dup(1)
    # Python 3.12 warns of the threads of BLAS, which takes care of forks itself.
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    with open(os.devnull) as nothing:  # noqa: PTH123
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    task, *flags = sys.argv[1:]
    execute = prepare(task)
    with ExitStack() as ended:
        if "--mps" in flags:
            try:
                os.environ.update(ended.enter_context(mps(os.environ)))
            except RunError as error:
                print(f"vicinal: {error}; GPUs are shared without MPS", file=sys.stderr)
        birth = Nursery(source, target).serve()
        if birth is not None:
            live(birth, execute)  # does not return
    os._exit(0)  # without freeing what is frozen, which takes long and is complained of


if __name__ == "__main__":
    main()
