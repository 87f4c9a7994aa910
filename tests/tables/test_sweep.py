"""`-m table=PAPER/TABLE`, in processes of its own: nothing is lost, nothing is trained twice."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from math import inf
from pathlib import Path

import pytest
from forks import Fork
from wording import says

from vicinal.commands import evaluate
from vicinal.errors import RunError
from vicinal.tables.lengths import Length
from vicinal.tables.plan import Composed, compose_cached
from vicinal.tables.request import SweepRequest, parse_request
from vicinal.tables.sweep import Sweep
from vicinal.tables.table import load
from vicinal.train import main

ROOT = Path(__file__).parents[2]
REDUCED = (
    "dataset=digits",
    "dataset.size=8",
    "dataset.train_per_class=9",
    "model=wrn10_2",
    "schedule.batch_size=256",
)
RUNS = 4  # ERM and mixup, with two schedules
WORDS = (
    *("-m", "table=mixup/figure3a", *REDUCED, "schedule.epochs=2", "seed=0"),
    *("runtime=cpu", "runtime.threads=1", "runtime.progress=false", "runtime.checkpoint_seconds=0"),
)


def start(folder: Path, *more: str) -> Fork:
    return Fork([*WORDS, *more], folder, os.environ)


def finish(process: Fork | subprocess.Popen[str]) -> tuple[int | None, str, str]:
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def records(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in (folder / "runs").rglob("record.json")}


def test_a_killed_sweep_goes_on_where_it_stopped(tmp_path: Path) -> None:
    first = start(tmp_path)
    while len(records(tmp_path)) < 2 and first.poll() is None:
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    finish(first)
    before = records(tmp_path)
    assert 2 <= len(before) < RUNS
    code, out, _ = finish(start(tmp_path))
    after = records(tmp_path)
    assert code == 0
    left = RUNS - len(before)
    assert re.search(says(f"{left} of {left} runs"), out)
    assert re.search(r"^CIFAR-10 .*\| ERM .* \d\d\.\d\d \(1\) .*reduced$", out, re.MULTILINE), out
    assert len(after) == RUNS
    assert all(set(REDUCED) < {*json.loads(each)["config"]["reduced"]} for each in after.values())
    assert all(after[path] == content for path, content in before.items())
    code, out, _ = finish(start(tmp_path))
    assert (code, records(tmp_path)) == (0, after)
    assert re.search(rf"\b{RUNS} runs\b.*\b{RUNS} finished", out)


CORRUPTIONS = (
    *("gaussian_noise", "impulse_noise", "shot_noise", "defocus_blur", "zoom_blur", "fog"),
    *("brightness", "contrast", "pixelate", "jpeg_compression"),
)
MEASURED = (
    *("-m", "table=augmax/table3", "+only=[WRN40-2,Normal]", *REDUCED, "schedule.epochs=1"),
    *("+sets@evaluation.cifar100_c.sets=generated", "seed=0", "runtime=cpu", "runtime.threads=1"),
    f"+evaluation.cifar100_c.sets.corruptions=[{','.join(CORRUPTIONS)}]",
)


def test_a_sweep_that_was_killed_while_it_measured_measures_the_rest(tmp_path: Path) -> None:
    process, parts = Fork([*MEASURED], tmp_path, os.environ), dict[str, dict[str, float]]()
    while len(parts) < 3 and process.poll() is None:
        time.sleep(0.02)
        for path in tmp_path.rglob("evaluations/*.json"):
            with suppress(FileNotFoundError):  # deleted at the end
                parts = json.loads(path.read_text())
    process.send_signal(signal.SIGKILL)
    finish(process)
    (before,) = records(tmp_path).values()
    assert json.loads(before)["evaluations"] == {}
    assert 3 <= len(parts) < 5 * len(CORRUPTIONS)
    code, out, _ = finish(Fork([*MEASURED], tmp_path, os.environ))
    assert code == 0
    assert re.search(r"\b1 trained\b.*\n1 evaluations\b.*\b1 missing", out)
    (after,) = map(json.loads, records(tmp_path).values())
    (found,) = after.pop("evaluations").values()
    assert json.loads(before) == after | {"evaluations": {}}
    assert (
        parts.items()
        <= {
            name: {key: found["metrics"][f"{name}_{key}"] for key in numbers}
            for name, numbers in parts.items()
        }.items()
    )
    assert len([key for key in found["metrics"] if re.fullmatch(r".*_[1-5]_top1", key)]) == 50


def test_the_finished_runs_of_a_table_are_measured_without_training_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, *rest = MEASURED[1:]
    rest = [word for word in rest if "only" not in word]
    clean = [word for word in rest if "evaluation" not in word]
    assert (
        finish(Fork(["-m", table, *clean, "+only=['SA (%)',Normal]"], tmp_path, os.environ))[0] == 0
    )
    ((path, before),) = records(tmp_path).items()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["vicinal evaluate", "--table", "augmax/table3", *rest])
    evaluate.main()
    ((same, after),) = records(tmp_path).items()
    measured = json.loads(after)
    assert (same, len(measured.pop("evaluations"))) == (path, 1)
    assert json.loads(before) == measured | {"evaluations": {}}


def test_two_sweeps_at_once_train_no_run_twice(tmp_path: Path) -> None:
    assert_each_was_trained_once(tmp_path, start(tmp_path), start(tmp_path))


@pytest.mark.slow
def test_two_sweeps_of_several_processes_train_no_run_twice(tmp_path: Path) -> None:
    two = "hydra/launcher=gpus", "hydra.launcher.per_gpu=2"
    command, pipe = [sys.executable, str(ROOT / "train.py"), *WORDS], subprocess.PIPE
    both = [
        subprocess.Popen([*command, *more], cwd=tmp_path, stdout=pipe, stderr=pipe, text=True)
        for more in ((), two)
    ]
    assert_each_was_trained_once(tmp_path, *both)


def assert_each_was_trained_once(folder: Path, *both: Fork | subprocess.Popen[str]) -> None:
    outs = [finish(process) for process in both]
    assert [code for code, _, _ in outs] == [0, 0], outs
    found = [json.loads(content) for content in records(folder).values()]
    assert len(found) == RUNS
    assert all(len(record["sessions"]) == 1 for record in found)
    copies = list((folder / "runs" / "results").rglob("*.json"))
    assert len(copies) == RUNS


def test_a_sweep_goes_on_after_a_failure_and_names_it_at_the_end(tmp_path: Path) -> None:
    code, out, err = finish(start(tmp_path, "optimizer.lr=1e30"))
    assert code == 1
    assert re.search(says(f"0 of {RUNS} runs"), out)
    assert re.search(says(f"vicinal: ... {RUNS} of {RUNS} runs failed"), err)
    failed = [
        json.loads(path.read_text()) for path in (tmp_path / "runs" / "results").rglob("*.json")
    ]
    assert len(failed) == RUNS
    assert all("not finite" in record["failed"] for record in failed)


def test_a_dry_run_prints_the_plan_and_trains_nothing(tmp_path: Path) -> None:
    code, out, _ = finish(start(tmp_path, "+dry_run=true"))
    assert code == 0
    assert re.search(rf"\b12 cells\b.*\b12 can\b.*\n{RUNS} runs\b.*\b{RUNS} missing", out)
    assert "GPU-hours" in out
    assert not list(tmp_path.rglob("*.json"))


def test_a_run_is_composed_once_however_many_cells_print_it() -> None:
    composed: list[tuple[str, ...]] = []

    def compose(overrides: Sequence[str]) -> Composed:
        composed.append(tuple(overrides))
        return compose_cached(overrides)

    sweep = Sweep([load("mixup/figure3a")], parse_request([*REDUCED, "seed=0,1"]), compose)
    assert len(sweep.cells) == 3 * RUNS
    assert len(composed) == len(set(composed)) == RUNS
    assert len(sweep.jobs) == 2 * RUNS


def test_side_by_side_the_longest_runs_begin_and_unknown_ones_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sweep = Sweep([load("mixup/figure3a")], parse_request([*REDUCED, "seed=0"]), compose_cached)
    hours = [1.0, inf, 3.0, 2.0]
    lengths = {job.place: Length(each) for job, each in zip(sweep.jobs, hours, strict=True)}
    sweep.programme = replace(sweep.programme, lengths=lengths)
    in_order = [job for job, _ in next(sweep.stages())]
    longest = [job for job, _ in next(sweep.stages(longest_first=True))]
    assert [lengths[job.place].hours for job in longest] == [inf, 3.0, 2.0, 1.0]
    assert in_order == [job for job in sweep.jobs if job in in_order] != longest


def test_what_is_typed_beside_the_table_is_sorted() -> None:
    words = "table=a/b seed=3,1 runtime=cpu out=x optimizer.lr=0.1,0.2 schedule.epochs=3"
    plan = ["+only=[ERM,CIFAR-10]", "+dry_run=true"]
    assert parse_request([*words.split(), *plan]) == SweepRequest(
        tables=("a/b",),
        seeds=(3, 1),
        shared=("runtime=cpu", "out=x"),
        reductions=(
            ("optimizer.lr=0.1", "schedule.epochs=3"),
            ("optimizer.lr=0.2", "schedule.epochs=3"),
        ),
        only=("ERM", "CIFAR-10"),
        dry_run=True,
    )


def test_several_tables_are_one_plan_with_each_run_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)

    def planned(table: str) -> tuple[int, int, int]:
        words = [f"table={table}", "+only=Iris", "seed=0", "+dry_run=true"]
        monkeypatch.setattr(sys, "argv", ["train.py", "-m", *words])
        main()
        out = capsys.readouterr().out
        found = re.search(r"^(?:(\d+) tables|table mixup.*)\n(\d+) cells\b.*\n(\d+) runs\b", out)
        assert found is not None
        return int(found[1] or 1), int(found[2]), int(found[3])

    assert planned("mixup/table4") == (1, 2, 2)
    assert planned("mixup/table4,mixup/table4") == (2, 4, 2)
    assert planned("glob(mixup/table4*)") == (2, 4, 4)  # one is a variant with runs of its own


def test_what_needs_no_run_is_planned_without_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["table=gradaug/table1", "+only=FLOPs", "+dry_run=true"]
    monkeypatch.setattr(sys, "argv", ["train.py", "-m", *words])
    main()
    out = capsys.readouterr().out
    assert re.search(r"\b11 cells\b.*\b0 can\b.*\b11 counted\b.*\n0 runs\b", out), out


def test_a_pattern_that_fits_no_table_is_refused() -> None:
    with pytest.raises(RunError, match=r"^table must .*glob\(mixup/t5\).*mixup/table5"):
        parse_request(["table=glob(mixup/t5)"])


@pytest.mark.parametrize("line", ["seed=one", "runtime=cpu,cuda", "seed=-1"])
def test_what_cannot_be_planned_is_refused(line: str) -> None:
    key, value = line.split("=")
    with pytest.raises(RunError, match=rf"^{key} must .*, got {value}$"):
        parse_request([line])


def test_a_swept_part_keeps_its_place_in_the_config() -> None:
    found = parse_request(["vicinity@method.vicinity=mixup,cutmix", "+method.chunk=1,2"])
    assert found.reductions == tuple(
        (f"vicinity@method.vicinity={vicinity}", f"+method.chunk={chunk}")
        for vicinity in ("mixup", "cutmix")
        for chunk in (1, 2)
    )
