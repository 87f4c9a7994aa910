"""Pairs that no paper lists: they work because methods hold vicinities."""

import pytest
from composing import compose

from vicinal.cli.configs import build
from vicinal.run import Run
from vicinal.tables.plan import planned

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
    "schedule.batch_size=16 runtime=cpu"
).split()


@pytest.mark.parametrize(("method", "vicinity"), PAIRS.items())
def test_a_pair_trains_and_is_another_run(method: str, vicinity: str) -> None:
    swap = f"vicinity@method.vicinity={vicinity}", *LENGTHS.get(vicinity, [])
    alone = (*SMALL, f"method={method}")
    losses = trained(*alone, *swap)
    assert losses[0] != trained(*alone, epochs=1)[0]
    assert losses[-1] < losses[0]
    assert planned((*alone, *swap)).name != planned(alone).name


def trained(*lines: str, epochs: int = 3) -> list[float]:
    """The loss of each epoch."""
    run: Run = build(compose(*lines))
    loop, losses = run.loop(run.dataset.load()), []
    for _ in range(epochs):
        for _ in loop.steps():
            pass
        losses.append(loop.close_epoch()["train_loss"])
    return losses
