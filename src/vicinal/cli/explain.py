"""One line for an override that Hydra cannot compose.

Hydra says so over several lines, and seldom what was meant. Its error names an option or a key;
here that is compared with the group's options, or with the config that the chosen options make.
"""

import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice, product
from typing import Any

from antlr4.error.Errors import LexerNoViableAltException
from hydra.errors import ConfigCompositionException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vicinal.cli.annotations import dotted, shown
from vicinal.cli.configs import CONFIGS, SEVERAL, options
from vicinal.cli.messages import did_you_mean, keys, listed, one_line
from vicinal.cli.overrides import alternatives, key_of, parse, value_of
from vicinal.cli.signatures import settings

EXTRAS = {  # which bring other packages' options
    "hydra/sweeper=optuna": "tuning",
    "hydra/launcher=submitit_local": "slurm",
    "hydra/launcher=submitit_slurm": "slurm",
}
ANY_NAME = {"model": "timm"}  # the options that take any name of another library's: model.name=

Compose = Callable[[list[str]], DictConfig]  # with Hydra's own node


def explain(
    error: Exception, overrides: list[str], compose: Compose, sweep: bool = False
) -> str | None:
    """Say which override made Hydra raise this error; None if all of them compose."""
    for line in overrides:
        try:
            parse(line)
        except Exception as reason:
            return _unreadable(line, reason)
    for job in _jobs(overrides) if sweep else [overrides]:
        try:
            compose(job)
        except Exception as reason:
            return _explain_job(reason, job, compose)
    if sweep and isinstance(error, ConfigCompositionException):
        return _not_in_defaults(error, overrides)
    return None


def _unreadable(line: str, error: Exception) -> str:
    if "=" not in line:
        return f"{line} has no value; settings are written key=value"
    reason = (str(error).splitlines() or [type(error).__name__])[0].partition(" expecting")[0]
    if isinstance(error.__cause__, LexerNoViableAltException):
        start = error.__cause__.startIndex
        reason = f"{line[start : start + 1]!r} at character {start + 1} is not allowed"
    return f"{line} cannot be read: {reason} (text with symbols needs quotes: key=\\'a b: c\\')"


def _jobs(overrides: list[str], most: int = 256) -> Iterator[list[str]]:
    """The first jobs of a sweep, without what the command line alone does not enumerate."""
    axes = [
        alternatives(line)
        for line in overrides
        if "glob(" not in line and not parse(line).is_interval_sweep()
    ]
    return (list(job) for job in islice(product(*axes), most))


def _explain_job(error: Exception, job: list[str], compose: Compose) -> str:
    try:
        config = compose([])
    except Exception as reason:  # the user's own config files
        return one_line(reason)
    groups = {*SEVERAL, *(choice.partition("@")[0] for choice in config.hydra.runtime.choices)}
    chosen = [line for line in job if parse(line).package or parse(line).key_or_group in groups]
    for line in job:
        if message := _split_name(line) or _wrong_form(line, line in chosen):
            return message
    message, line = None, _named_in(error, job)
    if isinstance(error, MissingConfigException):
        message = _unknown_option(error, job)
    elif line is not None and (part := _part_of_several(line)) is not None and line in chosen:
        message = (
            f"{line}: {part} is not in this config; choose it with {part.replace('.', '=')}, or "
            f"beside table= write +{line}"
        )
    elif line is not None and line not in chosen:
        with suppress(Exception):  # one of the options is wrong, too
            config = compose(chosen)
        message = _unknown_key(line, error, config)
    return message or one_line(error)


def _part_of_several(line: str) -> str | None:
    """`evaluation.corrupted`, if an override chooses something inside it."""
    parts = (parse(line).package or "").split(".")
    return ".".join(parts[:2]) if parts[0] in SEVERAL and len(parts) > 1 else None


def _split_name(line: str) -> str | None:
    """What is meant by `table/mixup=figure3a`: the option has a slash, and the group has none."""
    group, slash, folder = (parse(line).key_or_group or "").partition("/")
    option = f"{folder}/{value_of(line)}"
    if slash and option in options(group, "*/*"):
        return f"{group}/{folder} is not a group; did you mean {group}={option}?"
    return None


def _wrong_form(line: str, is_group: bool) -> str | None:
    """What is wrong with an override by itself, without looking at any config."""
    override = parse(line)
    if not override.key_or_group:
        return f"{line} has no key; settings are written key=value"
    if override.is_sweep_override():
        key = key_of(line)
        or_list = "" if is_group else f", or write {key}=[...] for a list"
        return f"{line} gives several values; add -m to run one after another{or_list}"
    if key_of(line) in SEVERAL and isinstance(override.value(), list):
        return None
    if is_group and not override.is_delete() and not isinstance(override.value(), str):
        return f"{key_of(line)} must be one of its options, got {value_of(line)}"
    return None


def _unknown_option(error: MissingConfigException, job: list[str]) -> str | None:
    path = error.missing_cfg_file or ""
    for line in job:
        group, value = parse(line).key_or_group, parse(line).value()
        known = {*(error.options or options(group)), *options(group, "*/*")}
        for option in map(str, value if isinstance(value, list) else [value]):
            if path == f"{group}/{option}" and known:
                near = did_you_mean(option, known)
                if ANY_NAME.get(group) in known and option:
                    other = f"{group}={ANY_NAME[group]} {group}.name={option}?"
                    near = f"{near[:-1]} or {other}" if near else f"; did you mean {other}"
                unknown = f"{key_of(line)}={option}"
                if extra := EXTRAS.get(unknown):
                    near = f"; it comes with pip install 'vicinal[{extra}]'"
                return f"{unknown} is not known{near} (known: {listed(option, known)})"
    return None


def _named_in(error: Exception, job: list[str]) -> str | None:
    """The override whose key stands in the first line of Hydra's error."""
    text = (str(error).splitlines() or [""])[0]
    for line in job:
        if re.search(rf"(?<![\w@/.]){re.escape(key_of(line))}(?![\w@/]|\.\w)", text):
            return line
    return None


def _not_in_defaults(error: Exception, overrides: list[str]) -> str | None:
    """Hydra composes what does not change before it sweeps the rest; `choice` is part of that."""
    line = _named_in(error, overrides)
    if line is None:
        return None
    key, value = key_of(line), value_of(line)
    cure = "leave it out" if line.startswith("~") else f"write '{key}=choice({value})', quoted"
    return f"{line}: -m tries it on the defaults before it sweeps, and they lack {key}; {cure}"


def _unknown_key(line: str, error: Exception, config: DictConfig) -> str | None:
    """What is wrong with a key that the config lacks; None if it has the key."""
    key, cause = key_of(line), error.__cause__
    deeper = str(cause.full_key) if isinstance(cause, OmegaConfBaseException) else ""
    if deeper.startswith(f"{key}."):  # inside the given mapping, as in method={copeis: 3}
        key = deeper
    path, node, rest = _descend(config, key.split("."))
    if not rest:
        return None
    if not isinstance(node, DictConfig):
        return f"{key} is not a setting: {path} is {shown(node)}"
    wrong = dotted(path, rest[0])
    if choice := _choice(line, path, rest, config):
        return f"{wrong} is not in this config; choose {choice}"
    target = str(node.get("_target_", "")) if path else ""
    names = _names(node, target)
    add = f"; add it with {shlex.quote('+' + line.lstrip('+'))}"
    if rest[0] in names:  # a setting of the constructor, left at its default
        return f"{wrong} is not in this config{add}"
    near = did_you_mean(rest[0], names, dotted(path, ".".join(["{}", *rest[1:]])))
    near = near or _of_any_name(line, path, rest[0]) or _namesakes(rest[-1], config)
    if path and not target and not path.startswith("hydra"):  # a mapping takes any key
        return f"{wrong} is not in this config{near}{add}"
    of = f" of {target}" if target else ""
    return f"{wrong} is not a setting{of}{near} (settings: {listed(rest[0], names)})"


def _of_any_name(line: str, path: str, name: str) -> str:
    """That another option has the setting: `model.name=resnet50` -> `model=timm`."""
    option = ANY_NAME.get(path)
    known = OmegaConf.load(CONFIGS / path / f"{option}.yaml") if option in options(path) else {}
    return f"; did you mean {path}={option} {line}?" if name in known else ""


def _choice(line: str, path: str, rest: list[str], config: DictConfig) -> str | None:
    """How to choose the part whose setting a config lacks; None if no group has it."""
    if path in SEVERAL and rest[0] in options(path):
        return f"it with {path}={rest[0]}, or beside table= write +{line}"
    wrong = dotted(path, rest[0])
    places = [choice for choice in config.hydra.runtime.choices if choice.endswith(f"@{wrong}")]
    option = value_of(line) if len(rest) == 1 and value_of(line).isidentifier() else "NAME"
    return f"one with {places[0]}={option}" if places else None


def _descend(config: DictConfig, rest: list[str]) -> tuple[str, Any, list[str]]:
    """Follow a key as far as the config has it: the path, the node there, and the rest."""
    path, node = "", config
    while rest and isinstance(node, DictConfig) and rest[0] in node:
        node = OmegaConf.select(
            node, rest[0], throw_on_missing=False, throw_on_resolution_failure=False
        )
        path, rest = dotted(path, rest[0]), rest[1:]
    return path, node, rest


def _names(node: DictConfig, target: str) -> list[str]:
    """The settings that a node may have: those it has, and the others of its constructor."""
    present = [str(name) for name in node if not str(name).startswith("_") and name != "hydra"]
    with suppress(ValueError):  # `check` reports a _target_ that cannot be imported
        present += settings(target) or ()
    return list(dict.fromkeys(present))


def _namesakes(name: str, config: DictConfig) -> str:
    """Where else in the config there is a setting of this name: `lr` -> `optimizer.lr`."""
    every = keys(OmegaConf.to_container(config))
    same = [key for key in every if key.endswith(f".{name}") and not key.startswith("hydra.")]
    return f"; did you mean {' or '.join(same[:3])}?" if same else ""
