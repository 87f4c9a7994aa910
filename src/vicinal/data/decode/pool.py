"""Decoders of image files: this process, or a pool of workers that decode ahead of training."""

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
from vicinal.data.decode.worker import Faults, receive, receive_into, send
from vicinal.errors import RunError

AHEAD = 3  # batches that are decoded while one is trained on
CHUNK = 16  # images per request, where a batch has more than enough for all workers
# glibc hands freed blocks of an image's size back to the system, and the next ones are faulted in
# page by page: 12 to 19 % of a worker's time. Larger ones than 32 MB still go back.
KEEP_FREED = {"MALLOC_MMAP_THRESHOLD_": str(1 << 25), "MALLOC_TRIM_THRESHOLD_": str(1 << 25)}
START = "import sys; from vicinal.data.decode.worker import serve; serve(int(sys.argv[1]))"


class DecodeTask(NamedTuple):
    """An image to decode: its place in the split, its file, and the seed of its random crop."""

    row: int
    path: str
    seed: int | None


# (the task of a corrupt file, the reason) -> the task to decode in its place, or an error
ReplaceCorrupt = Callable[[DecodeTask, str], DecodeTask]
Pixels = UInt8[Tensor, "n h w 3"]
DecodeChunk = Callable[[Crop, Sequence[DecodeTask], Pixels], Faults]


@runtime_checkable
class Decoder(Protocol):
    """Turns batches of files into uint8 batches of images, in order."""

    def __call__(
        self, crop: Crop, batches: Iterable[Sequence[DecodeTask]], replace_corrupt: ReplaceCorrupt
    ) -> Iterator[UInt8[Tensor, "n 3 h w"]]: ...


@dataclass(frozen=True)
class InProcessDecoder:
    """Decodes in this process, when a batch is asked for."""

    def __call__(
        self, crop: Crop, batches: Iterable[Sequence[DecodeTask]], replace_corrupt: ReplaceCorrupt
    ) -> Iterator[UInt8[Tensor, "n 3 h w"]]:
        for tasks in batches:
            out = torch.empty((len(tasks), crop.size, crop.size, 3), dtype=torch.uint8)
            decode_all(decode_in_process, crop, tasks, out, replace_corrupt)
            yield out.permute(0, 3, 1, 2)


@dataclass(frozen=True)
class WorkerPool:
    """Worker processes that decode up to AHEAD batches before they are asked for.

    All of them work on one batch at a time, each on a chunk of it, so that the first batch is ready
    soon. They live until the run ends.
    """

    count: int
    pinned: bool = False  # whether batches lie in pinned memory, for asynchronous copies to a GPU

    @cached_property
    def _processes(self) -> "WorkerProcesses":
        return WorkerProcesses(self.count)

    def __call__(
        self, crop: Crop, batches: Iterable[Sequence[DecodeTask]], replace_corrupt: ReplaceCorrupt
    ) -> Iterator[UInt8[Tensor, "n 3 h w"]]:
        begun = (self._begin(crop, tasks, replace_corrupt) for tasks in batches)
        waiting = deque(islice(begun, AHEAD))
        try:
            while waiting:
                out, parts = waiting[0]
                for part in parts:
                    part.result()
                waiting.popleft()
                waiting.extend(islice(begun, 1))
                yield out.permute(0, 3, 1, 2)
        finally:  # the caller wants no more batches
            for _, parts in waiting:
                for part in parts:
                    part.cancel()

    def _begin(
        self, crop: Crop, tasks: Sequence[DecodeTask], replace_corrupt: ReplaceCorrupt
    ) -> tuple[Pixels, list[Future[None]]]:
        shape = (len(tasks), crop.size, crop.size, 3)
        out = torch.empty(shape, dtype=torch.uint8, pin_memory=self.pinned)
        size = max(1, min(CHUNK, ceil(len(tasks) / self.count)))
        chunks = [tasks[start : start + size] for start in range(0, len(tasks), size)]
        parts = zip(chunks, out.split(size), strict=True)
        return out, [
            self._processes.submit(crop, chunk, part, replace_corrupt) for chunk, part in parts
        ]


class WorkerProcesses:
    """The processes, and one thread per process that waits for its answers."""

    def __init__(self, count: int) -> None:
        workers = [Worker() for _ in range(count)]
        self.idle: SimpleQueue[Worker] = SimpleQueue()
        for worker in workers:
            self.idle.put(worker)
        self.threads = ThreadPoolExecutor(count, thread_name_prefix="decoding")
        self.close = weakref.finalize(self, _close, self.threads, workers)  # at exit, too

    def submit(
        self, crop: Crop, tasks: Sequence[DecodeTask], out: Pixels, replace_corrupt: ReplaceCorrupt
    ) -> Future[None]:
        """Have a chunk decoded by the next idle worker."""
        return self.threads.submit(
            _decode_on_idle_worker, self.idle, crop, tasks, out, replace_corrupt
        )


class Worker:
    """One worker process; one thread at a time sends it requests."""

    def __init__(self) -> None:
        self.channel, theirs = socket.socketpair()
        with theirs:
            descriptor = theirs.fileno()
            path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            self.process = subprocess.Popen(
                [sys.executable, "-c", START, str(descriptor)],
                stdin=subprocess.DEVNULL,
                pass_fds=[descriptor],
                env=KEEP_FREED | os.environ | path,
            )

    def __call__(self, crop: Crop, tasks: Sequence[DecodeTask], out: Pixels) -> Faults:
        """Fill `out`, except for the corrupt files, and return those."""
        try:
            send(self.channel, [asdict(crop), [(task.path, task.seed) for task in tasks]])
            receive_into(self.channel, out.numpy().data.cast("B"))
            faults, refused = receive(self.channel)
        except (EOFError, OSError) as error:
            raise RunError(self._death_message()) from error
        if refused is not None:
            raise RunError(refused)
        return dict(faults)

    def _death_message(self) -> str:
        code = self.process.wait()
        how = f"with exit code {code}" if code >= 0 else f"of {signal.Signals(-code).name}"
        hint = ", which the system sends when memory runs out" if -code == signal.SIGKILL else ""
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


def _decode_on_idle_worker(
    idle: "SimpleQueue[Worker]",
    crop: Crop,
    tasks: Sequence[DecodeTask],
    out: Pixels,
    replace_corrupt: ReplaceCorrupt,
) -> None:
    worker = idle.get()
    try:
        decode_all(worker, crop, tasks, out, replace_corrupt)
    finally:
        idle.put(worker)


def decode_all(
    decode: DecodeChunk,
    crop: Crop,
    tasks: Sequence[DecodeTask],
    out: Pixels,
    replace_corrupt: ReplaceCorrupt,
) -> None:
    """Decode all tasks; replace corrupt files until every place has an image."""
    for place, reason in decode(crop, tasks, out).items():
        task, fault = tasks[place], reason
        while fault is not None:
            task = replace_corrupt(task, fault)
            fault = decode(crop, [task], out[place : place + 1]).get(0)


def decode_in_process(crop: Crop, tasks: Sequence[DecodeTask], out: Pixels) -> Faults:
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
