"""Whole runs on the embedded digits: trained, resumed, recorded."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from composing import compose
from torch import nn
from whole_runs import SMALL, execute, killed, without_time

from vicinal.cli.configs import build, resolved
from vicinal.loop import Loop
from vicinal.run import Run
from vicinal.storage.run_folder import RunFolder
from vicinal.storage.weights import snapshot


def test_measuring_now_and_then_changes_no_weight(tmp_path: Path) -> None:
    every = execute(tmp_path / "every", "schedule.epochs=5")
    some = execute(tmp_path / "some", "schedule.epochs=5", "schedule.measure_epochs=2")
    assert some["curves"]["epoch"] == [2.0, 4.0, 5.0]
    for key in ("test_nll", "train_loss"):
        curve = every["curves"][key]
        assert some["curves"][key] == [curve[1], curve[3], curve[4]]


def test_under_label_noise_the_training_labels_are_measured_by_kind(tmp_path: Path) -> None:
    """What was kept is learnt before what was redrawn (Arpit et al. 2017, mixup §3.4)."""
    noisy = ("dataset.train_per_class=40", "dataset.label_noise=0.5", "schedule.epochs=8")
    curves = execute(tmp_path, *noisy)["curves"]
    (kept,), (redrawn,) = curves["kept_top1"], curves["redrawn_top1"]  # of the last epoch alone
    assert kept > 40
    assert redrawn < kept / 1.5
    assert len(curves["test_top1"]) == 8


@pytest.mark.parametrize(
    ("method", "stop"),
    [
        ("maxup_cutmix", 1),  # in the first epoch
        ("mean_teacher", 3),  # at its last step
        ("knn_mixup", 4),  # in the second
    ],
)
def test_a_run_stopped_anywhere_ends_as_if_it_never_was(
    method: str, stop: int, tmp_path: Path
) -> None:
    """Whole runs; test_resume.py has every method."""
    whole = execute(tmp_path / "whole", f"method={method}")
    out = tmp_path / "stopped"
    with killed(lambda loop: loop.steps_done == stop):
        execute(out, f"method={method}")
    torch.manual_seed(99)
    resumed = execute(out, f"method={method}")
    assert without_time(resumed) == without_time(whole)
    assert [session["from_step"] for session in resumed["sessions"]] == [0, stop]


RESTARTED = (
    "schedule=constant schedule.epochs=3 schedule.restarts=2 schedule.patience_epochs=1 "
    "optimizer.lr=0.5 optimizer.mean_from=0.5 schedule.batch_size=20"
).split()


def test_a_restarted_run_starts_from_its_best_weights_and_ends_by_its_losses(
    tmp_path: Path,
) -> None:
    """Stopped after every one of its epochs, it ends as if it never was."""
    whole = execute(tmp_path / "whole", *RESTARTED)
    curves = whole["curves"]
    stages = [
        [loss for loss, of in zip(curves["valid_nll"], curves["stage"], strict=True) if of == stage]
        for stage in range(3)
    ]
    assert len(stages[0]) == 3
    for losses in stages[1:]:  # patience 1: worse than the best but for the epoch before
        worse = [n for n in range(2, len(losses)) if losses[n] > min(losses[: n - 1])]
        assert len(losses) == (worse[0] + 1 if worse else 3)
    out = tmp_path / "stopped"
    for _ in range(len(curves["stage"]) - 1):
        with killed(lambda loop: loop.steps_in_epoch == 0):
            execute(out, *RESTARTED)
    assert without_time(execute(out, *RESTARTED)) == without_time(whole)


def test_a_restart_is_from_the_best_weights_on_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[dict[str, torch.Tensor]] = []
    started: list[dict[str, torch.Tensor]] = []
    log, restart = RunFolder.log, Loop.restart

    def log_and_keep(self: RunFolder, values: dict[str, float], network: nn.Module) -> None:
        log(self, values, network)
        kept.append(snapshot(network))

    def restart_and_keep(self: Loop, weights: Mapping[str, torch.Tensor] | None) -> None:
        restart(self, weights)
        started.append(snapshot(self.model))

    monkeypatch.setattr(RunFolder, "log", log_and_keep)
    monkeypatch.setattr(Loop, "restart", restart_and_keep)
    settings = "schedule=constant schedule.epochs=4 schedule.restarts=1 seed=2".split()
    valid = execute(tmp_path, *settings)["curves"]["valid_top1"]
    best = max(range(4), key=lambda epoch: valid[epoch])
    assert 0 < best < 3  # neither the first nor the last weights
    (found,) = started
    assert all(torch.equal(value, kept[best][name]) for name, value in found.items())


def test_a_record_says_what_was_run_on_what_and_what_came_out(tmp_path: Path) -> None:
    record = execute(tmp_path, "method=mixup", "seed=3")
    assert record["seed"] == record["config"]["seed"] == 3
    assert record["config"]["method"]["vicinity"]["alpha"] == 1.0
    rest = 1797 - 360 - 60 - 20  # of all digits
    assert record["data"]["samples"] == {"train": 60, "valid": 20, "test": 360, "unlabelled": rest}
    assert record["data"]["canonical"] is True
    assert set(record["metrics"]) == {"last", "median10", "best_test", "best_valid"}
    assert set(record["metrics"]["last"]) == {"top1", "top5", "nll", "ece"}
    assert len(record["curves"]["train_loss"]) == 2
    (session,) = record["sessions"]
    assert session["device"]["type"] == "cpu"
    assert session["versions"]["torch"] == torch.__version__
    run: Run = build(compose(*SMALL))
    assert record["parameters"] == sum(
        p.numel() for p in run.build(run.dataset.load()).parameters()
    )
    copy = tmp_path / "results" / "runs" / f"{record['name']}-seed3.json"
    assert json.loads(copy.read_text()) == record
    (history,) = tmp_path.rglob("history.jsonl")
    assert [json.loads(line)["epoch"] for line in history.read_text().splitlines()] == [1, 2]


def test_paths_that_are_not_utf8_are_recorded(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"donn\xe9es")
    config = compose(*SMALL, "schedule.epochs=1", f"out='{folder}'", f"results='{folder}'")
    run: Run = build(config)
    run.execute(resolved(config), {"model": "wrn10_2", "method": "some"})
    (path,) = (folder / "runs").rglob("*.json")
    assert json.loads(path.read_text())["config"]["out"] == str(folder)


def test_seeds_differ_and_repeat(tmp_path: Path) -> None:
    first = execute(tmp_path / "a", "method=cutmix")
    assert without_time(execute(tmp_path / "b", "method=cutmix")) == without_time(first)
    assert without_time(execute(tmp_path / "c", "method=cutmix", "seed=1")) != without_time(first)


def test_the_first_weights_follow_from_the_seed() -> None:
    def weights_of(seed: int) -> torch.Tensor:
        run: Run = build(compose(*SMALL, f"seed={seed}"))
        return torch.cat([p.flatten() for p in run.build(run.dataset.load()).parameters()])

    first, again, other = map(weights_of, (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_warmup_method_changes_the_first_epochs_only(tmp_path: Path) -> None:
    warm = ("method@schedule.warmup_method=erm", "schedule.warmup_method_epochs=1")
    plain = execute(tmp_path / "a", "method=erm")["curves"]["train_loss"]
    mixed = execute(tmp_path / "b", "method=mixup")["curves"]["train_loss"]
    both = execute(tmp_path / "c", "method=mixup", *warm)["curves"]["train_loss"]
    assert both[0] == plain[0] != mixed[0]
    assert both[1] != plain[1]
