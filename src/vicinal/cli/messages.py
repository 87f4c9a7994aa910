"""What messages about configs are made of: dotted keys, other people's errors, known names."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from omegaconf.errors import OmegaConfBaseException

from vicinal.cli.annotations import dotted


def keys(node: object, path: str = "") -> Iterator[str]:
    """The dotted keys of plain containers."""
    items = (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, list)
        else ()
    )
    for name, value in items:
        key = f"{path}[{name}]" if isinstance(node, list) else dotted(path, name)
        yield key
        yield from keys(value, key)


def one_line(error: BaseException) -> str:
    """What Hydra and OmegaConf say over several lines, without their asides."""
    text = str(error)
    if isinstance(error.__cause__, OmegaConfBaseException):
        text = f"{text}\n{error.__cause__}"
    asides = ("full_key:", "object_type=", "See https:", "To append", "reference_type=")
    lines = [line.strip() for line in text.partition("\nConfig search path")[0].splitlines()]
    said = dict.fromkeys(line for line in lines if line and not line.startswith(asides))
    return " ".join(said) or type(error).__name__


def did_you_mean(word: str, known: Iterable[str], form: str = "{}", cutoff: float = 0.6) -> str:
    """The nearest known name as a question, or nothing."""
    near = get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return f"; did you mean {form.replace('{}', near[0], 1)}?" if near else ""


def listed(word: str, known: Iterable[str], most: int = 12) -> str:
    """The known names, or where they are many, those nearest to the word."""
    names = sorted(known)
    if len(names) <= most:
        return ", ".join(names)
    return ", ".join(
        [*get_close_matches(word, names, n=most, cutoff=0), f"... {len(names)} in all"]
    )
