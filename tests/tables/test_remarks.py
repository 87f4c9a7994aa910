"""What stands under a table, and what is read after a run's last epoch alone."""

from dataclasses import replace

import pytest

from vicinal.report.grids import grid
from vicinal.report.render import render
from vicinal.tables.cell import Cell
from vicinal.tables.joined import Joined, Records, reading
from vicinal.tables.markdown import page
from vicinal.tables.table import Table


def test_remarks_on_a_table_stand_under_it_once() -> None:
    tree = {
        "caption": "Test error",
        "run": ["dataset=cifar10", "model=wrn28_10", "method=erm"],
        "stub": ["Data"],
        "columns": [{"label": "one"}, {"label": "two"}],
        "rows": [{"label": "CIFAR-10", "printed": ["3.8", "2.7"]}],
        "notes": ["a remark", "another"],
    }
    joined = Joined.of(Table("paper/noted", tree), Records([]))
    assert "\n- a remark\n- another\n" in page(joined)
    notes = render("notes.html.j2", table=joined.table, grid=grid(joined))
    assert notes.count("<li>") == 2


@pytest.mark.parametrize("kept", [[40.0], [10.0, 20.0, 40.0]])
def test_training_labels_are_read_at_the_last_epoch_however_often_measured(
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
    assert reading({"curves": {"epoch": [1.0, 2.0, 3.0], "kept_top1": kept}}, cell) == 60.0
    with pytest.raises(ValueError, match="kept data are read at last"):
        replace(cell, report="best_valid")
