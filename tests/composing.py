"""Configs as `vicinal.cli.configs.compose` makes them, some fifteen times as fast."""

from dataclasses import replace
from itertools import chain
from typing import Any

import pytest
import yaml
from hydra.utils import get_class
from omegaconf import DictConfig

from vicinal.cli.configs import CONFIGS
from vicinal.contracts import Method, Photos, Words, takes
from vicinal.tables import needs
from vicinal.tables.plan import compose_cached

# In place of networks whose weights would be downloaded, by what is chosen.
AT_HAND = {f"method={name}": lines for name, lines in needs.AT_HAND.items()}


def compose(*overrides: str) -> DictConfig:
    """What is chosen of a group is composed once per process; a test of the plan compares both."""
    others = [AT_HAND[line] for line in overrides if line in AT_HAND]
    return compose_cached((*overrides, *chain(*others)))[0]


def brief(method: Method) -> Method:
    """The method with two steps or draws in every search, which otherwise take most of a test."""
    searches = [name for name in ("steps", "draws") if hasattr(method, name)]
    return replace(method, **dict.fromkeys(searches, 2))  # pyright: ignore


def written(group: str, name: str) -> dict[str, Any]:
    """What an option's file says, and the files it inherits from; parts under their defaults' keys.

    Tests need it when they are collected, where composing would take too long.
    """
    found: dict[str, Any] = {}
    own = yaml.safe_load((CONFIGS / group / f"{name}.yaml").read_text())
    for part in own.pop("defaults", ()):
        if isinstance(part, dict):
            found |= {key.removeprefix("override "): value for key, value in part.items()}
        elif part != "_self_":
            found |= written(group, part)
    return found | own


def _takes(method: str) -> Any:
    """What a method trains on."""
    return takes(get_class(written("method", method)["_target_"]))


EVERY = sorted(path.stem for path in (CONFIGS / "method").glob("*.yaml"))
TEXT = [name for name in EVERY if _takes(name) is Words]
DETECTION = [name for name in EVERY if _takes(name) is Photos]
METHODS = [name for name in EVERY if name not in (*TEXT, *DETECTION)]  # on images


def _methods_by_class() -> tuple[list[str], list[str]]:
    """The first method of each class, and the others, which differ in what they hold."""
    kinds: dict[str, list[str]] = {}
    for name in METHODS:
        kinds.setdefault(written("method", name)["_target_"], []).append(name)
    others = [method for _, *others in kinds.values() for method in others]
    return [first for first, *_ in kinds.values()], others


FIRST, OTHERS = _methods_by_class()
# The methods of a class differ in what they hold: `make test-all` tries the others, too.
ONE_OF_EACH_CLASS = [*FIRST, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)]
