"""Whether a value from a YAML file or the command line fits a constructor's annotation."""

import inspect
from collections.abc import Collection, Iterable, Mapping, Sequence
from inspect import Parameter
from math import isfinite
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

AN_OBJECT = "a config with a _target_"

# The Python types that a scalar may have: an integer is a number, but true is not an integer.
_SCALARS: dict[Any, tuple[type, ...]] = {
    int: (int,),
    float: (int, float),
    str: (str,),
    bool: (bool,),
    Path: (str,),
    NoneType: (NoneType,),
}
_LISTS = (list, tuple, set, frozenset, Sequence, Collection, Iterable)
_MAPPINGS = (dict, Mapping)
_ANYTHING = (Any, object, Parameter.empty)
_WORDS: dict[str, tuple[Any, ...]] = {
    "an integer": (int,),
    "a number": (float,),
    "text": (str,),
    "true or false": (bool,),
    "a path": (Path,),
    "null": (NoneType,),
    "a list [...]": _LISTS,
    "a mapping {key: value}": _MAPPINGS,
    "a value": _ANYTHING,
}


def fault_in(key: str, value: object, hint: Any) -> tuple[str, object, Any] | None:
    """Where a value does not fit its annotation: the key, the value and the annotation there."""
    origin, args = get_origin(hint), get_args(hint)
    if isinstance(value, dict) and "_target_" in value:
        return None  # the receiver checks the object that it builds
    if origin in (Union, UnionType):
        faults = [fault_in(key, value, each) for each in args]
        inside = [fault for fault in faults if fault and fault[0] != key]
        return None if None in faults else (*inside, (key, value, hint))[0]
    kind = origin or hint
    if isinstance(value, list) and kind in _LISTS:
        if kind is tuple and args and args[-1] is not Ellipsis:
            return _first_fault(key, value, args) if len(value) == len(args) else (key, value, hint)
        return _first_fault(key, value, (args[0] if args else Any,) * len(value))
    if isinstance(value, dict) and kind in _MAPPINGS:
        return _first_fault(key, value, (args[1] if args else Any,) * len(value))
    return None if _finite(value) and _fits(value, hint, kind, args) else (key, value, hint)


def _finite(value: object) -> bool:
    """Whether a record, which is JSON, can hold it: JSON has neither nan nor infinity."""
    return not isinstance(value, float) or isfinite(value)


def _first_fault(
    key: str, values: list[Any] | dict[str, Any], hints: tuple[Any, ...]
) -> tuple[str, object, Any] | None:
    if isinstance(values, dict):
        named = [(dotted(key, name), value) for name, value in values.items()]
    else:
        named = [(f"{key}[{index}]", value) for index, value in enumerate(values)]
    found = (fault_in(name, value, hint) for (name, value), hint in zip(named, hints, strict=True))
    return next(filter(None, found), None)


def _fits(value: object, hint: Any, kind: Any, args: tuple[Any, ...]) -> bool:
    if kind is Literal:
        return any(value == arg and type(value) is type(arg) for arg in args)
    if hint in _SCALARS:
        return type(value) in _SCALARS[hint]
    # The rest are classes, whose objects can only come from a _target_.
    return kind in _ANYTHING or not inspect.isclass(kind)


def wanted(hint: Any, value: object = None) -> str:
    """An annotation in words."""
    origin, args = get_origin(hint) or hint, get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(wanted(each) for each in args))
    if origin is Literal:
        one_of = ", ".join(str(arg) for arg in args)
        return f"one of {one_of}" if len(args) > 2 else one_of.replace(", ", " or ")
    if origin is tuple and isinstance(value, list):  # of the wrong length
        return f"a list of {len(args)} values"
    for words, kinds in _WORDS.items():
        if origin in kinds:
            return words
    return AN_OBJECT


def dotted(key: str, name: object) -> str:
    """The name of a setting inside a node."""
    return f"{key}.{name}" if key else str(name)


def shown(value: object) -> str:
    """A value as the user would type it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
