"""Command lines that are nearly right: each is explained in one line, or obeyed to the letter."""

import inspect
import logging
import signal
import string
import sys
from collections.abc import Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any
from unittest.mock import patch

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import get_object
from omegaconf import OmegaConf

from faults.children import Trials
from vicinal.cli.configs import CONFIGS, compose
from vicinal.run import Run
from vicinal.train import main

SECONDS = 60  # for one line
ODD = (
    *("0", "-1", "1e308", "1e-320", "nan", "inf", "-inf", "true", "null", "''", "[]", "{}"),
    *("???", "[1,2,3]", "{a:1}", "${seed}", "${nothing}", "${oc.env:NOPE}", "é", "a b", "1,2"),
    *("range(3)", "99999999999999999999", "0x10", "1_000", "None", "False", "'[1]'", "~", "[null]"),
)
Executed = list[tuple[dict[str, Any], dict[str, str]]]


def typed(scratch: Path, draw: Random, trials: int) -> Trials:
    """Real overrides, a few on a line, some of them with a slip of the finger."""
    words, refused = vocabulary(), 0
    signal.signal(signal.SIGALRM, too_long)
    with chdir(scratch):
        for _ in range(trials):
            line = [slip(draw.choice(words), words, draw) for _ in range(draw.choice([1, 1, 2, 3]))]
            signal.alarm(SECONDS)
            code, told, executed = obeyed(line)
            signal.alarm(0)
            refused += code == 1
            if code == 1 and told.startswith("vicinal: ") and len(told.splitlines()) == 1:
                yield ""
            elif code or told:
                yield f"{line}: exit code {code}, said {told[-300:]}"
            else:
                found = [ignored(line, *each) for each in executed]
                yield next(filter(None, found), "") if found else f"{line}: nothing was run"
    return f"{refused} refused in one line, {trials - refused} obeyed"


def vocabulary() -> list[str]:
    """Every option of every group, and every setting of each with the value that we ship."""
    found = []
    for group in (path for path in sorted(CONFIGS.iterdir()) if path.is_dir()):
        if group.name in ("hydra", "table"):
            continue
        place = {"vicinity": "vicinity@method.vicinity"}.get(group.name, group.name)
        for option in sorted(path.stem for path in group.glob("*.yaml")):
            found.append(f"{place}={option}")
            node = place.rpartition("@")[2]
            config = OmegaConf.select(compose(f"{place}={option}"), node)
            found += [f"{node}.{line}" for line in lines(config)]
    return list(dict.fromkeys([*found, *lines(compose("method=maxup_cutmix"))]))


def lines(config: Any) -> Iterator[str]:
    """Each setting as it would be typed."""
    for key, value in leaves("", OmegaConf.to_container(config)):
        if not any(part.startswith("_") for part in key.split(".")):
            shown = {None: "null", True: "true", False: "false"}
            plain = value is None or isinstance(value, bool)
            yield f"{key}={shown[value] if plain else str(value).replace(' ', '')}"


def leaves(key: str, node: Any) -> Iterator[tuple[str, Any]]:
    """Every value that is no mapping, by its dotted key."""
    if not isinstance(node, dict):
        yield key, node
        return
    for name, value in node.items():
        yield from leaves(f"{key}.{name}".lstrip("."), value)


def slip(line: str, words: list[str], draw: Random) -> str:
    """The line, or one that a tired person makes of it."""
    key, _, value = line.partition("=")
    kind = draw.randrange(10)
    if kind < 2:
        return line
    if kind == 2:
        return f"{key}={draw.choice(ODD)}"
    if kind == 3:
        return f"{key}={draw.choice(words).partition('=')[2]}"
    if kind == 4:
        return f"{draw.choice(['+', '++', '~'])}{line}"
    if kind == 5:
        return f"{draw.choice(['+', '++', ''])}{key}.{draw.choice(words).partition('=')[0]}={value}"
    return f"{letters(key, draw)}={value}" if kind < 9 else f"{key}={letters(value, draw)}"


def letters(word: str, draw: Random) -> str:
    """One letter left out, doubled, exchanged with the next, or another."""
    if not word:
        return draw.choice(string.ascii_letters)
    at = draw.randrange(len(word))
    other = draw.choice(string.ascii_letters + string.digits + "._-@/[]{}:, '\"=$é")
    whole = (word[:at] + word[at + 1 :], word[:at] + word[at] * 2 + word[at + 1 :])
    swapped = word[:at] + word[at : at + 2][::-1] + word[at + 2 :]
    return draw.choice([*whole, swapped, word[:at] + other + word[at + 1 :]])


def obeyed(line: list[str]) -> tuple[int, str, Executed]:
    """What `train.py LINE` answers, and what it would have run."""
    executed: Executed = []

    def execute(run: Run, config: dict[str, Any], choices: dict[str, str]) -> float:
        executed.append((config, choices))
        return 0.0

    handlers, code = logging.root.handlers[:], 0
    argv = ["train.py", *line]
    with (
        redirect_stderr(StringIO()) as stderr,
        redirect_stdout(StringIO()),
        patch.object(Run, "execute", execute),
        patch.object(sys, "argv", argv),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException as error:
            code = 99
            print(f"{type(error).__name__}: {error}", file=stderr)
    logging.root.handlers[:] = handlers
    return code, stderr.getvalue(), executed


def ignored(line: list[str], config: dict[str, Any], choices: dict[str, str]) -> str:
    """What of an accepted line no constructor knows, or did not become part of the config.

    Written without the suite's own checks, so that it can contradict them.
    """
    for key, call in constructors("", config):
        known = inspect.signature(get_object(call["_target_"])).parameters
        wrong = [name for name in call if not name.startswith("_") and name not in known]
        if wrong:
            return f"{line}: {key}.{wrong[0]} was accepted"
    last: dict[str, Any] = {}
    for word in line:
        override = OverridesParser.create().parse_override(word)
        if not override.is_delete() and "@" not in word:
            last[override.key_or_group] = override.value()
    for key, value in last.items():
        if key in choices:
            if choices[key] != value:
                return f"{line}: {key} is {choices[key]}"
        elif not key.startswith("hydra.") and not any(k.startswith(f"{key}.") for k in last):
            found = OmegaConf.select(OmegaConf.create(config), key, default="absent")
            if isinstance(value, int | float | bool) and found != value:
                return f"{line}: {key} is {found}"
    return ""


def constructors(key: str, node: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every call in a config."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield key, node
        for name, value in node.items():
            yield from constructors(f"{key}.{name}".lstrip("."), value)
    elif isinstance(node, list):
        for value in node:
            yield from constructors(key, value)


def too_long(number: int, frame: FrameType | None) -> None:
    """The alarm's."""
    raise TimeoutError(f"no answer within {SECONDS} seconds")


def sweep(scratch: Path, draw: Random, trials: int) -> Trials:
    """The same with -m, where one mistake must not stop the other runs silently."""
    with chdir(scratch):
        for _ in range(trials):
            wrong = letters("mixup", draw).replace(",", "x").replace("=", "x")
            code, told, executed = obeyed(["-m", f"method=erm,{wrong}", "model=wrn10_2"])
            fine = code == 1 and told.startswith("vicinal: ") and "Traceback" not in told
            yield "" if fine or wrong == "mixup" else f"{wrong}: {code}, {told[-300:]}, {executed}"
    return ""
