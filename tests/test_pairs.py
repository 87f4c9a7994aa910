"""Pairs that no paper lists: they work because methods hold vicinities."""

import json
from pathlib import Path

import pytest

from vicinal.cli.configs import build, compose, resolved
from vicinal.run import Run

PAIRS = {
    "patchup_hard": "cutout",
    "patchup_soft": "mixup",
    "manifold_mixup": "gauss",
    "gradaug": "cutout",
    "gradaug_depth": "mixup",
    "augmix": "gauss",
    "augmax": "cutmix",
    "maxup_cutout": "auto_augment",
    "maxup_mixup": "augmix",
    "dropblock": "cutmix",
    "stochastic_depth": "mixup",
    "puzzlemix": "cutout",
    "pgdat": "mixup",
}
LENGTHS = {"cutout": ["method.vicinity.length=3"]}


SMALL = (
    "dataset=digits dataset.size=8 dataset.train_per_class=8 model=wrn10_2 schedule.epochs=3 "
    "schedule.batch_size=16 runtime=cpu runtime.threads=1"
).split()


@pytest.mark.parametrize(("method", "vicinity"), PAIRS.items())
def test_a_pair_trains_and_is_another_run(method: str, vicinity: str, tmp_path: Path) -> None:
    swap = [f"vicinity@method.vicinity={vicinity}", *LENGTHS.get(vicinity, [])]
    losses, ids = [], []
    for name, overrides in (("alone", []), ("pair", swap)):
        out = tmp_path / name
        config = compose(*SMALL, f"method={method}", *overrides, f"out={out}", f"results={out}/r")
        run: Run = build(config)
        run.execute(resolved(config), {"model": "wrn10_2", "method": method})
        (path,) = out.rglob("record.json")
        record = json.loads(path.read_text())
        losses.append(record["curves"]["train_loss"])
        ids.append(record["id"])
    assert ids[0] != ids[1]
    assert losses[0] != losses[1]
    assert losses[1][-1] < losses[1][0]
