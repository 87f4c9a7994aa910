"""A user's own tables: without printed numbers, planned, run and read like the papers'."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
from forks import Fork
from own_samples import RUN, TREE, write_folder, write_table
from table_samples import record
from wording import says

from vicinal.cli import search
from vicinal.cli.configs import compose
from vicinal.cli.own import importable
from vicinal.errors import RunError
from vicinal.storage import records
from vicinal.tables import table
from vicinal.tables.counts import overview
from vicinal.tables.plan import compose_cached, split_hydra
from vicinal.tables.request import parse_request
from vicinal.tables.results import RecordIndex, TableResults
from vicinal.tables.table import Table


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins without a folder, and leaves none."""
    monkeypatch.setattr(search, "_SEARCHED", [])
    monkeypatch.syspath_prepend("")
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    importable(write_folder(tmp_path / "mine"))
    return tmp_path / "mine"


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder in which all runs of the table were made, and what the sweep said."""
    folder = tmp_path_factory.mktemp("swept")
    write_folder(folder / "mine")
    return folder, sweep(folder, "table=ablation")


def sweep(folder: Path, *words: str) -> str:
    machine = ("runtime=cpu", "runtime.threads=1", "runtime.progress=false")
    process = Fork(["--config-dir", "mine", "-m", *words, *machine], folder, os.environ)
    out, err = process.communicate()
    assert process.returncode == 0, err
    return out


def test_a_sweep_makes_the_runs_of_a_table_without_printed_numbers(
    swept: tuple[Path, str],
) -> None:
    folder, said = swept
    assert re.search(
        says("table ablation ... 4 cells, 4 can be run ... 4 of 4 runs finished"), said
    )
    found = records.load(folder / "runs" / "results" / "runs")
    importable(folder / "mine")
    results = TableResults.of(table.load("ablation"), RecordIndex(found))
    by_run = {(each["name"].split("/")[2], each["seed"]): each["metrics"] for each in found}
    for outcome in results.outcomes:
        method = outcome.cell.row[0].lower()
        key = {"error": "last", "best": "best_test"}[outcome.cell.column[0]]
        top1 = [by_run[method, seed][key]["top1"] for seed in (0, 1)]
        sign, offset = (-1, 100) if outcome.cell.measures == "error" else (1, 0)
        assert outcome.values == {seed: offset + sign * each for seed, each in enumerate(top1)}
        assert (outcome.verdict, outcome.difference, outcome.reduced) == ("measured", None, ())
    for ordering in results.orderings:
        assert ordering.num_seeds == 2
        assert ordering.paper_agrees is None


def test_what_has_run_is_not_run_again(swept: tuple[Path, str]) -> None:
    folder, _ = swept
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.json")}
    plan = sweep(folder, "table=glob(ablat*)", "+dry_run=true")
    assert re.search(says("4 runs: 4 finished"), plan)
    assert re.search(says("0 of 0 runs finished"), sweep(folder, "table=ablation"))
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.json")} == before


def test_a_run_with_an_option_of_ones_own_is_planned_as_hydra_composes_it(mine: Path) -> None:
    small = "defaults: [focal, override /model@_global_.model: wrn10_2]\n"
    (mine / "method" / "small.yaml").write_text(small)
    lines = ("dataset=digits", "method=small", "method.gamma=1")
    planned, choices = compose_cached(lines)
    by_hydra, chosen = split_hydra(compose(*lines, with_hydra=True))
    assert planned == by_hydra
    assert choices == chosen
    assert choices["model"] == "wrn10_2"  # the method's own file chooses it


def test_numbers_that_no_paper_prints_have_no_value_and_count_nowhere(mine: Path) -> None:
    found = table.load("ablation")
    assert [cell.printed for cell in found.cells] == [None] * 4
    assert {(cell.spread, cell.decimals, cell.group) for cell in found.cells} == {(None, 2, "own")}
    assert {cell.measures: cell.better for cell in found.cells} == {
        "error": "lower",
        "accuracy": "higher",
    }
    plain = Table("own", {**found.tree, "columns": found.tree["columns"][:1]})
    known = RecordIndex([record(plain.cells[0].overrides, 0, 3.0)])
    with_run, without = (TableResults.of(plain, each) for each in (known, RecordIndex([])))
    assert with_run.outcomes[0].verdict == "interim"
    assert overview([with_run]) == overview([without])


@pytest.mark.parametrize(
    ("errors", "failed", "verdict"),
    [
        ({}, (), "not run"),
        ({0: 3.0}, (), "interim"),
        ({0: 3.0, 1: 4.0}, (), "measured"),
        ({0: 3.0}, (1,), "measured"),
        ({}, (0,), "failed"),
    ],
)
def test_the_verdict_says_how_far_it_is(
    errors: dict[int, float], failed: tuple[int, ...], verdict: str
) -> None:
    cell, *_ = Table("own", TREE | {"rows": TREE["rows"][:1], "claims": []}).cells
    known = [record(cell.overrides, seed, error) for seed, error in errors.items()]
    known += [record(cell.overrides, seed, 0.0) | {"failed": "diverged"} for seed in failed]
    outcome = RecordIndex(known).outcome(cell)
    assert (outcome.verdict, outcome.difference) == (verdict, None)


def test_a_row_may_print_some_numbers_and_leave_cells_out() -> None:
    rows = [{"label": "ERM", "run": ["method=erm"], "printed": [None, {"note": "odd"}]}]
    (cell,) = Table("own", TREE | {"rows": rows, "claims": []}).cells
    assert (cell.column, cell.printed, cell.note) == (("best",), None, "odd")


def test_ones_own_tables_are_known_by_their_names(mine: Path) -> None:
    write_table(mine, "deep/second")
    assert {"ablation", "deep/second", "mixup/table4"} <= {*table.known()}
    assert parse_request(["table=glob(deep/*)"]).tables == ("deep/second",)
    assert "ablation" not in table.names()
    with pytest.raises(ValueError, match=says("ablatoin ... did you mean ablation")):
        table.load("ablatoin")
    with pytest.raises(RunError, match=says("table must ... glob(ablatoin) ... ablation")):
        parse_request(["table=glob(ablatoin)"])


ERM = {"label": "ERM"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"colour": "red"}, "colour is not a field"),
        ({"rows": []}, "rows must be a list ... got []"),
        ({"rows": ["ERM"]}, "rows ... got ERM"),
        ({"rows": [{"run": ["method=erm"]}]}, "rows: label must be given"),
        ({"rows": [{"label": 5}]}, "rows: label must be text ... got 5"),
        ({"rows": [ERM, ERM]}, "rows: labels must differ, got ERM twice"),
        (
            {"rows": [ERM | {"run": "method=erm"}]},
            "run must be a list of settings ... 'method=erm'",
        ),
        ({"rows": [ERM | {"run": ["method"]}]}, "run must be a list of settings ... ['method']"),
        ({"rows": [ERM | {"printed": [5.6, None]}]}, "ERM: printed must be text ... got 5.6"),
        ({"rows": [ERM | {"printed": ["5.6"]}]}, "for each of 2 columns, got 1"),
        ({"seeds": 3}, "seeds must be a list of whole numbers, got 3"),
        ({"quoted": "them"}, "quoted needs a printed number"),
        ({"claims": [{"better": "ERM"}]}, "claims: than must be given"),
        ({"run": [*RUN, "method=focl"]}, "ERM | error: method=focl ... did you mean focal"),
        ({"run": [*RUN, "model.depht=10"]}, "ERM | error: model.depht is not a setting"),
        ({"run": [*RUN, "seed=one"]}, "ERM | error: seed must be"),
    ],
)
def test_a_mistake_is_told_in_one_line_with_file_and_key(
    mine: Path, changed: dict[str, Any], message: str
) -> None:
    rows = [{"label": "ERM"}]  # the method of the run is the default, or that of the mistake
    path = write_table(mine, "wrong", **({"rows": rows, "claims": []} | changed))
    with pytest.raises(ValueError, match=says(f"^{path} ... {message}")) as raised:
        table.load("wrong")
    assert "\n" not in str(raised.value)


def test_a_file_that_cannot_be_read_is_named_in_one_line(mine: Path) -> None:
    path = write_table(mine, "wrong")
    path.write_text("rows: [\n")
    with pytest.raises(ValueError, match=says(f"^{path} ... line")) as raised:
        table.load("wrong")
    assert "\n" not in str(raised.value)


def test_ones_own_table_does_not_hide_a_papers(mine: Path) -> None:
    path = write_table(mine, "mixup/table4")
    with pytest.raises(ValueError, match=says(f"^{path} ... choose another")):
        table.load("mixup/table4")
