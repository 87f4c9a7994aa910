"""`vicinal COMMAND`: what it says, what it calls, and how it ends."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vicinal import commands, train
from vicinal.commands import main as program
from vicinal.commands.train import main as start_train

FOLDER = Path(str(commands.__file__)).parent


@pytest.fixture
def vicinal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> "Vicinal":
    return Vicinal(monkeypatch, capsys)


class Vicinal:
    """`vicinal WORDS` in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, *words: str) -> tuple[int, str, str]:
        """The exit code, and what was printed on stdout and stderr."""
        self.monkeypatch.setattr(sys, "argv", ["/usr/bin/vicinal", *words])
        code = 0
        try:
            program.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else bool(end.code)
        printed = self.capsys.readouterr()
        return int(code), printed.out, printed.err


def test_every_command_is_a_module_and_every_module_a_command() -> None:
    modules = {path.stem for path in FOLDER.glob("*.py")} - {"__init__", "main"}
    assert modules == set(program.COMMANDS)


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_help_has_a_line_for_every_command_and_three_examples(
    vicinal: Vicinal, words: tuple[str, ...]
) -> None:
    code, out, err = vicinal(*words)
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines() if line.startswith("  vicinal ")]
    assert [line[1] for line in lines[:-3]] == list(program.COMMANDS)
    assert all(line[1] in program.COMMANDS for line in lines[-3:])


def test_the_version_is_ours_and_torchs(vicinal: Vicinal) -> None:
    code, out, _ = vicinal("--version")
    assert code == 0
    assert out.split() == ["vicinal", "0.1.0,", "torch", torch.__version__.partition("+")[0]]
    assert vicinal("train", "--version") == (0, out, "")


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("trian", "trian is not a command; did you mean train?"),
        ("expert x", "expert is not a command; did you mean export?"),
        ("method=mixup", "method=mixup is not a command; did you mean vicinal train method=mixup"),
        ("-m seed=0,1", "-m is not a command; did you mean vicinal train -m"),
        ("nonsense", "nonsense is not a command (commands: train, tables, report, evaluate,"),
    ],
)
def test_an_unknown_command_is_told_in_one_line(vicinal: Vicinal, typed: str, told: str) -> None:
    code, out, err = vicinal(*typed.split())
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith(f"vicinal: {told}")


def test_a_command_gets_its_words_and_is_named_as_it_was_typed(vicinal: Vicinal) -> None:
    code, out, _ = vicinal("fetch", "--help")
    assert code == 0
    assert out.startswith("usage: vicinal fetch [-h] ")
    code, _, err = vicinal("train", "seed=abc")
    assert code == 1
    assert err == "vicinal: seed must be an integer, got 'abc'\n"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("model=resnet50", "did you mean resnet152 or model=timm model.name=resnet50?"),
        ("model=vit_tiny", "did you mean model=timm model.name=vit_tiny?"),
        ("model=wrn10_2 model.name=x", "did you mean model=timm model.name=x?"),
        ("-m table/mixup=figure3a", "did you mean table=mixup/figure3a?"),
        ("method=erm table/mixup=figure3a", "did you mean table=mixup/figure3a?"),
    ],
)
def test_what_was_meant_is_proposed(vicinal: Vicinal, typed: str, meant: str) -> None:
    code, _, err = vicinal("train", *typed.split())
    assert code == 1
    (line,) = err.splitlines()
    assert meant in line


@pytest.mark.parametrize(
    ("command", "unbuffered"),
    [((), ""), ((), "1"), (("--version",), ""), (("train", "--help"), "")],
)
def test_help_imports_no_torch_and_a_reader_may_leave(
    command: tuple[str, ...], unbuffered: str
) -> None:
    reader, writer = os.pipe()
    os.close(reader)  # as `| head` does, sooner or later
    lines = [
        "import atexit, sys; from vicinal.commands.main import main",
        "atexit.register(lambda: sys.stderr.write(str('torch' in sys.modules)))",
        f"sys.argv[1:] = {command}; main()",
    ]
    told = subprocess.run(
        [sys.executable, "-c", "; ".join(lines)],
        stdout=writer,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        text=True,
        check=False,
    )
    os.close(writer)
    assert (told.returncode, told.stderr) == (141, "False")


@pytest.mark.parametrize(
    ("line", "completions"),
    [
        ("vicinal t", "train tables"),
        ("vicinal train method=maxup_cutm", "method=maxup_cutmix"),
        ("vicinal train ta", "table="),
        ("vicinal train -m table=mixup/fig", "table=mixup/figure3a table=mixup/figure4"),
        (
            "vicinal train seed=3 vicinity@method.vicinity=cut",
            "vicinity@method.vicinity=cutmix vicinity@method.vicinity=cutout",
        ),
        ("vicinal tables mix", ""),
    ],
)
def test_tab_completes_commands_and_what_train_takes(
    vicinal: Vicinal, monkeypatch: pytest.MonkeyPatch, line: str, completions: str
) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    code, out, err = vicinal("-sc", "query=bash")
    assert (code, out.strip(), err) == (0, completions, "")


def test_completion_is_installed_for_the_program(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["vicinal train", "-sc", "install=bash"])
    start_train()
    assert capsys.readouterr().out.splitlines()[-1].endswith("hydra_bash_completion vicinal")


def test_train_is_the_console_scripts_main(
    vicinal: Vicinal, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = list[list[str]]()
    monkeypatch.setattr(train, "main", lambda: seen.append(sys.argv))
    assert vicinal("train", "-m", "seed=0,1")[0] == 0
    assert seen == [["vicinal train", "-m", "seed=0,1"]]
