"""What `-m table=PAPER/TABLE` and the overrides beside it ask for."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

from hydra.core.override_parser.types import Glob

from vicinal.cli.messages import listed
from vicinal.cli.overrides import alternatives, parse, value_of
from vicinal.errors import RunError
from vicinal.storage import records
from vicinal.tables.table import names

PLAN_KEYS = ("table", "seed", "only", "dry_run")
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
        dry_run="dry_run" in plan and bool(parse(plan["dry_run"]).value()),
    )


def _tables(line: str) -> tuple[str, ...]:
    pattern = parse(line).value()
    if not parse(line).is_sweep_override():
        return (str(pattern),)
    if not isinstance(pattern, Glob):
        return tuple(value_of(each) for each in alternatives(line))
    matching = pattern.filter(names())
    if not matching:
        typed = value_of(line)
        known = listed(typed, names())
        raise RunError(f"table must match the name of a table, got {typed} (known: {known})")
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
