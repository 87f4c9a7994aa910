"""Messages are tested for the key, the values and the rule they name, not for their sentence."""

import re


def says(parts: str) -> str:
    """A pattern for messages that hold the given parts, in any order.

    The parts are separated by " ... "; after a ^, the first one begins the message.
    """
    first, *rest = parts.removeprefix("^").split(" ... ")
    begins = rf"\A{_whole(first)}" if parts.startswith("^") else rf"(?=.*{_whole(first)})"
    return rf"(?s){begins}" + "".join(rf"(?=.*{_whole(part)})" for part in rest)


def _whole(part: str) -> str:
    """Not within a longer word or number: 1 is neither in 10 nor in -1, 1.5 or 0.1."""
    return rf"(?<![\w-])(?<!\d\.){re.escape(part)}(?!\w|\.\d)"
