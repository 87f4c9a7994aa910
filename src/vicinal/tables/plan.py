"""The run behind each cell: which config its overrides make, and the name it is recorded under."""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import Any

import hydra
from hydra import initialize_config_dir
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from vicinal.cli.configs import CONFIGS, parsed, recorded
from vicinal.storage import records


@dataclass(frozen=True)
class Planned:
    """A run, but for its seed."""

    overrides: tuple[str, ...]
    config: dict[str, Any]
    name: str  # DATASET/MODEL/METHOD/ID, as its folder and record have it


@cache
def planned(overrides: tuple[str, ...]) -> Planned:
    """The run that these overrides make."""
    config, choices = composed(overrides)
    return name_run(overrides, config, choices)


def name_run(overrides: Sequence[str], config: DictConfig, choices: dict[str, str]) -> Planned:
    """The run that a composed config is."""
    tree = recorded(config)
    name = records.name(tree, tree["dataset"]["name"], choices)
    return Planned(tuple(overrides), tree, name)


def parted(config: DictConfig) -> tuple[DictConfig, dict[str, str]]:
    """A config without Hydra's node, and the choices that stood in there."""
    choices = {key: value for key, value in config.hydra.runtime.choices.items() if value}
    plain = {key: value for key, value in config.items_ex(resolve=False) if key != "hydra"}
    return OmegaConf.create(plain), choices


def composed(overrides: Iterable[str]) -> tuple[DictConfig, dict[str, str]]:
    """What `configs.compose` makes, with Hydra's choices, some twenty times as fast.

    A group's options shape no node but the group's own, so each node is composed once for all runs.
    """
    every = [parsed(line) for line in overrides]
    config, choices = _node(())
    config, choices = deepcopy(config), dict(choices)
    for root in dict.fromkeys(_root(o) for o in every if _is_group(o)):
        lines = tuple(str(o.input_line) for o in every if _is_group(o) and _root(o) == root)
        part, chosen = _node(lines)
        config[root] = deepcopy(part[root])
        inner = f"@{root}."
        choices = {k: v for k, v in choices.items() if k != root and inner not in k}
        choices |= {k: v for k, v in chosen.items() if k == root or inner in k}
    for override in every:
        if not _is_group(override):
            key, value = override.key_or_group, override.value()
            OmegaConf.update(config, key, value, merge=True, force_add=override.is_add())
    return config, choices


@cache
def _node(groups: tuple[str, ...]) -> tuple[DictConfig, dict[str, str]]:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = hydra.compose("train", list(groups), return_hydra_config=True)
    base, choices = parted(config)
    OmegaConf.set_struct(base, True)
    return base, choices


def _is_group(override: Override) -> bool:
    return override.package is not None or "." not in override.key_or_group


def _root(override: Override) -> str:
    """The node of the config that a group's option is put into."""
    return (override.package or override.key_or_group).partition(".")[0]
