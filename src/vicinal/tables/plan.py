"""The run behind each cell: which config its overrides make, and the name it is recorded under."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import Any

from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, OmegaConfBaseException

from vicinal.cli.configs import CONFIGS, compose, recorded
from vicinal.cli.nodes import compose_node
from vicinal.cli.overrides import key_of, merge, parse, value_of
from vicinal.cli.search import folders
from vicinal.storage import records
from vicinal.tables import plain
from vicinal.tables.plain import MISSING, NotSimpleError, assign, copied

Lines = tuple[str, ...]  # overrides
Plain = dict[str, Any]
Composed = tuple[DictConfig, dict[str, str]]  # with the options chosen for its groups
REFUSALS = (HydraException, OmegaConfBaseException, ValueError)


@dataclass(frozen=True)
class PlannedRun:
    """A run without its seed."""

    overrides: tuple[str, ...]
    config: dict[str, Any]
    name: str  # DATASET/MODEL/METHOD/ID, the path of its folder and record


@cache
def plan_run(overrides: Lines) -> PlannedRun:
    """Plan the run that these overrides make, wherever its data are."""
    try:
        tree, choices = compose_plain(overrides)
        data = tree["dataset"]
        data |= {key: "" for key in records.NOT_SCIENCE if data.get(key) == MISSING}
        return _named(overrides, plain.recorded(tree), choices)
    except NotSimpleError:
        return _plan_by_omegaconf(overrides)


def _plan_by_omegaconf(overrides: Lines) -> PlannedRun:
    config, choices = _compose_by_omegaconf(overrides)
    for key in records.NOT_SCIENCE:
        if OmegaConf.is_missing(config.dataset, key):
            config.dataset[key] = ""
    return name_run(overrides, config, choices)


def name_run(overrides: Sequence[str], config: DictConfig, choices: dict[str, str]) -> PlannedRun:
    """Name the run that a composed config makes."""
    return _named(overrides, recorded(config), choices)


def _named(overrides: Sequence[str], tree: Plain, choices: Mapping[str, str]) -> PlannedRun:
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
    """Make the config of `configs.compose`, with Hydra's choices, some fifty times as fast."""
    lines = tuple(overrides)
    try:
        tree, choices = compose_plain(lines)
    except NotSimpleError:
        return _compose_by_omegaconf(lines)
    config = OmegaConf.create(tree)
    OmegaConf.set_struct(config, True)
    return config, choices


def compose_plain(lines: Lines) -> tuple[Plain, dict[str, str]]:
    """The config of `compose_cached` as plain containers; NotSimpleError where they do not do.

    A group's options change only the group's own node, so each node is composed once for all runs.
    A `dataset` may choose other groups' options too: then these are composed with it. What a
    user's own option changes is not known, so with one of these Hydra composes all of it.
    """
    parsed = [parse(line) for line in lines]
    if any(map(_is_own, parsed)):
        raise NotSimpleError
    shared, choices = _compose_groups(_groups(parsed))
    tree = copied(shared)
    for override in parsed:
        if not _is_group(override):
            assign(tree, override.key_or_group, override.value(), override.is_add())
    return tree, dict(choices)


def _compose_by_omegaconf(lines: Lines) -> Composed:
    """The same for any overrides, slowly; it raises what is wrong with them."""
    parsed = [parse(line) for line in lines]
    if any(map(_is_own, parsed)):
        tree, choices = _compose_whole(lines)
        return OmegaConf.create(tree, flags={"struct": True}), dict(choices)
    tree, choices = _compose_groups(_groups(parsed))
    config = OmegaConf.create(tree, flags={"struct": True})
    for override in parsed:
        if not _is_group(override):
            key, value = override.key_or_group, override.value()
            if override.is_add() and not isinstance(value, dict | list):
                _check_absent(config, key)
            OmegaConf.update(config, key, value, merge=True, force_add=override.is_add())
    return config, dict(choices)


def _groups(parsed: Iterable[Override]) -> tuple[tuple[str, str], ...]:
    """The overrides that choose options, each with the node that it fills."""
    return tuple((_root(each), str(each.input_line)) for each in parsed if _is_group(each))


@cache
def _compose_groups(groups: tuple[tuple[str, str], ...]) -> tuple[Plain, dict[str, str]]:
    """The config of these options; its nodes are shared."""
    by_root: dict[str, Lines] = {}
    for root, line in groups:
        by_root[root] = (*by_root.get(root, ()), line)
    beside = by_root.pop("dataset", ())
    if _stands_alone(beside):
        by_root, beside = {"dataset": beside, **by_root}, ()
    config, choices = _compose_whole(beside)
    config, choices = dict(config), dict(choices)
    for root, lines in by_root.items():
        if lines == (f"{root}={choices.get(root)}",):
            continue  # chosen already
        try:
            config[root], chosen = _compose_node(root, lines, choices.get(root, ""))
        except REFUSALS:
            whole, chosen = _compose_whole((*beside, *lines))  # which says what is wrong
            config[root] = whole[root]
        inner = f"@{root}."
        choices = {k: v for k, v in choices.items() if k != root and inner not in k}
        choices |= {k: v for k, v in chosen.items() if k == root or inner in k}
    return config, choices


def _check_absent(config: DictConfig, key: str) -> None:
    """Refuse to add what is there, as Hydra does."""
    if OmegaConf.select(config, key, throw_on_missing=False) is not None:
        raise ConfigAttributeError(f"{key} is there already: without a + it is changed")


def _stands_alone(dataset: Lines) -> bool:
    """Whether a dataset chooses no options of other groups."""
    default = _compose_whole(())[1]["dataset"]
    try:
        return bool(_compose_node("dataset", dataset, default))
    except REFUSALS:
        return False


@cache
def _compose_node(root: str, lines: Lines, default: str) -> tuple[Any, dict[str, str]]:
    """A group's node, and the options in it; `default` is its option if the lines name none."""
    options = [line for line in lines if key_of(line) == root]
    if len(options) > 1 or any(parse(line).is_add() for line in options):
        raise HydraException(f"{root} must be chosen once")
    option = value_of(options[0]) if options else default
    return compose_node(root, option, [line for line in lines if key_of(line) != root])


@cache
def _compose_whole(lines: Lines) -> tuple[Plain, dict[str, str]]:
    config, choices = split_hydra(compose(*lines, with_hydra=True))
    tree: Any = OmegaConf.to_container(config)
    return tree, choices


def _is_group(override: Override) -> bool:
    return _is_folder(override.key_or_group)


@cache
def _is_folder(group: str) -> bool:
    return (CONFIGS / group).is_dir()


def _is_own(override: Override) -> bool:
    """Whether an override chooses an option that a user's own folder has."""
    places = [folder / override.key_or_group for folder in folders()]
    value = override.value()
    names = value if isinstance(value, list) else [value]
    return any((place / f"{name}.yaml").is_file() for place in places for name in names)


def _root(override: Override) -> str:
    """The node of the config that a group's option fills."""
    return (override.package or override.key_or_group).partition(".")[0]
