"""The runs of GradAug's Table 7: detectors on the backbones of its rows."""

import pytest

from vicinal.cli.configs import build
from vicinal.tables import table
from vicinal.tables.cell import Cell
from vicinal.tables.plan import compose_cached, plan_run
from vicinal.tables.runs import row

TABLE = table.load("gradaug/table7")
DETECTORS = [cell for cell in TABLE.cells if "mAP" in cell.column[0]]
METHODS = {
    "ResNet-50 (Baseline)": ("erm", "best_test"),
    "Mixup-pretrained": ("mixup", "last"),
    "CutMix-pretrained": ("cutmix", "best_test"),
    "GradAug-pretrained": ("gradaug", "last"),
    "GradAug": ("gradaug", "last"),
}


def classified(cell: Cell) -> Cell:
    """The cell of the same row that has the backbone's accuracy."""
    return next(each for each in TABLE.cells if each.row == cell.row and not each.start)


@pytest.mark.parametrize("cell", DETECTORS, ids=lambda cell: cell.label)
def test_a_detector_begins_with_the_network_of_its_row(cell: Cell) -> None:
    method, report = METHODS[cell.row[0]]
    other = plan_run(cell.start)
    assert other.name == plan_run(classified(cell).overrides).name
    assert other.name.startswith(f"imagenet/timm-resnet50/{method}/")
    config = plan_run(cell.overrides).config
    assert config["init"]["name"] == other.name
    assert config["init"]["report"] == report
    assert config["model"]["backbone"]["name"] == other.config["model"]["name"] == "resnet50"
    for key in ("mean", "std"):
        assert config["dataset"][key] == other.config["dataset"][key]


def test_all_ten_can_be_run_and_the_two_measures_share_a_run() -> None:
    assert len(DETECTORS) == 10
    assert all(cell.runnable for cell in TABLE.cells)
    names = {cell.label: plan_run(cell.overrides).name for cell in DETECTORS}
    assert len(set(names.values())) == 5
    assert {cell.metric for cell in DETECTORS} == {"average_precision", "mask_average_precision"}
    own = [name.split("/")[2] for name in names.values()]
    assert own == ["detection_loss"] * 8 + ["gradaug_detection"] * 2


def test_a_run_that_begins_with_another_is_built_before_that_one_is_there() -> None:
    for cell in DETECTORS[:1]:
        run = build(compose_cached(cell.overrides)[0])
        assert run.init.name in plan_run(cell.start).name
        assert (run.dataset.short, run.dataset.long) == (600, 1000)


def test_a_detectors_numbers_are_called_by_their_name() -> None:
    numbers = {key: {"average_precision": 36.5} for key in ("last", "median10", "best_test")}
    record = {"config": {"schedule": {"epochs": 12}}, "metrics": numbers}
    assert row("coco/mask_rcnn/detection_loss/abc", [record])[-1] == "average precision 36.50"
