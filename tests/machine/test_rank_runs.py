"""Whole runs on two ranks: resumed, on more and fewer of them, written by one."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from composing import compose
from forks import Fork
from torch import Tensor
from two_ranks import SMALL, on_two
from wording import says

from vicinal.cli.configs import build, resolved
from vicinal.errors import RunError
from vicinal.loop import Loop
from vicinal.machine import ranks
from vicinal.run import Run
from vicinal.storage import checkpoints, records, run_folder, weights
from vicinal.storage.history import Jsonl
from vicinal.storage.run_folder import RunFolder

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def execute(out: Path, *overrides: str) -> dict[str, Any]:
    """A run as the command line makes it; its record."""
    config = compose(*SMALL, *overrides, f"out={out}", f"results={out}/results")
    run: Run = build(config)
    run.execute(resolved(config), {"model": "wrn10_2", "method": "some"})
    ranks.barrier()
    (path,) = out.rglob("record.json")
    return json.loads(path.read_text())


class KilledError(Exception):
    """Stands for SIGKILL."""


def seen_until(out: Path, stop: int, *overrides: str) -> list[Tensor]:
    """The rows of each step, of all ranks in their order, of a run that is killed at a step."""
    seen: list[Tensor] = []
    step, save = Loop.step, RunFolder.save_if_due

    def watched(self: Loop, x: Tensor, y: Tensor, rows: Tensor, samples: int) -> None:
        seen.append(torch.cat(ranks.all_gather_object(rows)))
        step(self, x, y, rows, samples)

    def killing(self: RunFolder, of: Loop) -> None:
        save(self, of)
        if of.steps_done == stop:
            raise KilledError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "step", watched)
        patch.setattr(RunFolder, "save_if_due", killing)
        with contextlib.suppress(KilledError):
            execute(out, *overrides)
    return seen


def test_the_order_of_samples_is_one_on_1_then_2_then_1_ranks(tmp_path: Path) -> None:
    """60 samples in batches of 24: the last of an epoch has 12."""
    whole = seen_until(tmp_path / "whole", 0, "method=mixup")
    out = tmp_path / "changing"
    seen = seen_until(out, 2, "method=mixup")
    first, second = on_two(lambda: seen_until(out, 4, "method=mixup"), tmp_path)
    assert len(first) == 2
    assert all(map(torch.equal, first, second))
    seen += [*first, *seen_until(out, 0, "method=mixup")]
    assert len(seen) == len(whole) == 6
    assert all(map(torch.equal, seen, whole))
    record = json.loads(next(out.rglob("record.json")).read_text())
    assert [session["ranks"] for session in record["sessions"]] == [1, 2, 1]
    assert [session["from_step"] for session in record["sessions"]] == [0, 2, 4]


@pytest.mark.parametrize(
    "settings",
    [
        ["method=maxup_cutmix"],
        pytest.param(["runtime.sync_batchnorm=true"], marks=pytest.mark.slow),
    ],
)
def test_two_ranks_resume_as_if_they_never_stopped(settings: list[str], tmp_path: Path) -> None:
    settings = [*settings, "optimizer.ema_decay=0.5"]

    def stopped_and_resumed() -> dict[str, Any]:
        for stop in (1, 4):
            seen_until(tmp_path / "stopped", stop, *settings)
        torch.manual_seed(99)
        return execute(tmp_path / "stopped", *settings)

    def without_time(record: dict[str, Any]) -> dict[str, Any]:
        curves = {key: value for key, value in record["curves"].items() if key != "seconds"}
        return {"metrics": record["metrics"], "curves": curves}

    whole = on_two(lambda: execute(tmp_path / "whole", *settings), tmp_path)
    resumed = on_two(stopped_and_resumed, tmp_path)
    for each in [*whole, *resumed]:
        assert without_time(each) == without_time(whole[0])
    assert [session["from_step"] for session in resumed[0]["sessions"]] == [0, 1, 4]


def test_only_the_first_rank_writes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("this rank must not write")

    def twice() -> None:
        if not ranks.is_main():
            for module in (checkpoints, run_folder, records, weights):
                for name in ("write_bytes_atomically", "write_json_atomically", "locked"):
                    if hasattr(module, name):
                        setattr(module, name, refuse)
            Jsonl.sync = refuse
        execute(tmp_path / "out")
        execute(tmp_path / "out")

    on_two(twice, tmp_path)
    assert capfd.readouterr().out.count("finished") == 1
    (record,) = (tmp_path / "out").rglob("record.json")
    assert len(list(record.parent.glob("weights/*.safetensors"))) == len(
        json.loads(record.read_text())["weights"]
    )


def test_a_batch_that_does_not_divide_is_refused(tmp_path: Path) -> None:
    def refused() -> str:
        with pytest.raises(ValueError, match="multiple") as found:
            execute(tmp_path / "out", "schedule.batch_size=25")
        return str(found.value)

    said = says("^schedule.batch_size ... multiple ... 2 ranks ... 25")
    assert all(re.search(said, each) for each in on_two(refused, tmp_path))
    assert not (tmp_path / "out").exists()


def failing_at(step: int) -> Callable[[Loop], None]:
    """A look at the weights that fails on the second rank."""
    check = Loop.check_weights

    def failing(self: Loop) -> None:
        if os.environ["RANK"] == "1" and self.steps_done == step:
            raise RunError("the moon is full")
        check(self)

    return failing


def test_a_rank_that_fails_ends_the_job_with_its_own_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Loop, "check_weights", failing_at(2))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        world = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
        world["MASTER_PORT"] = str(free.getsockname()[1])
    words = [*SMALL, f"out={tmp_path}/out", f"results={tmp_path}/results"]
    job = [
        Fork(words, tmp_path, os.environ | world | {"RANK": rank, "LOCAL_RANK": rank})
        for rank in ("0", "1")
    ]
    errors = [rank.communicate()[1] for rank in job]
    assert 0 not in [rank.returncode for rank in job]
    assert errors[1] == "vicinal (rank 1): the moon is full\n"  # no traceback of ours
    assert errors[0].startswith("vicinal (rank 0): ")


@pytest.mark.slow
def test_torchrun_shows_the_error_of_the_rank_that_failed(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "from test_rank_runs import failing_at\n"
        "from vicinal.loop import Loop\n"
        "from vicinal.train import main\n"
        "Loop.check_weights = failing_at(2)\n"
        "main()\n"
    )
    paths = [f"out={tmp_path}/out", f"results={tmp_path}/results"]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2"]
    here = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    told = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([*here, *sys.path])}
    job = subprocess.run(
        [*command, str(script), *SMALL, *paths],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | told,
    )
    assert job.returncode != 0
    assert "vicinal (rank 1): the moon is full" in job.stderr
    assert "in check_weights" not in job.stderr  # no traceback of ours
