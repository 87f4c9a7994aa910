"""Parts of messages about configs: dotted keys, other libraries' errors, known names."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from omegaconf.errors import OmegaConfBaseException

from vicinal.cli.annotations import dotted


def keys(node: object, path: str = "") -> Iterator[str]:
    """The dotted keys of plain containers."""
    named: list[tuple[str, object]] = []
    if isinstance(node, dict):
        named = [(dotted(path, name), value) for name, value in node.items()]
    elif isinstance(node, list):
        named = [(f"{path}[{index}]", value) for index, value in enumerate(node)]
    for key, value in named:
        yield key
        yield from keys(value, key)


def one_line(error: BaseException) -> str:
    """The message of Hydra and OmegaConf on one line, without their asides."""
    text = str(error)
    if isinstance(error.__cause__, OmegaConfBaseException):
        text = f"{text}\n{error.__cause__}"
    asides = ("full_key:", "object_type=", "See https:", "To append", "reference_type=")
    asides += ("Either remove", "Or add")
    lines = [line.strip() for line in text.partition("\nConfig search path")[0].splitlines()]
    kept = dict.fromkeys(line for line in lines if line and not line.startswith(asides))
    return " ".join(kept) or type(error).__name__


def did_you_mean(word: str, known: Iterable[str], form: str = "{}") -> str:
    """The nearest known name as a question; empty if none is near."""
    near = get_close_matches(word, list(known), n=1)
    return f"; did you mean {form.replace('{}', near[0], 1)}?" if near else ""


def listed(word: str, known: Iterable[str], most: int = 12) -> str:
    """The known names, or those nearest to the word if there are many."""
    names = sorted(known)
    if len(names) <= most:
        return ", ".join(names)
    nearest = get_close_matches(word, names, n=most, cutoff=0)
    return ", ".join([*nearest, f"... {len(names)} in all"])
