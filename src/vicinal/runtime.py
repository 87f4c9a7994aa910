"""Where and how fast a run computes; nothing here is part of the experiment."""

import ctypes
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's malloc.h


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """`None` means what suits the device: bf16 and channels_last on CUDA, neither on a CPU."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["fp32", "bf16"] | None = None
    channels_last: bool | None = None
    compile: bool = False
    threads: int | None = None  # of the CPU; None leaves torch's choice
    checkpoint_seconds: float = 60.0  # the most that a killed run loses
    progress: bool = True
    sync_batchnorm: bool = False  # over the batches of all ranks; each by its own otherwise
    slurm: bool = False  # the tasks of a Slurm step are the ranks

    def __post_init__(self) -> None:
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ValueError(
                "device must be cpu or auto here, got cuda (torch sees no CUDA device)"
            )
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads must be at least 1, got {self.threads}")
        if self.sync_batchnorm and self.compile:
            raise ValueError("sync_batchnorm must be false where compile is true, got true")
        if self.checkpoint_seconds < 0:
            raise ValueError(
                f"checkpoint_seconds must be at least 0, got {self.checkpoint_seconds} "
                "(0 writes one after every step)"
            )

    @property
    def target(self) -> str:
        """The device that `auto` stands for."""
        if self.device == "auto":
            return "cuda" if torch.cuda.is_available() else "cpu"
        return self.device

    def start(self) -> None:
        """Set this process up for a run."""
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        if self.target == "cpu":
            keep_freed_memory()

    def place(self, model: nn.Module) -> nn.Module:
        """Move the network to the device, in the layout and form it will run in."""
        model = model.to(self.target)
        if self._channels_last:
            model = model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        if self.compile:
            model.compile()
        return model

    def layout(self, x: torch.Tensor) -> torch.Tensor:
        """A batch in the network's layout."""
        if self._channels_last and x.ndim == 4:
            return x.contiguous(memory_format=torch.channels_last)
        return x

    def autocast(self) -> AbstractContextManager[object]:
        """The precision of forward passes."""
        precision = self.precision or ("bf16" if self.target == "cuda" else "fp32")
        if precision == "fp32":
            return nullcontext()
        return torch.autocast(self.target, dtype=torch.bfloat16)

    @property
    def _channels_last(self) -> bool:
        return self.target == "cuda" if self.channels_last is None else self.channels_last


def keep_freed_memory() -> None:
    """Let this process use its freed tensors' memory again.

    Beyond 32 MB glibc hands each back to the kernel, and the next one is faulted in page by page: a
    seventh of a WRN-16-4 step at batch 128 on a CPU. Other C libraries are left alone.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)
