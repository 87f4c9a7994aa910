"""The tasks of a Slurm step are the ranks of a run with runtime=slurm, and only there."""

import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from forks import Fork
from two_ranks import SMALL, on_two
from wording import says

from vicinal.errors import PreemptedError, RunError
from vicinal.machine import ranks
from vicinal.machine.signals import stopping
from vicinal.machine.slurm import become_rank, first_host
from vicinal.train import main

LAUNCHED = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
BATCH = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}


def step(rank: int, tasks: int = 2, number: int = 0) -> dict[str, str]:
    """The variables that srun sets for a task."""
    variables = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_STEP_ID": str(number)}
    variables |= {"SLURM_STEP_NODELIST": "localhost", "SLURM_STEP_NUM_TASKS": str(tasks)}
    return variables | {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Without variables that a launcher of these tests may have set; restored afterwards."""
    before = dict(os.environ)
    for name in [*LAUNCHED, *(word for word in os.environ if word.startswith("SLURM_"))]:
        monkeypatch.delenv(name, raising=False)
    yield monkeypatch
    monkeypatch.undo()
    os.environ.clear()
    os.environ.update(before)


def set_variables(environment: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)


def train(out: Path, variables: dict[str, str], *more: str) -> Fork:
    words = [*SMALL, f"out={out}", f"results={out}/results", *more]
    ours = {name: value for name, value in os.environ.items() if name not in LAUNCHED}
    return Fork(words, out, ours | variables)


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu1", "gpu1"),
        ("gpu[07-12,20],big1", "gpu07"),
        ("big1,gpu[1-2]", "big1"),
        ("rack[3,5]node[10-12]-ib,x", "rack3node10-ib"),
    ],
)
def test_ranks_meet_on_the_first_host_of_the_list(nodes: str, first: str) -> None:
    assert first_host(nodes) == first


def test_a_task_of_srun_gets_the_variables_that_torchrun_sets(
    environment: pytest.MonkeyPatch,
) -> None:
    task = {"SLURM_LOCALID": "1", "SLURM_STEP_NODELIST": "n[4-5]"}
    set_variables(environment, step(3, tasks=16) | task)
    become_rank()
    become_rank()  # for the next run of a sweep
    assert [os.environ[name] for name in LAUNCHED[:4]] == ["3", "1", "16", "n4"]


def test_all_tasks_of_a_step_meet_at_one_port_and_other_steps_at_another(
    environment: pytest.MonkeyPatch,
) -> None:
    ports = []
    for variables in (step(0), step(1), step(0, number=1)):
        for name in LAUNCHED:
            environment.delenv(name, raising=False)
        set_variables(environment, variables)
        become_rank()
        ports.append(os.environ["MASTER_PORT"])
    assert ports[0] == ports[1] != ports[2]


def test_a_batch_script_is_not_a_rank_although_slurm_gives_it_one(
    environment: pytest.MonkeyPatch,
) -> None:
    set_variables(environment, BATCH)
    with pytest.raises(RunError, match=r"runtime\.slurm must be false outside a Slurm step"):
        become_rank()


def test_ranks_of_torchrun_are_kept(environment: pytest.MonkeyPatch) -> None:
    rank = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "16"}
    set_variables(environment, step(0, tasks=2) | rank)
    with pytest.raises(RunError, match=r"must be false under torchrun.*WORLD_SIZE is 16"):
        become_rank()


def test_two_tasks_train_one_run_and_the_first_alone_prints(tmp_path: Path) -> None:
    for message in ("", "finished already"):
        tasks = [train(tmp_path, step(rank), "runtime.slurm=true") for rank in range(2)]
        outputs = [task.communicate(timeout=600) for task in tasks]
        assert [task.returncode for task in tasks] == [0, 0], outputs
        assert message in outputs[0][0]
        assert outputs[1][0] == ""
    (path,) = tmp_path.glob("digits/**/record.json")
    assert [session["ranks"] for session in json.loads(path.read_text())["sessions"]] == [2]


def test_a_job_of_submitit_with_one_task_is_not_a_rank(tmp_path: Path) -> None:
    variables = step(0, tasks=1) | {"SUBMITIT_EXECUTOR": "slurm"}
    task = train(tmp_path, variables, "runtime.slurm=true")
    output = task.communicate(timeout=600)
    assert task.returncode == 0, output
    (path,) = tmp_path.glob("digits/**/record.json")
    assert json.loads(path.read_text())["sessions"][0]["ranks"] == 1


def test_several_tasks_of_submitit_do_not_race_for_one_run(
    environment: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    set_variables(environment, step(1) | {"SUBMITIT_EXECUTOR": "slurm"})
    environment.setattr(sys, "argv", ["train.py", *SMALL, f"out={tmp_path}/out"])
    with pytest.raises(SystemExit):
        main()
    said = says("runtime ... slurm ... hydra.launcher ... 2 tasks ... cpu")
    assert re.search(said, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("gpus", "on_node", "own"), [(8, "8", 3), (1, "8", 0), (8, None, 3)])
def test_a_task_takes_its_own_gpu_whether_or_not_it_sees_the_others(
    gpus: int, on_node: str | None, own: int, environment: pytest.MonkeyPatch
) -> None:
    environment.setattr(torch.cuda, "device_count", lambda: gpus)
    environment.setenv("LOCAL_RANK", "3")
    if on_node is not None:
        environment.setenv("SLURM_GPUS_ON_NODE", on_node)
    assert ranks._local_gpu() == own


@pytest.mark.parametrize("on_node", [None, "1"])
def test_more_tasks_than_gpus_are_refused(
    on_node: str | None, environment: pytest.MonkeyPatch
) -> None:
    environment.setattr(torch.cuda, "device_count", lambda: 1)
    environment.setenv("LOCAL_RANK", "1")
    if on_node is not None:
        environment.setenv("SLURM_GPUS_ON_NODE", on_node)
    with pytest.raises(RunError, match=says("GPUs, 1 ... rank 1")):
        ranks._local_gpu()


class LeftError(Exception):
    """A launcher exits because it has requeued the job."""


def test_if_the_launcher_of_rank_zero_exits_the_others_are_preempted_too(
    tmp_path: Path,
) -> None:
    """submitit requeues from the first task only; on the others its handler returns."""

    def requeue(*_: object) -> None:
        if ranks.is_main():
            raise LeftError

    def stopped() -> list[Any]:
        saved: list[Any] = []
        signal.signal(signal.SIGUSR2, requeue)
        with stopping() as stop:
            if ranks.rank() == 1:
                os.kill(os.getpid(), signal.SIGUSR2)
            with pytest.raises((LeftError, PreemptedError)) as found:
                stop.obey(lambda: saved.append("saved"), str)
        ranks.leave()
        return [*saved, found.type]

    found = on_two(stopped, tmp_path)
    assert found == [["saved", LeftError], ["saved", PreemptedError]]


def test_if_a_launcher_lets_the_run_go_on_all_ranks_go_on(tmp_path: Path) -> None:
    def went_on() -> int:
        received: list[int] = []
        signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
        with stopping() as stop:
            if ranks.is_main():
                os.kill(os.getpid(), signal.SIGTERM)
            stop.obey(lambda: None, str)
            stop.obey(lambda: None, str)
        return len(received)

    assert on_two(went_on, tmp_path) == [1, 1]
