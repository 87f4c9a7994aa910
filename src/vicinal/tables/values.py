"""The numbers of records that a cell reports, and what differs in how they were measured."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import yaml

from vicinal.cli.configs import CONFIGS, recorded
from vicinal.storage.evaluations import settings
from vicinal.tables.cell import MEASURES, Cell
from vicinal.tables.plan import compose_cached, plan_evaluation

Record = Mapping[str, Any]
Change = tuple[str, ...]  # overrides: how an evaluation differs from the one that is planned


def values_by_seed(records: Sequence[Record], cell: Cell) -> tuple[Change, dict[int, float]]:
    """A cell's numbers by seed, and how their evaluation differs from the planned one.

    Other settings count only where the planned ones were not measured; of several, those that most
    seeds share.
    """
    found: dict[Change, dict[int, float]] = defaultdict(dict)
    for record in records:
        for change, value in reported_values(record, cell).items():
            found[change][record["seed"]] = value
    best = max(found, key=lambda change: (change == (), len(found[change]), change), default=())
    return best, found.get(best, {})


def reported_values(record: Record, cell: Cell) -> dict[Change, float]:
    """The number of a record that a cell reports, by what its evaluation had changed."""
    _, scale, offset = MEASURES[cell.measures]
    if cell.evaluation is None:
        return {(): offset + scale * _while_training(record, cell)}
    planned = settings(plan_evaluation(cell.evaluation))
    return {
        _changes(f"evaluation.{cell.evaluation}", planned, settings(each["config"])): offset
        + scale * each["metrics"][cell.metric]
        for each in record["evaluations"].values()
        if (each["name"], each["report"]) == (cell.evaluation, cell.report)
        and cell.metric in each["metrics"]  # not if parts of it were left out
    }


def _while_training(record: Record, cell: Cell) -> float:
    if cell.split == "test":
        return record["metrics"][cell.report][cell.metric]
    curves, index = record["curves"], -1
    if cell.report == "best_valid":
        index = curves["epoch"].index(record["metrics"]["best_valid"]["epoch"])
    return curves[f"{cell.split}_{cell.metric}"][index]


def _changes(key: str, planned: Any, found: Any) -> Change:
    """The settings in which two configs differ, as overrides."""
    if not (isinstance(planned, dict) and isinstance(found, dict)):
        return () if planned == found else (f"{key}={found}",)
    target = found.get("_target_")
    if target != planned.get("_target_"):
        option, config = _option(str(target))
        return (f"sets@{key}={option}", *_changes(key, config, found))
    names = sorted(planned.keys() | found.keys())
    pairs = ((f"{key}.{name}", planned.get(name), found.get(name)) for name in names)
    return tuple(line for pair in pairs for line in _changes(*pair))


@cache
def _option(target: str) -> tuple[str, Any]:
    """The option of `sets` that has this class, and its settings; another is named by its class."""
    for path in sorted((CONFIGS / "sets").glob("*.yaml")):
        if yaml.safe_load(path.read_text()).get("_target_") == target:
            place = f"sets@evaluation.corrupted.sets={path.stem}"
            config = recorded(compose_cached(("evaluation=corrupted", place))[0])
            return path.stem, settings(config["evaluation"]["corrupted"]["sets"])
    return target, {"_target_": target}
