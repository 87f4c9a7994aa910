"""Device, precision and speed of a run; nothing here is part of the experiment."""

import ctypes
import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

import torch
from torch import nn

from vicinal.machine.cores import allowed_cores

MOST_WORKERS = 16
# For training, its last batch, evaluation, inner searches; dynamo's default limit is 8.
COMPILATIONS = 64
# cuBLAS's; torch reads it at the first matrix product of a process and accepts these two values.
WORKSPACE, REPEATABLE = "CUBLAS_WORKSPACE_CONFIG", (":4096:8", ":16:8")
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's malloc.h

Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """`None` means the device's default: bf16, channels_last and compiled on CUDA, else fp32."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["fp32", "tf32", "bf16"] | None = None  # torch calls tf32 fp32, too
    channels_last: bool | None = None
    compile: bool | None = None
    cuda_graphs: bool = False  # replay compiled code: for networks of many small kernels
    deterministic: bool = False  # on CUDA: the same bits in every repetition, more slowly
    threads: int | None = None  # of the CPU; None is torch's default
    checkpoint_seconds: float = 60.0  # a killed run loses at most this much
    progress: bool = True
    sync_batchnorm: bool = False  # over all ranks; else each rank normalises by its shard
    accumulate: int = 1  # pieces of a rank's shard; their gradients are added up for one step
    slurm: bool = False  # the tasks of a Slurm step are the ranks
    workers: int | None = None  # that decode images; 0: this process does; None: one per core
    decode: Literal["cpu", "gpu"] = "cpu"  # gpu: by nvJPEG, whose pixels differ slightly

    def __post_init__(self) -> None:
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ValueError(
                "device must be cpu or auto here, got cuda (torch sees no CUDA device)"
            )
        if self.precision == "tf32" and self.target == "cpu":
            raise ValueError(
                "precision must be fp32 or bf16 on a CPU, got tf32 (only GPUs have it)"
            )
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads must be at least 1, got {self.threads}")
        if self.workers is not None and self.workers < 0:
            raise ValueError(f"workers must be at least 0, got {self.workers}")
        if self.decode == "gpu" and self.target != "cuda":
            raise ValueError("decode must be cpu where there is no CUDA device, got gpu")
        if self.accumulate < 1:
            raise ValueError(
                f"accumulate must be at least 1, got {self.accumulate} (1 takes each batch whole)"
            )
        self._check_pairs()
        if self.cuda_graphs and (self.target == "cpu" or not self._compiles):
            raise ValueError(
                "cuda_graphs must be false on a CPU and without compile, got true "
                "(it replays compiled code on a GPU)"
            )
        if self.deterministic and os.environ.get(WORKSPACE, REPEATABLE[0]) not in REPEATABLE:
            raise ValueError(
                f"deterministic must be false where {WORKSPACE} is {os.environ[WORKSPACE]}, "
                f"got true (cuBLAS is deterministic only with {' or '.join(REPEATABLE)})"
            )
        if self.checkpoint_seconds < 0:
            raise ValueError(
                f"checkpoint_seconds must be at least 0, got {self.checkpoint_seconds} "
                "(0 writes one after every step)"
            )

    def _check_pairs(self) -> None:
        """Refuse settings that exclude each other."""
        pieces = self.accumulate > 1
        pairs = (
            ("sync_batchnorm", "accumulate", pieces, "a piece is normalised before the next comes"),
            ("cuda_graphs", "accumulate", pieces, "replays reuse the memory of gradients"),
            ("cuda_graphs", "sync_batchnorm", self.sync_batchnorm, "its layers communicate"),
        )
        for key, other, is_set, why in pairs:
            if getattr(self, key) and is_set:
                value = str(getattr(self, other)).lower()
                raise ValueError(f"{key} must be false where {other} is {value}, got true ({why})")

    @property
    def target(self) -> str:
        """The device that `auto` stands for."""
        if self.device == "auto":
            return "cuda" if torch.cuda.is_available() else "cpu"
        return self.device

    def start(self) -> None:
        """Prepare this process for a run."""
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        if self.target == "cpu":
            keep_freed_memory()
            return
        # For every run: when a sweep reaches a deterministic one it would be too late.
        os.environ.setdefault(WORKSPACE, REPEATABLE[0])
        torch.use_deterministic_algorithms(self.deterministic)
        torch.backends.cudnn.benchmark = not self.deterministic  # input shapes recur
        allow_tf32(self._precision != "fp32")

    def forget(self) -> None:
        """Drop the compiled code and CUDA graphs of earlier runs in this process.

        Dynamo's limit counts all networks of a process, and graphs keep their memory.
        """
        if "torch._dynamo" not in sys.modules:
            return
        torch.compiler.reset()
        gc.collect()
        if self.target == "cuda":
            torch.cuda.empty_cache()

    @property
    def num_workers(self) -> int:
        """The number of processes that decode images."""
        return cores() if self.workers is None else self.workers

    def place(self, model: nn.Module) -> nn.Module:
        """Move the network to the device, in the memory layout it will run in."""
        model = model.to(self.target)
        if self._channels_last:
            model = model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        return model

    def compiled(self, model: nn.Module) -> nn.Module:
        """Compile the network if set. The first batch it sees should have the usual size."""
        if self._compiles:
            torch._dynamo.config.recompile_limit = COMPILATIONS
            model.compile(mode="reduce-overhead" if self.cuda_graphs else None)
        return model

    def evaluated(self, model: nn.Module) -> nn.Module:
        """The network as evaluations call it: every batch begins a step."""
        return Begun(model, self.begin_step)

    def begin_step(self, x: torch.Tensor) -> torch.Tensor:
        """The batch of a training or evaluation step, in the network's memory layout.

        CUDA graphs reuse their memory for it: their earlier results are lost.
        """
        if self.cuda_graphs:
            torch.compiler.cudagraph_mark_step_begin()
        return self.layout(x)

    def layout(self, x: torch.Tensor) -> torch.Tensor:
        """Images in the network's memory layout."""
        if x.ndim != 4:
            return x
        wanted = torch.channels_last if self._channels_last else torch.contiguous_format
        return x.contiguous(memory_format=wanted)

    def autocast(self) -> AbstractContextManager[object]:
        """A context in which forward passes run in the run's precision."""
        if self._precision != "bf16":
            return nullcontext()
        return torch.autocast(self.target, dtype=torch.bfloat16)

    def in_precision(self, results: Iterator[Value]) -> Iterator[Value]:
        """Each result computed under `autocast` and yielded outside it."""
        while True:
            with self.autocast():
                result = next(results, None)
            if result is None:
                return
            yield result

    def summary(self) -> dict[str, Any]:
        """Every setting that can change a number, with `None` resolved, for the record."""
        return {
            "precision": self._precision,
            "channels_last": self._channels_last,
            "compile": self._compiles,
            "cuda_graphs": self.cuda_graphs,
            "deterministic": self.deterministic,
            "sync_batchnorm": self.sync_batchnorm,
            "decode": self.decode,
            **({"accumulate": self.accumulate} if self.accumulate > 1 else {}),
        }

    @property
    def _precision(self) -> str:
        return self.precision or ("bf16" if self.target == "cuda" else "fp32")

    @property
    def _channels_last(self) -> bool:
        return self.target == "cuda" if self.channels_last is None else self.channels_last

    @property
    def _compiles(self) -> bool:
        if self.compile is None:
            return self.target == "cuda" and not self.sync_batchnorm
        return self.compile


class Begun(nn.Module):
    """`network` behind `begin`, which each batch goes through first."""

    def __init__(self, network: nn.Module, begin: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.network, self.begin = network, begin
        stages = cast(tuple[str, ...], getattr(network, "stages", ()))
        self.stages = tuple(f"network.{stage}" for stage in stages)

    def forward(self, x: torch.Tensor, *more: Any) -> Any:
        """What the network makes of it: logits, or what a language model reads on from a state."""
        return self.network(self.begin(x), *more)


def allow_tf32(allowed: bool) -> None:
    """Whether fp32 matrix products and convolutions on CUDA may use tf32.

    Set through the older of torch's two interfaces: reading it after the newer was used is an
    error, and inductor and `cudnn.flags` read it.
    """
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed


def cores() -> int:
    """The usable cores of this node per local rank, at most MOST_WORKERS."""
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(MOST_WORKERS, allowed_cores() // ranks))


def keep_freed_memory() -> None:
    """Let this process reuse the memory of freed tensors.

    By default glibc returns blocks above 32 MB to the kernel, and the next block is faulted in page
    by page: a seventh of a WRN-16-4 step at batch 128 on a CPU. Other C libraries are unaffected.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)
