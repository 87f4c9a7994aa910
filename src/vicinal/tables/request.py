"""What `-m table=PAPER/TABLE` and the overrides beside it ask for."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from math import inf

from hydra.core.override_parser.types import Glob

from vicinal.cli.messages import listed
from vicinal.cli.overrides import ONLY_WITH_TABLE, alternatives, key_of, parse, value_of
from vicinal.errors import RunError
from vicinal.storage import records
from vicinal.tables.budget import Budget
from vicinal.tables.table import known

PLAN_KEYS = ("table", "seed", *ONLY_WITH_TABLE)
# Not part of the experiment, so changing it does not make a run reduced.
FREE_NODES = ("runtime", "logger", "clean", "evaluation", "out", "results", "hydra")
FREE_KEYS = tuple(f"dataset.{key}" for key in records.NOT_SCIENCE)


@dataclass(frozen=True)
class SweepRequest:
    """Which tables to run, and how."""

    tables: tuple[str, ...]
    seeds: tuple[int, ...] | None  # None: each table's own
    shared: tuple[str, ...]  # overrides for every run that do not change it: machine, folders
    reductions: tuple[tuple[str, ...], ...]  # alternatives, each a set of overrides
    only: tuple[str, ...] = ()  # labels that a cell's row and column must have
    dry_run: bool = False
    list_runs: bool = False  # in a plan of several tables, too
    budget: Budget | None = None  # None: all runs
    evaluation: tuple[str, ...] = ()  # overrides about evaluations


def parse_request(arguments: Iterable[str]) -> SweepRequest:
    """Sort the overrides: the plan's own keys, settings of the machine, reductions."""
    plan: dict[str, str] = {}
    shared, evaluation, axes = list[str](), list[str](), list[list[str]]()
    for line in arguments:
        override = parse(line)
        key = override.package or override.key_or_group
        if key in PLAN_KEYS:
            plan[key] = line
        elif key == "reports":
            raise RunError(f"reports must not be given beside table= (its cells say them): {line}")
        elif key not in FREE_KEYS and re.split(r"[./]", key)[0] not in FREE_NODES:
            axes.append(alternatives(line))
        elif len(values := alternatives(line)) > 1:
            raise RunError(f"{key} must have one value beside table=, got {value_of(line)}")
        elif key.split(".")[0] == "evaluation":
            evaluation.append(values[0].lstrip("+"))  # typed with a +, as the defaults lack it
        else:
            shared.append(values[0])
    return SweepRequest(
        tables=_tables(plan["table"]) if "table" in plan else (),
        seeds=_seeds(plan["seed"]) if "seed" in plan else None,
        shared=tuple(shared),
        evaluation=tuple(evaluation),
        reductions=tuple(product(*axes)),
        only=_labels(plan["only"]) if "only" in plan else (),
        dry_run="dry_run" in plan and _flag(plan["dry_run"]),
        list_runs="runs" in plan and _flag(plan["runs"]),
        budget=_budget(plan),
    )


def _flag(line: str) -> bool:
    value = parse(line).value()
    if not isinstance(value, bool):
        raise RunError(f"{key_of(line)} must be true or false, got {value_of(line)}")
    return value


def _budget(plan: Mapping[str, str]) -> Budget | None:
    """`+hours=8 +gpus=4`; one GPU unless more are given."""
    hours, gpus = (plan.get(key) for key in ("hours", "gpus"))
    if hours is None:
        if gpus is not None:
            raise RunError("gpus needs hours: +hours=HOURS, the time that the runs must fit into")
        return None
    time, count = parse(hours).value(), 1 if gpus is None else parse(gpus).value()
    if isinstance(time, bool) or not isinstance(time, int | float) or not 0 < time < inf:
        raise RunError(f"hours must be a number above 0, got {value_of(hours)}")
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise RunError(f"gpus must be a whole number above 0, got {value_of(str(gpus))}")
    return Budget(float(time), count)


def _tables(line: str) -> tuple[str, ...]:
    pattern = parse(line).value()
    if not parse(line).is_sweep_override():
        return (str(pattern),)
    if not isinstance(pattern, Glob):
        return tuple(value_of(each) for each in alternatives(line))
    matching = pattern.filter(known())
    if not matching:
        typed = value_of(line)
        near = listed(typed, known())
        raise RunError(f"table must match the name of a table, got {typed} (known: {near})")
    return tuple(matching)


def _seeds(line: str) -> tuple[int, ...]:
    seeds = [value_of(each) for each in alternatives(line)]
    for seed in seeds:
        if not seed.isdigit():
            raise RunError(f"seed must be a whole number, got {seed}")
    return tuple(map(int, seeds))


def _labels(line: str) -> tuple[str, ...]:
    labels = parse(line).value()
    return tuple(map(str, labels if isinstance(labels, list) else [labels]))
