"""How large a data set is, told from its config alone."""

import pytest

from vicinal.cli.configs import compose, recorded
from vicinal.data.size import Size, size_of


def size(*overrides: str) -> Size | None:
    return size_of(recorded(compose(*overrides))["dataset"])


def test_images_are_counted_before_they_are_there() -> None:
    assert size("dataset=cifar100") == (50_000, 10_000, (3, 32, 32), 100)
    assert size("dataset=imagenet") == (1_281_167, 50_000, (3, 224, 224), 1000)
    assert size("dataset=imagenet", "dataset.size=160") == (1_281_167, 50_000, (3, 160, 160), 1000)
    assert size("dataset=digits") == (1_437, 360, (3, 16, 16), 10)
    assert size("dataset=digits", "dataset.size=null") == (1_437, 360, (3, 8, 8), 10)


def test_a_validation_set_of_its_own_is_measured_too() -> None:
    assert size("dataset=speech_commands") == (51_088, 6_798 + 6_835, (1, 161, 101), 30)


def test_nothing_is_known_of_a_users_own_data() -> None:
    assert size("dataset=image_folder", "dataset.root=pets") is None
    assert size("dataset=tabular", "dataset.table=beans.csv") is None


def test_what_is_held_out_is_measured_and_not_trained_on() -> None:
    lines = ("dataset=cifar10", "dataset.holdout_per_class=500")
    assert size(*lines) == (45_000, 15_000, (3, 32, 32), 10)
    assert size(*lines, "dataset.train_per_class=400") == (4_000, 15_000, (3, 32, 32), 10)


def test_a_cap_spares_the_smaller_classes_of_svhn() -> None:
    """PatchUp's split: of digits 1 to 3 there are more than 7,325 left."""
    lines = ("dataset.holdout_per_class=733", "dataset.train_per_class=7325")
    others = 73_257 - (13_861 + 10_585 + 8_497) - 7 * 733
    assert size("dataset=svhn", *lines) == (3 * 7_325 + others, 26_032 + 7_330, (3, 32, 32), 10)


@pytest.mark.parametrize("fold", ["0", "${seed}"])
def test_a_fold_of_stl10_has_a_thousand_images(fold: str) -> None:
    assert size("dataset=stl10") == (5_000, 8_000, (3, 96, 96), 10)
    assert size("dataset=stl10", f"dataset.source.fold={fold}") == (1_000, 8_000, (3, 96, 96), 10)


def test_photos_with_objects_are_as_large_as_they_are_made() -> None:
    assert size("dataset=coco") == (118_287, 5_000, (3, 600, 1000), 80)
    assert size("dataset=coco", "dataset.short=300", "dataset.long=500") == (
        *(118_287, 5_000, (3, 300, 500)),
        80,
    )
    assert size("dataset=detection", "dataset.root=pets") is None
