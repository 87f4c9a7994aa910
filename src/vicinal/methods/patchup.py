"""Patches of the features after a random layer swapped (Hard) or mixed (Soft) with a partner's.

φ = M ⊙ h_i + (1 - M) ⊙ [λ h_i + (1 - λ) h_j], Y = λ y_i + (1 - λ) y_j; Hard is λ = 0. With p_u the
share of M that is 1, loss = p_u l(f, y_i) + (1 - p_u) l(f, Y) + l(f, p_u y_i + (1 - p_u) Y).

Paper:    Faramarzi, Amini, Badrinaaraayanan, Verma, Chandar, PatchUp, AAAI 2022, arXiv 2006.07794;
          Eq. 2 (γ_adj), Eq. 3 (Hard), Eq. 4-5 (Soft), Eq. 6-8 (the loss), §2 (the input)
Code:     chandar-lab/PatchUp (commit 31133f3) main.py, modules/patchup.py, modules/cutmix.py. It
          settles what the paper leaves open: above all one mask per batch, drawn for each channel
          with seeds at every position, and l the binary cross-entropy of the softmax (`loss: bce`).
          Compared step by step in float64, Soft and Hard at every layer, with the switches of
          `Differs`: loss within 7e-16, gradient within 6e-16, weights within 6e-16.
Differs:  from bugs of the code: γ_adj and the block size are those of the layer drawn, not of the
          first layer ever drawn; the loss's weights scale whole terms; its wide networks leave W
          unmixed at the input, which `unmixed_input: true` repeats; its loss breaks down where p
          rounds to 1 in float32, which `loss: bce_clamped` repeats. Those wide networks also have
          smaller blocks deeper down (7, 7, 5, 3), ours one `block_size`. CE and BCE are linear in
          the target, so both terms are equal and a patched batch has twice a plain one's gradient;
          `loss_weights: [0, 1]` has it once. k and whether to patch are the same on all ranks;
          each rank draws the rest for its share of the batch. At the input the swap is made
          before normalisation, with which it commutes.
Cost:     1 forward, 1 backward, 1 update of BatchNorm
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Int64
from torch import Tensor, nn

from vicinal.contracts import Inputs, Loss, Method, Targets, Vicinity
from vicinal.draws import Rng, beta, block_holes, box, permutation, shared_choice, shared_coin
from vicinal.losses import LOSSES, LossName
from vicinal.surgery.taps import Features, add_seams, run_tapped

Mask = Bool[Tensor, "1 #c h w"]


@dataclass(frozen=True)
class PatchUp(Method):
    """Over a vicinity. The defaults are Soft's; Hard's are a `patchup_prob` of 0.7, γ 0.5."""

    vicinity: Vicinity
    mode: Literal["soft", "hard"] = "soft"
    patchup_prob: float = 1.0
    gamma: float = 0.75
    block_size: int = 7
    alpha: float = 2.0
    layers: Sequence[int] = (0, 1, 2)  # 0 is the input, 1 the stem's output, 2 the first stage's
    input: Literal["cutmix", "patches"] = "cutmix"  # at layer 0: one rectangle, or as elsewhere
    loss: LossName = "bce"
    loss_weights: Sequence[float] = (1.0, 1.0)  # of the terms with Y and with W
    unmixed_input: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.patchup_prob <= 1:
            raise ValueError(f"patchup_prob must be between 0 and 1, got {self.patchup_prob}")
        if not 0 <= self.gamma <= 1:
            raise ValueError(f"gamma must be between 0 and 1, got {self.gamma}")
        if self.block_size < 1 or self.block_size % 2 == 0:
            raise ValueError(
                f"block_size must be odd, got {self.block_size} (a block has a centre)"
            )
        if self.alpha <= 0:
            raise ValueError(f"alpha must be above 0, got {self.alpha} (λ is Beta(alpha, alpha))")
        if not self.layers or min(self.layers) < 0:
            raise ValueError(f"layers must be numbers from 0 (the input) up, got {self.layers}")
        if len(self.loss_weights) != 2:
            raise ValueError(f"loss_weights must be two numbers, got {self.loss_weights}")

    def prepare(self, model: nn.Module) -> nn.Module:
        """Add seams after the layers, once checked that there are such."""
        return add_seams(model, self.layers)

    def __call__(self, model: nn.Module, x: Inputs, y: Targets, rng: Rng) -> Iterator[Loss]:
        x, y = self.vicinity(x, y, rng)
        loss = LOSSES[self.loss]
        if not shared_coin(self.patchup_prob, rng):
            yield loss(model(x), y).mean()
            return
        k = shared_choice(self.layers, rng)
        lam = beta(self.alpha, 1, rng).item() if self.mode == "soft" and k > 0 else 0.0
        partner = permutation(len(x), rng, x.device)
        logits, p_u = run_tapped(
            model, x, k, lambda h: self._patched(h, self._mask(h, k, rng), lam, partner)
        )
        changed = lam * y + (1 - lam) * y[partner]
        reweighted = p_u * y + (1 - p_u) * changed
        if self.unmixed_input and k == 0:
            reweighted = y
        first = p_u * loss(logits, y) + (1 - p_u) * loss(logits, changed)
        second = loss(logits, reweighted)
        a, b = self.loss_weights
        yield (a * first + b * second).mean()

    def _patched(
        self, h: Features, mask: Mask, lam: float, partner: Int64[Tensor, " n"]
    ) -> tuple[Features, Loss]:
        """φ, and the share that is unchanged."""
        own = mask.to(h.dtype).clamp_min(lam)  # h_i's weight: 1, or λ where the mask is 0
        return torch.lerp(h.index_select(0, partner), h, own), mask.double().mean()

    def _mask(self, h: Features, k: int, rng: Rng) -> Mask:
        """M, shared by all samples: True where the features stay."""
        if k > 0 or self.input == "patches":
            return ~block_holes(self.gamma, self.block_size, (1, *h.shape[1:]), rng)
        height, width = h.shape[2:]
        rows, columns = box(height, width, beta(1.0, 1, rng).item(), rng)
        mask = torch.ones(1, 1, height, width, dtype=torch.bool)
        mask[:, :, rows, columns] = False
        return mask.to(h.device, non_blocking=True)
