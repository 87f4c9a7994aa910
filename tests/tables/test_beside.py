"""A run finds the papers' numbers that it stands beside, at the protocol or reduced."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from vicinal.loggers.logger import Beside
from vicinal.tables import table
from vicinal.tables.beside import same_run
from vicinal.tables.cell import Cell
from vicinal.tables.plan import compose_cached, plan_run
from vicinal.tables.results import name_with

Found = list[tuple[str, str]]


def labels(cells: Sequence[Cell]) -> Found:
    return [(cell.table, cell.label) for cell in cells]


def found(*lines: str) -> Found:
    """What a run with these overrides stands beside."""
    run, (_, choices) = plan_run(lines), compose_cached(lines)
    return labels(same_run(run.name, choices, run.config))


def cell_of(name: str, label: str) -> Cell:
    return next(cell for cell in table.load(name).cells if cell.label == label)


PREACT = "dataset=cifar100", "model=preact_resnet18", "method=mixup"
FIGURE = [("mixup/figure3a", "CIFAR-100 | PreAct ResNet-18 | mixup")]


def test_a_run_at_the_protocol_and_one_that_is_shorter() -> None:
    assert found(*PREACT) == FIGURE
    assert found(*PREACT, "schedule.epochs=30") == FIGURE
    assert found(*PREACT, "optimizer.lr=0.3") == []
    assert found(*PREACT, "optimizer.lr=0.3", "reduced=['optimizer.lr=0.3']") == FIGURE


def test_a_reduction_may_replace_a_part() -> None:
    other = "dataset=cifar100", "model=wrn10_2", "method=mixup"
    assert found(*other) == []
    cells = found(*other, "reduced=['model=wrn10_2']")
    assert FIGURE[0] in cells


def test_a_data_set_brings_options_of_other_groups() -> None:
    """Typed as `dataset=ptb`, the network, method and recipe are its defaults."""
    row = " | AWD-LSTM (Merity et al., 2018)"
    given = {*cell_of("maxup/table6", f"{row} | Test").run}
    defaults = {"model=awd_lstm", "method=next_word", "optimizer=asgd", "schedule=language"}
    assert defaults <= given
    expected = [("maxup/table6", f"{row} | {column}") for column in ("Valid", "Test")]
    assert found(*sorted(given - defaults)) == expected


def test_each_run_of_several_of_which_the_best_counts() -> None:
    cell = next(cell for cell in table.load("maxup/table8").cells if len(cell.best_of) == 1)
    first, *_, last = cell.runs
    for run in (first, last):
        assert (cell.table, cell.label) in found(*run)


@pytest.mark.slow
def test_a_run_that_begins_with_the_weights_of_another() -> None:
    cell = next(c for c in table.load("maxup/table2_control").cells if c.start and c.trainable)
    assert (cell.table, cell.label) in found(*cell.run)
    reduction = ("schedule.epochs=2",)
    run = plan_run(cell.run)
    shorter = name_with(cell, run.overrides, reduction)
    assert shorter is not None
    config = run.config | {"schedule": run.config["schedule"] | {"epochs": 2}}
    cells = same_run(shorter, compose_cached(cell.run)[1], config)
    assert (cell.table, cell.label) in labels(cells)


def test_where_no_table_names_the_data_set_none_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    run, (_, choices) = plan_run(("dataset=digits",)), compose_cached(("dataset=digits",))
    monkeypatch.setattr(table, "load", None)
    assert same_run(run.name, choices, run.config) == []


@pytest.mark.parametrize("lines", [("dataset=ptb",), ()], ids=["ptb", "nothing"])
def test_a_table_need_not_name_what_is_the_default(
    lines: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"label": "r", "printed": ["5.0"], "run": [*lines, "optimizer.lr=0.25"]}
    tree = {"caption": "c", "stub": "s", "columns": [{"label": "c"}], "rows": [row]}
    (tmp_path / "paper").mkdir()
    (tmp_path / "paper" / "table1.yaml").write_text(yaml.safe_dump(tree))
    monkeypatch.setattr(table, "TABLES", tmp_path)
    assert found(*lines, "optimizer.lr=0.25") == [("paper/table1", "r | c")]


@pytest.mark.slow
def test_it_finds_what_planning_every_run_of_every_table_finds() -> None:
    cells = [cell for each in table.load_all() for cell in each.cells if cell.trainable]
    planned = [(cell, {plan_run(run).name for run in cell.runs}) for cell in cells]
    tried = set[str]()
    for cell, _ in planned[:: max(1, len(planned) // 20)]:
        for run in (cell.runs[0], cell.runs[-1]):
            name = plan_run(run).name
            expected = labels([each for each, names in planned if name in names])
            assert found(*run) == expected, run
            tried.add(name)
    assert len(tried) > 10


@pytest.mark.slow
def test_every_number_has_its_own_name_on_a_dashboard() -> None:
    cells = [cell for each in table.load_all() for cell in each.cells]
    keys = [Beside(c.table, c.label, 1.0, 1.0).key for c in cells]
    assert len({*keys}) == len(keys)
    assert all(re.fullmatch(r"[A-Za-z0-9_]+(/[A-Za-z0-9_]+)+", key) for key in keys)
