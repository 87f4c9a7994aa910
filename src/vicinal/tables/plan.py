"""The run behind each cell: which config its overrides make, and the name it is recorded under."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import ConfigAttributeError, OmegaConfBaseException

from vicinal.cli.configs import CONFIGS, compose, recorded
from vicinal.cli.overrides import merge, parse
from vicinal.cli.search import folders
from vicinal.storage import records

Lines = tuple[str, ...]  # overrides
Composed = tuple[DictConfig, dict[str, str]]  # with the options chosen for its groups


@dataclass(frozen=True)
class PlannedRun:
    """A run without its seed."""

    overrides: tuple[str, ...]
    config: dict[str, Any]
    name: str  # DATASET/MODEL/METHOD/ID, the path of its folder and record


@cache
def plan_run(overrides: tuple[str, ...]) -> PlannedRun:
    """Plan the run that these overrides make, wherever its data are."""
    config, choices = compose_cached(overrides)
    for key in records.NOT_SCIENCE:
        if OmegaConf.is_missing(config.dataset, key):
            config.dataset[key] = ""
    return name_run(overrides, config, choices)


def name_run(overrides: Sequence[str], config: DictConfig, choices: dict[str, str]) -> PlannedRun:
    """Name the run that a composed config makes."""
    tree = recorded(config)
    name = records.name(tree, tree["dataset"]["name"], choices)
    return PlannedRun(tuple(overrides), tree, name)


def plan_evaluation(name: str, run: Mapping[str, Any], source: str | None = None) -> Any:
    """The config of an evaluation as the tables measure it on a run, whose config it may copy from.

    `source` is the other run that it needs, if it needs one.
    """
    config = deepcopy(_composed_evaluation(name))
    if source is not None:
        config.source = source
    whole = OmegaConf.create({**run, "evaluation": {name: config}})
    return OmegaConf.to_container(whole.evaluation[name], resolve=True, throw_on_missing=True)


@cache
def _composed_evaluation(name: str) -> DictConfig:
    return compose_cached((f"evaluation={name}",))[0].evaluation[name]


def begin_with(start: tuple[str, ...], run: Sequence[str], reduction: Sequence[str] = ()) -> Lines:
    """The overrides of a reduced run that begins with the weights of another, reduced likewise."""
    lines = merge(run, reduction)
    if not start:
        return lines
    return merge(lines, ("init=run", f"init.name={plan_run(merge(start, reduction)).name}"))


def plan_source(overrides: tuple[str, ...], seed: int) -> str:
    """The run whose network is attacked in place of that of a run with this seed: NAME/seedK."""
    return f"{plan_run(overrides).name}/seed{source_seed(seed)}"


def source_seed(seed: int) -> int:
    """Always another seed."""
    return 0 if seed != 0 else 1


def replaces_part(line: str) -> bool:
    """Whether an override chooses another dataset, model or method instead of setting a value."""
    return _is_group(parse(line)) or _is_own(parse(line))


def split_hydra(config: DictConfig) -> Composed:
    """Split Hydra's own node off: the run's config, and the options chosen for its groups."""
    choices = {key: value for key, value in config.hydra.runtime.choices.items() if value}
    plain = {key: value for key, value in config.items_ex(resolve=False) if key != "hydra"}
    return OmegaConf.create(plain), choices


def composed(lines: Sequence[str], by_hydra: Callable[[Sequence[str]], DictConfig]) -> Composed:
    """Compose quickly what the quick way can, and the rest by Hydra, which says what is wrong."""
    overrides = [parse(line) for line in lines]
    if any(o.is_delete() or o.is_force_add() or o.is_hydra_override() for o in overrides):
        return split_hydra(by_hydra(lines))
    try:
        return compose_cached(lines)
    except (HydraException, OmegaConfBaseException):
        return split_hydra(by_hydra(lines))


def compose_cached(overrides: Iterable[str]) -> Composed:
    """Make the config of `configs.compose`, with Hydra's choices, about twenty times as fast.

    A group's options change only the group's own node, so each node is composed once for all runs.
    A `dataset` may choose other groups' options too: then these are composed beside it. What a
    user's own option changes is not known, so with one of these Hydra composes all of it.
    """
    lines = tuple(overrides)
    parsed = [parse(line) for line in lines]
    if any(map(_is_own, parsed)):
        return deepcopy(_compose_node(lines))
    groups = tuple((_root(each), str(each.input_line)) for each in parsed if _is_group(each))
    config, choices = deepcopy(_compose_groups(groups))
    for override in parsed:
        if not _is_group(override):
            key, value = override.key_or_group, override.value()
            if override.is_add() and not isinstance(value, dict | list):
                _check_absent(config, key)
            OmegaConf.update(config, key, value, merge=True, force_add=override.is_add())
    return config, choices


@cache
def _compose_groups(groups: tuple[tuple[str, str], ...]) -> Composed:
    """The config of these options."""
    dataset = tuple(line for root, line in groups if root == "dataset")
    config, choices = _compose_node(dataset)
    beside = dataset if _others(choices) != _others(_compose_node(())[1]) else ()
    config, choices = deepcopy(config), dict(choices)
    for root in dict.fromkeys(root for root, _ in groups if root != "dataset"):
        lines = tuple(line for of, line in groups if of == root)
        if lines == (f"{root}={choices.get(root)}",):
            continue  # chosen already
        node, chosen = _compose_node((*beside, *lines))
        with open_dict(config):  # a group whose default is null has no node yet
            config[root] = deepcopy(node[root])
        inner = f"@{root}."
        choices = {k: v for k, v in choices.items() if k != root and inner not in k}
        choices |= {k: v for k, v in chosen.items() if k == root or inner in k}
    return config, choices


def _check_absent(config: DictConfig, key: str) -> None:
    """Refuse to add what is there, as Hydra does."""
    if OmegaConf.select(config, key, throw_on_missing=False) is not None:
        raise ConfigAttributeError(f"{key} is there already: without a + it is changed")


def _others(choices: Mapping[str, str]) -> dict[str, str]:
    return {group: option for group, option in choices.items() if group != "dataset"}


@cache
def _compose_node(lines: tuple[str, ...]) -> Composed:
    plain, choices = split_hydra(compose(*lines, with_hydra=True))
    OmegaConf.set_struct(plain, True)
    return plain, choices


def _is_group(override: Override) -> bool:
    return (CONFIGS / override.key_or_group).is_dir()


def _is_own(override: Override) -> bool:
    """Whether an override chooses an option that a user's own folder has."""
    value = override.value()
    names = value if isinstance(value, list) else [value]
    files = [Path(override.key_or_group, f"{name}.yaml") for name in names]
    return any((folder / file).is_file() for folder in folders() for file in files)


def _root(override: Override) -> str:
    """The node of the config that a group's option fills."""
    return (override.package or override.key_or_group).partition(".")[0]
