"""`vicinal tables` and `vicinal report`: what they print, write and refuse."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from own_samples import write_folder
from table_samples import record

from vicinal.cli import search
from vicinal.commands import report, tables
from vicinal.tables import table
from vicinal.tables.counts import overview
from vicinal.tables.formats.latex import latex
from vicinal.tables.formats.layout import layout
from vicinal.tables.results import RecordIndex, TableResults

Command = Callable[..., str]
NAME = "mixup/table4"


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """What `vicinal NAME WORDS` prints in an empty folder; on failure what it says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(search, "_SEARCHED", [])
    monkeypatch.syspath_prepend("")
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))

    def call(name: str, *words: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", [f"vicinal {name}", *words])
        main = {"tables": tables, "report": report}[name].main
        if not code:
            main()
            return capsys.readouterr().out
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == code
        return capsys.readouterr().err

    return call


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """All tables take long; two of them show as much."""
    few = [table.load(name) for name in (NAME, "mixup/table4_raw")]
    monkeypatch.setattr(table, "load_all", lambda: few)


def leave_record(results: Path, name: str = NAME) -> TableResults:
    """A run of the table's first number; the table with it."""
    found = table.load(name)
    left = record(found.cells[0].overrides, 0, 3.25, sessions=[], evaluations={})
    left["metrics"]["median10"] = left["metrics"]["best_test"] = left["metrics"]["last"]
    path = results / "runs" / f"{left['name']}-seed0.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(left))
    return TableResults.of(found, RecordIndex([left]))


def test_named_tables_are_printed_from_the_users_own_runs(command: Command) -> None:
    leave_record(Path("runs", "results"))
    lines = command("tables", NAME).splitlines()
    assert lines[0].startswith(f"{NAME}: ")
    (abalone,) = [line.split() for line in lines if line.startswith("Abalone")]
    assert abalone == ["Abalone", "3.25", "[a]"]
    papers = command("tables", "--papers", NAME).splitlines()
    (abalone,) = [line.split() for line in papers if line.startswith("Abalone")]
    assert abalone == ["Abalone", "3.25", "[a]", "74.0", "73.6"]
    assert not Path("runs", "results", "tables").exists()


def test_a_format_is_written_to_a_file(command: Command) -> None:
    results = leave_record(Path("elsewhere"))
    words = (NAME, "--results", "elsewhere", "--format", "latex", "--out", "table.tex")
    assert command("tables", *words) == "table.tex\n"
    assert Path("table.tex").read_text() == latex(layout(results))


def test_ones_own_table_is_printed_by_its_name(command: Command) -> None:
    write_folder(Path("mine"))
    words = ("ablation", "--config-dir", "mine", "--results", "mine", "--format", "csv")
    head, *lines = command("tables", *words).splitlines()
    assert head.startswith("table,row,column,")
    assert [line.split(",")[:3] for line in lines] == [
        ["ablation", row, column] for row in ("ERM", "focal") for column in ("error", "best")
    ]


@pytest.mark.usefixtures("few")
def test_all_pages_are_rebuilt_and_the_overview_printed(command: Command) -> None:
    leave_record(Path("runs", "results"))
    out = command("tables")
    expected = overview(tables.joined(tables.records.load(Path("runs/results/runs"))))
    assert out.startswith(expected)
    pages = {path.name for path in Path("runs/results/tables").rglob("*.md")}
    assert pages == {"table4.md", "table4_raw.md", "summary.md", "runs.md"}
    assert not Path("runs/results/report").exists()


@pytest.mark.usefixtures("few")
def test_without_records_nothing_is_written_and_one_line_says_where_they_were_sought(
    command: Command,
) -> None:
    for name, words in (("tables", ()), ("tables", (NAME,)), ("report", ())):
        said = command(name, *words, code=1)
        assert said.startswith("vicinal: runs/results/runs has no records")
        assert len(said.splitlines()) == 1
    assert list(Path().iterdir()) == []
    Path("given").mkdir()
    command("tables", "--results", "given")
    assert Path("given/tables/summary.md").exists()


@pytest.mark.usefixtures("few")
def test_the_report_is_one_page_in_the_results_folder(command: Command) -> None:
    Path("given").mkdir()
    assert command("report", "--results", "given") == "given/report/index.html\n"
    page = Path("given/report/index.html").read_text()
    assert all(table.load(name).caption in page for name in (NAME, "mixup/table4_raw"))


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("mixup/tabel4 --results .", 1, "mixup/tabel4 is not a table; did you mean mixup/table4?"),
        ("--format latex", 2, "--format needs the NAME of a table"),
        ("--out x", 2, "--out needs the NAME of a table"),
        ("mixup/table4 --coverage", 2, "--coverage is about all tables: leave out mixup/table4"),
        ("mixup/table4 --config-dir nope", 1, "--config-dir must be a folder, got nope"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    command: Command, words: str, code: int, message: str
) -> None:
    said = command("tables", *words.split(), code=code).splitlines()
    assert message in said[-1]
    assert len(said) == 1 or code == 2  # argparse prints the usage, too
