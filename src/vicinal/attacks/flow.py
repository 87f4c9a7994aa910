"""Spatial attacks: pixels are moved, not changed, so that the loss rises.

The network is in eval mode and records no statistics. Only the flow is differentiated, so
every parameter's `.grad` stays as it was.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vicinal.contracts import Images, Targets
from vicinal.draws import Rng
from vicinal.losses import cross_entropy
from vicinal.surgery.modes import searched


@dataclass(frozen=True)
class Flow:
    """Signed ascent on a field of shifts, each at most `bound` pixels along either axis.

    It starts from no shift and draws nothing from its generators. The flow is that of Xiao et al.,
    StAdv, ICLR 2018, arXiv 1801.02612; the search is not.
    """

    bound: float
    step_size: float
    steps: int

    def __post_init__(self) -> None:
        for key in ("bound", "step_size", "steps"):
            if getattr(self, key) < 0:
                raise ValueError(f"{key} must be at least 0, got {getattr(self, key)}")

    def __call__(self, model: nn.Module, x: Images, y: Targets, rng: Rng) -> Images:
        height, width = x.shape[2:]
        rows, columns = (
            (torch.arange(size, device=x.device) + 0.5) * (2 / size) - 1 for size in (height, width)
        )
        still = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=2).to(x)
        pixel = torch.tensor([2 / width, 2 / height]).to(x, non_blocking=True)

        def moved(flow: Float[Tensor, "n h w 2"]) -> Images:
            grid = still + pixel * flow
            return F.grid_sample(x, grid, padding_mode="border", align_corners=False)

        flow = x.new_zeros((len(x), height, width, 2))
        with searched(model), torch.enable_grad():
            for _ in range(self.steps):
                flow = flow.detach().requires_grad_()
                loss = cross_entropy(model(moved(flow)), y).sum()
                (gradient,) = torch.autograd.grad(loss, flow)
                flow = flow.detach() + self.step_size * gradient.sign()
                flow = flow.clamp(-self.bound, self.bound)
        return moved(flow.detach())
