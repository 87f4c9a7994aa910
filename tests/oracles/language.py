"""AWD-LSTM and its training step, literally: word by word, text by text, masks given."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]


def cell(x: Tensor, h: Tensor, c: Tensor, weights: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Merity et al., Eq. of §2, for one text; the gates are i, f, c~, o in torch's order."""
    w, u, b, d = weights
    size = len(h)
    gate = [w[k * size : (k + 1) * size] @ x + b[k * size : (k + 1) * size] for k in range(4)]
    gate = [
        gate[k] + u[k * size : (k + 1) * size] @ h + d[k * size : (k + 1) * size] for k in range(4)
    ]
    i, f, o = (1 / (1 + (-gate[k]).exp()) for k in (0, 1, 3))
    c = f * c + i * gate[2].tanh()
    return o * c.tanh(), c


def read(
    embedded: Tensor,
    layers: Sequence[Sequence[Tensor]],
    locked: Sequence[Tensor],
    state: Sequence[Tensor],
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """One text: embedded words (t x e) and a mask before each layer and after the last.

    Raw outputs of the last layer, the dropped ones, and the state h1, c1, h2, c2, ….
    """
    state, raw, dropped = list(state), [], []
    for word in embedded:
        x = word * locked[0]
        for number, weights in enumerate(layers):
            h, c = cell(x, state[2 * number], state[2 * number + 1], weights)
            state[2 * number], state[2 * number + 1] = h, c
            x = h * locked[number + 1]
        raw.append(h)
        dropped.append(x)
    return torch.stack(raw), torch.stack(dropped), state


def word_loss(logits: Tensor, target: int, smoothing: float = 0.0) -> Tensor:
    """- log softmax of the target, with a share of it spread over all words."""
    log_p = logits - logits.exp().sum().log()
    return -(1 - smoothing) * log_p[target] - smoothing * log_p.sum() / len(logits)


def lowered(logits: Tensor, h: Tensor, weight: Tensor, target: int, epsilon: float) -> Tensor:
    """Wang et al., Eq. 6-7: the target's logit as if its embedding had moved by ε ‖w‖ from h."""
    w = weight[target]
    if float((w @ h).detach()) <= 0:
        return logits
    delta = (-epsilon * w.norm() * h / h.norm()).detach()
    there = torch.zeros(len(logits), dtype=logits.dtype)
    there[target] = 1
    return logits + there * (h @ delta)


def mixture(h: Tensor, weights: Weights, factors: Tensor, experts: int) -> Tensor:
    """Yang et al., §2.3: p of every word from the last LSTM's dropped outputs h of one word.

    p = Σ_k π_k softmax(W (tanh(V_k h) · factors_k) + b), π = softmax(U h).
    """
    scores = [(row @ h).exp() for row in weights["prior.weight"]]
    shares = [score / sum(scores) for score in scores]
    matrix, bias = weights["softmax.weight"], weights["softmax.bias"]
    size, found = matrix.shape[1], torch.zeros(len(matrix), dtype=h.dtype)
    for k in range(experts):
        own = slice(k * size, (k + 1) * size)
        inner = (weights["latent.weight"][own] @ h + weights["latent.bias"][own]).tanh()
        logits = (matrix[word] @ (inner * factors[own]) + bias[word] for word in range(len(matrix)))
        p = [logit.exp() for logit in logits]
        found = found + shares[k] * torch.stack(p) / sum(p)
    return found


def activation(dropped: Sequence[Tensor]) -> Tensor:
    """AR, Merity et al. §4.6: the mean square of the dropped outputs."""
    return torch.stack([each.square().mean() for each in dropped]).mean()


def temporal(raw: Sequence[Tensor]) -> Tensor:
    """TAR: that of the differences between neighbouring raw outputs."""
    steps = [(text[i + 1] - text[i]).square() for text in raw for i in range(len(text) - 1)]
    return torch.stack([step.mean() for step in steps]).mean()


def clipped_step(
    weights: Weights, gradients: Weights, most: float, rate: float
) -> dict[str, Tensor]:
    """SGD on gradients of at most that L2 norm, over all weights together."""
    norm = sum(float(g.square().sum()) for g in gradients.values()) ** 0.5
    scale = min(1.0, most / (norm + 1e-6))
    return {name: weights[name].detach() - rate * scale * g for name, g in gradients.items()}
