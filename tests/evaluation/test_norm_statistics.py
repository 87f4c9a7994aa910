"""Means of running variances: by route, of the BatchNorm half, and of the layers of Table 1."""

from statistics import fmean

import pytest
import torch
from evaluation_samples import data
from torch import nn
from wording import says

from vicinal.draws import Rng
from vicinal.errors import RunError
from vicinal.evaluation.evaluation import Numbers
from vicinal.evaluation.norm_statistics import NormStatistics
from vicinal.models.init import without_weights
from vicinal.models.normalized import Normalized
from vicinal.models.wide_resnet import WideResNet
from vicinal.surgery.dubin import Norm, with_norm

FIRST = {"first": "stage1.0.bn1"}


def network(norm: Norm, depth: int = 10) -> nn.Module:
    """Every channel of every norm has another variance."""
    body = WideResNet(depth, 1, num_classes=4, shape=(3, 8, 8))
    model = with_norm(Normalized(body, (0.5,) * 3, (0.2,) * 3), norm)
    generator = torch.Generator().manual_seed(0)
    for name, values in model.named_buffers():
        if name.endswith("running_var"):
            values.uniform_(0.1, 2.0, generator=generator)
    return model


def measure(model: nn.Module, layers: dict[str, str]) -> Numbers:
    return NormStatistics(layers)(model, data(4), Rng.seeded(0))


@pytest.mark.parametrize(
    ("norm", "channels", "variances"),
    [
        ("bn", 16, {"c": "running_var"}),
        ("dubn", 16, {"c": "main.running_var", "a": "auxiliary.running_var"}),
        ("ibn", 8, {"c": "rest.running_var"}),
        ("dubin", 8, {"c": "rest.main.running_var", "a": "rest.auxiliary.running_var"}),
    ],
)
def test_each_route_has_the_mean_over_its_batchnorms_channels(
    norm: Norm, channels: int, variances: dict[str, str]
) -> None:
    model = network(norm)
    state, expected = model.state_dict(), {}
    for route, name in variances.items():
        values = state[f"body.stage1.0.bn1.{name}"].double().tolist()
        assert len(values) == channels
        expected[f"first_{route}_variance"] = fmean(values)
    assert measure(model, FIRST) == pytest.approx(expected, rel=1e-14)
    assert len(set(expected.values())) == len(variances)


def test_the_networks_beginning_of_a_path_may_be_left_out() -> None:
    model = network("dubn")
    found = measure(model, FIRST)
    assert measure(model, {"first": "body.stage1.0.bn1"}) == found
    assert measure(nn.Sequential(model), FIRST) == found  # one more module around it


def test_the_defaults_are_second_and_third_blocks_of_wrn40_2() -> None:
    with without_weights():
        body = WideResNet(40, 2, num_classes=100, shape=(3, 32, 32))
        model = with_norm(Normalized(body, (0.0,) * 3, (1.0,) * 3), "dubin")
    for number, name in enumerate(("stage1.1", "stage1.2", "stage2.1"), 1):
        for route, of in (("main", 0), ("auxiliary", 1)):
            norm = model.get_submodule(f"body.{name}.bn1.rest.{route}")
            assert isinstance(norm, nn.BatchNorm2d)
            norm.running_var = torch.full((norm.num_features,), float(2 * number + of))
    found = NormStatistics()(model, data(4), Rng.seeded(0))
    assert found == {
        "block1_layer2_c_variance": 2,
        "block1_layer2_a_variance": 3,
        "block1_layer3_c_variance": 4,
        "block1_layer3_a_variance": 5,
        "block2_layer2_c_variance": 6,
        "block2_layer2_a_variance": 7,
    }


@pytest.mark.parametrize("path", ["stage9.1.bn1", "bn1", "stage1.0.conv1", "age1.0.bn1"])
def test_a_path_of_no_single_norm_is_refused_with_the_norms(path: str) -> None:
    parts = f"^layers ... {path} ... body.stage1.0.bn1 ... body.stage3.0.bn2 ... body.bn"
    with pytest.raises(RunError, match=says(parts)):
        measure(network("bn"), {"some": path})


def test_norms_without_running_statistics_are_refused() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False))
    with pytest.raises(RunError, match=says("^layers ... running statistics ... 0")):
        measure(model, {"some": "0"})


def test_no_layers_are_refused() -> None:
    with pytest.raises(ValueError, match=says("^layers ... none")):
        NormStatistics({})


def test_a_network_without_norms_says_so() -> None:
    with pytest.raises(RunError, match=says("^layers ... none")):
        measure(nn.Linear(2, 2), FIRST)
