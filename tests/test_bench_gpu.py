"""The GPU bench: its clock, its floors, and all of it once, small, on a CPU."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import pytest
import torch
from benches import judging, pictures, racing, timm_script
from benches.drawn import methods
from benches.floors import Work, work
from benches.gpu import one_of_each_paper
from benches.racing import Contender, Effort, race
from torch import nn
from wording import says

from vicinal.cli.configs import CONFIGS

SCRIPT = Path(__file__).parents[1] / "scripts" / "bench.py"
FOREVER = Effort(rounds=3, window=10.0, warmup=2, deadline=float("inf"))
WRONG, VARIANT = "mixup method.nothing=1", "runtime.precision=bf16"


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("bench")
    words = ["--rehearse", "--methods", WRONG, "mixup", "--variants", VARIANT, "--out", str(out)]
    words += ["--budget", "3000"]  # for a busy machine
    command = [sys.executable, str(SCRIPT), "gpu", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = out.iterdir()
    assert path.name.startswith("rehearsal-")
    return json.loads(path.read_text()) | {"printed": done.stdout}


def test_each_paper_with_tables_has_a_method_among_the_first() -> None:
    first = one_of_each_paper(methods())
    papers = sorted(path.name for path in (CONFIGS / "table").iterdir() if path.is_dir())
    assert sorted(paper for name in first for paper in papers if name.startswith(paper)) == papers


@pytest.mark.slow
def test_every_contender_has_a_number_or_a_reason(rehearsed: dict[str, Any]) -> None:
    everywhere = {"erm", f"erm {VARIANT}", "bare loop", "timm's loop", "mixup", WRONG}
    for name, more in (("wrn10_2", set()), ("timm_test_resnet", {"timm's loop and loader"})):
        rows = rehearsed["networks"][name]["contenders"]
        assert rows.keys() == everywhere | more
        gaps = {contender for contender, row in rows.items() if "images_per_second" not in row}
        assert gaps == {WRONG} | ({"timm's loop"} if name == "wrn10_2" else set())
        for contender in gaps:
            assert any(f"{name}: {contender}" in gap for gap in rehearsed["not_measured"])
            assert f"  {name}: {contender}" in rehearsed["printed"]
        precisions = [rows[each]["precision"] for each in ("erm", f"erm {VARIANT}", "bare loop")]
        assert precisions == ["fp32", "bf16", "fp32"]
    assert rehearsed["networks"]["wrn10_2"]["epoch"]["train_seconds"] > 0
    assert {row["met"] for row in rehearsed["targets"]} <= {True, False}


@pytest.mark.slow
def test_ratios_and_shares_follow_from_the_windows(rehearsed: dict[str, Any]) -> None:
    for network in rehearsed["networks"].values():
        rows, counted = network["contenders"], Work(**network["work"])
        erm = rows["erm"]["windows"]
        for name, row in rows.items():
            if "windows" not in row:
                continue
            assert row["images_per_second"] == median(row["windows"]) > 0
            if name != "mixup":  # which raced with other windows of ERM's
                pairs = zip(erm, row["windows"], strict=True)
                assert row["over_erm"] == median(a / b for a, b in pairs)
                step = network["batch"] / row["images_per_second"]
                peaks = rehearsed["peaks"]["measured"]
                floor = counted.floor(network["batch"], row["precision"], peaks)["seconds"]
                assert row["floors"]["measured"]["share"] == pytest.approx(floor / step)


@pytest.fixture
def cost(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A clock that stands still but for what steps cost."""
    passed = [0.0]
    monkeypatch.setattr(racing, "now", lambda: passed[0])

    def spend(seconds: float) -> None:
        passed[0] += seconds

    return spend


def test_a_window_is_timed_without_what_leads_to_it(cost: Callable[[float], None]) -> None:
    def steps(slow: int, seconds: float) -> Iterator[int]:
        for step in range(10**6):
            cost(100.0 if step < slow else seconds)
            yield 4

    rows = race(
        {
            "erm": lambda: Contender(lambda: steps(1, 0.5), "fp32"),
            "loader": lambda: Contender(lambda: steps(3, 2.0), "fp32", lead=3),
        },
        FOREVER,
    )
    assert rows["erm"]["windows"] == [8.0] * 3
    assert rows["erm"]["steps_per_window"] == 20
    assert rows["loader"]["windows"] == [2.0] * 3
    assert rows["loader"]["steps_per_window"] == 6  # 5 would do, but are no multiple of 3
    assert rows["loader"]["warmup_seconds"] == 300.0
    assert judging.compared(rows["loader"], rows["erm"])["over_erm"] == 4.0


def test_who_fails_is_recorded_and_the_others_go_on(cost: Callable[[float], None]) -> None:
    def steps(last: int) -> Iterator[int]:
        for _ in range(last):
            cost(1.0)
            yield 1
        raise RuntimeError("out of memory\nand a long story")

    def unbuilt() -> Contender:
        raise ValueError("no such network")

    dying = steps(30)
    makers = {
        "unbuilt": unbuilt,
        "dying": lambda: Contender(lambda: dying, "fp32"),
        "sound": lambda: Contender(lambda: steps(10**6), "fp32"),
    }
    rows = race(makers, FOREVER)
    assert rows["unbuilt"] == {"error": "ValueError: no such network"}
    assert rows["dying"] == {"error": "RuntimeError: out of memory"}
    assert rows["sound"]["images_per_second"] == 1.0


def test_what_the_budget_does_not_reach_is_named() -> None:
    spent = Effort(rounds=3, window=1.0, warmup=2, deadline=perf_counter())
    rows = race({"erm": lambda: pytest.fail("built all the same")}, spent)
    networks = {"wrn28_10": {"contenders": rows, "epoch": {}, "target": None}}
    assert judging.not_measured(networks) == ["wrn28_10: erm: the budget was spent"]
    (row,) = judging.targets(networks)
    assert row["found"] is None
    assert row["met"] is None


def network() -> nn.Module:
    with torch.device("meta"):
        convolution = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        return nn.Sequential(convolution, nn.ReLU(), nn.Flatten(), nn.Linear(512, 10, bias=False))


def test_operations_are_those_of_a_count_by_hand() -> None:
    convolution, linear = 2 * 3 * 9 * 8 * 64, 2 * 512 * 10  # forward
    expected = 2 * convolution + 3 * linear  # the images need no gradient
    assert work(network(), (3, 8, 8)) == Work(
        operations=expected, activations=8 * 64 + 10, inputs=3 * 64, parameters=3 * 9 * 8 + 5120
    )


def test_bytes_of_one_layer_are_those_of_a_count_by_hand() -> None:
    with torch.device("meta"):
        counted = work(nn.Linear(5, 7, bias=False), (5,))
    inputs, outputs, weights = 3 * 5, 3 * 7, 35
    # x: read twice; out: written, read, read; its gradient: written, read; weights: read twice,
    # in the precision; weights, momentum and gradient: written and read in fp32
    assert (
        counted.bytes(3, "bf16") == 2 * (2 * inputs + 5 * outputs + 2 * weights) + 4 * 6 * weights
    )
    assert (
        counted.bytes(3, "fp32") == 4 * (2 * inputs + 5 * outputs + 2 * weights) + 4 * 6 * weights
    )


def test_the_floor_is_the_slower_of_the_two() -> None:
    counted = Work(operations=100, activations=1, inputs=0, parameters=0)
    fast_memory = counted.floor(2, "fp32", {"fp32": 50.0, "memory": 40.0})
    assert (fast_memory["seconds"], fast_memory["bound"]) == (4.0, "arithmetic")
    slow_memory = counted.floor(2, "fp32", {"fp32": 50.0, "memory": 4.0})
    assert (slow_memory["seconds"], slow_memory["bound"]) == (10.0, "memory")


def test_the_pace_of_timms_script_leaves_its_start_out() -> None:
    """A first step of 9 s, then 10 images each 0.1 s."""
    seconds = {step: 9 + 0.1 * step for step in range(0, 60, 10)}
    log = "\n".join(
        f"Train: 0 [{step:>4d}/60 ({step:>3.0f}%)]  Loss: 6.95 (6.95)  "
        f"Time: 0.100s,  100.00/s  ({passed:.3f}s, {10 * (step + 1) / passed:>7.2f}/s)  LR: 1.0e-01"
        for step, passed in seconds.items()
    )
    assert timm_script.pace(log, 10)["images_per_second"] == pytest.approx(100, rel=0.01)
    assert "error" in timm_script.pace(log.splitlines()[0], 10)


def test_timms_script_is_run_on_a_folder_of_images_and_its_failure_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "SIZE", (8, 8))
    script, setting = tmp_path / "train.py", {"--batch-size": "1"}
    script.write_text(
        "import pathlib, sys\n"
        "images = {split: len(list(pathlib.Path(sys.argv[1], split).glob('*/*.jpg')))\n"
        "          for split in ('train', 'validation')}\n"
        "assert images == {'train': 60, 'validation': 1}, images\n"
        "assert {'--amp', '--channels-last'} < set(sys.argv)\n"
        "for step in (0, 10, 20):\n"
        "    print(f'Train: 0 [{step}/60 (1%)]  Time: 1.000s,  1.00/s  (1.000s,  4.00/s)')\n"
    )
    row = timm_script.measured(script, "resnet50", setting, 60)
    assert row["images_per_second"] == pytest.approx(4)
    script.write_text("raise SystemExit('no such option: --amp')")
    failed = {"error": "train.py: no such option: --amp"}
    assert timm_script.measured(script, "resnet50", setting, 60) == failed
    script.write_text("import time; time.sleep(60)")
    error = timm_script.measured(script, "resnet50", setting, 0.5)["error"]
    assert re.search(says("running"), error)
