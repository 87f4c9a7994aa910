"""The numbers of records that a cell reports, and what differs in how they were measured."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml
from omegaconf import OmegaConf

from vicinal.cli.configs import CONFIGS
from vicinal.cli.overrides import merge
from vicinal.loggers.evaluations import warnings
from vicinal.storage.evaluations import settings
from vicinal.tables.cell import MEASURES, Cell
from vicinal.tables.plan import compose_cached, plan_evaluation, plan_run, plan_source

Record = Mapping[str, Any]
PARTS = {"sets": "corrupted.sets", "attack": "attacked.attacks.pgd"}  # groups, and a place of each
Change = tuple[str, ...]  # overrides: how an evaluation differs from the one that is planned


@dataclass(frozen=True)
class Reported:
    """A number of a record, and what the checks of its evaluation say against it."""

    value: float
    warnings: tuple[str, ...] = ()
    plain: float | None = None  # of a cost: the number of plain training, measured beside it
    device: str = ""  # of a cost: what it was measured on


def values_by_seed(
    records: Sequence[Record], cell: Cell, reduction: Sequence[str] = ()
) -> tuple[Change, dict[int, Reported]]:
    """A cell's numbers by seed, and how their evaluation differs from the planned one.

    `reduction` is how these runs, and any other that they need, differ from the planned ones. Other
    settings of an evaluation count only where the planned ones were not measured; of several, those
    that most seeds share.
    """
    found: dict[Change, dict[int, Reported]] = defaultdict(dict)
    for record in records:
        for change, value in reported_values(record, cell, reduction).items():
            found[change][record["seed"]] = value
    best = max(found, key=lambda change: (change == (), len(found[change]), change), default=())
    return best, found.get(best, {})


def reported_values(
    record: Record, cell: Cell, reduction: Sequence[str] = ()
) -> dict[Change, Reported]:
    """The number of a record that a cell reports, by what its evaluation had changed."""
    _, scale, offset = MEASURES[cell.measures]
    if cell.evaluation is None:
        return {(): Reported(offset + scale * _while_training(record, cell))}
    entries = [
        each
        for each in record["evaluations"].values()
        if (each["name"], each["report"]) == (cell.evaluation, cell.report)
        and cell.metric in each["metrics"]  # not if parts of it were left out
    ]
    if not entries:
        return {}
    source = merge(cell.source, reduction)
    named = plan_source(source, record["seed"]) if cell.source else None
    planned = settings(plan_evaluation(cell.evaluation, record["config"], named))
    found: dict[Change, Reported] = {}
    for each in entries:
        number = offset + scale * each["metrics"][cell.metric]
        reported = Reported(number, tuple(warnings(each["metrics"])))
        if cell.over is not None:
            reported = _cost(each, cell, cell.over)
        changes = _changes(f"evaluation.{cell.evaluation}", planned, settings(each["config"]))
        found[changes] = reported
    return found


def _cost(entry: Record, cell: Cell, over: Cell) -> Reported:
    """A cost, in the units of the paper, and that of plain training."""
    metrics, ranks = entry["metrics"], entry["ranks"]
    name = entry["origin"]["device"]["name"]
    return Reported(
        _scale(cell) * metrics[cell.metric],
        plain=_scale(over) * metrics[f"erm_{cell.metric}"],
        device=name if ranks == 1 else f"{ranks} x {name}",
    )


def _scale(cell: Cell) -> float:
    """What the recorded number of a cost is multiplied by: hours are those of all epochs."""
    scale = MEASURES[cell.measures][1]
    if cell.measures != "hours":
        return scale
    return scale * plan_run(cell.overrides).config["schedule"]["epochs"]


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
        place, config = _option(str(target))
        return (place.format(key), *_changes(key, config, found))
    names = sorted(planned.keys() | found.keys())
    pairs = ((f"{key}.{name}", planned.get(name), found.get(name)) for name in names)
    return tuple(line for pair in pairs for line in _changes(*pair))


@cache
def _option(target: str) -> tuple[str, Any]:
    """How the option of this class is chosen, and its settings; another is named by its class."""
    for group, place in PARTS.items():
        for path in sorted((CONFIGS / group).glob("*.yaml")):
            if yaml.safe_load(path.read_text()).get("_target_") == target:
                chosen = f"{group}@evaluation.{place}={path.stem}"
                config = compose_cached((f"evaluation={place.partition('.')[0]}", chosen))[0]
                node = OmegaConf.to_container(OmegaConf.select(config.evaluation, place))
                return f"{group}@{{}}={path.stem}", settings(node)
    return f"{{}}={target}", {"_target_": target}
