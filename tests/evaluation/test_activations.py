"""Activations of each stage, against one image and one channel at a time."""

import pytest
import torch
from evaluation_samples import Linear, data, network
from torch import Tensor, nn
from wording import says

from vicinal.data.split import Split
from vicinal.draws import Rng
from vicinal.evaluation.activations import Activations

STAGES = ("stem", "stage1", "stage2", "stage3")


def outputs(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Each stage's raw output for one image: before the next norm and ReLU."""
    h, found = (x[None] - 0.5) / 0.2, {}
    for stage in STAGES:
        h = model.get_submodule(f"body.{stage}")(h)
        found[stage] = h[0]
    return found


def curve(values: list[float]) -> list[float]:
    """The values at 0, 0.1, .., 1 of the way through a list, interpolated linearly."""
    found = []
    for tenth in range(11):
        place = tenth * (len(values) - 1) / 10
        left, part = int(place), place - int(place)
        right = min(left + 1, len(values) - 1)
        found.append((1 - part) * values[left] + part * values[right])
    return found


@pytest.mark.parametrize("signed", [False, True])
@torch.no_grad()
def test_channels_equal_their_definition_image_by_image(signed: bool) -> None:
    model, samples = network().double().eval(), data(11)
    found = Activations(signed_sum=signed, batch_size=4)(model, samples, Rng.seeded(0))
    assert isinstance(samples.test, Split)
    sums: dict[str, list[float]] = {}
    for image in samples.test.x.float() / 255:
        for stage, h in outputs(model, image.double()).items():
            of = sums.setdefault(stage, [0.0] * len(h))
            for c, plane in enumerate(h):
                pixels = plane.flatten().tolist()
                magnitude = sum(abs(v) for v in pixels) / len(pixels)
                of[c] += sum(pixels) if signed else magnitude
    for stage in STAGES:
        channels = sorted((total / 11 for total in sums[stage]), reverse=True)
        assert found.pop(f"{stage}_mean") == pytest.approx(sum(channels) / len(channels), rel=1e-5)
        for tenth, value in enumerate(curve(channels)):
            assert found.pop(f"{stage}_q{tenth / 10}") == pytest.approx(value, rel=1e-5, abs=1e-7)
    assert not found


def test_the_curve_falls_from_the_largest_channel_to_the_smallest() -> None:
    found = Activations()(network(), data(), Rng.seeded(0))
    for stage in STAGES:
        values = [found[f"{stage}_q{tenth / 10}"] for tenth in range(11)]
        assert values == sorted(values, reverse=True)
        assert values[0] > values[-1] > 0


def test_stages_go_by_the_networks_own_names_within_other_modules() -> None:
    class Around(nn.Module):
        stages = tuple(f"network.body.{stage}" for stage in STAGES)

        def __init__(self) -> None:
            super().__init__()
            self.network = network()

        def forward(self, x: Tensor) -> Tensor:
            return self.network(x)

    samples = data()
    expected = Activations()(network(), samples, Rng.seeded(0))
    assert Activations()(Around(), samples, Rng.seeded(0)) == expected


def test_vectors_are_channels_without_space() -> None:
    model, samples = Linear(3 * 8 * 8, 4), data(9)
    found = Activations()(model, samples, Rng.seeded(0))
    assert isinstance(samples.test, Split)
    expected = model(samples.test.x.float() / 255).abs().mean(0)
    assert found["layer_q0.0"] == pytest.approx(expected.max().item())
    assert found["layer_mean"] == pytest.approx(expected.mean().item())


def test_a_network_without_stages_is_refused() -> None:
    with pytest.raises(ValueError, match=says("^model ... stages")):
        Activations()(nn.Flatten(), data(4), Rng.seeded(0))
    with pytest.raises(ValueError, match=says("^batch_size ... 1 ... 0")):
        Activations(batch_size=0)
