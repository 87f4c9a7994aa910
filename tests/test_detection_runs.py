"""Whole runs on photos with objects: trained, resumed, shared between ranks, begun from another."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from composing import compose
from detection_samples import SMALL, drawn_set
from two_ranks import on_two
from whole_runs import killed, without_time
from wording import says

from vicinal.cli.configs import build, resolved
from vicinal.contracts import Memory
from vicinal.errors import RunError
from vicinal.loop import Loop
from vicinal.machine.pieces import Piece
from vicinal.run import Run
from vicinal.storage import records
from vicinal.tables import runs as tables_of_runs

pytest.importorskip("pycocotools")
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
CHOICES = {"model": "mask_rcnn", "method": "some"}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn_set(tmp_path_factory.mktemp("photos") / "drawn", train=13, test=4)


def made(root: Path, out: Path, *overrides: str) -> tuple[Run, dict[str, Any]]:
    given = (*SMALL, *overrides, f"out={out}", f"results={out}/results")
    config = compose("dataset=detection", f"dataset.root={root}", *given)
    return build(config), resolved(config)


def execute(root: Path, out: Path, *overrides: str) -> dict[str, Any]:
    """A run as the command line makes it; its record."""
    run, tree = made(root, out, *overrides)
    run.execute(tree, CHOICES)
    folder = out / records.name(tree, run.dataset.name, CHOICES) / f"seed{run.seed}"
    return json.loads((folder / "record.json").read_text())


def test_training_finds_more_and_more(drawn: Path, tmp_path: Path) -> None:
    """Measured on what is trained on: that the parts fit together, not that it generalises."""
    lines = "schedule.epochs=12 schedule.measure_epochs=6 optimizer.lr=0.03".split()
    same = "dataset.test=train", "dataset.flip=false", "model.frozen_stages=0"
    record = execute(drawn, tmp_path, *lines, *same)
    found = record["curves"]["test_average_precision"]
    assert found[-1] > max(5, found[0])
    assert set(record["metrics"]["last"]) == {"average_precision", "mask_average_precision"}
    assert record["timing"]["images_per_second"] > 0
    assert record["data"]["samples"] == {"train": 12, "test": 13}
    assert records.headline(record["metrics"]["last"]) == pytest.approx(found[-1], rel=1e-4)
    assert "average precision" in tables_of_runs.row(record["name"], [record])[-1]
    best = record["metrics"]["best_test"]["average_precision"]
    assert best == pytest.approx(max(found), rel=1e-4)


@pytest.mark.parametrize(
    "method", ["gradaug_detection", pytest.param("detection_loss", marks=pytest.mark.slow)]
)
def test_a_run_stopped_anywhere_ends_as_if_it_never_was(
    method: str, drawn: Path, tmp_path: Path
) -> None:
    lines = f"method={method}", "schedule.measure_epochs=2"
    whole = execute(drawn, tmp_path / "whole", *lines)

    def stops(loop: Loop) -> bool:
        return loop.steps_done == 4  # of 3 an epoch

    with killed(stops):
        execute(drawn, tmp_path / "stopped", *lines)
    torch.manual_seed(99)
    resumed = execute(drawn, tmp_path / "stopped", *lines, "runtime.workers=2")
    assert without_time(resumed) == without_time(whole)
    assert [session["from_step"] for session in resumed["sessions"]] == [0, 4]


def stepped(run: Run, steps: int = 1) -> dict[str, Any]:
    """The loop's state after so many steps; regions are sampled alike on all ranks."""
    loop = run.loop(run.dataset.load())
    torch.manual_seed(5)
    for _ in loop.steps():
        if loop.steps_done == steps:
            break
    return loop.state()


def twins(folder: Path, count: int) -> Path:
    """A set that shows one photo, with its objects, so many times."""
    root = drawn_set(folder, train=2, test=2)
    path = root / "annotations" / "instances_train.json"
    tree = json.loads(path.read_text())
    (image,) = tree["images"][1:]
    objects = [each for each in tree["annotations"] if not each["iscrowd"]]
    tree["images"] = [image | {"id": number} for number in range(count)]
    tree["annotations"] = [each | {"image_id": n} for n in range(count) for each in objects]
    path.write_text(json.dumps(tree))
    return root


def test_two_ranks_train_on_half_of_the_photos_each(tmp_path: Path) -> None:
    """Each on its twin, they take the step of one process on one of them.

    Of different photos they do not: losses are means over the regions that a rank samples.
    """
    still = ("dataset.flip=false",)
    one, _ = made(twins(tmp_path / "one", 1), tmp_path, "schedule.batch_size=1", *still)
    two, _ = made(twins(tmp_path / "two", 2), tmp_path, "schedule.batch_size=2", *still)
    expected, found = stepped(one), on_two(lambda: stepped(two), tmp_path)
    for name, value in expected["model"].items():
        for each in found:
            torch.testing.assert_close(each["model"][name], value, rtol=1e-5, atol=1e-7)
    assert found[0]["loss_sum"] == pytest.approx(2 * expected["loss_sum"], rel=1e-5)


def test_a_batch_in_pieces_has_the_mean_gradient_of_its_halves(drawn: Path, tmp_path: Path) -> None:
    """Each half with its own objects, on photos as large as the whole batch's."""
    lines = "method=gradaug_detection", "method.num_subnets=1", "optimizer.clip_norm=null"
    run, _ = made(drawn, tmp_path, *lines, "runtime.accumulate=2")
    expected, found = (run.loop(run.dataset.load()) for _ in range(2))
    x, y, rows = next(iter(expected.batches.epoch(0, 0, expected.rng)))
    torch.manual_seed(5)
    shared = expected.rng.shared.get_state()
    for half in (slice(0, 2), slice(2, 4)):
        expected.rng.shared.set_state(shared)
        for term in expected.terms(Piece(x[half], y[half], rows[half], Memory())):
            (term / 2).backward()
    torch.manual_seed(5)
    next(found.steps())
    for ours, theirs in zip(found.model.parameters(), expected.model.parameters(), strict=True):
        if theirs.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-7)


def test_ranks_have_the_same_network_after_every_step(drawn: Path, tmp_path: Path) -> None:
    run, _ = made(drawn, tmp_path, "method=gradaug_detection", "method.num_subnets=1")
    first, second = on_two(lambda: stepped(run, 2), tmp_path)
    for name, value in first["model"].items():
        assert torch.equal(value, second["model"][name]), name


def test_a_detector_begins_with_a_classifiers_weights(drawn: Path, tmp_path: Path) -> None:
    """All but its last layer, and by the same normalisation."""
    classifier = (
        "dataset=digits dataset.size=8 dataset.train_per_class=4 model=timm "
        "model.name=test_resnet +model.options.zero_init_last=false runtime=cpu "
        "runtime.threads=1 runtime.progress=false schedule.epochs=1 schedule.batch_size=20"
    ).split()
    config = compose(*classifier, f"out={tmp_path}", f"results={tmp_path}/results")
    other: Run = build(config)
    names = {"model": "timm", "method": "erm"}
    other.execute(resolved(config), names)
    name = records.name(resolved(config), "digits", names)
    data = other.dataset.load()
    moments = [f"dataset.{key}={list(getattr(data, key))}" for key in ("mean", "std")]
    lines = ["init=run", f"init.name={name}", *moments]
    run, _ = made(drawn, tmp_path, *lines)
    start = run.init.read(tmp_path)
    model = run.build(run.dataset.load(), start)
    own = {
        name.removeprefix("network.body."): value
        for name, value in model.state_dict().items()
        if name.startswith("network.body.")
    }
    theirs = {name.removeprefix("body.network."): value for name, value in start.tensors.items()}
    assert set(theirs) - set(own) == {"fc.weight", "fc.bias", "normalize.mean", "normalize.std"}
    for name, value in own.items():
        assert torch.equal(value, theirs[name]), name
    record = execute(drawn, tmp_path, *lines, "schedule.epochs=1")
    assert record["init"]["name"] == start.origin["name"]
    with pytest.raises(RunError, match=says("mean must be that of init")):
        execute(drawn, tmp_path, *lines[:2], "schedule.epochs=1")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["method=erm"], "^method ... objects in photos ... Erm"),
        (["clean=classification"], "^clean ... PhotoSplit ... Clean"),
        (["evaluation=spatial"], "^evaluation.spatial ... DetectionData ... Spatial"),
    ],
)
def test_what_is_not_for_photos_is_refused_in_one_line(
    overrides: list[str], message: str, drawn: Path, tmp_path: Path
) -> None:
    run, tree = made(drawn, tmp_path, *overrides)
    with pytest.raises(RunError, match=says(message)):
        run.execute(tree, CHOICES)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["method=detection_loss"], "^method ... samples ... DetectionLoss ... objects"),
        (["model=mask_rcnn"], "^model ... detector ... MaskRcnn"),
        (["clean=average_precision"], "^clean ... Split ... AveragePrecision"),
    ],
)
def test_what_is_for_photos_is_refused_on_classified_images(
    overrides: list[str], message: str, tmp_path: Path
) -> None:
    small = "dataset=digits", "model=wrn10_2", "runtime=cpu"
    config = compose(*small, *overrides, f"out={tmp_path}", f"results={tmp_path}/results")
    run: Run = build(config)
    with pytest.raises(RunError, match=says(message)):
        run.execute(resolved(config), CHOICES)
