"""How long a run will take, estimated before its data or network exist."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from wording import says

from vicinal.cli.configs import compose, resolved
from vicinal.tables.costs import ASSUMED, RECURRENT, Cost, Costs

NOTHING = Costs({}, {}, {})


def config(*overrides: str) -> dict[str, Any]:
    return resolved(compose(*overrides))


def cost(name: str, *overrides: str, costs: Costs = NOTHING) -> Cost:
    found = costs.of(name, config(*overrides))
    assert found is not None
    return found


def hours(name: str, *overrides: str, costs: Costs = NOTHING) -> float:
    return cost(name, *overrides, costs=costs).hours


def test_an_epoch_of_imagenet_is_estimated_from_the_networks_arithmetic() -> None:
    """ResNet-50 has 4.09 G multiply-adds at 224 x 224 (GradAug Table 1: 4.1)."""
    options = ["model.name=resnet50", "+model.options.zero_init_last=false", "schedule.epochs=1"]
    found = cost("imagenet/timm/erm/some", "dataset=imagenet", "model=timm", *options)
    assert not found.measured
    operations = (1_281_167 * 3 + 50_000) * 2 * 4.09e9
    assert found.hours == pytest.approx(operations / ASSUMED / 3600, rel=0.01)


def test_a_small_network_takes_as_long_as_its_launches() -> None:
    """ResNet-110 takes twice as long at half the batch, a wide network does not."""
    common = ["dataset=cifar10", "schedule.measure_epochs=200"]
    for model, ratio in (("resnet110", 2.0), ("wrn28_10", 1.0)):
        lines = [*common, f"model={model}"]
        half, whole = (
            hours(f"cifar10/{model}/erm/some", *lines, f"schedule.batch_size={batch}")
            for batch in (64, 128)
        )
        assert half / whole == pytest.approx(ratio, rel=0.02)
    assert hours("cifar10/resnet110/erm/some", *common, "model=resnet110") > 0.3


@pytest.mark.parametrize(
    ("method", "ratio"),
    [
        ("maxup_cutout", 7 / 3),
        ("maxup_cutout method.copies=10", 13 / 3),
        ("gradaug", 4),
        ("augmix", 3),
        ("augmax", 29 / 3),
        ("puzzlemix", 5 / 3),
    ],
)
def test_a_methods_own_passes_are_counted(method: str, ratio: float) -> None:
    common = ["dataset=cifar10", "model=wrn10_2", "schedule.measure_epochs=200"]
    name, *settings = method.split()
    erm = hours("cifar10/wrn10_2/erm/some", *common, "method=erm")
    found = hours(f"cifar10/wrn10_2/{name}/some", *common, f"method={name}", *settings)
    assert found / erm == pytest.approx(ratio, rel=0.01)


def test_evaluations_and_the_true_number_of_images_are_counted() -> None:
    """A fold of STL-10 has 1,000 training images and is measured on 8,000."""
    lines = ["dataset=stl10", "dataset.source.fold=0", "model=wrn28_2_oliver"]
    name = "stl10/wrn28_2_oliver/erm/some"
    often, seldom = (hours(name, *lines, f"schedule.measure_epochs={every}") for every in (1, 200))
    passes = 3 * 1_000 / 8_000  # against one forward of each test image
    assert (often - seldom) / (200 - 1) == pytest.approx(seldom / (200 * passes + 1), rel=0.3)
    whole = hours(name, *lines, "dataset.source.fold=null", "schedule.measure_epochs=200")
    assert whole > 4 * seldom
    few = hours(name, *lines, "dataset.train_per_class=10", "schedule.measure_epochs=200")
    assert few < seldom / 4


def test_a_batch_that_no_device_holds_needs_several_ranks() -> None:
    """mixup's ResNeXt-101 64*4d, with 1,024 images of 224 x 224 per step."""
    lines = ["dataset=imagenet", "model=timm", "model.name=resnext101_64x4d"]
    large = cost("imagenet/timm/mixup/some", *lines, "schedule.batch_size=1024")
    assert large.ranks > 1
    assert re.search(says(f"{large.ranks} ranks ... 80 GB"), str(large))
    assert cost("imagenet/timm/mixup/some", *lines, "schedule.batch_size=64").ranks == 1


TEXT = ["dataset=ptb", "model=awd_lstm", "method=next_word"]
COLUMNS, VOCABULARY = 20, 10_000
READ, MEASURED = 929_589, 73_760 + 82_430  # words, in 20 and in 10 columns


def test_a_language_model_waits_for_the_word_before() -> None:
    """630 times a recurrent layer's word is a step of 70 words, of 15 to 25 ms on an H100."""
    assert 0.015 < 630 * RECURRENT < 0.025
    options = ["schedule.epochs=1", "schedule.restarts=0"]
    found = hours("ptb/awd_lstm/next_word/some", *TEXT, *options)
    layers = 3 * (3 * READ / COLUMNS + MEASURED / 10)
    assert found == pytest.approx(layers * RECURRENT / 3600, rel=1e-3)


def test_a_wide_batch_of_text_takes_as_long_as_its_arithmetic() -> None:
    options = ["schedule.epochs=1", "schedule.restarts=0", "schedule.batch_size=2000"]
    found = hours("ptb/awd_lstm/next_word/some", *TEXT, *options, "clean.columns=2000")
    gates = sum(4 * out * (into + out) for into, out in ((400, 1150), (1150, 1150), (1150, 400)))
    word = 2 * (gates + 400 * VOCABULARY)
    assert found * 3600 == pytest.approx((3 * READ + MEASURED) * word / ASSUMED, rel=0.02)


def test_restarts_are_taken_to_need_all_their_epochs() -> None:
    once, thrice = (
        hours("ptb/awd_lstm/next_word/some", *TEXT, f"schedule.restarts={restarts}")
        for restarts in (0, 2)
    )
    assert thrice == pytest.approx(3 * once)


def record(name: str, seconds: float, *overrides: str, device: str = "cuda") -> dict[str, Any]:
    return {
        "name": name,
        "config": config(*overrides),
        "sessions": [{"device": {"type": device}}],
        "timing": {"seconds_per_epoch": seconds},
    }


def test_what_was_measured_goes_before_what_is_assumed(tmp_path: Path) -> None:
    """A record tells its own run's time, and how wrong estimates of its network's others are."""
    common = ["dataset=cifar10", "model=wrn10_2", "schedule.measure_epochs=200"]
    erm, maxup = "cifar10/wrn10_2/erm/a", "cifar10/wrn10_2/maxup_cutout/b"
    known = Costs.known([record(erm, 36.0, *common)], tmp_path)
    own = cost(erm, *common, costs=known)
    assert own.measured
    assert own.hours == pytest.approx(2.0, rel=0.01)
    other = cost(maxup, *common, "method=maxup_cutout", costs=known)
    assert not other.measured
    assert other.hours == pytest.approx(2.0 * 7 / 3, rel=0.02)
    on_cpu = Costs.known([record(erm, 36.0, *common, device="cpu")], tmp_path)
    assert hours(erm, *common, costs=on_cpu) == hours(erm, *common)


@pytest.mark.parametrize(("device", "counts"), [("cuda", True), ("cpu", False)])
def test_a_step_that_a_bench_timed_on_a_gpu_is_counted(
    tmp_path: Path, device: str, counts: bool
) -> None:
    bench = {"model": "wrn10_2", "batch": 128, "device": {"type": device}}
    bench |= {"steps": {"erm": {"milliseconds": 100.0}}}
    (tmp_path / "bench.json").write_text(json.dumps(bench))
    common = ["dataset=cifar10", "model=wrn10_2", "schedule.measure_epochs=200"]
    found = hours("cifar10/wrn10_2/erm/a", *common, costs=Costs.known([], tmp_path))
    expected = 200 * 391 * 0.1 / 3600
    assert (found == pytest.approx(expected, rel=0.01)) == counts


def test_a_detectors_run_has_an_estimate_and_an_own_sets_none() -> None:
    """Six hours of a step's arithmetic are expected of an H200; GradAug takes four such steps."""
    found = cost("coco/mask_rcnn/detection_loss/some", "dataset=coco")
    assert not found.measured
    assert 1 < found.hours < 24
    four = hours("coco/mask_rcnn/x/some", "dataset=coco", "method=gradaug_detection")
    assert 3.5 * found.hours < four < 4.2 * found.hours
    own = config("dataset=detection", "dataset.root=pets")
    assert NOTHING.of("pets/mask_rcnn/detection_loss/some", own) is None
