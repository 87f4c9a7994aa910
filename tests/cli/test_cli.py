"""What a user sees of the command line: one line for a mistake, and nothing left lying about."""

import io
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import standins
from standins import write_configs
from wording import says

from vicinal.errors import PreemptedError, RunError, SearchError, StoppedByUserError
from vicinal.train import main

Command = Callable[..., int]
INTERRUPTED = "\nvicinal: interrupted; the same line again goes on from what was saved last\n"


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    before = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:], level = before
    logging.root.setLevel(level)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`main()` on the stand-ins' configs, in an empty folder; returns the exit code."""
    configs = write_configs(tmp_path / "configs")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)

    def run(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["train.py", "--config-path", str(configs), *words])
        try:
            main()
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else bool(end.code)
        return 0

    return run


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, Any], dict[str, str]]]:
    """What each run was asked to execute."""
    calls: list[tuple[dict[str, Any], dict[str, str]]] = []

    def execute(run: object, config: dict[str, Any], choices: dict[str, str], _: None) -> float:
        calls.append((config, choices))
        return 0.0

    monkeypatch.setattr(standins.Run, "execute", execute)
    return calls


Executed = list[tuple[dict[str, Any], dict[str, str]]]


@pytest.mark.parametrize("words", [(), ("-m", "seed=0,1")])
def test_a_run_whose_reader_leaves_ends_without_a_word(
    words: tuple[str, ...], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    os.close(reader)  # as `| head` does
    errors = io.StringIO()

    def execute(*_: object) -> float:
        monkeypatch.setattr(sys, "stderr", errors)
        monkeypatch.setattr(sys, "stdout", out)
        print("epoch 1/6", flush=True)
        return 0.0

    monkeypatch.setattr(standins.Run, "execute", execute)
    with os.fdopen(writer, "w") as out:
        assert command(*words) == 141
    assert errors.getvalue() == ""


def test_a_run_receives_its_config_and_choices(command: Command, executed: Executed) -> None:
    assert command("method=maxup_cutout", "seed=3") == 0
    ((config, choices),) = executed
    assert config["seed"] == 3
    assert config["method"]["vicinity"]["fill"] == [0.1, 0.2, 0.3]
    assert choices == {
        "dataset": "digits",
        "model": "wrn",
        "method": "maxup_cutout",
        "vicinity@method.vicinity": "cutout",
    }


def test_a_run_leaves_nothing_but_its_own(command: Command, executed: Executed) -> None:
    assert command() == 0
    assert list(Path().iterdir()) == []


def test_a_sweep_runs_every_combination(command: Command, executed: Executed) -> None:
    assert command("method=erm,maxup_mixup", "-m", "seed=0,1") == 0
    assert [(choices["method"], config["seed"]) for config, choices in executed] == [
        ("erm", 0),
        ("erm", 1),
        ("maxup_mixup", 0),
        ("maxup_mixup", 1),
    ]
    assert [path.name for path in Path().iterdir()] == ["runs"]


def test_a_setting_of_all_methods_swept_is_one_choice(command: Command, executed: Executed) -> None:
    """As the mistake below is told to write it."""
    fill = "method.vicinity.fill=choice([1,2,3])"
    assert command("-m", "method=maxup_cutout", "seed=0,1", fill) == 0
    assert [run["method"]["vicinity"]["fill"] for run, _ in executed] == [[1, 2, 3]] * 2


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("seed=abc", "seed ... integer ... 'abc'"),
        ("method.copies=0", "method.copies must be at least 1, got 0 (it keeps the worst)"),
        ("method=maxup_mxiup", "method=maxup_mxiup ... maxup_mixup? ... erm, maxup_cutout"),
        ("method.copeis=3", "method.copeis ... standins.MaxUp ... method.copies? ... chunk"),
        ("seed", "seed ... key=value"),
        ("--seed 1", "--seed ... key=value ... --help ... wandb ... ${args_no_hyphens}"),
        ("--cfg jbo", "--cfg/-c ... 'jbo' ... 'job', 'hydra', 'all'"),
        ("--config-dir /nowhere", "--config-dir must be a folder, got /nowhere"),
        ("seed=[1", "seed=[1 cannot be read"),
        ("hydra.run.dir=x", "hydra.run.dir cannot be set: runs go to out=x"),
        ("-m hydra.sweep.dir=x seed=0,1", "hydra.sweep.dir cannot be set: runs go to out=x"),
        ("-m hydra.sweep.subdir=x seed=0,1", "hydra.sweep.subdir ... out=FOLDER"),
        ("hydra.output_subdir=x", "hydra.output_subdir ... out=FOLDER"),
        ("hydra/launcher=gpus", "hydra/launcher=gpus needs -m"),
        ("-m +dry_run=true seed=0,1", "dry_run only works with -m table=PAPER/TABLE"),
        ("-m +hours=3 seed=0,1", "hours only works with -m table=PAPER/TABLE"),
        ("+only=[ERM] table=mixup/table1", "only only works with -m table=PAPER/TABLE"),
        ("-m +dry_run=true table/mixup=table1", "table/mixup ... table=mixup/table1?"),
        ("-m dry_run=true table=mixup/table1", "dry_run=true ... +dry_run=true"),
        ("--config-name nothing", "'nothing'"),
        ("-sc install=bahs", "'bahs' ... bash fish zsh"),
        ("seed=abc --", "seed ... integer ... 'abc'"),
        ("--resolve", "--resolve ... --cfg"),
        ("-m seed=0,1 method=ermm", "method=ermm ... erm? ... erm, maxup_cutout, maxup_mixup"),
        (
            "-m method=maxup_cutout,maxup_cutout method.vicinity.fill=[1,2,3]",
            "method.vicinity.fill=[1,2,3] ... 'method.vicinity.fill=choice([1,2,3])'",
        ),
        ("--help seed.x=1", "seed.x ... 0"),
        ("--cfg job lr=1", "lr ... dataset, method, model, out, results, seed"),
    ],
)
def test_a_mistake_ends_in_one_line(
    command: Command, capsys: pytest.CaptureFixture[str], words: str, parts: str
) -> None:
    assert command(*words.split()) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(says(f"^vicinal: ... {parts}"), line), line
    assert "HYDRA_FULL_ERROR" not in os.environ


@pytest.mark.parametrize("words", ["seed=abc", "method=ermm", "method.copies=0", "method.x=1"])
def test_tracebacks_are_shown_on_request(
    command: Command,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: str,
) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    assert command(words) == 1
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert error.splitlines()[-1].startswith("vicinal: ")
    assert os.environ["HYDRA_FULL_ERROR"] == "1"


@pytest.mark.parametrize(
    ("error", "code", "ending"),
    [
        (RunError("no network\nby hand: ..."), 1, "vicinal: no network\nby hand: ...\n"),
        (PermissionError(13, "Denied", "/runs"), 1, "vicinal: Denied: /runs\n"),
        (KeyboardInterrupt(), 130, INTERRUPTED),
    ],
)
def test_what_stops_a_run_is_said_plainly(
    command: Command,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    ending: str,
) -> None:
    fail_with(monkeypatch, error)
    assert command() == code
    assert capsys.readouterr().err == ending


@pytest.mark.parametrize("error", [KeyError("lr"), ValueError("expected 4D input"), TypeError()])
def test_our_own_errors_keep_their_traceback(
    command: Command,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    fail_with(monkeypatch, error)
    assert command() == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"), [(StoppedByUserError("stop"), 130), (PreemptedError("stop"), 75)]
)
def test_a_run_that_is_stopped_ends_its_sweep(
    command: Command,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    code: int,
) -> None:
    fail_with(monkeypatch, error)
    assert command() == code
    assert capsys.readouterr().err == "vicinal: stop\n"
    assert command("-m", "seed=0,1,2") == code
    first, last = capsys.readouterr().err.splitlines()
    assert first == "vicinal: stop"
    assert re.search(says("^vicinal: the sweep ends ... same line ... resumes ... the rest"), last)


def test_a_search_that_cannot_be_honest_ends_at_its_first_job(
    command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(monkeypatch, SearchError("no hold-out"))
    assert command("-m", "seed=0,1,2") == 1
    assert capsys.readouterr().err == "vicinal: no hold-out\n"


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def execute(run: object, config: dict[str, Any], choices: dict[str, str], _: None) -> float:
        raise error

    monkeypatch.setattr(standins.Run, "execute", execute)


def test_a_failed_job_fails_the_sweep_after_the_others_ran(
    command: Command, executed: Executed, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("-m", "method=maxup_mixup", "method.copies=0,2") == 1
    assert [config["method"]["copies"] for config, _ in executed] == [2]
    said = "method.copies must be at least 1, got 0 (it keeps the worst)"
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"vicinal: {said}"
    job = "method=maxup_mixup method.copies=0"
    assert re.search(says(f"^vicinal: ... {job} ... {said}"), lines[-1])
    assert not any(line.startswith("Traceback") for line in lines)


def test_a_method_in_the_users_own_folder_is_found(
    command: Command, executed: Executed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine" / "method" / "mine.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text("defaults: [/vicinity@vicinity: cutout]\n_target_: standins.Erm\n")
    assert command("--config-dir", str(tmp_path / "mine"), "method=mine") == 0
    assert executed[0][1]["method"] == "mine"
    assert command("--config-dir", str(tmp_path / "mine"), "method=mnie") == 1
    assert re.search(says("mnie ... mine?"), capsys.readouterr().err)


@pytest.mark.parametrize(
    ("line", "completions"),
    [
        ("python train.py method=ma", "method=maxup_cutout method=maxup_mixup"),
        ("python train.py se", "seed="),
        ("python train.py method=erm method.v", "method.vicinity."),
        ("python train.py -m method=erm method.vicinity.al", "method.vicinity.alpha="),
        ("vicinal-train me", "method. method="),
    ],
)
def test_tab_completes(
    command: Command,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    completions: str,
) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    assert command("-sc", "query=bash") == 0
    assert capsys.readouterr().out.strip() == completions


def test_tab_is_silent_where_nothing_can_be_completed(
    command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMP_LINE", "python train.py seed=[1 me")
    assert command("-sc", "query=bash") == 1
    assert capsys.readouterr() == ("", "")
