"""Where the configs live, and what must hold of one before anything is built from it.

A config is a constructor call, so the constructor's signature is its schema: `check` reads names,
defaults and annotations from there, and `build` makes the call.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, reduce
from importlib import import_module
from inspect import Parameter
from pathlib import Path
from typing import Any

import hydra
from hydra import initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from vicinal.cli.annotations import AN_OBJECT, dotted, fault_in, shown, wanted
from vicinal.cli.messages import did_you_mean, keys, listed, one_line

_SHIPPED = Path(__file__).parents[1] / "configs"  # in a wheel; a checkout has them at its root
CONFIGS = _SHIPPED if _SHIPPED.is_dir() else Path(__file__).parents[3] / "configs"

_OWN_KEYS = ("_target_", "_partial_", "_convert_", "_recursive_", "_args_")  # Hydra's, of a call


def compose(*overrides: str) -> DictConfig:
    """The config that a command line with these overrides would make."""
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return hydra.compose("train", list(overrides))


@cache
def parsed(line: str) -> Override:
    """An override as Hydra reads it."""
    return OverridesParser.create().parse_override(line)


def check(
    config: DictConfig, choices: Mapping[str, Any] | None = None, overrides: Iterable[str] = ()
) -> None:
    """Raise ValueError, in one line, at the first setting that its constructor would not take.

    `choices` (`vicinity@method.vicinity: mixup`) and `overrides` are Hydra's, where it is running:
    they serve for advice, and to refuse `method=[erm,mixup]`, which Hydra would merge into one.
    """
    choices = choices or {}
    typed = OmegaConf.to_container(config)
    assert isinstance(typed, dict)
    for key, _, value in (line.partition("=") for line in overrides):
        group = "@" in key or isinstance(typed.get(key), dict)
        if value.startswith("[") and group and key not in choices:
            raise ValueError(f"{key} must be one option, got {value}; -m {key}=A,B runs one each")
    for key, call in _calls("", typed):
        if "${" not in str(call["_target_"]):
            _check_names(key, call, choices)
    for key, call in _calls("", resolved(config)):
        _check_names(key, call, choices)
        _check_values(key, call, choices)


def build(config: DictConfig) -> Any:
    """Make the call that the config is; what a constructor refuses is named by its dotted key."""
    try:
        return instantiate(config, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__
        if cause is None:  # Hydra's own objection, such as a forbidden target
            raise ValueError(one_line(error)) from error
        incomplete = isinstance(cause, TypeError) and "missing" in str(cause)  # a partial's
        if not isinstance(cause, ValueError) and not incomplete:
            raise cause from None
        key = str(error).rpartition("\nfull_key: ")[2] if "\nfull_key: " in str(error) else ""
        raise ValueError(_with_key(config, key, str(cause))) from cause


def resolved(config: DictConfig) -> dict[str, Any]:
    """The config as plain containers, nothing left to fill in."""
    try:
        return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # pyright: ignore[reportReturnType]
    except MissingMandatoryValue as error:
        raise ValueError(f"{error.full_key} must be given: {error.full_key}=VALUE") from None
    except (OmegaConfBaseException, RecursionError) as error:
        raise ValueError(_unresolvable(config, error)) from error


def recorded(config: DictConfig) -> dict[str, Any]:
    """The config as a record keeps it: resolved, but for settings that follow the run's seed."""
    return _keep_seeds(OmegaConf.to_container(config), resolved(config))


def settings(target: str) -> dict[str, Parameter] | None:
    """What a constructor takes by name, or None where Python cannot tell."""
    return _settings(_locate("", target))


def _keep_seeds(typed: Any, final: Any) -> Any:
    if isinstance(final, dict):
        return {key: _keep_seeds(typed[key], value) for key, value in final.items()}
    return typed if typed == "${seed}" else final


def _calls(key: str, node: object) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, dict):
        if "_target_" in node:
            yield key, node
        if node.get("_recursive_", True):
            for name, value in node.items():
                yield from _calls(dotted(key, name), value)
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _calls(f"{key}[{index}]", value)


def _check_names(key: str, call: Mapping[str, Any], choices: Mapping[str, Any]) -> None:
    target = call["_target_"]
    known = _settings(_locate(key, target))
    if known is None:
        return
    free = any(p.kind is Parameter.VAR_KEYWORD for p in known.values())
    names = [n for n, p in known.items() if p.kind is not Parameter.VAR_KEYWORD]
    given = [name for name in call if name not in _OWN_KEYS]
    for name in given:
        if name not in names and not free:
            near = did_you_mean(str(name), names, f"{key}.{{}}" if key else "{}")
            raise ValueError(
                f"{dotted(key, name)} is not a setting of {target}{near} "
                f"(settings: {listed(str(name), names) or 'none'})"
            )
    if call.get("_partial_"):
        return
    for name in names[len(call.get("_args_", ())) :]:
        if name not in given and known[name].default is Parameter.empty:
            how = _advice(dotted(key, name), known[name].annotation, "NAME", choices)
            raise ValueError(f"{dotted(key, name)} is missing; {target} needs it{how}")


def _check_values(key: str, call: Mapping[str, Any], choices: Mapping[str, Any]) -> None:
    for name in ("_partial_", "_recursive_"):
        if not isinstance(call.get(name, True), bool):
            raise ValueError(f"{dotted(key, name)} must be true or false, got {shown(call[name])}")
        if name in call and not key:
            raise ValueError(f"{name} is not for the run itself")
    known = _settings(_locate(key, call["_target_"])) or {}
    for name, value in call.items():
        if name in known and (fault := fault_in(dotted(key, name), value, known[name].annotation)):
            where, found, hint = fault
            how = _advice(where, hint, found, choices)
            if hint is str and isinstance(found, int | float):
                how = f" (as text: {where}=\\'{shown(found)}\\')"
            raise ValueError(f"{where} must be {wanted(hint, found)}, got {shown(found)}{how}")


def _advice(key: str, hint: Any, value: object, choices: Mapping[str, Any]) -> str:
    """How to choose what goes here, where that is an object."""
    places = [place for place in choices if place.rpartition("@")[2] == key]
    if AN_OBJECT not in wanted(hint) or not (places or "." not in key):
        return ""
    option = value if isinstance(value, str) and value.isidentifier() else "NAME"
    return f"; choose one with {(places or [key])[0]}={option}"


def _unresolvable(config: DictConfig, error: Exception) -> str:
    """What the error says, and of which key, which it does not name."""
    said = one_line(error)
    for key in keys(OmegaConf.to_container(config)):
        try:
            OmegaConf.select(config, key)
        except (OmegaConfBaseException, RecursionError):
            return _lacking(config, key, said) or f"{key}: {said}"
    return said


def _lacking(config: DictConfig, key: str, said: str) -> str | None:
    """Where a setting is to be that of another part (`${dataset.mean}`), which has none."""
    found = re.fullmatch(r"Interpolation key '(\w+)\.(\w+)' not found", said)
    part = config.get(found[1]) if found else None
    if not found or not isinstance(part, DictConfig):
        return None
    return (
        f"{key} is that of the {found[1]}, and {part.get('_target_')} has no {found[2]}; choose "
        f"another {key.partition('.')[0]} or {found[1]}, or give {key}=VALUE"
    )


@cache
def _settings(target: Callable[..., Any]) -> dict[str, Parameter] | None:
    try:
        parameters = inspect.signature(target, eval_str=True).parameters
    except NameError:  # an annotation imported for type checkers only
        parameters = inspect.signature(target).parameters
    except ValueError:  # written in C
        return None
    unnamed = (Parameter.POSITIONAL_ONLY, Parameter.VAR_POSITIONAL)
    return {name: p for name, p in parameters.items() if p.kind not in unnamed}


def _locate(key: str, target: object) -> Callable[..., Any]:
    where = dotted(key, "_target_")
    if not isinstance(target, str):
        raise ValueError(f"{where} must name a class or function, got {shown(target)}")
    try:
        found = _import(target)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ValueError(f"{where}={target} cannot be imported ({reason})") from error
    if not callable(found):
        raise ValueError(f"{where} must name a class or function, got {target}")
    return found


@cache
def _import(path: str) -> Any:
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        try:
            module = import_module(name)
        except ModuleNotFoundError as error:
            if length == 1 or not f"{name}.".startswith(f"{error.name}."):
                raise  # a dependency is what is missing
        else:
            return reduce(getattr, parts[length:], module)
    raise ModuleNotFoundError(f"no module in {path!r}")


def _with_key(config: DictConfig, key: str, message: str) -> str:
    """Prefix what a constructor said: `copies must be ...` -> `method.copies must be ...`."""
    word = message.partition(" ")[0]
    if not key and word not in config:  # a partial, called by whoever received it
        partials = [k for k, c in _calls("", OmegaConf.to_container(config)) if c.get("_partial_")]
        takers = [
            k for k in partials if word in (settings(OmegaConf.select(config, k)["_target_"]) or ())
        ]
        key = takers[0] if len(takers) == 1 else ""
    if not key or message.startswith(f"{key}."):
        return message
    known = settings(OmegaConf.select(config, key)["_target_"]) or ()
    return f"{key}.{message}" if word in known else f"{key}: {message}"
