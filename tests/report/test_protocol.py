"""What stands above a table is what its cells say, and where they differ."""

from dataclasses import replace

from report_samples import small
from table_samples import printed

from vicinal.report.protocol import protocol
from vicinal.tables import table
from vicinal.tables.cell import Cell


def cell(row: str, column: str, **more: object) -> Cell:
    return replace(printed("4.0"), row=(row,), column=("Test", column), **more)


def test_what_all_cells_share_is_said_once() -> None:
    found = protocol([cell("a", "x"), cell("b", "x", measures="top5_error")])
    assert found == [
        "error and top-5 error, %",
        "lower is better",
        "last epoch",
        "our seeds: 0, 1, 2",
        "paper: 1 run",
    ]


def test_columns_that_differ_are_named_and_rows_where_columns_do_not_decide() -> None:
    best = {"report": "best_test", "better": "higher"}
    columns = [cell(row, name) for row in "ab" for name in "xy"]
    apart = [cell(row, "z", **best) for row in "ab"]
    assert protocol([*columns, *apart])[1:3] == [
        "lower is better (z: higher is better)",
        "last epoch (z: best epoch on test data)",
    ]
    rows = [cell("c", name, **best) for name in "xy"]
    assert protocol([*columns, *rows])[2] == "last epoch (c: best epoch on test data)"


def test_where_neither_decides_the_reader_is_sent_to_the_numbers() -> None:
    found = [cell("a", "x", paper_runs=3), cell("a", "y"), cell("b", "x"), cell("b", "y")]
    assert protocol(found)[4] == "paper: 3 runs or 1 run, see each number"


def test_columns_that_end_alike_are_named_in_full() -> None:
    alike = [replace(cell("a", "x"), column=(name, "x"), better="higher") for name in ("p", "q")]
    others = [cell("a", name) for name in "yzw"]
    assert protocol([*alike, *others])[1] == "lower is better (p, x and q, x: higher is better)"


def test_a_number_without_a_unit_has_no_comma_and_counted_ones_have_no_epoch() -> None:
    counted = cell("a", "y", measures="parameters", unit="M", report="best_test", seeds=(7,))
    found = protocol([cell("a", "x", measures="perplexity", unit=""), counted])
    assert found[0] == "perplexity; parameters, M"
    assert found[2:4] == ["last epoch", "our seeds: 0, 1, 2"]
    assert protocol([counted])[2] == "best epoch on test data"


def test_no_table_of_a_paper_is_headed_by_or_and_or() -> None:
    for name in ("mixup/table2", "gradaug/table1", "augmax/table4"):
        said = protocol(table.load(name).cells)
        assert not any(" or " in part for part in said), said
    assert protocol([each.cell for each in small().outcomes])[0].startswith("error, %; ")
