"""SmoothAdv, literally: one image and one draw of noise at a time."""

import copy

import torch
from torch import Tensor, nn


def probability(model: nn.Module, x: Tensor, label: int) -> Tensor:
    """softmax(f(x))_label of one image."""
    p = model(x[None])[0].exp()
    return p[label] / p.sum()


def adversarial(
    model: nn.Module, x: Tensor, label: int, noise: list[Tensor], epsilon: float, steps: int
) -> Tensor:
    """Salman et al., Eq. 5 and §2.2: ascent on J by the gradient of norm 1, in the ball, in [0, 1].

    J is - log of the mean of the probabilities of the label over these draws of noise.
    """
    at = x.clone()
    for _ in range(steps):
        at = at.detach().requires_grad_()
        j = -(sum(probability(model, at + each, label) for each in noise) / len(noise)).log()
        (gradient,) = torch.autograd.grad(j, at)
        shift = at.detach() + 2 * epsilon / steps * gradient / gradient.square().sum().sqrt() - x
        length = float(shift.square().sum()) ** 0.5
        if length > epsilon:
            shift = shift * epsilon / length
        at = (x + shift).clamp(0, 1)
    return at.detach()


def loss(
    model: nn.Module, x: Tensor, labels: list[int], noise: list[list[Tensor]], epsilon: float,
    steps: int,
) -> Tensor:  # fmt: skip
    """The mean CE of all noisy copies; noise[j][i] is the j-th draw for image i.

    The attack is on the network in eval mode, the copies are one batch in train mode.
    """
    attacked = copy.deepcopy(model).eval()
    found = [
        adversarial(attacked, x[i], labels[i], [each[i] for each in noise], epsilon, steps)
        for i in range(len(x))
    ]
    batch = torch.stack([found[i] + each[i] for each in noise for i in range(len(x))])
    logits, losses = model(batch), []
    for place, row in enumerate(logits):
        losses.append(row.exp().sum().log() - row[labels[place % len(x)]])
    return torch.stack(losses).mean()
