"""The constructors that configs name: a constructor's signature is the schema of its config."""

import inspect
from collections.abc import Callable
from functools import cache, reduce
from importlib import import_module
from inspect import Parameter
from typing import Any

from vicinal.cli.annotations import dotted, shown


def settings(target: str) -> dict[str, Parameter] | None:
    """What a constructor takes by name; None if Python cannot tell."""
    return parameters(locate("", target))


@cache
def parameters(constructor: Callable[..., Any]) -> dict[str, Parameter] | None:
    """The parameters that can be given by name; None if Python cannot tell."""
    try:
        found = inspect.signature(constructor, eval_str=True).parameters
    except NameError:  # an annotation that is imported for type checkers only
        found = inspect.signature(constructor).parameters
    except ValueError:  # written in C
        return None
    unnamed = (Parameter.POSITIONAL_ONLY, Parameter.VAR_POSITIONAL)
    return {name: each for name, each in found.items() if each.kind not in unnamed}


def locate(key: str, target: object) -> Callable[..., Any]:
    """Import the `_target_` of the node at a key."""
    where = dotted(key, "_target_")
    if not isinstance(target, str):
        raise ValueError(f"{where} must name a class or function, got {shown(target)}")
    try:
        constructor = _import(target)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        how = _where_to_put(target, error)
        raise ValueError(f"{where}={target} cannot be imported ({reason}){how}") from error
    if not callable(constructor):
        raise ValueError(f"{where} must name a class or function, got {target}")
    return constructor


def _where_to_put(target: str, error: Exception) -> str:
    """Where the module of a target would be found; empty if it was found, and is at fault."""
    module = target.partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or error.name != module:
        return ""
    return f"; put {module}.py into the folder given by --config-dir, or install it"


@cache
def _import(path: str) -> Any:
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        try:
            module = import_module(name)
        except ModuleNotFoundError as error:
            if length == 1 or not f"{name}.".startswith(f"{error.name}."):
                raise  # a dependency is missing
        else:
            return reduce(getattr, parts[length:], module)
    raise ModuleNotFoundError(f"no module in {path!r}")
