"""Compiled networks with seams: the same code for every layer that is tapped, and for none."""

from collections.abc import Iterator
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from wording import says

from vicinal.surgery import uncompiled
from vicinal.surgery.taps import add_seams, run_tapped, tapped

pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # dynamo's
LAYERS = (0, 1, 2)


class Small(nn.Module):
    """Of modules that no type checker wraps, which dynamo cannot look into."""

    stages = ("stem", "stage1")

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.stage1 = nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU())
        self.fc = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.stage1(self.stem(x)).mean((2, 3)))


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    uncompiled._say.cache_clear()
    yield
    torch.compiler.reset()


def step(model: nn.Module, layer: int | None, draws: torch.Generator) -> list[Tensor]:
    """Logits and gradients of a pass mixed at a layer, or of a plain one."""
    x, lam = torch.rand(4, 3, 8, 8, generator=draws), torch.rand((), generator=draws).item()
    partner = torch.randperm(4, generator=draws)
    mask = torch.rand(1, 1, 8, 1, generator=draws) < 0.5

    def mixed(h: Tensor) -> tuple[Tensor, float]:
        return torch.lerp(h[partner], h, mask[:, :, : h.shape[2]].to(h).clamp_min(lam)), lam

    if layer is None:
        logits = model(x)
    else:
        logits, note = run_tapped(model, x, layer, mixed)
        assert note == lam
    return [logits, *torch.autograd.grad(logits.square().sum(), list(model.parameters()))]


def assert_steps_are_the_uncompiled(
    backend: str, steps: int, caplog: pytest.LogCaptureFixture, tolerance: float = 0.0
) -> None:
    plain, model = Small(), add_seams(Small(), LAYERS)
    model.compile(backend=backend)
    draws = torch.Generator().manual_seed(0)
    for number in range(steps):
        layer = (None, *LAYERS)[int(torch.randint(4, (), generator=draws))]
        seed = int(torch.randint(1000, (), generator=draws))
        results = []
        for network in (plain, model):
            network.train(number % 5 > 0)
            results.append(step(network, layer, torch.Generator().manual_seed(seed)))
        for expected, found in zip(*results, strict=True):
            torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    for expected, found in zip(plain.buffers(), model.buffers(), strict=True):
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    assert uncompiled.__name__ not in {name for name, *_ in caplog.record_tuples}


def test_one_set_of_code_serves_every_layer_and_untapped_passes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Bit for bit, whatever λ, mask and partners are drawn."""
    assert_steps_are_the_uncompiled("aot_eager", 30, caplog)
    counters = torch._dynamo.utils.counters
    # The stem (in each mode), the stage and the classifier.
    assert counters["stats"]["unique_graphs"] == 4
    assert all("_tapped" in reason for reason in counters["graph_break"])


@pytest.mark.slow
def test_inductors_code_differs_by_rounding(caplog: pytest.LogCaptureFixture) -> None:
    assert_steps_are_the_uncompiled("inductor", 10, caplog, tolerance=1e-5)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 4


def test_a_copy_has_seams_of_its_own() -> None:
    """As the average of the weights is one."""
    model = add_seams(Small(), LAYERS).eval()
    copy, x = deepcopy(model), torch.rand(2, 3, 8, 8)
    expected = model(x)
    for layer in LAYERS:
        with tapped(copy, layer, lambda h: 2 * h):
            assert torch.equal(model(x), expected)
            assert not torch.equal(copy(x), expected)


def test_a_seam_acts_as_a_hook_does_and_forgets() -> None:
    plain, model, x = Small().eval(), add_seams(Small(), LAYERS).eval(), torch.rand(2, 3, 8, 8)
    for layer in LAYERS:
        results = []
        for network in (plain, model):
            with tapped(network, layer, lambda h: h + 1), tapped(network, layer, lambda h: 2 * h):
                results.append(network(x))
        assert torch.equal(*results)
        with pytest.raises(ZeroDivisionError), tapped(model, layer, lambda _: 1 / 0):
            model(x)
        unused = pytest.raises(ValueError, match=says("must run in the network's forward"))
        with unused, tapped(model, layer, lambda h: h):
            pass
        assert torch.equal(model(x), plain(x))


def test_seams_are_added_once_and_change_no_name_of_a_weight() -> None:
    model = add_seams(add_seams(Small(), LAYERS), LAYERS)  # the second adds nothing
    assert [*model.state_dict()] == [*Small().state_dict()]
    _, note = run_tapped(model, torch.rand(2, 3, 8, 8), 1, lambda h: (h, h.shape[1]))
    assert note == 4
    with pytest.raises(ValueError, match=says("^method.layers ... 3")):
        add_seams(Small(), (0, 3))
