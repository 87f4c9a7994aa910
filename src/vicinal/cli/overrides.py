"""Overrides, as command lines and tables write them: `method=mixup`, `+method.chunk=8`."""

from collections.abc import Sequence
from functools import cache

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

ONLY_WITH_TABLE = ("only", "dry_run", "runs", "hours", "gpus")  # about a plan, not about a run


@cache
def parse(line: str) -> Override:
    """Read an override by Hydra's own grammar."""
    return OverridesParser.create().parse_override(line)


def key_of(line: str) -> str:
    """What an override sets: `method.copies`, `vicinity@method.vicinity`."""
    return parse(line).get_key_element().lstrip("+~")


def value_of(line: str) -> str:
    """The value as it was typed; empty where an override has none."""
    override = parse(line)
    return "" if override.value_type is None else override.get_value_string()


def alternatives(line: str) -> list[str]:
    """One override per value of a sweep: `seed=0,1` -> `seed=0`, `seed=1`."""
    override = parse(line)
    if not override.is_sweep_override():
        return [line]
    return [f"{override.get_key_element()}={each}" for each in override.sweep_string_iterator()]


def side_by_side(sweeps: str) -> list[tuple[str, ...]]:
    """The overrides of sweeps that go together: `a=1,2 b=3,4` -> (a=1, b=3), (a=2, b=4)."""
    return list(zip(*map(alternatives, sweeps.split()), strict=True))


def merge(*levels: Sequence[str]) -> tuple[str, ...]:
    """Keep one override per key, the last one, in the order of their first appearance."""
    return tuple({key_of(line): line for level in levels for line in level}.values())


def join(name: str, lines: Sequence[str]) -> str:
    """An override whose value is a list of overrides: `reduced=['schedule.epochs=30']`."""
    return f"{name}=[{','.join(map(quote, lines))}]"


def quote(text: str) -> str:
    """Text as a value that may hold any character."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
