"""Where the configs are, and the checks that one must pass before anything is built from it.

A config is a constructor call, so the constructor's signature is its schema: `check` reads names,
defaults and annotations from there, and `build` makes the call.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from inspect import Parameter
from pathlib import Path
from typing import Any

import hydra
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from vicinal.cli.annotations import AN_OBJECT, dotted, fault_in, shown, wanted
from vicinal.cli.messages import did_you_mean, keys, listed, one_line
from vicinal.cli.overrides import key_of, parse, value_of
from vicinal.cli.search import folders, searchpath
from vicinal.cli.signatures import locate, parameters, settings

_SHIPPED = Path(__file__).parents[1] / "configs"  # in a wheel; a checkout has them at its root
CONFIGS = _SHIPPED if _SHIPPED.is_dir() else Path(__file__).parents[3] / "configs"

SEVERAL = ("evaluation",)  # groups of which a run takes any number: evaluation=[NAME,NAME]
_HYDRA_KEYS = ("_target_", "_partial_", "_convert_", "_recursive_", "_args_")  # of a call


def compose(*overrides: str, with_hydra: bool = False) -> DictConfig:
    """Compose the config that a command line with these overrides would make."""
    running = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()  # Hydra allows one at a time
    try:
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            return hydra.compose(
                "train", [*searchpath(), *overrides], return_hydra_config=with_hydra
            )
    finally:
        GlobalHydra.instance().hydra = running


def options(group: str, depth: str = "*") -> set[str]:
    """A group's options, the user's too; one deeper (`*/*`) are those in folders of their own."""
    places = [folder / group for folder in (CONFIGS, *folders())]
    files = ((path, place) for place in places for path in place.glob(f"{depth}.yaml"))
    return {path.relative_to(place).with_suffix("").as_posix() for path, place in files}


def check(
    config: DictConfig, choices: Mapping[str, Any] | None = None, overrides: Iterable[str] = ()
) -> None:
    """Raise ValueError, in one line, at the first setting that its constructor would not take.

    `choices` (`vicinity@method.vicinity: mixup`) and `overrides` come from Hydra if it is running:
    for advice, and to refuse `method=[erm,mixup]`, which Hydra would merge into one.
    """
    choices = choices or {}
    typed = OmegaConf.to_container(config)
    assert isinstance(typed, dict)
    for line in overrides:
        key, several = key_of(line), isinstance(parse(line).value(), list)
        one = key not in (*choices, *SEVERAL) and ("@" in key or isinstance(typed.get(key), dict))
        if several and one:
            value = value_of(line)
            raise ValueError(f"{key} must be one option, got {value}; -m {key}=A,B runs one each")
    for key, call in _calls("", typed):
        if "${" not in str(call["_target_"]):
            _check_names(key, call, choices)
    for key, call in _calls("", resolved(config)):
        _check_names(key, call, choices)
        _check_values(key, call, choices)


def build(config: DictConfig) -> Any:
    """Make the call that the config describes; a refused setting is named by its dotted key."""
    try:
        return instantiate(config, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__
        if cause is None:  # Hydra's own objection, such as a forbidden target
            raise ValueError(one_line(error)) from error
        if isinstance(cause, ImportError):
            for key, call in _calls("", OmegaConf.to_container(config)):
                locate(key, call["_target_"])  # says it in one line
        incomplete = isinstance(cause, TypeError) and "missing" in str(cause)  # raised by a partial
        if not isinstance(cause, ValueError) and not incomplete:
            raise cause from None
        key = str(error).rpartition("\nfull_key: ")[2] if "\nfull_key: " in str(error) else ""
        raise ValueError(_with_key(config, key, str(cause))) from cause


def resolved(config: DictConfig) -> dict[str, Any]:
    """The config as plain containers, with nothing left to fill in."""
    try:
        return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # pyright: ignore[reportReturnType]
    except MissingMandatoryValue as error:
        raise ValueError(f"{error.full_key} must be given: {error.full_key}=VALUE") from None
    except (OmegaConfBaseException, RecursionError) as error:
        raise ValueError(_unresolvable(config, error)) from error


def recorded(config: DictConfig) -> dict[str, Any]:
    """The config as a record keeps it: resolved, except for settings that follow the run's seed."""
    return _keep_seeds(OmegaConf.to_container(config), resolved(config))


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
    known = parameters(locate(key, target))
    if known is None:
        return
    takes_any = any(p.kind is Parameter.VAR_KEYWORD for p in known.values())
    names = [n for n, p in known.items() if p.kind is not Parameter.VAR_KEYWORD]
    given = [name for name in call if name not in _HYDRA_KEYS]
    for name in given:
        if name not in names and not takes_any:
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
            raise ValueError(f"{name} cannot be set on the run itself")
    known = parameters(locate(key, call["_target_"])) or {}
    for name, value in call.items():
        if name in known and (fault := fault_in(dotted(key, name), value, known[name].annotation)):
            where, found, hint = fault
            how = _advice(where, hint, found, choices)
            if hint is str and isinstance(found, int | float):
                how = f" (as text: {where}=\\'{shown(found)}\\')"
            raise ValueError(f"{where} must be {wanted(hint, found)}, got {shown(found)}{how}")


def _advice(key: str, hint: Any, value: object, choices: Mapping[str, Any]) -> str:
    """How to choose the object that belongs here; empty if a plain value does."""
    places = [place for place in choices if place.rpartition("@")[2] == key]
    if AN_OBJECT not in wanted(hint) or not (places or "." not in key):
        return ""
    option = value if isinstance(value, str) and value.isidentifier() else "NAME"
    return f"; choose one with {(places or [key])[0]}={option}"


def _unresolvable(config: DictConfig, error: Exception) -> str:
    """The error's message and the key that it is about, which it does not name."""
    message = one_line(error)
    for key in keys(OmegaConf.to_container(config)):
        try:
            OmegaConf.select(config, key)
        except (OmegaConfBaseException, RecursionError):
            return _lacking(config, key, message) or f"{key}: {message}"
    return message


def _lacking(config: DictConfig, key: str, message: str) -> str | None:
    """Advice if a setting copies that of another part (`${dataset.mean}`), which has none."""
    match = re.fullmatch(r"Interpolation key '(\w+)\.([\w.]+)' not found", message)
    if not match or not isinstance(config.get(match[1]), DictConfig):
        return None
    part, lacked = match[1], match[2].split(".")
    while len(lacked) > 1 and isinstance(
        OmegaConf.select(config, f"{part}.{lacked[0]}"), DictConfig
    ):
        part = f"{part}.{lacked.pop(0)}"
    return (
        f"{key} copies {match[1]}.{match[2]}, and {OmegaConf.select(config, part).get('_target_')} "
        f"has no {'.'.join(lacked)}; choose another {key.partition('.')[0]} or {match[1]}, or give "
        f"{key}=VALUE"
    )


def _with_key(config: DictConfig, key: str, message: str) -> str:
    """Prefix a constructor's message: `copies must be ...` -> `method.copies must be ...`."""
    word = message.partition(" ")[0]
    if not key and word not in config:  # raised by a partial, which was called later
        partials = [k for k, c in _calls("", OmegaConf.to_container(config)) if c.get("_partial_")]
        takers = [
            k for k in partials if word in (settings(OmegaConf.select(config, k)["_target_"]) or ())
        ]
        key = takers[0] if len(takers) == 1 else ""
    if not key or message.startswith((f"{key}.", f"{key} ")):
        return message
    known = settings(OmegaConf.select(config, key)["_target_"]) or ()
    return f"{key}.{message}" if word in known else f"{key}: {message}"
