"""AugMix's loss against its definition, on one route and on two."""

import copy
from typing import Any

import pytest
import torch
from oracles.augmax import jensen_shannon
from oracles.vicinities import cross_entropy
from torch import Tensor, nn
from torch.nn import functional as F
from wording import says

from vicinal.draws import Rng
from vicinal.methods.augmix import AugMix
from vicinal.models.normalized import Normalized
from vicinal.models.wide_resnet import WideResNet
from vicinal.surgery.dubin import routed
from vicinal.vicinities import augmix
from vicinal.vicinities.gaussian_noise import GaussianNoise
from vicinal.vicinities.identity import Identity
from vicinal.vicinities.mixup import Mixup


def network() -> nn.Module:
    torch.manual_seed(0)
    body = WideResNet(10, 1, num_classes=4, shape=(3, 8, 8))
    return Normalized(body, (0.5,) * 3, (0.2,) * 3).double()


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(256, (6, 3, 8, 8), generator=generator) / 255
    return x.double(), F.one_hot(torch.arange(6) % 4, 4).double()


@pytest.mark.parametrize("norm", ["bn", "ibn", "dubn", "dubin"])
def test_augmix_equals_its_loss(norm: Any) -> None:
    x, y = batch()
    view = augmix.AugMix()
    method = AugMix(Identity(), view, lam=5.0, norm=norm)
    model = method.prepare(network())
    twin = copy.deepcopy(model)
    (ours,) = method(model, x, y, Rng.seeded(0))
    rng = Rng.seeded(0)
    views = [view(x, y, rng)[0] for _ in range(2)]
    if norm in ("bn", "ibn"):
        outputs = twin(torch.cat([x, *views])).split(6)
    else:
        with routed(twin, "A"):
            augmented = twin(torch.cat(views)).split(6)
        outputs = twin(x), *augmented
    z = [output.tolist() for output in outputs]
    losses = [
        cross_entropy(z[0][i], y[i].tolist()) + 5.0 * jensen_shannon([o[i] for o in z])
        for i in range(6)
    ]
    torch.testing.assert_close(ours.item(), sum(losses) / 6, rtol=1e-10, atol=1e-10)
    for a, b in zip(model.buffers(), twin.buffers(), strict=True):
        assert torch.equal(a, b)


def test_without_the_divergence_only_clean_images_are_fitted() -> None:
    x, y = batch()
    model = network().eval()
    (ours,) = AugMix(Identity(), augmix.AugMix(), lam=0.0)(model, x, y, Rng.seeded(0))
    torch.testing.assert_close(ours, F.cross_entropy(model(x), y))


def test_views_equal_to_the_image_diverge_by_nothing() -> None:
    x, y = batch()
    model = network().eval()
    losses = [
        next(AugMix(Identity(), Identity(), lam=lam)(model, x, y, Rng.seeded(0)))
        for lam in (0.0, 100.0)
    ]
    torch.testing.assert_close(*losses)


def test_any_vicinity_that_keeps_the_targets_gives_views() -> None:
    x, y = batch()
    (loss,) = AugMix(Mixup(), GaussianNoise(0.1))(network(), x, y, Rng.seeded(0))
    assert loss.isfinite()
    with pytest.raises(ValueError, match=says("^view ... targets ... Mixup")):
        list(AugMix(Identity(), Mixup())(network(), x, y, Rng.seeded(0)))


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(ValueError, match=says("^lam ... 0 ... -1.0")):
        AugMix(Identity(), augmix.AugMix(), lam=-1.0)
