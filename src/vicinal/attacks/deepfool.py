"""DeepFool: steps to the nearest class boundary of the linearised network, until it is crossed.

Paper:    Moosavi-Dezfooli et al., CVPR 2016, arXiv 1511.04599, Alg. 2; §3.3 (Linf, with q = 1)
Code:     bethgelab/foolbox (3.3.4), whose L2 and LinfDeepFoolAttack give the same images
Differs:  as in foolbox and the authors' code, only the classes that are most likely at the image
          are considered, each step is 1e-4 longer, images are overshot and clipped in every step;
          no step along a gradient that is 0 (foolbox divides by 1e-8); where the last step does not
          cross the boundary either, the image comes back (foolbox: the last step's)
Cost:     `steps` + 2 forwards, `steps` × (`candidates` - 1) backwards to the images
"""

from dataclasses import dataclass
from math import inf

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from vicinal.attacks.attack import margins
from vicinal.attacks.smallest import Smallest, check_threat
from vicinal.attacks.threat import Region, Threat
from vicinal.contracts import Images, Logits, Targets
from vicinal.draws import Draws
from vicinal.surgery.modes import searched
from vicinal.surgery.uncompiled import uncompiled

LONGER = 1e-4  # in units of ε: close to the boundary 2 % more may still be rounded away


@dataclass(frozen=True)
class DeepFool:
    """x' = x + (1 + overshoot) Σ r with r = |f_k| / ||∇f_k||_q · d for the k with the shortest r.

    f_k is class k's logit minus the true one's and d the shift of length 1 along which f_k rises
    most. `candidates` counts the true class. Perturbations longer than ε are projected.
    """

    threat: Threat
    steps: int = 50
    candidates: int = 10
    overshoot: float = 0.02

    def __post_init__(self) -> None:
        for key, least in (("steps", 0), ("candidates", 2), ("overshoot", 0)):
            if not getattr(self, key) >= least:
                raise ValueError(f"{key} must be at least {least}, got {getattr(self, key)}")
        check_threat(self.threat, linf=True)

    @property
    def passes(self) -> int:
        """Forward passes per image; a backward pass takes as long as two."""
        return self.steps + 2 + 2 * self.steps * (self.candidates - 1)

    def __call__(self, model: nn.Module, x: Images, y: Targets, rng: Draws) -> Images:
        region = self.threat.around(model, x)
        moved, shift = region.x, torch.zeros_like(region.x)
        # A compiled backward runs once per forward.
        with searched(model), uncompiled(model, "DeepFool, with many backwards of one forward"):
            with torch.no_grad():
                classes = self._candidates(model(moved), y)
            for _ in range(self.steps):
                logits, step = _step(model, region, moved, classes)
                shift = shift + step
                stays = (margins(logits, y) < 0).view(-1, 1, 1, 1)
                overshot = region.clipped(region.x + (1 + self.overshoot) * shift)
                moved = torch.where(stays, moved, overshot)
            with torch.no_grad():
                adversarial = margins(model(moved), y) < 0
        return Smallest.none(region.x).or_nearer(region, moved, adversarial).within(region)

    def _candidates(self, logits: Logits, y: Targets) -> Int64[Tensor, "n m"]:
        """The true class, then the most likely others."""
        true = y.argmax(dim=1, keepdim=True)
        others = min(self.candidates, logits.shape[1]) - 1
        return torch.cat([true, logits.scatter(1, true, -inf).topk(others).indices], dim=1)


def _step(
    model: nn.Module, region: Region, moved: Images, classes: Int64[Tensor, "n m"]
) -> tuple[Logits, Images]:
    """The logits, and the shift to the nearest boundary of the network's linearisation."""
    with torch.enable_grad():
        moved = moved.detach().requires_grad_()
        logits = model(moved)
        true, others = logits.gather(1, classes).tensor_split([1], dim=1)
        gaps = (others - true).unbind(1)
        gradients = [torch.autograd.grad(f.sum(), moved, retain_graph=True)[0] for f in gaps]
    nearest, step = torch.full_like(region.x[:, :1, :1, :1], inf), torch.zeros_like(region.x)
    for gap, gradient in zip(gaps, gradients, strict=True):
        along = region.steepest(gradient)
        slope = (gradient * along).sum(dim=(1, 2, 3), keepdim=True)  # the gradient's dual norm
        distance = gap.detach().abs().view(-1, 1, 1, 1) / slope  # without a slope inf or NaN
        nearer = distance < nearest
        step = torch.where(nearer, (distance + LONGER) * along, step)
        nearest = torch.where(nearer, distance, nearest)
    return logits.detach(), step
