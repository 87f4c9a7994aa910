"""PatchUp's two modes, and its loss beside the plain one, for its tests."""

from oracles.features import batch
from torch import Tensor, nn

from vicinal.draws import Rng
from vicinal.losses import LOSSES
from vicinal.methods.patchup import PatchUp
from vicinal.vicinities.identity import Identity

SOFT = PatchUp(Identity(), block_size=3)
HARD = PatchUp(Identity(), mode="hard", patchup_prob=1.0, gamma=0.5, block_size=3)


def loss_of(method: PatchUp, model: nn.Module, seed: int = 0) -> Tensor:
    (loss,) = method(model, *batch(), Rng.seeded(seed))
    return loss


def plain(method: PatchUp, model: nn.Module) -> Tensor:
    x, y = batch()
    return LOSSES[method.loss](model(x), y).mean()
