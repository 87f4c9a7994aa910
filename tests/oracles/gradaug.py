"""GradAug from its equations: widths, sliced weights, transforms, and the loss of one step."""

from collections.abc import Callable
from math import floor

import torch
from oracles.networks import Weights
from torch import Tensor, nn


def kept(count: int, width: float, rho: float = 1.0) -> int:
    """floor(R(c w / rho) rho), R rounding half up, at least 1, and up where it lost a tenth."""
    value = count * width / rho
    rounded = floor(value + 0.5)
    rounded = max(rounded, 1)
    if rounded < 0.9 * value:
        rounded += 1
    return floor(rounded * rho)


def sliced(weights: Weights, width: float, rho: Callable[[str], float] = lambda _: 1.0) -> Weights:
    """The sub-network's weights: the first channels of each layer, by nominal widths alone.

    `rho` gives the ratio of what a layer puts out, by its name. The image and the classes are
    never cut. Where a layer's input comes from is read off its name.
    """
    narrow = {}
    for name, value in weights.items():
        layer, _, kind = name.rpartition(".")
        if layer == "fc":
            narrow[name] = value if kind == "bias" else value[:, : kept(value.shape[1], width)]
        elif value.ndim == 4:
            out = kept(value.shape[0], width, rho(layer))
            into = 3 if layer == "stem.conv" else kept(value.shape[1], width, rho(source(layer)))
            narrow[name] = value[:out, :into]
        elif value.ndim == 1:
            narrow[name] = value[: kept(len(value), width, rho(layer))]
    return narrow


def source(layer: str) -> str:
    """The layer whose output a post-activation bottleneck's layer takes."""
    block, _, own = layer.rpartition(".")
    if own in ("conv2", "conv3"):
        return f"{block}.conv{int(own[-1]) - 1}"
    return "stem.conv" if layer.startswith("stage1.0.") else "a block's end"


def masked(model: nn.Module, width: float, x: Tensor, rho: Callable[[str], float]) -> Tensor:
    """The full network with every channel beyond the first ones set to zero after every layer."""
    handles = []
    layers = [(name, m) for name, m in model.named_modules() if hasattr(m, "weight")]
    last = [m for _, m in layers if isinstance(m, nn.Conv2d | nn.Linear)][-1]
    for name, module in layers:
        if module is last:
            continue

        def keep_first(m: nn.Module, args: object, output: Tensor, name: str = name) -> Tensor:
            count = output.shape[1]
            channels = torch.arange(count) < kept(count, width, rho(name))
            return output * channels.view(1, -1, *[1] * (output.ndim - 2))

        handles.append(module.register_forward_hook(keep_first))
    logits = model(x)
    for handle in handles:
        handle.remove()
    return logits


def resized(x: Tensor, size: int) -> Tensor:
    """Bilinear, the corners' pixels on the corners (align_corners), pixel by pixel."""
    n, c, height, width = x.shape
    small = torch.empty(n, c, size, size, dtype=x.dtype)
    for i in range(size):
        for j in range(size):
            top, left = i * (height - 1) / (size - 1), j * (width - 1) / (size - 1)
            y0, x0 = min(floor(top), height - 2), min(floor(left), width - 2)
            dy, dx = top - y0, left - x0
            small[:, :, i, j] = (
                (1 - dy) * (1 - dx) * x[:, :, y0, x0]
                + (1 - dy) * dx * x[:, :, y0, x0 + 1]
                + dy * (1 - dx) * x[:, :, y0 + 1, x0]
                + dy * dx * x[:, :, y0 + 1, x0 + 1]
            )
    return small


def turned(x: Tensor, turns: int) -> Tensor:
    """Counter-clockwise by quarter turns: row i of the result is column w - 1 - i, once a turn."""
    for _ in range(turns):
        side = x.shape[-1]
        x = torch.stack([x[:, :, :, side - 1 - i] for i in range(side)], dim=2)
    return x


def step_loss(
    network: Callable[[Tensor, Weights], Tensor],
    weights: Weights,
    x: Tensor,
    y: Tensor,
    draws: list[tuple[float, int]],
) -> Tensor:
    """Eq. 4 with the code's criterion: CE(N(x), y) + sum_i KL(q || N_wi(T_i(x))), sample by sample.

    A draw is a width and a size in pixels.
    """
    logits = network(x, weights)
    q = [torch.softmax(z.detach(), 0) for z in logits]
    total = sum((-(t * torch.log_softmax(z, 0)).sum() for z, t in zip(logits, y, strict=True)))
    for width, size in draws:
        outputs = network(resized(x, size), sliced(weights, width))
        for z, target in zip(outputs, q, strict=True):
            total = total + (target * (target.log() - torch.log_softmax(z, 0))).sum()
    return total / len(x)
