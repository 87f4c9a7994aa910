"""What a network costs, counted on the meta device: no weights, no data, no run.

Multiply-adds are half of what torch's FlopCounterMode counts in one forward of one image:
convolutions and matrix products. It leaves out biases, normalisation, activations, pooling and sums
of branches, which other counters include (ptflops says 7.85 G of ResNet-101, where these are 7.80).
"""

import json
from functools import cache
from typing import Any

import torch
from hydra.utils import instantiate
from torch.utils.flop_counter import FlopCounterMode

from vicinal.tables.cell import UNITS, Cell
from vicinal.tables.costs import SIZES


def counted(cell: Cell, config: dict[str, Any]) -> float:
    """The parameters or multiply-adds of a cell's network, in its unit."""
    whole = SIZES[config["dataset"]["name"]]
    channels, *sides = whole.shape
    side = config["dataset"].get("size")  # of the crop that it is trained and tested on
    network = json.dumps(config["model"], sort_keys=True)
    counts = _counts(network, (channels, *([side, side] if side else sides)), whole.classes)
    return counts[cell.measures] / UNITS[cell.unit]


@cache
def _counts(model: str, shape: tuple[int, ...], classes: int) -> dict[str, int]:
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        network = instantiate(json.loads(model), _convert_="all")(num_classes=classes, shape=shape)
        network.eval()(torch.empty(1, *shape))
    parameters = sum(each.numel() for each in network.parameters())
    return {"parameters": parameters, "multiply_adds": counter.get_total_flops() // 2}
