"""What is searched for among the mixtures of chains: weights, levels, and a flow of pixels.

The network is in eval mode meanwhile and records nothing, and only what is searched for is
differentiated, so that every parameter's `.grad` stays as it was.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from vicinal.contracts import Images, PerSample, Targets
from vicinal.draws import Rng
from vicinal.images.chains import Plan, mixture, rendered
from vicinal.losses import cross_entropy
from vicinal.surgery.modes import evaluating, searched

Chains = UInt8[Tensor, "n b c h w"]
EarlyStop = Literal["none", "paper", "intended"]


@dataclass(frozen=True)
class MixtureAscent:
    """AugMax Alg. 1: ascend on m in [0, 1] and on p, w = softmax(p), by the gradient's sign.

    A sample stops once it was misclassified `patience` times: counted after each update (`paper`)
    or before each (`intended`, from the first on), which are two readings of the same forwards.
    """

    steps: int
    step_size: float
    early_stop: EarlyStop = "none"
    patience: int = 1

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ValueError(f"steps must be at least 0, got {self.steps} (0 mixes at random)")
        if self.step_size <= 0:
            raise ValueError(f"step_size must be above 0, got {self.step_size}")
        if self.patience < 1:
            raise ValueError(f"patience must be at least 1, got {self.patience} (misses)")
        if self.early_stop == "none" and self.patience != 1:
            raise ValueError(
                f"patience must be 1 where early_stop is none, got {self.patience} "
                "(without an early stop nobody asks for it)"
            )

    def __call__(self, model: nn.Module, x: Images, y: Targets, chains: Chains, rng: Rng) -> Images:
        start = torch.rand((len(x), 1 + chains.shape[1]), generator=rng.cpu)
        start = start.to(x, non_blocking=True)
        m, p = start[:, 0], start[:, 1:]
        misses = torch.zeros(len(x), device=x.device)
        with searched(model), torch.enable_grad():
            for step in range(self.steps):
                m, p = m.detach().requires_grad_(), p.detach().requires_grad_()
                logits = model(mixture(x, chains, m, p.softmax(dim=1)))
                # The sum: a sample's gradient does not depend on how many others there are.
                loss = cross_entropy(logits, y).sum()
                towards_m, towards_p = (g.sign() for g in torch.autograd.grad(loss, [m, p]))
                if self.early_stop != "none":
                    if step > 0 or self.early_stop == "intended":
                        misses += logits.argmax(dim=1) != y.argmax(dim=1)
                    going = (misses < self.patience).to(x)
                    towards_m, towards_p = towards_m * going, towards_p * going[:, None]
                m = (m.detach() + self.step_size * towards_m).clamp(0, 1)
                p = p.detach() + self.step_size * towards_p
        return mixture(x, chains, m.detach(), p.detach().softmax(dim=1))


@torch.no_grad()
def worst_levels(
    model: nn.Module,
    x: Images,
    y: Targets,
    plan: Plan,
    m: PerSample,
    w: Float[Tensor, "n b"],
    *,
    draws: int,
    rng: Rng,
) -> Chains:
    """AdvMix's worst of k: of so many draws of all levels, for each sample that of the most loss.

    All draws share the operators and the weights (m, w); of equals the first is taken.
    """
    plans = plan.beside(*(plan.redrawn(rng) for _ in range(draws - 1)))
    first, *others = rendered(x, plans).split(w.shape[1], dim=1)
    worst, most = first, torch.full((len(x),), -torch.inf, device=x.device)
    with evaluating(model):
        for chains in (first, *others):
            losses = cross_entropy(model(mixture(x, chains, m, w)), y)
            higher = losses > most
            most = torch.where(higher, losses, most)
            worst = torch.where(higher.view(-1, 1, 1, 1, 1), chains, worst)
    return worst


def flowed(
    model: nn.Module, x: Images, y: Targets, *, bound: float, step_size: float, steps: int
) -> Images:
    """Each pixel from up to `bound` pixels away on either axis, ascending by the sign."""
    height, width = x.shape[2:]
    rows, columns = (
        (torch.arange(size, device=x.device) + 0.5) * (2 / size) - 1 for size in (height, width)
    )
    still = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=2).to(x)
    pixel = torch.tensor([2 / width, 2 / height]).to(x, non_blocking=True)

    def moved(flow: Float[Tensor, "n h w 2"]) -> Images:
        return F.grid_sample(x, still + pixel * flow, padding_mode="border", align_corners=False)

    flow = x.new_zeros((len(x), height, width, 2))
    with searched(model), torch.enable_grad():
        for _ in range(steps):
            flow = flow.detach().requires_grad_()
            loss = cross_entropy(model(moved(flow)), y).sum()
            (gradient,) = torch.autograd.grad(loss, flow)
            flow = (flow.detach() + step_size * gradient.sign()).clamp(-bound, bound)
    return moved(flow.detach())
