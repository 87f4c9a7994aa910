"""One line for whatever a user can type wrong, or otherwise mend.

Hydra says over several lines that something cannot be composed, and seldom what was meant. Here
the overrides are composed one after another until one fails; that one is then looked at together
with the config that the others make.
"""

import shlex
import traceback
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, product
from typing import Any

from antlr4.error.Errors import LexerNoViableAltException
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vicinal.cli.annotations import shown
from vicinal.cli.configs import CONFIGS, parsed, settings
from vicinal.cli.messages import did_you_mean, keys, listed, one_line
from vicinal.errors import RunError

_JOB = "in the job "
Compose = Callable[[list[str]], DictConfig]  # Hydra's own node included
Why = Callable[[str, Exception, Compose, list[str]], str]


def explain(overrides: list[str], compose: Compose, sweep: bool = False) -> str | None:
    """What is wrong with the first override that cannot be composed; None if all can."""
    for line in overrides:
        try:
            parsed(line)
        except Exception as error:
            return _unreadable(line, error)
    try:
        compose([])
    except Exception as error:  # the user's own config files
        return one_line(error)
    jobs = _jobs(overrides) if sweep else [overrides]
    told = next(filter(None, (_explain_job(job, compose) for job in jobs)), None)
    fixed = [line for line in overrides if not parsed(line).is_sweep_override()]
    return told or _explain_job(fixed, compose, _of_what_is_swept)


def complaint(error: Exception) -> str | None:
    """What the user can mend; None where a traceback serves better, because we must."""
    if isinstance(error, HydraException | OmegaConfBaseException | UserWarning):
        return one_line(error)
    if isinstance(error, OSError) and error.filename:
        return f"{error.strerror}: {error.filename}"
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    ours = bool(frames) and frames[-1].f_globals.get("__name__", "").startswith("vicinal.")
    meant = isinstance(error, RunError | OSError) or (isinstance(error, ValueError) and ours)
    return str(error) if meant else None


def note_job(error: Exception, overrides: list[str]) -> None:
    """Mark an error that has been shown, so that the end of the sweep only names its job."""
    error.add_note(f"{_JOB}{' '.join(overrides)}")


def failed_job(error: Exception) -> str | None:
    """The end of a sweep, where the error is of one of its jobs."""
    notes = [note for note in getattr(error, "__notes__", ()) if note.startswith(_JOB)]
    said = complaint(error) or f"{type(error).__name__}: {error}"
    return f"failed {notes[0]}: {said}" if notes else None


def _jobs(overrides: list[str], most: int = 256) -> Iterator[list[str]]:
    """What a sweep runs, as far as the command line alone can tell."""
    axes: list[list[str]] = []
    for line in overrides:
        override = parsed(line)
        if override.is_discrete_sweep() and "glob(" not in line:
            key = override.get_key_element()
            axes.append([f"{key}={value}" for value in override.sweep_string_iterator()])
        elif not override.is_sweep_override():
            axes.append([line])
    return (list(job) for job in islice(product(*axes), most))


def _explain_job(job: list[str], compose: Compose, why: Why | None = None) -> str | None:
    try:
        compose(job)
    except Exception as error:
        accepted: list[str] = []
        for line in sorted(job, key=_order):
            try:
                compose([*accepted, line])
            except Exception as reason:
                return (why or _reason)(line, reason, compose, accepted)
            accepted.append(line)
        return one_line(error)
    return None


def _order(line: str) -> tuple[bool, bool, int]:
    """Groups before what they hold, as Hydra composes them."""
    key = line.partition("=")[0]
    return ("." in key and "@" not in key, "@" in key, key.count("."))


def _unreadable(line: str, error: Exception) -> str:
    if "=" not in line:
        return f"{line} has no value; settings are written key=value"
    reason = (str(error).splitlines() or [type(error).__name__])[0].partition(" expecting")[0]
    if isinstance(error.__cause__, LexerNoViableAltException):
        at = error.__cause__.startIndex
        reason = f"{line[at : at + 1]!r} at character {at + 1} is not allowed"
    return f"{line} cannot be read: {reason} (text with symbols needs quotes: key=\\'a b: c\\')"


def _reason(line: str, error: Exception, compose: Compose, accepted: list[str]) -> str:
    override, config = parsed(line), compose(accepted)
    key = override.key_or_group
    options = _options(key, compose)
    if not key:
        return f"{line} has no key; settings are written key=value"
    if override.is_sweep_override():
        or_list = "" if options or _nested(key) else f", or write {key}=[...] for a list"
        return f"{line} gives several values; add -m to run one after another{or_list}"
    if isinstance(error, MissingConfigException):
        missing, known = error.missing_cfg_file or "", {*(error.options or ()), *_nested(key)}
        option = missing.removeprefix(f"{key}/")
        if option == missing or not known:
            return f"{line}: {one_line(error)}"
        return f"{line} is not known{did_you_mean(option, known)} (known: {listed(option, known)})"
    if options or override.package is not None:
        return _group_reason(line, override, options, config)
    return _setting_reason(line, override, error, config)


def _of_what_is_swept(line: str, *_: object) -> str:
    """Hydra composes what does not change before it sweeps the rest; `choice` is part of that."""
    key, value = line.partition("=")[::2]
    cure = "leave it out" if line.startswith("~") else f"write '{key}=choice({value})', quoted"
    return f"{line}: -m tries it on the defaults before it sweeps, and they lack {key}; {cure}"


def _nested(group: str) -> set[str]:
    """A group's options in folders of their own: table=PAPER/TABLE."""
    files = (CONFIGS / group).glob("*/*.yaml")
    return {path.relative_to(CONFIGS / group).with_suffix("").as_posix() for path in files}


def _options(group: str, compose: Compose) -> list[str]:
    """A group's options, which Hydra lists when asked for one that does not exist."""
    try:
        compose([f"+{group}@_probe_=_none_"])
    except MissingConfigException as error:
        return list(error.options or ())
    except Exception:
        return []
    return []


def _group_reason(line: str, override: Override, options: list[str], config: DictConfig) -> str:
    key, _, value = line.lstrip("+~").partition("=")
    group = override.key_or_group
    choices: dict[str, Any] = dict(config.hydra.runtime.choices)
    groups = sorted(g for g in {c.partition("@")[0] for c in choices} if "/" not in g)
    if not options:
        near = did_you_mean(group, groups)
        return f"{line}: there is no group {group}{near} (groups: {', '.join(groups)})"
    if key not in choices:
        places = [c for c in choices if c.partition("@")[0] == group]
        if not places:
            return f"{line}: nothing in this config takes a {group}"
        form = "~" * override.is_delete() + "{}" + f"={value}" * ("=" in line)
        return f"{line}: this config has no {key}" + did_you_mean(key, places, form, cutoff=0)
    if override.is_delete():
        return f"{line}: {key} is {choices[key] or 'null'}"
    if override.is_add() or override.is_force_add():
        return f"{line}: {key} is chosen already; write {key}={value}"
    return f"{key} must be one of its options, got {value} (known: {listed(value, options)})"


def _setting_reason(line: str, override: Override, error: Exception, config: DictConfig) -> str:
    key, cause = override.key_or_group, error.__cause__
    here = _look(config, key)
    if here is not None and override.is_add():
        return f"{line}: {key} is there already; write {line.lstrip('+')}"
    if here is not None and override.is_delete():
        return f"{line}: {key} is {shown(here)}"
    deeper = cause.full_key if isinstance(cause, OmegaConfBaseException) else None
    if deeper and deeper.startswith(f"{key}."):  # as in method={copeis: 3}
        key = deeper
    return _unknown_key(key, line.lstrip("+"), config) or f"{line}: {one_line(error)}"


def _look(config: DictConfig, key: str) -> Any:
    return OmegaConf.select(config, key, throw_on_missing=False, throw_on_resolution_failure=False)


def _unknown_key(key: str, line: str, config: DictConfig) -> str | None:
    """What is wrong with a key that the config lacks; it may lie in the mapping that was given."""
    added, value = shlex.quote(f"+{line}"), line.partition("=")[2]
    path, node, rest = "", config, key.split(".")
    while rest and isinstance(node, DictConfig) and rest[0] in node:
        path, node = f"{path}.{rest[0]}".lstrip("."), _look(node, rest[0])
        del rest[0]
    if not rest:
        return None
    if not isinstance(node, DictConfig):
        return f"{key} is not a setting: {path} is {shown(node)}"
    names = [str(name) for name in node if not str(name).startswith("_") and name != "hydra"]
    target = str(node.get("_target_", "")) if path else ""
    names = list(dict.fromkeys([*names, *_settings(target)]))
    wrong = ".".join(filter(None, (path, rest[0])))
    places = [c for c in config.hydra.runtime.choices if c.endswith(f"@{wrong}")]
    if places:
        option = value if len(rest) == 1 and value.isidentifier() else "NAME"
        return f"{wrong} is not in this config; choose one with {places[0]}={option}"
    if rest[0] in names:  # a constructor's, left at its default
        return f"{wrong} is not in this config; add it with {added}"
    form = ".".join(filter(None, (path, "{}", *rest[1:])))
    near = did_you_mean(rest[0], names, form) or _namesakes(rest[-1], config)
    if path and not target and not path.startswith("hydra"):  # a mapping takes any key
        return f"{wrong} is not in this config{near}; add it with {added}"
    of = f" of {target}" if target else ""
    return f"{wrong} is not a setting{of}{near} (settings: {listed(rest[0], names)})"


def _settings(target: str) -> Iterable[str]:
    try:
        return settings(target) or ()
    except ValueError:  # a _target_ that cannot be imported is told of once all is composed
        return ()


def _namesakes(name: str, config: DictConfig) -> str:
    """Where else in the config there is a setting of this name: `lr` -> `optimizer.lr`."""
    every = keys(OmegaConf.to_container(config))
    same = [key for key in every if key.endswith(f".{name}") and not key.startswith("hydra.")]
    return f"; did you mean {' or '.join(same[:3])}?" if same else ""
