"""Command lines that are nearly right are explained in one line, or obeyed to the letter."""

import inspect
import logging
import signal
import string
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import pytest
from hydra.utils import get_object
from omegaconf import OmegaConf

from vicinal.cli.configs import CONFIGS, compose
from vicinal.cli.overrides import parse
from vicinal.run import Run
from vicinal.train import main

SECONDS = 60  # for one line
ODD = (
    *("0", "-1", "1e308", "1e-320", "nan", "inf", "-inf", "true", "null", "''", "[]", "{}"),
    *("???", "[1,2,3]", "{a:1}", "${seed}", "${nothing}", "${oc.env:NOPE}", "é", "a b", "1,2"),
    *("range(3)", "99999999999999999999", "0x10", "1_000", "None", "False", "'[1]'", "~", "[null]"),
)
Executed = tuple[dict[str, Any], dict[str, str]]  # a run's config, and the choices that made it
Train = Callable[..., tuple[int, list[Executed]]]


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Train]:
    """Call `train.py WORDS` in this process; its exit code, and what it would have run."""
    executed: list[Executed] = []

    def execute(run: Run, config: dict[str, Any], choices: dict[str, str]) -> float:
        executed.append((config, choices))
        return 0.0

    def train(*words: str) -> tuple[int, list[Executed]]:
        monkeypatch.setattr(sys, "argv", ["train.py", *words])
        try:
            main()
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else 1, executed
        return 0, executed

    monkeypatch.setattr(Run, "execute", execute)
    monkeypatch.chdir(tmp_path)
    handlers, before = logging.root.handlers[:], signal.signal(signal.SIGALRM, too_late)
    signal.alarm(SECONDS)
    yield train
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    logging.root.handlers[:] = handlers


def too_late(number: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"no answer within {SECONDS} seconds")


@pytest.mark.slow  # cli/test_typist.py mistypes a small config
@pytest.mark.trials(600)
def test_typos(
    trial: int,
    train: Train,
    draw: Random,
    capsys: pytest.CaptureFixture[str],
    record_property: Callable[..., None],
) -> None:
    """Real overrides, a few on a line, most of them with a slip of the finger."""
    words = vocabulary()
    line = [slip(draw.choice(words), words, draw) for _ in range(draw.choice([1, 1, 2, 3]))]
    code, executed = train(*line)
    said = capsys.readouterr().err
    record_property("refused", code)
    if code:
        assert code == 1
        assert said.startswith("vicinal: ")
        assert len(said.splitlines()) == 1, said
    else:
        assert said == ""
        assert executed
        assert not [wrong for each in executed for wrong in ignored(line, *each)]


@pytest.mark.trials(20)
def test_typos_in_sweeps(
    trial: int, train: Train, draw: Random, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = "mixup"
    while wrong == "mixup":
        wrong = misspelt("mixup", draw).replace(",", "x").replace("=", "x")
    code, _ = train("-m", f"method=erm,{wrong}", "model=wrn10_2")
    said = capsys.readouterr().err
    assert code == 1
    assert said.startswith("vicinal: ")
    assert "Traceback" not in said


@cache
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
            found += [f"{node}.{line}" for line in settings(config)]
    return list(dict.fromkeys([*found, *settings(compose("method=maxup_cutmix"))]))


def settings(config: Any) -> Iterator[str]:
    """Each as it would be typed."""
    for key, value in leaves("", OmegaConf.to_container(config)):
        if not any(part.startswith("_") for part in key.split(".")):
            shown = {None: "null", True: "true", False: "false"}
            plain = value is None or isinstance(value, bool)
            yield f"{key}={shown[value] if plain else str(value).replace(' ', '')}"


def leaves(key: str, node: Any) -> Iterator[tuple[str, Any]]:
    """Every value that is not a mapping, by its dotted key."""
    if not isinstance(node, dict):
        yield key, node
        return
    for name, value in node.items():
        yield from leaves(f"{key}.{name}".lstrip("."), value)


def slip(line: str, words: list[str], draw: Random) -> str:
    """The line, or what a tired person makes of it."""
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
    return f"{misspelt(key, draw)}={value}" if kind < 9 else f"{key}={misspelt(value, draw)}"


def misspelt(word: str, draw: Random) -> str:
    """One letter is missing, doubled, swapped with the next, or another."""
    if not word:
        return draw.choice(string.ascii_letters)
    at = draw.randrange(len(word))
    other = draw.choice(string.ascii_letters + string.digits + "._-@/[]{}:, '\"=$é")
    before, after = word[:at], word[at + 1 :]
    swapped = before + word[at : at + 2][::-1] + word[at + 2 :]
    doubled, replaced = before + word[at] * 2 + after, before + other + after
    return draw.choice([before + after, doubled, swapped, replaced])


def ignored(line: list[str], config: dict[str, Any], choices: dict[str, str]) -> Iterator[str]:
    """What of an accepted line no constructor knows, or did not become part of the config.

    Written without the suite's own checks, so that it can contradict them.
    """
    for key, call in constructors("", config):
        known = inspect.signature(get_object(call["_target_"])).parameters
        unknown = [name for name in call if not name.startswith("_") and name not in known]
        yield from (f"{key}.{name} was accepted" for name in unknown)
    last: dict[str, Any] = {}
    for word in line:
        override = parse(word)
        if not override.is_delete() and "@" not in word:
            last[override.key_or_group] = override.value()
    for key, value in last.items():
        found = OmegaConf.select(OmegaConf.create(config), key, default="absent")
        if key in choices:
            if choices[key] != value:
                yield f"{key} is {choices[key]}"
        elif key.startswith("hydra.") or any(k.startswith(f"{key}.") for k in last):
            continue
        elif isinstance(value, int | float | bool) and found != value:
            yield f"{key} is {found}"


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
