"""results/tables/renamed.md lists the tables' runs whose name has changed."""

import re
from pathlib import Path

from vicinal.storage import records
from vicinal.tables import table
from vicinal.tables.plan import plan_run

RESULTS = Path(__file__).parents[2] / "results"
TEXT = (RESULTS / "tables" / "renamed.md").read_text()
PINNED = "b37913e29b40"  # of all cells' runs
ROWS = [line.strip("| ").split(" | ") for line in TEXT.splitlines() if re.match(r"\| \w+/", line)]


def test_each_cell_that_is_listed_has_the_run_that_is_named() -> None:
    for name, labels, before, after, _ in ROWS:
        cells = {cell.label.replace(" | ", ", "): cell for cell in table.load(name).cells}
        for label in labels.split("; "):
            assert plan_run(cells[label].overrides).name == after != before, (name, label)


def test_every_cell_is_listed_or_counted() -> None:
    found = re.search(r"^(\d+) of (\d+) cells kept theirs", TEXT, re.MULTILINE)
    assert found is not None
    every = [cell for name in table.names() for cell in table.load(name).cells if cell.overrides]
    listed = sum(len(labels.split("; ")) for _, labels, *_ in ROWS)
    assert int(found[2]) == len(every)
    assert int(found[1]) == len(every) - listed


def test_no_run_is_renamed_in_passing() -> None:
    """To rename runs on purpose, list the cells in renamed.md and pin the new digest."""
    every = (cell for name in table.names() for cell in table.load(name).cells if cell.overrides)
    names = [f"{cell.table}, {cell.label}: {plan_run(cell.overrides).name}" for cell in every]
    assert records.digest(names) == PINNED


def test_no_finished_run_was_renamed() -> None:
    """Every record of UCI data is still that of a cell."""
    finished = {record["name"] for record in records.load(RESULTS / "runs")}
    assert not finished & {before for _, _, before, *_ in ROWS}
    own = {
        plan_run(cell.overrides).name
        for name in ("mixup/table4", "mixup/table4_raw")
        for cell in table.load(name).cells
    }
    assert {name for name in finished if name.startswith("uci_")} == own
