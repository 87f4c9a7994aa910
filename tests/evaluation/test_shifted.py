"""Shifted measures each set as Clean does, among the set's classes where it has fewer."""

import math
from statistics import fmean

import pytest
import torch
from evaluation_samples import Noisy, data, network
from torch import Tensor, nn
from wording import says

from vicinal.data.dataset import Data
from vicinal.data.split import Part, Split
from vicinal.draws import Rng
from vicinal.evaluation.clean import Clean
from vicinal.evaluation.shifted import Shifted


class Logits(nn.Module):
    """A sample's features are its logits."""

    def forward(self, x: Tensor) -> Tensor:
        return x


class Given:
    """One set, with these logits and labels, among `chosen` classes."""

    names = ("given",)

    def __init__(self, logits: Tensor, y: Tensor, chosen: tuple[int, ...] | None) -> None:
        self.split, self.chosen = Split(logits, y), chosen

    def load(self, name: str, test: Part, rng: Rng) -> Split:
        return self.split

    def classes(self, name: str, test: Part) -> tuple[int, ...] | None:
        return self.chosen


def given(n: int = 203, k: int = 8) -> tuple[Data, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits, y = (
        torch.randn(n, k, generator=generator),
        2 * torch.randint(3, (n,), generator=generator),
    )
    split = Split(logits, y)
    return Data(split, split, None, k, (0.0,) * k, (1.0,) * k, {}, None), logits, y


def test_each_set_has_cleans_numbers_and_draws_of_its_own() -> None:
    model, samples, sets = network(), data(), Noisy()
    found = Shifted(sets, batch_size=50)(model, samples, Rng.seeded(5))
    for name in sets.names:
        part = sets.load(name, samples.test, Rng.seeded(5).fork(name))
        for key, value in Clean(50)(model, part).items():
            assert found.pop(f"{name}_{key}") == value
    assert sorted(found) == ["mean_nll", "mean_top1"]


def test_means_are_over_sets() -> None:
    found = Shifted(Noisy())(network(), data(), Rng.seeded(0))
    for key in ("top1", "nll"):
        values = [found[f"{name}_{key}"] for name in Noisy().names]
        assert len(set(values)) > 1
        assert found[f"mean_{key}"] == pytest.approx(sum(values) / 3)


def test_a_set_of_some_classes_is_predicted_among_these() -> None:
    """The literal definition: softmax and argmax over the logits of the set's classes alone."""
    samples, logits, y = given()
    found = Shifted(Given(logits, y, (0, 2, 4)))(Logits(), samples, Rng.seeded(0))
    hits, losses = 0, []
    for row, label in zip(logits.double().tolist(), y.tolist(), strict=True):
        among = {k: math.exp(row[k]) for k in (0, 2, 4)}
        hits += max(among, key=lambda k: among[k]) == label
        losses.append(-math.log(among[label] / sum(among.values())))
    assert found["given_top1"] == pytest.approx(100 * hits / len(y))
    assert found["given_nll"] == pytest.approx(fmean(losses))
    everything = Shifted(Given(logits, y, None))(Logits(), samples, Rng.seeded(0))
    assert everything["given_top1"] == Clean()(Logits(), samples.test)["top1"]
    assert everything["given_top1"] < found["given_top1"]


@pytest.mark.parametrize("size", [1, 50, 100, 1000])
def test_the_mean_over_batches_weights_a_small_last_one_as_the_others(size: int) -> None:
    samples, logits, y = given()
    evaluation = Shifted(Given(logits, y, None), batch_size=64, mean_of_batches=size)
    found = evaluation(Logits(), samples, Rng.seeded(0))
    pairs = zip(logits.tolist(), y.tolist(), strict=True)
    hits = [row.index(max(row)) == label for row, label in pairs]
    batches = [hits[first : first + size] for first in range(0, len(hits), size)]
    expected = 100 * sum(sum(batch) / len(batch) for batch in batches) / len(batches)
    assert found["given_batch_mean_top1"] == pytest.approx(expected)
    assert found["given_top1"] == pytest.approx(100 * sum(hits) / len(hits))


@pytest.mark.parametrize("key", ["batch_size", "mean_of_batches"])
def test_batches_without_samples_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match=says(f"^{key} ... 1 ... 0")):
        Shifted(Noisy(), **{key: 0})
