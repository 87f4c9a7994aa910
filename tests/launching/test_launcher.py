"""Which job is launched when, and what becomes of those that fail; the nursery is a stand-in."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from composing import compose as composed
from hydra.core.utils import JobStatus
from omegaconf import DictConfig
from wording import says

from vicinal.cli.configs import compose
from vicinal.errors import DivergedError, RunError, SearchError
from vicinal.launching import launcher, local
from vicinal.launching.endings import failure
from vicinal.launching.launcher import Launching
from vicinal.launching.lines import arguments, log_file, task_name
from vicinal.launching.places import Cores
from vicinal.launching.settings import Settings
from vicinal.train import execute


def sweep(folder: Path, *overrides: str) -> DictConfig:
    """The config of a sweep with these overrides."""
    config = compose(f"out={folder}", *overrides, with_hydra=True)
    config.hydra.mode = "MULTIRUN"
    return config


@dataclass
class Scripted:
    """A nursery whose jobs end in the order of their launch, one at a time, as they are told to."""

    endings: dict[str, list[dict[str, Any]]]  # by the last override; the last one stays
    orders: list[dict[str, Any]] = field(default_factory=list)
    running: list[dict[str, Any]] = field(default_factory=list)
    most: int = 0

    def send(self, message: dict[str, Any]) -> None:
        self.orders.append(message)
        self.running.append(message)
        self.most = max(self.most, len(self.running))

    def receive(self, timeout: float) -> list[dict[str, Any]]:
        if not self.running:
            return []
        order = self.running.pop(0)
        script = self.endings.get(order["arguments"][-1], [{"score": 1.0, "code": 0}])
        told = dict(script.pop(0) if len(script) > 1 else script[0])
        number, code = {"number": order["number"]}, {"code": told.pop("code")}
        return [number | told, number | code] if told else [number | code]

    @property
    def launched(self) -> list[str]:
        return [order["arguments"][-1] for order in self.orders]


def launch(
    folder: Path, seeds: Sequence[int], endings: dict[str, list[dict[str, Any]]]
) -> tuple[Scripted, list[Any]]:
    nursery = Scripted(endings)
    launching = Launching(sweep(folder), Cores(2), lambda: nursery)
    return nursery, launching.launch([(f"seed={seed}",) for seed in seeds])


BUSY = {"error": "BusyError", "message": "FOLDER is in use", "code": 1}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second passes between two looks at the time."""
    ticks = count(1000)
    monkeypatch.setattr(launcher, "monotonic", lambda: next(ticks) / 2)


def test_jobs_start_in_order_as_places_become_free_whatever_became_of_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    diverged = {"error": "DivergedError", "message": "the loss was not finite", "code": 1}
    nursery, returns = launch(tmp_path, range(5), {"seed=0": [diverged], "seed=2": [{"code": -9}]})
    assert nursery.launched == [f"seed={seed}" for seed in range(5)]
    assert nursery.most == 2
    assert [each.status is JobStatus.COMPLETED for each in returns] == [
        *(False, True, False, True, True)
    ]
    assert returns[1].return_value == 1.0
    with pytest.raises(DivergedError, match="not finite"):
        _ = returns[0].return_value
    with pytest.raises(RunError, match=says("killed by SIGKILL ... memory")):
        _ = returns[2].return_value
    out = capsys.readouterr().out
    assert "not finite (log: " in out  # at once
    assert "killed by SIGKILL" in out


@pytest.mark.usefixtures("clock")
def test_a_run_that_another_process_has_is_tried_again_after_the_others(tmp_path: Path) -> None:
    """The process may be one whose launcher was killed, and which is writing its checkpoint."""
    once = {"seed=0": [BUSY, {"score": 2.0, "code": 0}]}
    nursery, returns = launch(tmp_path, range(3), once)
    assert nursery.launched[:2] == ["seed=0", "seed=1"]
    assert nursery.launched.count("seed=0") == 2
    assert returns[0].return_value == 2.0


@pytest.mark.usefixtures("clock")
def test_patience_with_another_process_ends(tmp_path: Path) -> None:
    nursery, (returned,) = launch(tmp_path, [0], {"seed=0": [BUSY]})
    assert 2 < len(nursery.launched) <= launcher.PATIENCE / launcher.AGAIN + 2
    with pytest.raises(RunError, match="in use"):
        _ = returned.return_value


def test_a_search_by_the_wrong_number_starts_no_more_jobs(tmp_path: Path) -> None:
    wrong = {"error": "SearchError", "message": "direction must be maximize", "code": 1}
    nursery = Scripted({"seed=0": [wrong]})
    launching = Launching(sweep(tmp_path), Cores(1), lambda: nursery)
    with pytest.raises(SearchError, match="direction"):
        launching.launch([(f"seed={seed}",) for seed in range(3)])
    assert nursery.launched == ["seed=0"]


def test_a_job_belongs_to_its_sweepers_search(tmp_path: Path) -> None:
    nursery = Scripted({})
    config = sweep(tmp_path, "hydra/sweeper=optuna", "hydra.sweeper.direction=maximize")
    Launching(config, Cores(1), lambda: nursery).launch([("seed=0",)])
    assert nursery.orders[0]["search"] == ["optuna", ("maximize",)]
    nursery = Scripted({})
    Launching(sweep(tmp_path), Cores(1), lambda: nursery).launch([("seed=0",)])
    assert nursery.orders[0]["search"] is None


def test_a_run_is_started_by_the_line_that_a_user_would_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = sweep(tmp_path)
    config.hydra.overrides.hydra = [
        *("hydra/launcher=gpus", "hydra.launcher.per_gpu=2", "hydra/sweeper=optuna"),
        *("hydra.sweeper.n_trials=2", "hydra/sweeper/sampler=tpe", "hydra.mode=MULTIRUN"),
        "hydra.verbose=true",
    ]
    words = ["-m", "seed=0,1", "--config-dir", "mine", "hydra/launcher=gpus"]
    monkeypatch.setattr("sys.argv", ["train.py", *words])
    line = arguments(config, ("method=erm", "seed=0"))
    assert line == [
        "train.py",
        "--config-dir",
        "mine",
        "hydra.verbose=true",
        "method=erm",
        "seed=0",
    ]


def test_a_run_has_the_same_log_in_every_launch_and_no_other_has_it(tmp_path: Path) -> None:
    config = sweep(tmp_path)
    long = [f"+a/b='{'x' * 200}'"]
    names = [log_file(config, (*long, f"seed={seed}")) for seed in (0, 1, 0)]
    assert names[0] == names[2] != names[1]
    assert names[0].parent == tmp_path / "sweeps"
    assert len(names[0].name) < 100


def test_another_process_finds_what_executes_a_run() -> None:
    assert task_name(execute) == "vicinal.train:execute"


@pytest.mark.parametrize(
    ("code", "lines", "said"),
    [
        (1, "vicinal: method=erma is not known", "^method=erma is not known"),
        (1, "Traceback", "^ended with code 1 ... without a result; ... last line: Traceback"),
        (-11, "epoch 3/5", "^killed by SIGSEGV; ... last line: epoch 3/5"),
        (-9, "", "^killed by SIGKILL, ... memory"),
    ],
)
def test_a_run_that_tells_nothing_is_told_of(
    code: int, lines: str, said: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    log.write_text("of an earlier attempt\n")
    start = log.stat().st_size
    log.write_text(f"{log.read_text()}{lines}\n")
    error = failure({}, code, log, start)
    assert error is not None
    with pytest.raises(RunError, match=says(said)):
        raise error


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (Settings(per_gpu=0), "hydra.launcher.per_gpu ... above 0, got 0"),
        (Settings(per_gpu="two"), "hydra.launcher.per_gpu ... got two"),  # pyright: ignore
        (Settings(gpus=0), "hydra.launcher.gpus ... list ... got 0"),  # pyright: ignore
        (Settings(gpus="01"), "hydra.launcher.gpus ... list ... got 01"),  # pyright: ignore
        (Settings(mps="on"), "hydra.launcher.mps ... got on"),  # pyright: ignore
    ],
)
def test_a_setting_that_cannot_be_is_refused(settings: Settings, said: str) -> None:
    with pytest.raises(RunError, match=says(said)):
        settings.check(composed())


def test_ranks_are_not_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunError, match=says("hydra/launcher must be basic ... srun, got gpus")):
        Settings().check(composed("runtime=slurm"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RunError, match=says("hydra/launcher must be basic under torchrun")):
        Settings().check(composed())


def test_runs_on_cpus_share_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "allowed_cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    config = sweep(tmp_path, "runtime=cpu", "+dry_run=true")  # which starts no nursery
    config.hydra.overrides.task = ["+dry_run=true"]
    for per_gpu, places, threads in ((None, 8, 1), (3, 3, 2), (16, 16, 1)):
        made = local.on_this_machine(Settings(per_gpu=per_gpu), config, "a:b")
        assert (made.places, made.threads) == (Cores(places), threads)
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert local.on_this_machine(Settings(), config, "a:b").threads is None
