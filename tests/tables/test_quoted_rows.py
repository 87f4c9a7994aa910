"""Rows of other papers' methods on ImageNet are trained by those papers' recipes."""

from typing import Any

import pytest

from vicinal.cli.configs import build
from vicinal.schedules import Step
from vicinal.tables.cell import Cell
from vicinal.tables.plan import compose_cached, plan_run
from vicinal.tables.table import load

# Of DropBlock's own Table 1: the epochs, and after which of them the rate falls.
OF_DROPBLOCK = [
    ("maxup/table1", "Dropout (Srivastava et al., 2014)", 270),
    ("maxup/table1", "DropPath (Larsson et al., 2017)", 270),
    ("maxup/table1", "DropBlock (Ghiasi et al., 2018)", 290),
    ("gradaug/table1", "ResNet-50 + Dropblock", 270),
    ("gradaug/table1", "ResNet-50 + Droppath", 270),
    ("gradaug/table2", "Dropblock", 270),
]


def accuracies(table: str, row: str) -> list[Cell]:
    cells = [cell for cell in load(table).cells if cell.row[0] == row and cell.quoted]
    return [cell for cell in cells if cell.measures in ("accuracy", "top5_accuracy", "error")]


def config(cell: Cell) -> dict[str, Any]:
    assert cell.unavailable is None
    return plan_run(cell.overrides).config


def falls(cell: Cell) -> list[int]:
    """After how many epochs the rate falls."""
    schedule = build(compose_cached(cell.overrides)[0].schedule)
    assert isinstance(schedule.curve, Step)
    rates = [schedule.curve(epoch, schedule.epochs) for epoch in range(schedule.epochs)]
    return [epoch for epoch in range(1, len(rates)) if rates[epoch] < rates[epoch - 1]]


@pytest.mark.parametrize(("table", "row", "epochs"), OF_DROPBLOCK)
def test_rows_of_dropblocks_own_table_share_its_recipe(table: str, row: str, epochs: int) -> None:
    cells = accuracies(table, row)
    assert cells
    for cell in cells:
        run = config(cell)
        assert (cell.quoted, cell.report) == ("Ghiasi et al. 2018", "best_test")
        assert run["schedule"]["epochs"] == epochs
        assert run["schedule"]["batch_size"] == 1024
        assert run["schedule"]["warmup_epochs"] == 5
        assert falls(cell) == [125, 200, 250]
        assert (run["optimizer"]["lr"], run["optimizer"]["decay_norms"]) == (0.4, False)
        assert run["model"]["options"] == {"zero_init_last": True}
        assert run["dataset"]["jitter"] == run["dataset"]["lighting"] == 0


def test_its_dropout_is_of_single_features_in_the_branches() -> None:
    cell, *_ = accuracies("maxup/table1", "Dropout (Srivastava et al., 2014)")
    method = config(cell)["method"]
    assert {key: method[key] for key in ("block_size", "keep", "shortcuts")} == {
        "block_size": 1,
        "keep": 0.7,
        "shortcuts": False,
    }


def test_two_tables_quote_one_run_of_dropblock_and_a_third_smooths_its_labels() -> None:
    names = [plan_run(accuracies(*each)[0].overrides).name for each in _dropblocks()]
    assert names[0] == names[1] != names[2]
    smoothed = config(accuracies(*_dropblocks()[2])[0])["method"]["vicinity"]
    assert smoothed["epsilon"] == 0.1


def _dropblocks() -> list[tuple[str, str]]:
    return [
        ("gradaug/table1", "ResNet-50 + Dropblock"),
        ("gradaug/table2", "Dropblock"),
        ("maxup/table1", "DropBlock (Ghiasi et al., 2018)"),
    ]


def test_a_bag_of_tricks_has_all_of_them() -> None:
    cell, *_ = accuracies("gradaug/table1", "ResNet-50 + bag of tricks")
    run = config(cell)
    method, optimizer, schedule = (run[key] for key in ("method", "optimizer", "schedule"))
    assert run["model"]["name"] == "resnet50d"
    assert (method["teacher"]["name"], method["temperature"]) == ("resnet152d.gluon_in1k", 20.0)
    assert method["teacher"]["pretrained"] is True
    assert (method["vicinity"]["first"]["epsilon"], method["vicinity"]["then"]["alpha"]) == (
        0.1,
        0.2,
    )
    assert (optimizer["lr"], optimizer["nesterov"], optimizer["decay_norms"]) == (0.4, True, False)
    assert (schedule["epochs"], schedule["batch_size"], schedule["warmup_epochs"]) == (200, 1024, 5)
    assert schedule["curve"]["_target_"].endswith("Cosine")
    assert run["model"]["options"] == {"zero_init_last": True}


def test_autoaugments_rate_falls_at_thirds() -> None:
    cell, *_ = accuracies("maxup/table1", "AutoAugment (Cubuk et al., 2019a)")
    assert falls(cell) == [90, 180, 240]
    assert config(cell)["method"]["vicinity"]["policy"] == "imagenet"
    assert config(cell)["optimizer"]["lr"] / config(cell)["schedule"]["batch_size"] == 0.4 / 1024


@pytest.mark.parametrize("network", ["ResNeXt-101 32*4d", "ResNeXt-101 64*4d"])
def test_xies_networks_are_trained_by_their_code(network: str) -> None:
    cells = accuracies("mixup/table1", network)
    assert cells
    for cell in cells:
        run = config(cell)
        assert falls(cell) == [30, 60, 90]
        assert (run["schedule"]["epochs"], run["schedule"]["batch_size"]) == (100, 256)
        assert (run["dataset"]["jitter"], run["dataset"]["lighting"]) == (0.4, 0.1)
        assert (run["optimizer"]["lr"], run["optimizer"]["decay_norms"]) == (0.1, True)
        assert run["model"]["options"] == {"zero_init_last": False}
        assert run["schedule"]["warmup_epochs"] == 0


def test_puzzle_mix_and_shakedrop_have_cutmixs_recipe() -> None:
    for table, row, other in (
        ("patchup/table3", "PuzzleMix", "CutMix"),
        ("gradaug/table1", "ResNet-50 + ShakeDrop", "ResNet-50 + CutMix"),
    ):
        (own, *_), (cutmix, *_) = accuracies(table, row), accuracies(table, other)
        for part in ("dataset", "model", "optimizer", "schedule"):
            assert config(own)[part] == config(cutmix)[part]
        assert (own.report, own.gpus) == (cutmix.report, cutmix.gpus)
    puzzle = config(accuracies("patchup/table3", "PuzzleMix")[0])["method"]
    assert (puzzle["neigh_size"], puzzle["t_size"], puzzle["loss"]) == (2, -1, "ce")
