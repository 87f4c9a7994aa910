"""The papers' numbers that a run stands beside."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import yaml

from vicinal.cli.configs import CONFIGS
from vicinal.cli.overrides import key_of, merge, parse, value_of
from vicinal.storage.records import NOT_SCIENCE, SCIENCE
from vicinal.tables import table
from vicinal.tables.cell import Cell
from vicinal.tables.plan import compose_cached, replaces_part
from vicinal.tables.results import name_with, possible_reductions

GROUPS = ("dataset", "model", "method")  # whose options are in a run's name


def same_run(
    name: str, choices: Mapping[str, str], config: Mapping[str, Any] | None = None
) -> list[Cell]:
    """The papers' cells that a run of this name reproduces, or else would if it were not reduced.

    `choices` are the options of its groups. Reductions are found by its config. Planning a run
    takes long, so only those are planned whose overrides agree with the choices and the config.
    """
    chosen = {group: choices[group] for group in GROUPS if group in choices}
    texts = {each: (table.TABLES / f"{each}.yaml").read_text() for each in table.names()}
    for reduction in [(), *sorted(possible_reductions(config) if config else ())]:
        replaced = [key_of(line) for line in reduction if replaces_part(line)]
        kept = {group: option for group, option in chosen.items() if group not in replaced}
        near = [n for n, text in texts.items() if all(_mentions(text, kept, g) for g in kept)]
        cells = (cell for each in near for cell in table.load(each).cells if cell.trainable)
        if found := [c for c in cells if _is_run(name, c, chosen, config or {}, reduction)]:
            return found
    return []


def _mentions(text: str, chosen: Mapping[str, str], group: str) -> bool:
    """Whether a table's file may choose this option of a group."""
    named = re.search(rf"\b{group}=(\w+,)*{re.escape(chosen[group])}\b", text)
    return bool(named) or chosen[group] == _default(group, chosen.get("dataset"))


@cache
def _default(group: str, dataset: str | None) -> str | None:
    """The option of a group that no override names; a dataset brings its own of other groups."""
    if group == "dataset":
        entries = yaml.safe_load((CONFIGS / "train.yaml").read_text())["defaults"]
        return next(each[group] for each in entries if group in each)
    return compose_cached(() if dataset is None else (f"dataset={dataset}",))[1].get(group)


def _is_run(
    name: str,
    cell: Cell,
    chosen: Mapping[str, str],
    config: Mapping[str, Any],
    reduction: Sequence[str],
) -> bool:
    """Whether one of a cell's runs, reduced in this way, has the name."""
    lines = cell.reduced_by(reduction)
    return any(
        name_with(cell, run, lines) == name
        for run in cell.runs
        if _agrees(merge(run, lines), chosen, config)
    )


def _agrees(lines: Sequence[str], chosen: Mapping[str, str], config: Mapping[str, Any]) -> bool:
    """Whether these overrides may make the run: they contradict neither choices nor config."""
    options = {key_of(line): value_of(line) for line in lines if replaces_part(line)}
    for group, option in chosen.items():
        if (options.get(group) or _default(group, options.get("dataset"))) != option:
            return False
    return not any(_contradicts(line, config) for line in lines if not replaces_part(line))


def _contradicts(line: str, config: Mapping[str, Any]) -> bool:
    """Whether an override sets a value of the experiment that differs from the config's."""
    path, wanted = key_of(line).split("."), parse(line).value()
    if path[0] not in SCIENCE or path[-1] in (*NOT_SCIENCE, "_target_"):
        return False
    node: Any = config
    for part in path:
        if not isinstance(node, Mapping) or part not in node:
            return False
        node = node[part]
    follows = isinstance(wanted, dict) or "${" in str(wanted)  # merged, or filled in later
    return not follows and wanted != node
