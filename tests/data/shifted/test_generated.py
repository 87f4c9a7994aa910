from pathlib import Path

import pytest
import torch
from torch import Tensor
from wording import says

from vicinal.data.shifted.sets import ShiftedSets
from vicinal.data.split import Split
from vicinal.draws import Rng
from vicinal.errors import RunError

pytest.importorskip("vicinal.images.corruptions.corrupt")

from vicinal.data.shifted import generated
from vicinal.data.shifted.generated import Generated

TEST = Split(torch.full((30, 3, 32, 32), 100, dtype=torch.uint8), torch.arange(30) % 10)


def read(name: str, seed: int = 0, size: int = 30, **options) -> Tensor:
    family = Generated(corruptions=(name.rpartition("_")[0],), **options)
    part = family.load(name, TEST, Rng.seeded(seed))
    return torch.cat([x for x, _, _ in part.batches(torch.arange(30).split(size))])


def test_the_generator_is_asked_for_the_corruption_and_the_severity(monkeypatch):
    asked = []

    def corrupted(*which: object, frost: Path | None) -> Tensor:
        asked.append((*which[:2], frost))
        assert isinstance(which[2], Tensor)
        return which[2] + 1

    monkeypatch.setattr(generated, "corrupted", corrupted)
    assert torch.equal(read("frost_4", frost="~/ice"), TEST.x + 1)
    assert torch.equal(read("gaussian_noise_2"), TEST.x + 1)
    assert asked == [("frost", 4, Path("~/ice").expanduser()), ("gaussian_noise", 2, None)]


def test_the_same_noise_comes_whenever_it_is_read():
    part = Generated(("gaussian_noise",)).load("gaussian_noise_3", TEST, Rng.seeded(0))
    ((first, _, _),), ((again, _, _),) = (part.batches([torch.arange(30)]) for _ in range(2))
    assert torch.equal(again, first)
    assert torch.equal(read("gaussian_noise_3", size=7), first)
    assert not torch.equal(read("gaussian_noise_3", seed=1), first)


def test_a_higher_severity_changes_more():
    changes = [(read(f"gaussian_noise_{s}").int() - 100).abs().float().mean() for s in (1, 3, 5)]
    assert changes == sorted(changes)
    assert 0 < changes[0] < changes[2]


def test_labels_are_those_of_the_test_set():
    assert Generated().load("fog_1", TEST, Rng.seeded(0)).y is TEST.y


@pytest.mark.parametrize("shape", [(1, 32, 32), (64,), (3,)])
def test_only_colour_images_are_corrupted(shape):
    test = Split(torch.zeros(5, *shape, dtype=torch.uint8), torch.arange(5))
    with pytest.raises(RunError, match=says(f"dataset ... {' x '.join(map(str, shape))}")):
        Generated().load("fog_1", test, Rng.seeded(0))


def test_it_is_a_family_of_sets_by_corruption_and_severity():
    assert isinstance(Generated(), ShiftedSets)
    assert len(Generated().names) == 75
    with pytest.raises(ValueError, match=says("^corruptions ... mist")):
        Generated(corruptions=("mist",))
