"""What a run is called, and the numbers it is known by."""

import copy
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from vicinal.cli.configs import build
from vicinal.storage import records
from vicinal.storage.records import MOVED, curves, identity, metrics, timing

CONFIG = {
    "dataset": {
        "_target_": "vicinal.data.images.Images",
        "source": None,
        "name": "cifar10",
        "root": "data",
        "crop_padding": 4,
    },
    "model": {
        "_target_": "vicinal.models.wide_resnet.WideResNet",
        "_partial_": True,
        "depth": 16,
        "width": 4,
    },
    "method": {
        "_target_": "vicinal.methods.maxup.MaxUp",
        "copies": 10,
        "vicinity": {"_target_": "vicinal.vicinities.cutout.Cutout", "length": 8},
    },
    "optimizer": {"_target_": "vicinal.optim.Sgd", "lr": 0.1},
    "schedule": {
        "_target_": "vicinal.schedules.Schedule",
        "epochs": 200,
        "batch_size": 128,
        "curve": {"_target_": "vicinal.schedules.Step"},
    },
    "runtime": {"_target_": "vicinal.machine.runtime.Runtime", "device": "cpu"},
    "seed": 0,
}


def changed(path: str, value: object) -> str:
    config = copy.deepcopy(CONFIG)
    node = config
    *parents, last = path.split(".")
    for key in parents:
        node = node[key]
    node[last] = value
    return identity(config, "cifar10")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("method.copies", 4),
        ("method.vicinity.length", 16),
        ("schedule.epochs", 30),
        ("optimizer.lr", 0.2),
        ("dataset.crop_padding", 2),
        ("model.depth", 28),
    ],
)
def test_what_changes_the_experiment_changes_the_id(path: str, value: object) -> None:
    assert changed(path, value) != identity(CONFIG, "cifar10")


@pytest.mark.parametrize(
    ("path", "value"),
    [("seed", 3), ("runtime.device", "cuda"), ("dataset.root", "/elsewhere")],
)
def test_seed_machine_and_place_do_not(path: str, value: object) -> None:
    assert changed(path, value) == identity(CONFIG, "cifar10")


@pytest.mark.parametrize(
    ("path", "default"),
    [
        ("method.selection", "train"),
        ("method.vicinity.per", "sample"),
        ("optimizer.momentum", 0.9),
        ("schedule.curve.milestones", [0.5, 0.75]),
        ("schedule.warmup_method", None),
    ],
)
def test_a_new_option_at_its_default_renames_no_run(path: str, default: object) -> None:
    assert changed(path, default) == identity(CONFIG, "cifar10")


def test_a_class_that_moves_renames_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    vicinity = {"_target_": "vicinal.vicinities.mixup.Mixup", "alpha": 1.0}
    before = changed("method.vicinity", vicinity)
    monkeypatch.setitem(MOVED, vicinity["_target_"], "vicinal.vicinities.cutmix.CutMix")
    moved = vicinity | {"_target_": "vicinal.vicinities.cutmix.CutMix"}
    assert changed("method.vicinity", moved) == before


def test_published_records_are_still_runs_with_their_ids() -> None:
    published = records.load(Path(__file__).parents[2] / "results" / "runs")
    for record in published:
        dataset = record["name"].partition("/")[0]
        assert records.name(record["config"], dataset, record["choices"]) == record["name"]
    build(OmegaConf.create(published[0]["config"]))  # whose Runtime has moved since


def test_another_data_set_is_another_run() -> None:
    assert identity(CONFIG, "cifar10") != identity(CONFIG, "cifar100")


def test_a_whole_number_is_one_however_it_is_written() -> None:
    assert changed("optimizer.lr", 1) == changed("optimizer.lr", 1.0)
    assert changed("optimizer.nesterov", 1) != changed("optimizer.nesterov", True)


def test_a_setting_that_follows_the_seed_names_one_run() -> None:
    assert changed("dataset.split_seed", "${seed}") not in {
        changed("dataset.split_seed", 1),
        changed("dataset.split_seed", 0),
    }


def history(tests: list[float], valids: list[float] | None = None) -> list[dict[str, float]]:
    epochs = [
        {"epoch": i + 1, "seconds": 2.0 + i, "test_top1": test, "test_nll": -test}
        for i, test in enumerate(tests)
    ]
    for epoch, valid in zip(epochs, valids or [], strict=False):
        epoch["valid_top1"] = valid
    return epochs


def test_the_four_readings() -> None:
    tests = [50.0, 99.0, 99.0, *[60.0 + i for i in range(1, 11)]]
    valids = [1.0, 2.0, 9.0, 9.0, *[3.0] * 9]
    found = metrics(history(tests, valids))
    assert found["last"] == {"top1": 70.0, "nll": -70.0}
    assert found["median10"] == {"top1": 65.5, "nll": -65.5}  # of 61 .. 70; the 99 is too old
    assert found["best_test"] == {"top1": 99.0, "nll": -99.0, "epoch": 3}  # the last of equals
    assert found["best_valid"] == {"top1": 99.0, "nll": -99.0, "epoch": 3}  # the first of equals


def test_of_language_models_the_likeliest_epoch_is_best() -> None:
    losses = [(5.0, 4.0), (3.0, 6.0), (4.0, 2.0), (3.0, 2.0)]
    epochs: list[dict[str, float]] = [
        {"epoch": i, "test_nll": test, "valid_nll": valid}
        for i, (test, valid) in enumerate(losses, start=1)
    ]
    found = metrics(epochs)
    assert found["best_test"] == {"nll": 3.0, "epoch": 4}  # the last of equals
    assert found["best_valid"] == {"nll": 4.0, "epoch": 3}  # the first of equals


def test_without_a_hold_out_nothing_is_selected_on_one() -> None:
    assert "best_valid" not in metrics(history([50.0, 60.0]))


def test_of_detectors_the_most_precise_epoch_is_best() -> None:
    epochs = [(30.0, 20.0), (36.0, 31.0), (36.0, 30.0), (35.0, 33.0)]
    history = [
        {"epoch": number, "test_average_precision": box, "test_mask_average_precision": mask}
        for number, (box, mask) in enumerate(epochs, start=1)
    ]
    found = records.metrics(history)
    assert found["best_test"]["epoch"] == 3  # of equals the later
    assert records.headline(found["last"]) == 35
    assert records.headline({"nll": 4.0, "perplexity": 60.0}) == 60
    assert records.headline({"nll": 4.0, "top1": 93.0}) == 93


def test_a_search_is_told_of_the_last_epoch_on_the_hold_out_where_there_is_one() -> None:
    tested = {"metrics": {"last": {"top1": 80.0}}, "curves": {"test_top1": [90.0, 80.0]}}
    assert records.objective(tested) == 80
    assert records.objective(tested | {"curves": {"valid_top1": [85.0, 70.0]}}) == 70
    words = {"valid_perplexity": [99.0, 61.0], "valid_nll": [4.0, 3.0]}
    assert records.objective({"metrics": {"last": {"perplexity": 60.0}}, "curves": words}) == 61


def test_best_epochs_are_named_by_their_number_where_not_all_were_measured() -> None:
    every_fifth = [{**epoch, "epoch": 5 * epoch["epoch"]} for epoch in history([50.0, 70.0, 60.0])]
    assert metrics(every_fifth)["best_test"]["epoch"] == 10
    assert timing(every_fifth, 300, "images")["seconds"] == 5 * (2.0 + 3.0 + 4.0)


def test_rates_are_medians() -> None:
    found = timing(history([1.0, 1.0, 1.0]), 300, "images")
    assert found == {"seconds": 9.0, "seconds_per_epoch": 3.0, "images_per_second": 100.0}


def test_what_only_the_last_epoch_has_is_a_curve_of_one() -> None:
    first, last = history([50.0, 60.0])
    found = curves([first, last | {"kept_top1": 30.0}])
    assert (found["test_top1"], found["kept_top1"]) == ([50.0, 60.0], [30.0])


def test_epochs_are_what_the_curves_were_made_of() -> None:
    history = [
        {"epoch": 2, "test_top1": 90.0},
        {"epoch": 4, "test_top1": 91.0},
        {"epoch": 5, "test_top1": 92.0, "kept_top1": 60.0},  # after the last epoch alone
    ]
    found = records.epochs(records.curves(history))
    assert [{"epoch": epoch, **values} for epoch, values in found] == history


def test_old_curves_without_epochs_are_of_every_epoch() -> None:
    assert [epoch for epoch, _ in records.epochs({"test_top1": [1.0, 2.0, 3.0]})] == [1, 2, 3]
