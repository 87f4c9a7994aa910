"""Empirical risk over a vicinity of the features after a layer that is drawn for each batch.

With f = f_k(g_k(x)): the mean of CE(f_k(h'), y') over (h', y') drawn around (g_k(x), y).

Paper:    Verma et al., Manifold Mixup, ICML 2019, arXiv 1806.05236; Eq. 1-2 (with mixup); Yun et
          al., CutMix, ICCV 2019, arXiv 1905.04899; §4.1 "Feature CutMix" (with CutMix);
          Zhang et al., mixup, ICLR 2018, arXiv 1710.09412; Table 5, Layer 1-5 (`layers: [k]`)
Code:     chandar-lab/PatchUp (commit 31133f3) main.py, models/preresnet.py, after
          vikasverma1077/manifold_mixup; none released for features in CutMix. Compared step by step
          in float64, with mixup and `loss: bce`: everything within 2e-8 (its λ is float32).
Differs:  in Manifold Mixup's code layer 1 is the first stage's output; here and in PatchUp's it is
          the stem's output, so its {0, 1, 2} are [0, 2, 3]. The codes' loss is the binary
          cross-entropy of the softmax: `loss: bce`. Layer 0 is mixed before normalisation,
          which commutes with mixing.
Cost:     1 forward, 1 backward, 1 update of BatchNorm
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from vicinal.contracts import Images, Inputs, Loss, Maps, Method, Targets, Vicinity, parts
from vicinal.draws import Rng, shared_choice
from vicinal.losses import LOSSES, LossName
from vicinal.surgery.taps import add_seams, run_tapped


@dataclass(frozen=True)
class Manifold(Method):
    """`vicinity` acts on the inputs, as everywhere; `features` acts between stages."""

    vicinity: Vicinity
    features: Vicinity
    layers: Sequence[int] = (0, 1, 2)  # 0 is the input, 1 the stem's output, 2 the first stage's
    loss: LossName = "ce"

    def __post_init__(self) -> None:
        if not self.layers or min(self.layers) < 0:
            raise ValueError(f"layers must be numbers from 0 (the input) up, got {self.layers}")

    def prepare(self, model: nn.Module) -> nn.Module:
        """Add seams after the layers, once checked that there are such."""
        return add_seams(model, self.layers)

    def __call__(self, model: nn.Module, x: Inputs, y: Targets, rng: Rng) -> Iterator[Loss]:
        x, y = self.vicinity(x, y, rng)
        k = shared_choice(self.layers, rng)
        maps = any(takes in (Images, Maps) for *_, takes in parts(self.features, "features"))
        logits, y = run_tapped(model, x, k, lambda h: self.features(h, y, rng), maps=maps)
        yield LOSSES[self.loss](logits, y).mean()
