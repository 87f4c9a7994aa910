"""Pairs that no paper lists: they work because methods hold vicinities."""

from dataclasses import replace

import pytest
from composing import brief, compose, written

from vicinal.cli.configs import CONFIGS, build, resolved
from vicinal.run import Run
from vicinal.storage import records

SMALL = (
    "dataset=digits dataset.size=8 dataset.train_per_class=8 dataset.unlabelled=true "
    "model=wrn10_2 schedule.epochs=3 schedule.batch_size=16 runtime=cpu"
).split()
VICINITY = "vicinity@method.vicinity"


def pairs() -> list[tuple[str, str]]:
    """One method of each class that holds a vicinity, and a vicinity that it does not come with."""
    found: dict[str, tuple[str, str]] = {}
    for path in sorted((CONFIGS / "method").glob("*.yaml")):
        config = written("method", path.stem)
        if own := config.get("/vicinity@vicinity"):
            other = "gauss" if own == "mixup" else "mixup"
            found.setdefault(config["_target_"], (path.stem, other))
    return list(found.values())


@pytest.mark.parametrize(("method", "vicinity"), pairs())
def test_a_pair_trains_and_is_another_run(method: str, vicinity: str) -> None:
    histories, names = [], set()
    for swap, epochs in (([], 1), ([f"{VICINITY}={vicinity}"], 3)):
        config = compose(*SMALL, f"method={method}", *swap)
        names.add(records.name(resolved(config), "digits", {"model": "wrn10_2", "method": method}))
        run: Run = build(config)
        loop = replace(run, method=brief(run.method)).loop(run.dataset.load())
        histories.append([])
        for _ in range(epochs):
            for _ in loop.steps():
                pass
            histories[-1].append(loop.close_epoch()["train_loss"])
    assert len(names) == 2
    assert histories[0][0] != histories[1][0]
    assert histories[1][-1] < histories[1][0]
