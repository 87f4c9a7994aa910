"""Networks train alike in every form: compiled, in bf16, channels last, under every method."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from composing import FIRST, ONE_OF_EACH_CLASS, OTHERS, brief, compose
from tracing import traced
from wording import says

from vicinal.cli.configs import build, resolved
from vicinal.loop import Loop
from vicinal.machine import runtime
from vicinal.machine.runtime import Runtime
from vicinal.run import Run
from vicinal.surgery import uncompiled

PARTLY = {  # what is said not to be compiled, and whether something is
    "dropout": ("between two layers", False),
    "stochastic_depth": ("gates", False),
    "gradaug": ("sub-networks", True),
    "mean_teacher": ("teacher", True),
}
# One for each way of asking the network: plainly, without gradients, for those of the images in
# eval mode, with two kinds of BatchNorm.
WHOLLY = ("erm", "maxup_cutmix", "pgdat", "augmix_pgdat")
REST = [method for method in [*FIRST, *OTHERS] if method not in {*PARTLY, *WHOLLY}]
SETTINGS = "dataset=digits", "dataset.size=8", "model=wrn10_2", "schedule.batch_size=8"


@pytest.fixture(autouse=True)
def tracing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with traced(monkeypatch):
        yield


def trained(method: str, *settings: str) -> Loop:
    run: Run = build(compose(*SETTINGS, f"method={method}", "runtime=cpu", *settings))
    run = replace(run, method=brief(run.method))
    data = run.dataset.load()
    loop = run.loop(replace(data, unlabelled=data.test))
    for _ in islice(loop.steps(), 2):
        pass
    return loop


def compiled(method: str, caplog: pytest.LogCaptureFixture) -> tuple[Loop, int, list[str]]:
    """What was trained, how many graphs were compiled for it, and what was said not to be."""
    counters = torch._dynamo.utils.counters
    counters.clear()
    loop = trained(method, "runtime.compile=true")
    assert all("_tapped" in reason for reason in counters["graph_break"])  # at seams
    said = [m for name, _, m in caplog.record_tuples if name == uncompiled.__name__]
    return loop, counters["stats"]["unique_graphs"], said


def test_the_average_is_compiled_too() -> None:
    loop = trained("erm", "runtime.compile=true", "optimizer.ema_decay=0.9")
    assert loop.network is not loop.model
    for network in (loop.model, loop.network):
        assert network._compiled_call_impl is not None


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # dynamo's
@pytest.mark.parametrize(
    "method", [*WHOLLY, *(pytest.param(method, marks=pytest.mark.slow) for method in REST)]
)
def test_compiled_steps_are_the_uncompiled(method: str, caplog: pytest.LogCaptureFixture) -> None:
    loop, graphs, said = compiled(method, caplog)
    assert graphs or said
    assert_trained_as_uncompiled(loop, method)


def assert_trained_as_uncompiled(loop: Loop, method: str) -> None:
    plain = trained(method).model.state_dict()
    for name, found in loop.model.state_dict().items():
        assert torch.equal(found, plain[name]), name


@pytest.mark.parametrize("method", PARTLY)
def test_what_is_not_compiled_is_said(method: str, caplog: pytest.LogCaptureFixture) -> None:
    reason, some = PARTLY[method]
    loop, graphs, said = compiled(method, caplog)
    assert (graphs > 0) == some
    assert len(said) == 1
    assert reason in said[0]
    assert_trained_as_uncompiled(loop, method)


@pytest.mark.parametrize("method", ONE_OF_EACH_CLASS)
def test_bf16_and_channels_last_lose_what_fp32_loses(method: str) -> None:
    found = trained(method, "runtime.precision=bf16", "runtime.channels_last=true").close_epoch()
    expected = trained(method).close_epoch()
    assert found["train_loss"] == pytest.approx(expected["train_loss"], rel=0.02)
    assert found["train_loss"] != expected["train_loss"]


def test_an_evaluation_is_in_the_runs_precision_and_layout() -> None:
    form = "runtime=cpu", "runtime.channels_last=true", "runtime.precision=bf16"
    run: Run = build(compose(*SETTINGS, *form))
    data, last = run.dataset.load(), torch.channels_last
    model, seen = run.build(data), list[tuple[bool, torch.dtype]]()
    model.get_submodule("body").register_forward_hook(  # logits leave the network in float32
        lambda _, x, y: seen.append((x[0].is_contiguous(memory_format=last), y.dtype))
    )
    run.measure(model, data)
    assert set(seen) == {(True, torch.bfloat16)}


def test_an_uncompiled_network_is_said_nothing_of(caplog: pytest.LogCaptureFixture) -> None:
    trained("dropout", "runtime.compile=false")
    assert not caplog.messages


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        (
            {"cuda_graphs": True, "device": "cpu", "compile": True},
            "cuda_graphs ... compile",
        ),
        ({"precision": "tf32", "device": "cpu"}, "precision ... fp32 ... bf16 ... CPU ... tf32"),
    ],
)
def test_what_does_not_go_together_is_refused(settings: dict[str, bool], rule: str) -> None:
    with pytest.raises(ValueError, match=says(rule)):
        Runtime(**settings)  # pyright: ignore[reportArgumentType]


def test_runs_of_one_process_are_compiled_however_many_they_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Dynamo's limit is of all networks together; without a fresh start the second is not."""
    monkeypatch.setattr(runtime, "COMPILATIONS", 3)  # training, its last batch, evaluation
    counters, graphs = torch._dynamo.utils.counters, []
    task = "dataset=uci_iris", "model=mlp", "schedule.epochs=1", "schedule.batch_size=70"
    form = "runtime=cpu", "runtime.compile=true", "runtime.progress=false"
    for width in (4, 5):
        counters.clear()
        lines = f"model.width={width}", f"out={tmp_path}", f"results={tmp_path}/results"
        config = compose(*task, *form, *lines)
        build(config).execute(resolved(config), {"model": "mlp", "method": "erm"})
        graphs.append(counters["stats"]["unique_graphs"])
    assert graphs == [3, 3]
