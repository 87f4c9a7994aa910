"""Between training samples: misses and gradients as in mixup's Figure 2, from its definitions."""

from dataclasses import replace
from statistics import fmean

import pytest
import torch
from evaluation_samples import Linear, data, network
from oracles import between as oracle
from torch import nn
from wording import says

from vicinal.data.split import Split
from vicinal.draws import Rng
from vicinal.errors import RunError
from vicinal.evaluation.between import Between


def test_every_number_equals_its_definition_pair_by_pair() -> None:
    model, samples = Linear(3 * 4 * 4, 4), data(20, 4)
    found = Between(pairs=60, steps=5, batch_size=13)(model, samples, Rng.seeded(4))
    i, j = torch.randint(20, (2, 60), generator=Rng.seeded(4).fork("pairs").cpu).tolist()
    assert isinstance(samples.train, Split)
    x = (samples.train.x.flatten(1).float() / 255).tolist()
    y = samples.train.y.tolist()
    weights, bias = model.layer.weight.tolist(), model.layer.bias.tolist()
    misses, gradients = {}, {}
    for name, lam in {"0": 0.0, "0.25": 0.25, "0.5": 0.5, "0.75": 0.75, "1": 1.0}.items():
        of = [
            oracle.at(weights, bias, (x[a], x[b]), (y[a], y[b]), lam)
            for a, b in zip(i, j, strict=True)
        ]
        misses[name] = 100 * fmean(miss for miss, _ in of)
        gradients[name] = fmean(norm for _, norm in of)
        assert found.pop(f"miss_{name}") == pytest.approx(misses[name])
        assert found.pop(f"gradient_{name}") == pytest.approx(gradients[name], rel=1e-5)
    assert found.pop("miss") == pytest.approx(fmean(misses.values()))
    assert found.pop("gradient") == pytest.approx(fmean(gradients.values()), rel=1e-5)
    assert not found
    assert len(set(misses.values())) > 1


def test_the_ends_of_the_way_are_the_samples_themselves() -> None:
    """Where a network knows every label, nothing is missed there, and only there."""

    class Knows(nn.Module):
        """Class x where x is a whole number, else class 3, which no sample has."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            whole = (x == x.round())[:, 0]
            target = torch.where(whole, x[:, 0], 3.0)
            return -((torch.arange(4) - target[:, None]) ** 2)

    y = torch.arange(30) % 2
    split = Split(y[:, None].float(), y)
    found = Between(pairs=200, steps=3)(Knows(), replace(data(4), train=split), Rng.seeded(0))
    assert found["miss_0"] == found["miss_1"] == 0
    assert 30 < found["miss_0.5"] < 70  # pairs of different labels


def test_the_grid_is_named_by_its_lambdas() -> None:
    found = Between(pairs=4, steps=11)(network(), data(8), Rng.seeded(0))
    names = ["0", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1"]
    assert [key for key in found if key.startswith("miss_")] == [f"miss_{name}" for name in names]


def test_pairs_need_training_samples_in_memory() -> None:
    class Streamed:
        """A split whose images are read when they are needed."""

        y, redrawn, shape, pixels = torch.zeros(3).long(), None, (3, 8, 8), True

        def __len__(self) -> int:
            return 3

        def __getitem__(self, rows: torch.Tensor) -> "Streamed":
            return self

        def to(self, device: str, decoder: object = None) -> "Streamed":
            return self

        def batches(self, rows: object, key: object = None) -> None: ...

    streamed = replace(data(8), train=Streamed())  # pyright: ignore[reportArgumentType]
    with pytest.raises(RunError, match=says("^dataset ... memory ... Streamed")):
        Between()(network(), streamed, Rng.seeded(0))
    empty = replace(data(8), train=data(8).train[torch.arange(0)])
    with pytest.raises(RunError, match=says("^dataset ... training samples ... none")):
        Between()(network(), empty, Rng.seeded(0))


@pytest.mark.parametrize(("key", "least"), [("pairs", 1), ("steps", 2), ("batch_size", 1)])
def test_settings_that_mean_nothing_are_refused(key: str, least: int) -> None:
    with pytest.raises(ValueError, match=says(f"^{key} ... {least} ... {least - 1}")):
        Between(**{key: least - 1})
