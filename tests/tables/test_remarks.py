"""What stands under a table, and which epochs a cell may report."""

from dataclasses import replace

import pytest

from vicinal.report.grids import grid
from vicinal.report.render import render
from vicinal.tables.cell import Cell
from vicinal.tables.markdown import page
from vicinal.tables.results import RecordIndex, TableResults
from vicinal.tables.table import Table
from vicinal.tables.values import Reported, reported_values


def test_remarks_on_a_table_stand_under_it_once() -> None:
    tree = {
        "caption": "Test error",
        "run": ["dataset=cifar10", "model=wrn28_10", "method=erm"],
        "stub": ["Data"],
        "columns": [{"label": "one"}, {"label": "two"}],
        "rows": [{"label": "CIFAR-10", "printed": ["3.8", "2.7"]}],
        "notes": ["a remark", "another"],
    }
    joined = TableResults.of(Table("paper/noted", tree), RecordIndex([]))
    assert "\n- a remark\n- another\n" in page(joined)
    notes = render("notes.html.j2", table=joined.table, grid=grid(joined))
    assert notes.count("<li>") == 2


@pytest.mark.parametrize("kept", [[40.0], [10.0, 20.0, 40.0]])
def test_accuracy_on_training_labels_is_that_of_the_last_epoch(
    kept: list[float],
) -> None:
    cell = Cell(
        table="paper/noisy",
        row=("ERM",),
        column=("Real",),
        place=(0, 0),
        printed="60.0",
        overrides=("method=erm",),
        split="kept",
    )
    record = {"curves": {"epoch": [1.0, 2.0, 3.0], "kept_top1": kept}}
    assert reported_values(record, cell) == {(): Reported(60.0)}
    with pytest.raises(ValueError, match="report of kept data must be last"):
        replace(cell, report="best_valid")
