"""Configs as plain containers, a hundred times as fast as OmegaConf's.

They do what is simple, and refuse the rest: OmegaConf must do that, or say what is wrong with it.
"""

import re
from collections.abc import Mapping
from typing import Any

MISSING = "???"
_REFERENCE = re.compile(r"\$\{([a-zA-Z_]\w*(?:\.[a-zA-Z_]\w*)*)\}")  # ${seed}, ${dataset.mean}
_KEY = re.compile(r"[a-zA-Z_]\w*(?:\.[a-zA-Z_]\w*)*")
_SEED = "${seed}"
_DEPTH = 8  # of references to references


class NotSimpleError(Exception):
    """OmegaConf must decide."""


def copied(node: Any) -> Any:
    """A deep copy."""
    if isinstance(node, dict):
        return {key: copied(value) for key, value in node.items()}
    return [copied(item) for item in node] if isinstance(node, list) else node


def assign(tree: dict[str, Any], key: str, value: Any, add: bool) -> None:
    """Set what an override sets: a setting that is there, or with `add` one that is not."""
    if not _KEY.fullmatch(key) or not _is_simple(value):
        raise NotSimpleError
    *path, last = key.split(".")
    node: Any = tree
    for name in path:
        node = node.get(name) if isinstance(node, dict) else None
    if not isinstance(node, dict) or (last in node) == add:
        raise NotSimpleError
    if isinstance(value, dict):
        if not isinstance(node.get(last, {}), dict):
            raise NotSimpleError
        value = _merged(node.get(last, {}), value, add)
    elif isinstance(node.get(last), dict):
        raise NotSimpleError
    node[last] = copied(value)


def _is_simple(value: Any) -> bool:
    """Whether a value means itself or what it refers to."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_simple(each) for key, each in value.items())
    if isinstance(value, list):
        return all(map(_is_simple, value))
    if isinstance(value, str):
        return value != MISSING and ("$" not in value or bool(_REFERENCE.fullmatch(value)))
    return value is None or isinstance(value, int | float)


def _merged(old: Mapping[str, Any], new: Mapping[Any, Any], add: bool) -> dict[str, Any]:
    if not add and not new.keys() <= old.keys():
        raise NotSimpleError
    merged = dict(old)
    for key, value in new.items():
        if isinstance(value, dict) != isinstance(old.get(key, value), dict):
            raise NotSimpleError
        merged[key] = _merged(old.get(key, {}), value, add) if isinstance(value, dict) else value
    return merged


def recorded(tree: dict[str, Any]) -> dict[str, Any]:
    """What `configs.recorded` makes of this config."""
    return {key: _recorded(value, tree) for key, value in tree.items()}


def _recorded(node: Any, tree: Mapping[str, Any]) -> Any:
    if isinstance(node, dict):
        return {key: _recorded(value, tree) for key, value in node.items()}
    return node if node == _SEED else _filled(node, tree)


def _filled(node: Any, tree: Mapping[str, Any], depth: int = 0) -> Any:
    """A value without references."""
    if isinstance(node, dict):
        return {key: _filled(value, tree, depth) for key, value in node.items()}
    if isinstance(node, list):
        return [_filled(item, tree, depth) for item in node]
    if not isinstance(node, str):
        return node
    if node == MISSING or depth > _DEPTH:
        raise NotSimpleError
    if "$" not in node:
        return node
    if whole := _REFERENCE.fullmatch(node):
        return _filled(_at(whole[1], tree), tree, depth + 1)
    if "$" in _REFERENCE.sub("", node) or "\\" in node:
        raise NotSimpleError
    return _REFERENCE.sub(lambda found: _text(_at(found[1], tree), tree, depth + 1), node)


def _at(key: str, tree: Mapping[str, Any]) -> Any:
    node: Any = tree
    for name in key.split("."):
        if not isinstance(node, dict) or name not in node:
            raise NotSimpleError
        node = node[name]
    return node


def _text(node: Any, tree: Mapping[str, Any], depth: int) -> str:
    if not isinstance(node, str):
        raise NotSimpleError
    return _filled(node, tree, depth)
