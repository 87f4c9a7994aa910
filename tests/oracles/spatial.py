"""AugMax's spatial attack, literally: one image and one draw at a time, by torchvision."""

from math import exp, log

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import functional


def candidate(image: Tensor, degrees: float, right: float, down: float) -> Tensor:
    """One draw of a uint8 image (c, h, w), as ToTensor leaves it."""
    picture = Image.fromarray(image.permute(1, 2, 0).numpy())
    moved = functional.affine(picture, degrees, [int(right), int(down)], 1.0, [0.0, 0.0])
    return torch.from_numpy(np.array(moved)).permute(2, 0, 1).float() / 255


def loss(logits: list[float], label: int) -> float:
    """- log softmax(z)_label."""
    return log(sum(exp(z - logits[label]) for z in logits))


def worst(model: nn.Module, image: Tensor, label: int, moves: list[list[float]]) -> Tensor:
    """The draw with the highest loss; the first of equals."""
    best, most = torch.empty(0), float("-inf")
    for degrees, right, down in moves:
        x = candidate(image, degrees, right, down)
        found = loss(model(x[None])[0].tolist(), label)
        if found > most:
            best, most = x, found
    return best
