"""What every method that acts between stages does on a network of timm's, and on vicinities."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from wording import says

from vicinal.contracts import Method
from vicinal.draws import Rng
from vicinal.methods.dropblock import DropBlock
from vicinal.methods.dropout import Dropout
from vicinal.methods.manifold import Manifold
from vicinal.methods.patchup import PatchUp
from vicinal.models.normalized import Normalized
from vicinal.models.timm import Timm
from vicinal.vicinities.compose import Compose
from vicinal.vicinities.cutmix import CutMix
from vicinal.vicinities.cutout import Cutout
from vicinal.vicinities.identity import Identity
from vicinal.vicinities.label_smoothing import LabelSmoothing
from vicinal.vicinities.mixup import Mixup

SMOOTH = Compose(Cutout(length=8), LabelSmoothing())
METHODS = [
    *[PatchUp(Identity(), layers=[k]) for k in (0, 1, 2)],
    PatchUp(SMOOTH, mode="hard", gamma=0.5, layers=[1], loss="ce"),
    Manifold(Identity(), Mixup(), layers=[0, 1, 2, 3, 4, 5]),
    Manifold(SMOOTH, CutMix(), layers=[2]),
    DropBlock(Mixup(), block_size=3),
    Dropout(Mixup()),
]


def network(name: str = "resnet18", **options: object) -> nn.Module:
    torch.manual_seed(0)
    body = Timm(name, options=options, num_classes=4, shape=(3, 32, 32))
    return Normalized(body, (0.5,) * 3, (0.25,) * 3)


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(8, 3, 32, 32, generator=generator), F.one_hot(torch.arange(8) % 4, 4).float()


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_gradients_are_finite_and_reach_every_parameter_of_a_timm_network(method: Method) -> None:
    model = method.prepare(network(zero_init_last=False))  # else branches start at zero
    (loss,) = method(model, *batch(), Rng.seeded(1))
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_networks_without_what_a_method_acts_on_are_refused() -> None:
    with pytest.raises(ValueError, match=says("^model ... conv1 ... conv2 ... Normalized")):
        Dropout(Identity()).prepare(network("mobilenetv3_small_050"))
    bare = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    for method in (PatchUp(Identity()), Manifold(Identity(), Mixup()), DropBlock(Identity())):
        with pytest.raises(ValueError, match=says("^model ... Sequential ... stages")):
            method.prepare(bare)
