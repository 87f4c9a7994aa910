"""Markup from nested calls: whatever is not markup already is escaped."""

import json
from html import escape
from typing import Any

VOID = ("meta", "br", "use", "line", "circle", "rect", "path", "polyline", "img")


class Html(str):
    """Text that is markup."""

    __slots__ = ()


def text(node: object) -> Html:
    """A node as markup: None is nothing, a list its nodes in a row."""
    if isinstance(node, Html):
        return node
    if node is None:
        return Html()
    if isinstance(node, list | tuple):
        return Html("".join(text(child) for child in node))
    return Html(escape(str(node)))


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """An element; `class_` is class, `_` in a name is `-`, and None or False leaves one out."""
    parts = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        known = key.removesuffix("_").replace("_", "-")
        parts.append(known if value is True else f'{known}="{escape(str(value))}"')
    head = " ".join(parts)
    if name in VOID and not children:
        return Html(f"<{head}/>")
    return Html(f"<{head}>{text(children)}</{name}>")


def as_json(node: Any) -> Html:
    """For a script element: nothing in it can end the element."""
    dumped = json.dumps(node, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    for sign in "<>&\u2028\u2029":
        dumped = dumped.replace(sign, f"\\u{ord(sign):04x}")
    return Html(dumped)
