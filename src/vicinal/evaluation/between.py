"""What the network does on the way between two training samples.

Paper:    Zhang et al., mixup, ICLR 2018, arXiv 1710.09412; §2, Figure 2
Code:     none released for it
Differs:  the figure's gradient is "of the model"; here it is that of the loss that mixup minimises,
          the cross-entropy against the mixed label
"""

from dataclasses import dataclass
from statistics import fmean

import torch
from jaxtyping import Float64, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from vicinal.contracts import InMemory, Inputs, Targets
from vicinal.data.batches import as_inputs
from vicinal.data.dataset import Data
from vicinal.draws import Rng
from vicinal.errors import RunError
from vicinal.evaluation.batches import check_batch_size, device_of, rank_rows
from vicinal.evaluation.evaluation import Numbers, Parts, each
from vicinal.losses import cross_entropy
from vicinal.machine import ranks
from vicinal.surgery.modes import searched

Pairs = Int64[Tensor, "2 p"]


@dataclass(frozen=True)
class Between:
    """Misses and gradient norms at λ x_i + (1 - λ) x_j, for random pairs and `steps` λ from 0 to 1.

    `miss_λ` is the share, in percent, of predictions that are neither y_i nor y_j; `gradient_λ` the
    mean L2 norm of the gradient with respect to the input. The network is in eval mode, the samples
    are not augmented, and all λ share the pairs.
    """

    pairs: int = 10_000
    steps: int = 11
    batch_size: int = 500

    def __post_init__(self) -> None:
        if self.pairs < 1:
            raise ValueError(f"pairs must be at least 1, got {self.pairs}")
        if self.steps < 2:
            raise ValueError(f"steps must be at least 2, got {self.steps} (λ from 0 to 1)")
        check_batch_size(self.batch_size)

    def __call__(self, model: nn.Module, data: Data, rng: Rng, parts: Parts = each) -> Numbers:
        if not isinstance(data.train, InMemory):
            kind = type(data.train).__name__
            raise RunError(f"dataset must hold its training samples in memory, got {kind}")
        if not len(data.train):
            raise RunError("dataset must have training samples to draw pairs from, got none")
        drawn = rng.fork("pairs").cpu
        pairs = torch.randint(len(data.train), (2, self.pairs), generator=drawn)
        last = self.steps - 1
        grid = {f"{step / last:g}": step / last for step in range(self.steps)}

        def measure(name: str) -> Numbers:
            return self._measured(model, data, pairs, grid[name])

        found = parts(tuple(grid), measure)
        keys = ("miss", "gradient")
        numbers = {f"{key}_{name}": found[name][key] for key in keys for name in grid}
        return numbers | {key: fmean(found[name][key] for name in grid) for key in keys}

    def _measured(self, model: nn.Module, data: Data, pairs: Pairs, lam: float) -> Numbers:
        assert isinstance(data.train, InMemory)
        x, y, device = data.train.x, data.train.y, device_of(model, data.train.y)
        found = torch.zeros(self.pairs, 2, dtype=torch.float64, device=device)
        with searched(model):
            for batch in rank_rows(torch.arange(self.pairs), self.batch_size):
                rows = pairs[:, batch].to(x.device, non_blocking=True)
                x_i, x_j = as_inputs(x[rows].to(device, non_blocking=True))
                ends = y[rows].to(device, non_blocking=True)
                y_i, y_j = F.one_hot(ends, data.num_classes).to(x_i)
                mixed = lam * x_i + (1 - lam) * x_j, lam * y_i + (1 - lam) * y_j
                found[batch.to(device, non_blocking=True)] = _per_pair(model, *mixed, ends)
        miss, gradient = ranks.all_reduce_(found).mean(0).tolist()
        return {"miss": 100 * miss, "gradient": gradient}


def _per_pair(model: nn.Module, x: Inputs, y: Targets, ends: Pairs) -> Float64[Tensor, "p 2"]:
    """Whether the prediction is neither label, and the norm of the loss's gradient."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        logits = model(x)
        # Summed, so that a pair's gradient does not depend on the size of the batch.
        (gradient,) = torch.autograd.grad(cross_entropy(logits, y).sum(), x)
    miss = (logits.argmax(1) != ends).all(0)
    return torch.stack([miss.double(), gradient.flatten(1).double().norm(dim=1)], dim=1)
