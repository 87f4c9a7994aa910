"""The least time that a training step can take: its arithmetic and its bytes over the peaks.

Arithmetic: what torch's FlopCounterMode counts of one forward and one backward, two operations per
multiply-add, over the peak of dense matrix products in the precision of the convolutions.

Memory: the bytes that must cross it if every convolution and linear layer is one kernel and all
between them (norms, ReLUs, sums, pools) costs nothing, over the peak bandwidth:
  - each layer's output: written and read forward, read again backward; its gradient written and
    read: five times, at the width of the precision (bf16: 2 bytes, others: 4);
  - the network's input: read forward and backward, at that width;
  - each parameter: read forward and backward, at that width; its gradient written and read, itself
    and its momentum read and written, in fp32: 24 bytes.
What stays in a cache between two kernels does not cross: small networks can be faster than this.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benches.racing import now
from vicinal.machine.runtime import allow_tf32

WIDTHS = {"bf16": 2, "tf32": 4, "fp32": 4}  # bytes of an activation
OPTIMIZER_BYTES = 24
LAYERS = (nn.Conv2d, nn.Linear)

# Operations and bytes per second by NVIDIA's data sheets, dense.
PUBLISHED = {
    "NVIDIA H200": {"bf16": 989e12, "tf32": 494.5e12, "fp32": 67e12, "memory": 4.8e12},
    "NVIDIA H100 80GB HBM3": {"bf16": 989e12, "tf32": 494.5e12, "fp32": 67e12, "memory": 3.35e12},
    "NVIDIA A100-SXM4-80GB": {"bf16": 312e12, "tf32": 156e12, "fp32": 19.5e12, "memory": 2.039e12},
}


@dataclass(frozen=True)
class Work:
    """What one step must compute; operations, activations and inputs are per image."""

    operations: int
    activations: int
    inputs: int
    parameters: int

    def bytes(self, images: int, precision: str) -> int:
        """Bytes that cross memory in a step of that many images."""
        width = WIDTHS[precision]
        moved = images * (5 * self.activations + 2 * self.inputs) * width
        return moved + self.parameters * (2 * width + OPTIMIZER_BYTES)

    def floor(self, images: int, precision: str, peaks: dict[str, float]) -> dict[str, Any]:
        """Seconds per step at those peaks, and which of the two bounds it."""
        seconds = {
            "arithmetic": images * self.operations / peaks[precision],
            "memory": self.bytes(images, precision) / peaks["memory"],
        }
        bound = max(seconds, key=lambda name: seconds[name])
        return {"seconds": seconds[bound], "bound": bound, "of": seconds}


def work(network: nn.Module, shape: tuple[int, ...]) -> Work:
    """Count for a network on the meta device; on two images, because BatchNorm needs several."""
    outputs: list[int] = []

    def count(layer: nn.Module, inputs: Any, output: Tensor) -> None:
        outputs.append(output.numel())

    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, LAYERS)]
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(2, *shape, device="meta")).sum().backward()
    for hook in hooks:
        hook.remove()
    return Work(
        operations=counter.get_total_flops() // 2,
        activations=sum(outputs) // 2,
        inputs=prod(shape),
        parameters=sum(p.numel() for p in network.parameters()),
    )


def peaks(device: str) -> dict[str, dict[str, float]]:
    """Measured, on matrices that fill the device, and published, if known."""
    found = {"measured": measured_peaks(device, 8192 if device == "cuda" else 128)}
    name = torch.cuda.get_device_name() if device == "cuda" else ""
    return found | ({"published": PUBLISHED[name]} if name in PUBLISHED else {})


def measured_peaks(device: str, side: int) -> dict[str, float]:
    """Time a matrix product in each precision, and a copy, which reads and writes."""
    rates = {}
    a, b = torch.randn(2, side, side, device=device)
    for name, dtype in (("fp32", a.dtype), ("tf32", a.dtype), ("bf16", torch.bfloat16)):
        if device == "cuda":
            allow_tf32(name == "tf32")
        elif name == "tf32":
            continue
        job = partial(torch.mm, a.to(dtype), b.to(dtype))
        rates[name] = 2 * side**3 / typical_seconds(job)
    source = torch.randn(8 * side**2, device=device)
    seconds = typical_seconds(partial(torch.empty_like(source).copy_, source))
    return rates | {"memory": 2 * source.nbytes / seconds}


def typical_seconds(job: Callable[[], object]) -> float:
    """The median of nine windows of five calls, after one that is not counted."""
    seconds = []
    for _ in range(10):
        began = now()
        for _ in range(5):
            job()
        seconds.append((now() - began) / 5)
    return median(seconds[1:])
