"""Runs of digits as the command line makes them, in seconds."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from composing import compose

from vicinal.cli.configs import build, resolved
from vicinal.loop import Loop
from vicinal.run import Run
from vicinal.storage import records
from vicinal.storage.run_folder import RunFolder

SMALL = (
    "dataset=digits dataset.size=8 dataset.train_per_class=6 dataset.holdout_per_class=2 "
    "dataset.unlabelled=true "
    "model=wrn10_2 runtime=cpu runtime.threads=1 runtime.checkpoint_seconds=0 "
    "schedule.epochs=2 schedule.batch_size=24 clean.batch_size=200"
).split()


def execute(out: Path, *overrides: str) -> dict[str, Any]:
    """A run as the command line makes it; its record."""
    config = compose(*small(overrides), *overrides, f"out={out}", f"results={out}/results")
    run: Run = build(config)
    tree, choices = resolved(config), {"model": "wrn10_2", "method": "some"}
    run.execute(tree, choices)
    folder = out / records.name(tree, run.dataset.name, choices) / f"seed{run.seed}"
    return json.loads((folder / "record.json").read_text())


def small(overrides: tuple[str, ...]) -> list[str]:
    """SMALL, without what would be of another data set."""
    other = any(override.startswith("dataset=") for override in overrides)
    return [each for each in SMALL if not (other and each.startswith("dataset"))]


def without_time(record: dict[str, Any]) -> dict[str, Any]:
    curves = {key: value for key, value in record["curves"].items() if key != "seconds"}
    return {"metrics": record["metrics"], "curves": curves, "weights": record["weights"]}


class KilledError(Exception):
    """Stands for SIGKILL: nothing of ours runs after it."""


@contextmanager
def killed(when: Callable[[Loop], bool], after: str = "save_if_due") -> Iterator[None]:
    """Kill the run in this context right after its folder saves, once `when` holds."""
    original = getattr(RunFolder, after)

    def call_and_die(self: RunFolder, loop: Loop) -> None:
        original(self, loop)
        if when(loop):
            raise KilledError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, after, call_and_die)
        with pytest.raises(KilledError):
            yield


def saved(folder: Path, name: str) -> list[str]:
    """The lines of a data set by that file's name, whose content depends on it."""
    images = np.random.default_rng(len(name)).integers(256, size=(40, 8, 8, 3), dtype=np.uint8)
    labels = np.arange(40) % 4
    file = folder / f"{name}.npz"
    np.savez(file, x_train=images, y_train=labels, x_test=images, y_test=labels)
    return ["dataset=npz", "dataset.name=mine", f"dataset.arrays={file}"]
