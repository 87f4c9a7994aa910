"""Mixing that gives up least saliency: l(f(z ⊙ Πᵀx_i + (1 - z) ⊙ Π'ᵀx_j), z̄ y_i + (1 - z̄) y_j).

z has, for each block of the image, one of n values from 0 to 1. It minimises the sum of the
saliency given up, the differences and contrasts between neighbouring blocks, and η times - log of
its prior Bin(n - 1, λ). Π moves each image's most salient blocks to where they show. z̄ is z's mean.

Paper:    Kim, Choo, Song, Puzzle Mix: Exploiting Saliency and Local Statistics for Optimal Mixup,
          ICML 2020, arXiv 2009.06962; "Optimizing Mask" (the energy), "Optimizing Transport" and
          Alg. 1 (masked transport; these three are cited from memory); as it is compared with in
          Faramarzi et al., PatchUp, AAAI 2022, arXiv 2006.07794; Tables 1, 2
Code:     snu-mllab/PuzzleMix (commit 7eba27e) main.py, mixup.py: the settings of its CIFAR-100
          commands, β/(16 · blocks), saliency of CE in eval mode as the norm over channels, one λ
          and one number of blocks per batch, l the binary cross-entropy of the softmax
          (`loss: bce`). Its imagenet/train.py has cells of 2 pixels, moves whole blocks, and l is
          the cross-entropy (`neigh_size: 2`, `t_size: -1`, `loss: ce`). Not compared.
Differs:  the energy's minimum is exact and found by one cut for the batch; the code swaps pairs of
          labels until that no longer helps, with costs rounded to integers. The number of blocks is
          drawn among those whose blocks have at least a pixel, and is the same on all ranks. An
          image without any gradient has no saliency, where the code divides by 0. A vicinity comes
          first, and its targets may be soft. Adversarial Puzzle Mix (`adv_p`) is left out.
Cost:     2 forwards, 1 + (clean_lam > 0) backwards, 1 + (clean_lam > 0) updates of BatchNorm; the
          first forward, in eval mode unless it is trained on, also goes backwards to the images,
          and the cut is made on the CPU, which waits for the device
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from vicinal.attacks.attack import at_images
from vicinal.contracts import Images, Inputs, Loss, Method, Targets, Vicinity
from vicinal.draws import Rng, beta, permutation, shared_choice
from vicinal.losses import LOSSES, LossName, cross_entropy
from vicinal.methods import puzzle
from vicinal.surgery.modes import searched

Saliency = Float[Tensor, "n h w"]


@dataclass(frozen=True)
class PuzzleMix(Method):
    """Over a vicinity."""

    vicinity: Vicinity
    alpha: float = 1.0
    n_labels: int = 3
    eta: float = 0.2  # of the prior
    beta: float = 1.2  # of differences between neighbours' labels
    gamma: float = 0.5  # of contrasts between neighbours, times beta
    neigh_size: int = 4  # pixels per side of the contrasted cells; at most a block's
    transport: bool = True
    t_eps: float = 0.8  # of the squared distance
    t_size: int = 4  # pixels per side of a moved tile; at most a block's; -1: the block
    clean_lam: float = 0.0  # of the unmixed images' loss; above 0 they are trained on too
    blocks: Sequence[int] = (2, 4, 8, 16)  # per side
    loss: LossName = "bce"

    def __post_init__(self) -> None:
        for key in ("alpha", "eta", "beta", "clean_lam"):
            if getattr(self, key) < 0:
                raise ValueError(f"{key} must be at least 0, got {getattr(self, key)}")
        if self.n_labels < 2:
            raise ValueError(f"n_labels must be at least 2, got {self.n_labels} (0 and 1)")
        if not 0 <= self.gamma <= 1:
            raise ValueError(
                f"gamma must be between 0 and 1, got {self.gamma} (above 1, neighbours could gain "
                "by being different, and a cut finds no minimum)"
            )
        if self.neigh_size < 1:
            raise ValueError(f"neigh_size must be at least 1, got {self.neigh_size}")
        if self.t_eps <= 0:
            raise ValueError(f"t_eps must be above 0, got {self.t_eps} (moving a block has a cost)")
        if self.t_size < 1 and self.t_size != -1:
            raise ValueError(f"t_size must be at least 1, or -1 for blocks, got {self.t_size}")
        if not self.blocks or min(self.blocks) < 2:
            raise ValueError(f"blocks must be numbers from 2 up, got {list(self.blocks)}")

    @property
    def work(self) -> float:
        # The saliency's backward goes to the images alone.
        return 5 / 3 if self.clean_lam == 0 else 2.0

    def prepare(self, model: nn.Module) -> nn.Module:
        if find_spec("maxflow") is None:
            raise ValueError(
                "method must be another one here, got PuzzleMix "
                "(its package for cuts is missing: pip install PyMaxflow)"
            )
        return model

    def __call__(self, model: nn.Module, x: Inputs, y: Targets, rng: Rng) -> Iterator[Loss]:
        x, y = self.vicinity(x, y, rng)
        blocks = shared_choice(self._fitting(x), rng)
        lam = beta(self.alpha, 1, rng).item() if self.alpha > 0 else 1.0
        partner = permutation(len(x), rng, x.device)
        if self.clean_lam > 0:
            clean, gradient = self._clean(model, x, y)
            yield clean
        else:
            with searched(model):
                _, gradient = at_images(model, x, y)
        saliency = gradient.square().sum(dim=1).sqrt()
        z = self._mask(x, saliency, partner, blocks, lam)
        mixed, share = self._mixed(x, saliency, partner, z)
        y = torch.lerp(y[partner], y, share[:, None].to(y.dtype))
        yield LOSSES[self.loss](model(mixed), y).mean()

    def _fitting(self, x: Inputs) -> list[int]:
        """The numbers of blocks to draw from; refuses images that do not divide into them."""
        if x.ndim != 4 or x.shape[2] != x.shape[3]:
            raise ValueError(
                f"inputs must be square images (n, c, h, h), got {tuple(x.shape)} "
                "(Puzzle Mix cuts them into blocks)"
            )
        side = x.shape[2]
        fitting = [blocks for blocks in self.blocks if blocks <= side]
        for blocks in fitting:
            block = side // blocks
            sizes = [min(self.neigh_size, block), min(self.t_size, block)]
            if side % blocks or any(size > 0 and block % size for size in sizes):
                raise ValueError(
                    f"blocks must divide the side of the images, and neigh_size and t_size must "
                    f"divide the blocks, got {blocks} blocks of {side} pixels, neigh_size "
                    f"{self.neigh_size} and t_size {self.t_size}"
                )
        if not fitting:
            raise ValueError(f"blocks must be at most {side}, pixels per side, got {self.blocks}")
        return fitting

    def _clean(self, model: nn.Module, x: Images, y: Targets) -> tuple[Loss, Images]:
        """The unmixed images' loss, which is trained on, and its gradient at the images."""
        x = x.detach().requires_grad_()
        # As an image is learnt, BCE nears 2/k of CE, which is what the code adds.
        scale = 1.0 if self.loss == "ce" else 2 / y.shape[1]
        loss = self.clean_lam * scale * cross_entropy(model(x), y).mean()
        return loss, torch.autograd.grad(loss, x, retain_graph=True)[0]

    def _mask(
        self, x: Images, saliency: Saliency, partner: Int64[Tensor, " n"], blocks: int, lam: float
    ) -> puzzle.Grid:
        """z: the share of each block that is the image's own."""
        shares = puzzle.block_shares(saliency, blocks)
        block = x.shape[2] // blocks
        contrasts = puzzle.contrasts(x, partner, blocks, min(self.neigh_size, block))
        unlike = self.beta / blocks / 16
        costs, *weights = puzzle.quadratic(
            shares, shares[partner], *(unlike * self.gamma * c for c in contrasts)
        )
        prior = (self.eta / blocks**2) * puzzle.surprise(self.n_labels, lam)
        z = torch.linspace(0, 1, self.n_labels, dtype=x.dtype, device=x.device)
        unary = torch.lerp(costs[..., :1], costs[..., 1:], z) + prior.to(x, non_blocking=True)
        # At gamma = 1 rounding can leave a weight just below 0.
        down, right = ((weight + unlike).clamp_min(0) for weight in weights)
        return puzzle.minimal_labels(unary, down, right).to(x.dtype) / (self.n_labels - 1)

    def _mixed(
        self, x: Images, saliency: Saliency, partner: Int64[Tensor, " n"], z: puzzle.Grid
    ) -> tuple[Images, Float[Tensor, " n"]]:
        """The image and its partner, their blocks moved, mixed by z; and z's mean."""
        side, blocks = x.shape[2], z.shape[1]
        other = x[partner]
        if self.transport:
            block = side // blocks
            moved = side // (block if self.t_size == -1 else min(self.t_size, block))
            shares = puzzle.block_shares(saliency, moved)
            mask = F.interpolate(z[:, None], size=moved)[:, 0]
            own = puzzle.transported(mask, shares, self.t_eps)
            theirs = puzzle.transported(1 - mask, shares[partner], self.t_eps)
            x, other = puzzle.rearranged(x, own), puzzle.rearranged(other, theirs)
        share = z.mean(dim=(1, 2))
        return torch.lerp(other, x, F.interpolate(z[:, None], size=side)), share
