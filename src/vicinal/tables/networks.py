"""What a network costs, counted on the meta device: no weights, no data, no run.

Multiply-adds are half of what torch's FlopCounterMode counts in the forward pass of one image, or
one word: convolutions and matrix products. It leaves out biases, normalisation, activations,
pooling and sums of branches, which other counters include (for ResNet-101 ptflops counts 7.85 G,
this 7.80 G).
"""

import json
import re
from functools import cache
from math import prod
from typing import Any, NamedTuple

import torch
from hydra.utils import instantiate
from torch import Tensor, nn

from vicinal.contracts import Detector
from vicinal.data.size import Size, size_of
from vicinal.models.init import without_weights
from vicinal.tables import kept
from vicinal.tables.cell import UNITS, Cell

_TARGET = re.compile(r'"_target_": "([^"]*)"')


class Counts(NamedTuple):
    """The counts of a network; `activations` sums the outputs of all its layers for one image.

    Of a language model the arithmetic is that of one word, and its layers are the recurrent ones,
    which wait for the word before. Of a detector it is that of a photo in training.
    """

    parameters: int
    multiply_adds: int
    layers: int
    activations: int


def counted(cell: Cell, config: dict[str, Any]) -> float:
    """The parameters or multiply-adds of a cell's network, in its unit."""
    size = size_of(config["dataset"])
    assert size is not None, f"{cell.table}, {cell.label}: the data set has no known_size"
    network = counts(config["model"], size)
    return network._asdict()[cell.measures] / UNITS[cell.unit]


def counts(model: dict[str, Any], size: Size) -> Counts:
    """Count a network at the size of images that it is trained and tested on, or on text."""
    return _counts(json.dumps(model, sort_keys=True), size.shape, size.classes)


@cache
def _counts(model: str, shape: tuple[int, ...], classes: int) -> Counts:
    """Counted once by each version of the code: large networks take long, and so does timm."""
    asked = json.dumps(["counts", model, shape, classes])
    if any(not target.startswith("vicinal.") for target in _TARGET.findall(model)):
        return _count(model, shape, classes)  # its code is the user's
    found = kept.read(asked)
    if found is None:
        kept.keep(asked, found := _count(model, shape, classes))
    return Counts(*found)


def _count(model: str, shape: tuple[int, ...], classes: int) -> Counts:
    from torch.utils.flop_counter import FlopCounterMode  # noqa: PLC0415 (slow to import)

    layers = activations = 0

    def count(_module: nn.Module, _inputs: object, output: object) -> None:
        nonlocal layers, activations
        if isinstance(output, Tensor):  # not a pyramid's levels, which were counted
            layers += 1
            activations += len(output) * prod(output.shape[1:])

    with without_weights():
        network = instantiate(json.loads(model), _convert_="all")(num_classes=classes, shape=shape)
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        for module in network.modules():
            if not any(module.children()):
                module.register_forward_hook(count)
        x = torch.empty(1, *shape) if shape else torch.zeros(1, 1, dtype=torch.int64)
        (network.dense if isinstance(network, Detector) else network.eval())(x)
    if not shape:
        layers = sum(isinstance(module, nn.RNNBase) for module in network.modules())
    parameters = sum(each.numel() for each in network.parameters())
    return Counts(parameters, counter.get_total_flops() // 2, layers, activations)
