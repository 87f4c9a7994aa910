"""Who decodes image files for a run: this process, or several others, ahead of the training."""

import os
import signal
import socket
import subprocess
import sys
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import islice
from math import ceil
from queue import SimpleQueue
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import UInt8
from torch import Tensor

from vicinal.data.decode.crops import CorruptError, Crop, render
from vicinal.data.decode.worker import Faults, fill, receive, send
from vicinal.errors import RunError

AHEAD = 3  # batches that are decoded while one is trained on
CHUNK = 16  # images a request, where a batch has more than enough for all workers
START = "import sys; from vicinal.data.decode.worker import serve; serve(int(sys.argv[1]))"


class Task(NamedTuple):
    """An image to decode: its place in the split, its file, and the seed of its random crop."""

    row: int
    path: str
    seed: int | None


Mend = Callable[[Task, str], Task]  # what to decode in a corrupt file's place, or an error
Pixels = UInt8[Tensor, "n h w 3"]
Render = Callable[[Crop, Sequence[Task], Pixels], Faults]


@runtime_checkable
class Decoder(Protocol):
    """Batches of files to batches of images, in order, uint8."""

    def __call__(
        self, crop: Crop, batches: Iterable[Sequence[Task]], mend: Mend
    ) -> Iterator[UInt8[Tensor, "n 3 h w"]]: ...


@dataclass(frozen=True)
class InProcessDecoder:
    """This process, when a batch is asked for: nothing runs beside it."""

    def __call__(
        self, crop: Crop, batches: Iterable[Sequence[Task]], mend: Mend
    ) -> Iterator[UInt8[Tensor, "n 3 h w"]]:
        for tasks in batches:
            out = torch.empty((len(tasks), crop.size, crop.size, 3), dtype=torch.uint8)
            fill_whole(render_here, crop, tasks, out, mend)
            yield out.permute(0, 3, 1, 2)


@dataclass(frozen=True)
class WorkerPool:
    """Processes that decode up to AHEAD batches before they are asked for, until the run ends.

    All work on one batch at a time, each on a chunk of it, so that the first is there soon.
    """

    count: int
    pinned: bool = False  # in memory that a GPU copies from by itself

    @cached_property
    def _team(self) -> "Team":
        return Team(self.count)

    def __call__(
        self, crop: Crop, batches: Iterable[Sequence[Task]], mend: Mend
    ) -> Iterator[UInt8[Tensor, "n 3 h w"]]:
        begun = (self._begin(crop, tasks, mend) for tasks in batches)
        waiting = deque(islice(begun, AHEAD))
        try:
            while waiting:
                out, parts = waiting[0]
                for part in parts:
                    part.result()
                waiting.popleft()
                waiting.extend(islice(begun, 1))
                yield out.permute(0, 3, 1, 2)
        finally:  # whoever asked has had enough
            for _, parts in waiting:
                for part in parts:
                    part.cancel()

    def _begin(
        self, crop: Crop, tasks: Sequence[Task], mend: Mend
    ) -> tuple[Pixels, list[Future[None]]]:
        shape = (len(tasks), crop.size, crop.size, 3)
        out = torch.empty(shape, dtype=torch.uint8, pin_memory=self.pinned)
        size = max(1, min(CHUNK, ceil(len(tasks) / self.count)))
        chunks = [tasks[start : start + size] for start in range(0, len(tasks), size)]
        parts = zip(chunks, out.split(size), strict=True)
        return out, [self._team.submit(crop, chunk, part, mend) for chunk, part in parts]


class Team:
    """The processes, and a thread for each that waits for its answers."""

    def __init__(self, count: int) -> None:
        workers = [Worker() for _ in range(count)]
        self.idle: SimpleQueue[Worker] = SimpleQueue()
        for worker in workers:
            self.idle.put(worker)
        self.threads = ThreadPoolExecutor(count, thread_name_prefix="decoding")
        self.close = weakref.finalize(self, _close, self.threads, workers)  # at exit, too

    def submit(self, crop: Crop, tasks: Sequence[Task], out: Pixels, mend: Mend) -> Future[None]:
        """Have a chunk decoded by whoever is free next."""
        return self.threads.submit(_fill_by_one, self.idle, crop, tasks, out, mend)


class Worker:
    """One process, asked by one thread at a time."""

    def __init__(self) -> None:
        self.channel, theirs = socket.socketpair()
        with theirs:
            descriptor = theirs.fileno()
            self.process = subprocess.Popen(
                [sys.executable, "-c", START, str(descriptor)],
                stdin=subprocess.DEVNULL,
                pass_fds=[descriptor],
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )

    def __call__(self, crop: Crop, tasks: Sequence[Task], out: Pixels) -> Faults:
        """Fill `out`, but for the files at fault."""
        try:
            send(self.channel, [asdict(crop), [(task.path, task.seed) for task in tasks]])
            fill(self.channel, out.numpy().data.cast("B"))
            faults, refused = receive(self.channel)
        except (EOFError, OSError) as error:
            raise RunError(self._obituary()) from error
        if refused is not None:
            raise RunError(refused)
        return dict(faults)

    def _obituary(self) -> str:
        code = self.process.wait()
        how = f"with exit code {code}" if code >= 0 else f"of {signal.Signals(-code).name}"
        hint = ", as the system does where memory runs out" if -code == signal.SIGKILL else ""
        return (
            f"decoding worker {self.process.pid} died {how}{hint}; the same line again resumes "
            "from the last checkpoint (runtime.workers=N for fewer)"
        )


def _close(threads: ThreadPoolExecutor, workers: Sequence[Worker]) -> None:
    threads.shutdown(wait=False, cancel_futures=True)
    for worker in workers:
        worker.process.kill()  # it holds nothing that could be lost
    for worker in workers:
        worker.process.wait()
        worker.channel.close()


def _fill_by_one(
    idle: "SimpleQueue[Worker]", crop: Crop, tasks: Sequence[Task], out: Pixels, mend: Mend
) -> None:
    worker = idle.get()
    try:
        fill_whole(worker, crop, tasks, out, mend)
    finally:
        idle.put(worker)


def fill_whole(render: Render, crop: Crop, tasks: Sequence[Task], out: Pixels, mend: Mend) -> None:
    """Decode all tasks, others in place of those at fault, and of those again."""
    for place, reason in render(crop, tasks, out).items():
        task, fault = tasks[place], reason
        while fault is not None:
            task = mend(task, fault)
            fault = render(crop, [task], out[place : place + 1]).get(0)


def render_here(crop: Crop, tasks: Sequence[Task], out: Pixels) -> Faults:
    """Decode in this process."""
    faults: Faults = {}
    for place, task in enumerate(tasks):
        try:
            pixels = render(crop, task.path, task.seed)
        except CorruptError as error:
            faults[place] = str(error)
        else:
            shape = out.shape[1:]
            out[place] = torch.frombuffer(bytearray(pixels), dtype=torch.uint8).view(shape)
    return faults
