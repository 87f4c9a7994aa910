"""How many graphs a training compiles: a number that does not grow with its steps."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from composing import compose
from tracing import traced

from vicinal.cli.configs import build
from vicinal.data.dataset import Data
from vicinal.loop import Loop
from vicinal.run import Run
from vicinal.surgery import uncompiled

SETTINGS = "dataset=digits", "dataset.size=8", "model=wrn10_2", "model.width=1"
EPOCHS = 4
# Each twice, because the last batch of an epoch is smaller. AugMax: route A in eval mode,
# differentiated for its inputs, and both routes in train mode. PatchUp: normalisation, stem, first
# stage, the rest, and the logits' type. GradAug: the whole
# network, and its narrow ones of 0.8, 0.9 and 1, which record nothing.
GRAPHS = {
    "augmax method.steps=2 method.view.width=1": 6,
    "patchup_soft": 10,
    "gradaug method.widths_step=0.1 method.transform.scales=[1]": 8,
}


@pytest.fixture(autouse=True)
def tracing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with traced(monkeypatch):
        yield


def looped(method: str, compiled: bool) -> Loop:
    run: Run = build(
        compose(
            *(*SETTINGS, "schedule.batch_size=8", *f"method={method}".split()),
            *("runtime=cpu", f"runtime.compile={compiled}"),
        )
    )
    data = run.dataset.load()
    assert isinstance(data, Data)
    return run.loop(replace(data, train=data.train[torch.arange(20)]))  # 8, 8 and 4 images


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # dynamo's
@pytest.mark.parametrize("method", GRAPHS)
def test_a_training_compiles_so_many_graphs_and_no_more(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    """And ends with the weights, bit for bit, that it has uncompiled."""
    states, counts = [], []
    for compiled in (True, False):
        loop = looped(method, compiled)
        for _ in range(EPOCHS):
            for _ in loop.steps():
                pass
            loop.close_epoch()
            counts.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
        states.append(loop.model.state_dict())
    assert uncompiled.__name__ not in {name for name, *_ in caplog.record_tuples}
    for name, found in states[0].items():
        assert torch.equal(found, states[1][name]), name
    assert counts[EPOCHS - 1] == GRAPHS[method], counts
