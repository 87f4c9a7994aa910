"""What Clean measures, and that measuring changes nothing."""

import math

import pytest
import torch
from oracles.calibration import expected_calibration_error
from torch import Tensor, nn
from wording import says

from vicinal.data.split import Split
from vicinal.evaluation.clean import Clean, calibration_error
from vicinal.machine.runtime import Runtime


class Lookup(nn.Module):
    """Answers with logits chosen by the test: a sample's only feature is its row."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits
        self.seen: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        rows = x[:, 0].long()
        self.seen += rows.tolist()
        return self.logits[rows]


def split(y: Tensor) -> Split:
    return Split(torch.arange(len(y)).float()[:, None], y)


def measure(logits: Tensor, y: Tensor, **options: int) -> dict[str, float]:
    return Clean(**options)(Lookup(logits), split(y))


def draw(n: int, k: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(n, k, generator=rng), torch.randint(k, (n,), generator=rng)


@pytest.mark.parametrize("bins", [1, 4, 15])
def test_calibration_error_equals_guo_equation_3(bins: int):
    rng = torch.Generator().manual_seed(bins)
    confidence = torch.rand(500, generator=rng, dtype=torch.float64)
    confidence[:bins] = torch.tensor([m / bins for m in range(1, bins + 1)])  # on the edges
    hit = torch.rand(500, generator=rng) < 0.6
    expected = expected_calibration_error(confidence.tolist(), hit.tolist(), bins)
    assert calibration_error(confidence, hit, bins).item() == pytest.approx(expected, abs=1e-12)


def test_every_number_equals_its_definition_sample_by_sample():
    logits, y = draw(203, 10)
    probs = [[math.exp(z) for z in row] for row in logits.tolist()]
    probs = [[p / sum(row) for p in row] for row in probs]
    order = [sorted(range(10), key=row.__getitem__, reverse=True) for row in probs]
    true = y.tolist()
    hits = [best[0] == t for best, t in zip(order, true, strict=True)]
    found = measure(logits, y, batch_size=50)
    assert found["top1"] == pytest.approx(100 * sum(hits) / 203)
    top5 = sum(t in best[:5] for best, t in zip(order, true, strict=True))
    assert found["top5"] == pytest.approx(100 * top5 / 203)
    nll = -sum(math.log(row[t]) for row, t in zip(probs, true, strict=True)) / 203
    assert found["nll"] == pytest.approx(nll)
    ece = expected_calibration_error([max(row) for row in probs], hits, 15)
    assert found["ece"] == pytest.approx(100 * ece)


def test_every_batch_of_a_run_is_begun_in_the_networks_layout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On one CUDA device that has graphs, a batch may take the memory of the one before it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    runtime, events = Runtime(device="cuda", cuda_graphs=True), list[object]()
    mark = "cudagraph_mark_step_begin"
    monkeypatch.setattr(torch.compiler, mark, lambda: events.append("begun"))
    model = nn.Sequential(nn.Conv2d(3, 2, 2), nn.Flatten())
    last = torch.channels_last
    model.register_forward_pre_hook(
        lambda _, x: events.append((len(x[0]), x[0].is_contiguous(memory_format=last)))
    )
    x = torch.zeros(5, 3, 2, 2, dtype=torch.uint8)
    Clean(batch_size=2)(runtime.evaluated(model), Split(x, torch.zeros(5).long()))
    assert events == ["begun", (2, True), "begun", (2, True), "begun", (1, True)]


def test_calibrated_predictions_have_no_calibration_error():
    # In each group of 100, the share of hits is the confidence.
    groups = [(p, 100) for p in (60, 70, 80, 90, 100)]
    logits, y = [], []
    for percent, n in groups:
        odds = percent / (100 - percent) if percent < 100 else 1e30
        logits += [[math.log(odds), 0.0]] * n
        y += [0] * percent + [1] * (n - percent)
    found = measure(torch.tensor(logits), torch.tensor(y))
    assert found["top1"] == 80.0
    assert found["ece"] == pytest.approx(0.0, abs=1e-5)


def test_certain_and_always_wrong_is_100_percent_calibration_error():
    logits = torch.tensor([[100.0, 0.0, 0.0]]).expand(7, 3)
    found = measure(logits, torch.full((7,), 2))
    assert found["top1"] == 0.0
    assert found["ece"] == pytest.approx(100.0)
    assert found["nll"] == pytest.approx(100.0)


def test_batch_size_and_order_change_nothing():
    logits, y = draw(101, 7)
    whole = measure(logits, y, batch_size=101)
    for batch_size in (1, 10, 100, 1000):
        assert measure(logits, y, batch_size=batch_size) == whole
    shuffled = torch.randperm(101, generator=torch.Generator().manual_seed(3))
    assert measure(logits[shuffled], y[shuffled]) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("batch_size", [1, 7, 30, 31, 64])
def test_every_sample_is_seen_exactly_once(batch_size: int):
    logits, y = draw(31, 3)
    model = Lookup(logits)
    Clean(batch_size=batch_size)(model, split(y))
    assert sorted(model.seen) == list(range(31))


@pytest.mark.parametrize("k", [2, 10])
def test_a_constant_network_is_right_as_often_as_its_first_classes_occur(k: int):
    """All logits tie: neither is every class a hit, nor does the device decide which one is."""
    y = torch.arange(k).repeat_interleave(torch.arange(1, k + 1))  # once, twice, ..., k times
    found = measure(torch.zeros(len(y), k), y)
    assert found["top1"] == pytest.approx(100 / len(y))
    assert found.get("top5") == (pytest.approx(100 * 15 / len(y)) if k > 5 else None)
    assert found["nll"] == pytest.approx(math.log(k))
    assert found["ece"] == pytest.approx(100 * (1 / k - 1 / len(y)))


@pytest.mark.parametrize(("k", "has_top5"), [(5, False), (6, True)])
def test_top5_is_left_out_where_it_would_always_be_100(k: int, has_top5: bool):
    logits, y = draw(20, k)
    assert ("top5" in measure(logits, y)) is has_top5


def test_not_a_number_is_never_a_hit():
    logits, y = torch.zeros(4, 6), torch.tensor([0, 0, 0, 1])
    logits[1] = math.nan
    logits[2, 5] = math.nan
    found = measure(logits, y)
    assert found["top1"] == 25.0
    assert math.isnan(found["nll"])
    assert math.isnan(found["ece"])


def test_images_reach_the_network_as_floats_from_0_to_1():
    seen: list[Tensor] = []

    class Watches(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x)
            return x.mean((2, 3))

    images = torch.tensor([0, 51, 255], dtype=torch.uint8)[:, None, None, None]
    Clean()(Watches(), Split(images.expand(3, 3, 2, 2), torch.zeros(3, dtype=torch.int64)))
    (x,) = seen
    assert x.dtype == torch.float32
    torch.testing.assert_close(x[:, 0, 0, 0], torch.tensor([0.0, 0.2, 1.0]))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(1, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))


def test_the_network_is_measured_in_eval_mode_and_left_as_it_was():
    model = network().train()
    model[2].eval()  # a module that somebody froze stays frozen
    before = {key: value.clone() for key, value in model.state_dict().items()}
    y = torch.arange(20) % 3
    found = Clean(batch_size=6)(model, split(y))
    assert found == Clean(batch_size=6)(network().eval(), split(y))
    assert [m.training for m in model] == [True, True, False, True]
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_the_mode_comes_back_when_the_network_fails():
    model = network().train()
    wide = Split(torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(RuntimeError):
        Clean()(model, wide)
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("name", ["batch_size", "bins"])
def test_a_value_below_one_is_refused_by_name(name: str):
    with pytest.raises(ValueError, match=says(f"^{name} ... 1 ... 0")):
        Clean(**{name: 0})


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_measures_the_same_and_waits_once():
    logits, y = draw(500, 10)
    logits[::7] = 0.0
    x = torch.arange(500.0)[:, None]
    model = nn.Embedding.from_pretrained(logits)
    network = nn.Sequential(Rows(), model)
    expected = Clean(batch_size=64)(network, Split(x, y))
    network, data = network.cuda(), Split(x, y).to("cuda")
    Clean(batch_size=64)(network, data)  # whatever the first call sets up
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with pytest.warns(UserWarning, match="synchroniz") as waits:
            found = Clean(batch_size=64)(network, data)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert found == pytest.approx(expected, rel=1e-9)
    assert len(waits) == 1


class Rows(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0].long()
