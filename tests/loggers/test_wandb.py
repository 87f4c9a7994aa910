"""wandb without a key works offline, and wandb failing stops nothing."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import wandb
from measured_samples import corrupted, entry
from wording import says

from vicinal.loggers.logger import Beside, RunIdentity
from vicinal.loggers.wandb import Wandb

MEASURED = corrupted(70.0, baseline=True)
RECORD = {
    "metrics": {"last": {"top1": 93.0}},
    "evaluations": entry(MEASURED, report="best_test") | entry({"top1": 50.0}, "spatial"),
}


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A user with no key, no settings and an empty folder, and a wandb that has not started."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    home, folder = tmp_path / "home", tmp_path / "cwd"
    home.mkdir()
    folder.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.chdir(folder)
    wandb.teardown()
    yield
    wandb.teardown()


def identity(folder: Path, resumed: bool = False, run_id: str = "abc-0") -> RunIdentity:
    folder.mkdir(exist_ok=True)
    return RunIdentity(run_id, "digits/seed0", "abc", {"lr": {"base": 0.1}}, folder, resumed)


PRINTED = [
    Beside("mixup/figure3a", "CIFAR-10, alpha = 0.5", 4.5, 5.0, "reduced: schedule.epochs=30")
]


def use(logger: Wandb, folder: Path) -> bool:
    logger.start(identity(folder))
    for epoch in (1, 2):
        logger.log(epoch, {"train_loss": 1 / epoch})
    return logger.finish(RECORD, PRINTED)


@contextmanager
def arguments_of_init() -> Iterator[dict[str, Any]]:
    """What wandb is told of the runs that start in this context, none of which does."""
    told: dict[str, Any] = {}

    def init(**arguments: Any) -> Any:
        told.update(arguments)
        raise RuntimeError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wandb, "init", init)
        patch.setattr(wandb, "login", lambda **_: True)
        yield told


def test_without_a_key_it_is_offline_in_the_runs_folder(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    use(Wandb(), tmp_path / "run")
    (offline,) = (tmp_path / "run" / "wandb").glob("offline-run-*-abc-0")
    assert (offline / "run-abc-0.wandb").stat().st_size > 0
    assert list((tmp_path / "cwd").iterdir()) == []
    (said,) = capfd.readouterr().err.splitlines()
    assert re.search(says(f"^wandb: ... offline ... wandb sync {offline}"), said)


def test_what_stands_for_an_evaluation_is_in_the_summary_and_all_of_it_in_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    summary, finish = dict[str, Any](), wandb.Run.finish

    def finished(run: wandb.Run) -> None:
        summary.update({key: run.summary[key] for key in run.summary.keys()})  # noqa: SIM118 (not a dict)
        finish(run)

    monkeypatch.setattr(wandb.Run, "finish", finished)
    use(Wandb(), tmp_path / "run")
    assert {key: value for key, value in summary.items() if "/" in key} == {
        "last/top1": 93.0,
        "cifar10_c/best_test/robust_accuracy": 60.0,
        "cifar10_c/best_test/robust_accuracy_without_noise": 59.0,
        "cifar10_c/best_test/mce": 80.0,
        "cifar10_c/best_test/mce_without_noise": 82.0,
        "spatial/last/top1": 50.0,
        "papers/mixup/figure3a/CIFAR_10_alpha_0_5/paper": 4.5,
        "papers/mixup/figure3a/CIFAR_10_alpha_0_5/ours": 5.0,
        "papers/mixup/figure3a/CIFAR_10_alpha_0_5/difference": 0.5,
    }
    (path,) = (tmp_path / "run").rglob("evaluations*.table.json")
    table = json.loads(path.read_text())
    assert table["columns"] == ["evaluation", "report", "number", "value"]
    every = [["cifar10_c", "best_test", name, value] for name, value in MEASURED.items()]
    assert table["data"] == [*every, ["spatial", "last", "top1", 50.0]]
    (path,) = (tmp_path / "run").rglob("papers*.table.json")
    table = json.loads(path.read_text())
    assert table["columns"] == ["table", "label", "paper", "ours", "difference", "note"]
    (row,) = table["data"]
    assert row == ["mixup/figure3a", "CIFAR-10, alpha = 0.5", 4.5, 5.0, 0.5, PRINTED[0].note]


def test_it_tells_wandb_who_the_run_is(tmp_path: Path):
    with arguments_of_init() as told:
        Wandb(project="p", entity="e").start(identity(tmp_path / "run", resumed=True))
    assert (told["project"], told["entity"]) == ("p", "e")
    assert (told["id"], told["name"], told["group"]) == ("abc-0", "digits/seed0", "abc")
    assert told["config"] == {"lr": {"base": 0.1}}
    assert told["resume"] == "allow"
    assert told["settings"].mode == "online"


def test_the_wait_for_the_server_is_announced_and_offline_there_is_none(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    with arguments_of_init():
        Wandb(timeout_seconds=7).start(identity(tmp_path / "run"))
    assert re.search(says("^wandb: ... contacting ... 7 s"), capfd.readouterr().err)
    use(Wandb(), tmp_path / "run")
    assert "contacting" not in capfd.readouterr().err


def test_under_a_sweep_the_run_is_the_agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_SWEEP_ID", "s1")
    monkeypatch.setenv("WANDB_RUN_ID", "given")
    with arguments_of_init() as told:
        Wandb(entity="e").start(identity(tmp_path / "run"))
    assert not {"id", "project", "entity", "group"} & told.keys()
    names = {"run": "digits/seed0", "group": "abc"}
    assert told["config"] == {"lr": {"base": 0.1}} | names


@pytest.mark.filterwarnings("ignore:Exception ignored in.*values.yaml")  # wandb leaves it open
def test_under_a_sweep_nothing_is_refused_or_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """By wandb itself, to which the agent gives the values of the sweep in a file."""
    values = tmp_path / "values.yaml"
    values.write_text("wandb_version: 1\nlr:\n  value: 0.3\n")
    monkeypatch.setenv("WANDB_SWEEP_ID", "s1")
    monkeypatch.setenv("WANDB_RUN_ID", "given")
    monkeypatch.setenv("WANDB_SWEEP_PARAM_PATH", str(values))
    assert use(Wandb(), tmp_path / "run")
    assert len(list((tmp_path / "run").glob("wandb/offline-run-*/run-given.wandb"))) == 1
    assert "Ignoring" not in capfd.readouterr().err


def test_a_place_is_a_project_or_the_run_of_an_agent(monkeypatch: pytest.MonkeyPatch):
    places = [Wandb().place, Wandb(project="p").place, Wandb(entity="e", project="p").place]
    monkeypatch.setenv("WANDB_SWEEP_ID", "s1")
    for given in ("a", "b"):
        monkeypatch.setenv("WANDB_RUN_ID", given)
        places.append(Wandb().place)
    assert len(set(places)) == 5


@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_what_the_user_set_holds_although_there_is_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
):
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setenv("WANDB_MODE", mode)
    shown = use(Wandb(), tmp_path / "run")
    assert len(list((tmp_path / "run").glob("wandb/offline-run-*"))) == (mode == "offline")
    assert shown == (mode == "offline")


def test_a_second_run_in_one_process_is_its_own(tmp_path: Path):
    first, second = Wandb(), Wandb()
    first.start(identity(tmp_path / "a", run_id="abc-1"))  # and failed: never finished
    use(second, tmp_path / "b")
    assert len(list((tmp_path / "b").glob("wandb/offline-run-*/run-abc-0.wandb"))) == 1
    first.finish(RECORD, [])


def refuse(*_: object, **__: object) -> None:
    raise ConnectionError("no route\nand much more")


@pytest.mark.parametrize("failing", ["setup", "login", "init", "log", "Table", "finish"])
def test_a_failing_wandb_is_said_once_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], failing: str
):
    owner = wandb.Run if failing in ("log", "finish") else wandb
    with monkeypatch.context() as patched:
        patched.setattr(owner, failing, refuse)
        assert not use(Wandb(), tmp_path / "run")
    said = [line for line in capfd.readouterr().err.splitlines() if "offline" not in line]
    assert len(said) == 1
    assert re.search(says("^wandb: ... ConnectionError: no route"), said[0])


def test_a_server_that_cannot_be_reached_costs_no_more_than_the_timeout(tmp_path: Path):
    # A process of its own, because wandb keeps credentials and settings for a whole process.
    program = (
        "import sys, time; from pathlib import Path\n"
        "from vicinal.loggers.logger import RunIdentity; from vicinal.loggers.wandb import Wandb\n"
        "logger = Wandb(timeout_seconds=1.0); began = time.monotonic()\n"
        "logger.start(RunIdentity('abc-0', 'n', 'abc', {}, Path(sys.argv[1]), False))\n"
        "logger.log(1, {'loss': 1.0}); record = {'metrics': {}, 'evaluations': {}}\n"
        "shown = logger.finish(record, []); print(time.monotonic() - began, shown)"
    )
    environment = {"WANDB_API_KEY": "a" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(tmp_path)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, shown = done.stdout.split()
    assert float(seconds) < 10
    assert shown == "False"
    waits, failed = done.stderr.splitlines()
    assert re.search(says("^wandb: ... contacting ... 1 s"), waits)
    assert re.search(says("^wandb: ... CommError"), failed)


def test_a_timeout_that_would_wait_for_ever_is_refused():
    with pytest.raises(ValueError, match=says("^timeout_seconds ... 0 ... 0.0")):
        Wandb(timeout_seconds=0.0)
