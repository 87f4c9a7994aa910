"""What a table's file says, and that the papers' numbers were read right."""

import json
from copy import deepcopy
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from wording import says

from vicinal.tables import table
from vicinal.tables.plan import plan_run
from vicinal.tables.table import TABLES, Table

PRINTED = Path(__file__).parent / "printed"  # a second transcription, made without the first
MISPRINTS = {"16.90±0.0.21": "16.90±0.21"}  # PatchUp, Table 7

SMALL: dict[str, Any] = {
    "caption": "Test error",
    "seeds": [0, 1],
    "run": ["optimizer=sgd", "optimizer.lr=0.1"],
    "when": [{"given": ["model=wrn28_10", "method=mixup"], "run": ["schedule.epochs=7"]}],
    "stub": ["Model"],
    "columns": [
        {"label": "ERM", "run": ["method=erm"]},
        {"label": "mixup", "run": ["method=mixup"], "report": "median10"},
    ],
    "rows": [
        {
            "label": "WRN",
            "run": ["model=wrn28_10", "optimizer.lr=0.2"],
            "printed": ["3.80", "2.7±0.1"],
        },
        {
            "label": ["PreAct", "18"],
            "run": ["model=preact_resnet18"],
            "report": "best_test",
            "printed": [None, {"printed": "4.2", "report": "last", "run": ["optimizer.lr=0.3"]}],
        },
    ],
    "claims": [{"says": "mixup wins", "better": "mixup", "than": ["ERM"], "where": ["WRN"]}],
}


def small(**changed: Any) -> Table:
    return Table("paper/small", deepcopy(SMALL) | changed)


def first_transcription(found: Table) -> list[list[str]]:
    rows = groupby(found.cells, key=lambda cell: cell.place[0])
    return [[cell.printed for cell in row] for _, row in rows]


def second_transcription(rows: list[list[str | None]]) -> list[list[str]]:
    """Without the labels, and without differences printed in brackets beside the numbers."""
    numbers = [[v for v in row[1:] if v is not None and v[0] not in "+-"] for row in rows]
    return [[MISPRINTS.get(v, v) for v in row] for row in numbers if row]


@pytest.mark.parametrize("paper", ["mixup", "maxup", "gradaug", "augmax", "patchup"])
def test_two_transcriptions_agree_in_every_digit(paper: str) -> None:
    second = json.loads((PRINTED / f"{paper}.json").read_text())
    own = [name for name in table.names() if name.startswith(f"{paper}/")]
    assert {name.partition("/")[2] for name in own if not table.load(name).variant} == {*second}
    for name, rows in second.items():
        assert first_transcription(table.load(f"{paper}/{name}")) == second_transcription(rows), (
            name
        )


def test_variants_hold_the_numbers_of_their_table() -> None:
    for name in table.names():
        found = table.load(name)
        if found.variant:
            original = table.load(found.tree["variant_of"])
            numbers = {cell.label: cell.printed for cell in original.cells}
            assert {cell.label: cell.printed for cell in found.cells}.items() <= numbers.items()


def test_a_cells_overrides_are_the_nearest_ones() -> None:
    by_label = {cell.label: cell.overrides for cell in small().cells}
    assert by_label == {
        "WRN | ERM": ("optimizer=sgd", "optimizer.lr=0.2", "method=erm", "model=wrn28_10"),
        "WRN | mixup": (
            "optimizer=sgd",
            "optimizer.lr=0.2",
            "schedule.epochs=7",
            "method=mixup",
            "model=wrn28_10",
        ),
        "PreAct | 18 | mixup": (
            "optimizer=sgd",
            "optimizer.lr=0.3",
            "method=mixup",
            "model=preact_resnet18",
        ),
    }


def test_a_cells_fields_are_the_nearest_ones() -> None:
    assert [cell.report for cell in small().cells] == ["last", "median10", "last"]
    assert [cell.seeds for cell in small().cells] == [(0, 1)] * 3


def test_a_printed_number_keeps_its_digits_and_its_spread() -> None:
    one, two, _ = small().cells
    assert (one.value, one.spread, one.decimals) == (3.8, None, 2)
    assert (two.value, two.spread, two.decimals) == (2.7, 0.1, 1)


def test_a_claim_compares_cells_that_differ_in_its_label_only() -> None:
    found = small()
    (pair,) = found.pairs(found.claims[0])
    assert [cell.label for cell in pair] == ["WRN | mixup", "WRN | ERM"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"colour": "red"}, "colour is not a field"),
        ({"rows": [{"label": "x", "printed": ["1"]}]}, "an entry for each of 2 columns, got 1"),
        ({"rows": [{"label": "x", "printed": ["1", "one"]}]}, "like 5.60 or 5.60±0.12, got one"),
        ({"report": "first"}, "report must be one of last, median10"),
        ({"measures": "beauty"}, "measures must be something that a run measures, got beauty"),
        ({"measures": "parameters"}, "unit of parameters must be M or G, got %"),
        (
            {"definition": True, "unavailable": "Too large."},
            "unavailable and definition cannot both be set",
        ),
        (
            {"unavailable": "object detection"},
            "unavailable must be a sentence ... got 'object detection'",
        ),
        ({"unavailable": "Too large"}, "unavailable must be a sentence ... full stop"),
        ({"unavailable": "too large."}, "unavailable must be a sentence ... capital letter"),
        ({"resampled": 1.5}, "resampled must be between 0 and 1, got 1.5"),
        ({"claims": [{"says": "", "better": "ERM", "than": ["cutmix"]}]}, "no label 'cutmix'"),
        ({"claims": [{"says": "", "better": "ERM", "than": ["WRN"]}]}, "compares no two cells"),
    ],
)
def test_a_mistake_in_a_file_is_named(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=says(message)):
        small(**changed)


def test_what_is_resampled_is_what_the_runs_split_off() -> None:
    every = [cell for found in table.load_all() for cell in found.cells]
    redrawn = [cell for cell in every if any("dataset=uci" in line for line in cell.overrides)]
    assert [cell for cell in every if cell.resampled] == redrawn
    for cell in redrawn[::12]:  # one of each table
        data = plan_run(cell.overrides).config["dataset"]
        assert (data["test_share"], data["split_seed"]) == (cell.resampled, "${seed}")


def test_every_file_is_read_and_makes_sense() -> None:
    files = sorted(TABLES.rglob("*.yaml"))
    every = table.load_all()
    assert len(files) == len(every)
    assert all("printed" in row for found in every for row in found.tree["rows"])
    assert all(cell.printed for found in every for cell in found.cells)
    for path in files:
        lines = path.read_text().splitlines()
        head = [line for line in lines if line.startswith("#")]
        assert lines[0].startswith("# "), path
        assert len(head) <= 5, path
