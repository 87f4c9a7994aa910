"""AWD-LSTM: its size, its kernel, and what is dropped."""

import re

import pytest
import torch
from composing import compose
from hydra.utils import instantiate
from oracles.language import read
from torch import Tensor, nn
from wording import says

from vicinal.contracts import Read
from vicinal.machine.runtime import Runtime
from vicinal.models.awd_lstm import AwdLstm, LockedDropout, WeightDropLstm
from vicinal.models.init import without_weights

NO_DROPOUT = dict.fromkeys(
    ("input_dropout", "hidden_dropout", "output_dropout", "weight_dropout"), 0.0
)


def tiny(**dropouts: float) -> AwdLstm:
    torch.manual_seed(0)
    return AwdLstm(4, 6, 3, **dropouts, num_classes=9, shape=()).double()


def words() -> Tensor:
    return torch.randint(9, (3, 8), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("vocabulary", "millions"), [(10_000, 24.22), (33_278, 33.56)])
def test_the_size_is_that_of_maxups_table_6(vocabulary: int, millions: float) -> None:
    """By hand: a matrix that is embedding and softmax, its bias, and four gates per LSTM."""
    with without_weights():
        network = instantiate(compose("model=awd_lstm").model)(num_classes=vocabulary, shape=())
    lstms = sum(
        4 * out * (into + out + 2) for into, out in [(400, 1150), (1150, 1150), (1150, 400)]
    )
    expected = vocabulary * 400 + vocabulary + lstms
    assert sum(p.numel() for p in network.parameters()) == expected
    assert sum(value.numel() for value in network.state_dict().values()) == expected
    assert round(expected / 1e6, 2) == millions


def test_first_weights() -> None:
    """U(-.1, .1) for the embedding, 0 for the bias, U(-1/√h, 1/√h) in LSTMs."""
    network = tiny().float()
    bounds = {name: p.abs().max().item() for name, p in network.named_parameters()}
    assert 0.09 < bounds.pop("softmax.weight") < 0.1
    assert bounds.pop("softmax.bias") == 0
    for name, found in bounds.items():
        limit = (4 if name.startswith("layers.2") else 6) ** -0.5
        assert 0.8 * limit < found <= limit, name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_evaluation_is_that_of_torchs_lstms_bit_for_bit(dtype: torch.dtype) -> None:
    network = tiny().to(dtype).eval()
    steps = network.embed(words()).transpose(0, 1).contiguous()
    state = list[Tensor]()
    for number, (into, out) in enumerate([(4, 6), (6, 6), (6, 4)]):
        lstm = nn.LSTM(into, out).to(dtype)
        lstm.load_state_dict(network.get_submodule(f"layers.{number}.lstm").state_dict())
        steps, ends = lstm(steps)
        state += [each[0] for each in ends]
    found = network(words())
    assert torch.equal(found.outputs, steps.transpose(0, 1))
    assert torch.equal(found.features, found.outputs)
    assert all(torch.equal(a, b) for a, b in zip(found.state, state, strict=True))
    assert torch.equal(found.logits, network.classifier(found.features))


@pytest.mark.parametrize("learns", [True, False])
def test_a_backward_in_eval_mode_is_announced_to_the_kernel(
    learns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cuDNN refuses it otherwise; dynamic evaluation needs it."""
    flags, lstm = list[bool](), torch.lstm
    monkeypatch.setattr(torch, "lstm", lambda *given: (flags.append(given[6]), lstm(*given))[1])
    with torch.set_grad_enabled(learns):
        tiny().eval()(words())
    assert flags == [learns] * 3


def test_two_stretches_are_read_as_one() -> None:
    network = tiny(**NO_DROPOUT)
    whole, first = network(words()), network(words()[:, :3])
    then = network(words()[:, 3:], first.state)
    logits = torch.cat([first.logits, then.logits], dim=1)
    torch.testing.assert_close(logits, whole.logits, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(then.state, whole.state, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(network(words()[:, 3:]).logits, then.logits)


def test_every_row_of_the_state_belongs_to_its_text() -> None:
    network = tiny(**NO_DROPOUT)
    first = network(words()[:, :3])
    order = torch.tensor([2, 0, 1])
    moved = network(words()[order, 3:], tuple(each[order] for each in first.state))
    torch.testing.assert_close(moved.logits, network(words()[:, 3:], first.state).logits[order])


def test_versions_of_a_text_share_the_state_and_the_dropout() -> None:
    """Read at once, each is as it would be alone after the same draws."""
    dropouts = {"input_dropout": 0.3, "hidden_dropout": 0.3, "output_dropout": 0.3}
    model = tiny(**dropouts, weight_dropout=0.3)
    first, second = model.embed(words()), model.embed(words().flip(1))
    state, read = model(words()).state, list[Read]()
    for each in (first, second):
        torch.manual_seed(3)
        read.append(model(each, state))
    torch.manual_seed(3)
    both = model(torch.cat([first, second]), state, 2)
    for name in ("logits", "features", "outputs"):
        expected = torch.cat([getattr(each, name) for each in read])
        torch.testing.assert_close(getattr(both, name), expected)
    for place, found in enumerate(both.state):
        torch.testing.assert_close(found, torch.cat([each.state[place] for each in read]))


def test_vectors_are_read_in_the_place_of_words() -> None:
    network = tiny().eval()
    embedded = network.embed(words())
    assert torch.equal(network(embedded).logits, network(words()).logits)


def test_dropped_weights_reach_the_kernel_and_the_raw_matrix_learns_where_they_were_kept() -> None:
    """Otherwise the network would train without weight dropout, and nothing would say so."""
    torch.manual_seed(0)
    layer, x = WeightDropLstm(4, 6, 0.5).double(), torch.randn(7, 2, 4, dtype=torch.float64)
    zeros = x.new_zeros(2, 6)
    torch.manual_seed(3)
    kept = torch.dropout(torch.ones(24, 6, dtype=torch.float64), 0.5, True)
    torch.manual_seed(3)
    outputs, _, _ = layer(x, zeros, zeros)
    again, _, _ = layer(x, zeros, zeros)
    assert torch.equal(outputs[0], again[0])  # the first word meets no matrix between states
    assert not torch.equal(outputs[1], again[1])
    (gradient,) = torch.autograd.grad(outputs.square().sum(), [layer.lstm.weight_hh_l0])
    assert 0.3 < float((kept == 0).double().mean()) < 0.7
    assert torch.equal(gradient == 0, kept == 0)
    raw = layer.lstm.weight_hh_l0
    weights = [layer.lstm.weight_ih_l0, raw * kept, layer.lstm.bias_ih_l0, layer.lstm.bias_hh_l0]
    one = torch.ones(())
    expected, _, _ = read(x[:, 0], [weights], [one, one], [zeros[0], zeros[0]])
    torch.testing.assert_close(outputs[:, 0], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("p", [0.3, 0.6])
def test_locked_dropout_drops_a_feature_of_a_text_in_all_its_words(p: float) -> None:
    torch.manual_seed(0)
    layer, x = LockedDropout(p), torch.rand(5, 40, 50, dtype=torch.float64) + 1
    factors = layer(x, 1) / x
    torch.testing.assert_close(factors, factors[:1].expand_as(x))
    assert set(factors[0].unique().round(decimals=9).tolist()) == {0, round(1 / (1 - p), 9)}
    assert abs(float((factors[0] == 0).double().mean()) - p) < 4 * (p * (1 - p) / 2000) ** 0.5
    assert not torch.equal(factors, layer(x, 1) / x)
    assert torch.equal(layer.eval()(x, 1), x)


def test_each_dropout_has_its_place() -> None:
    """Dropped at random in train mode: features alone of the output's; state of the others'."""
    for name in NO_DROPOUT:
        network = tiny(**NO_DROPOUT | {name: 0.5})
        one, two = network(words()), network(words())
        assert not torch.equal(one.logits, two.logits), name
        assert torch.equal(one.outputs, two.outputs) == (name == "output_dropout")
        same = [torch.equal(a, b) for a, b in zip(one.state, two.state, strict=True)]
        untouched = {"output_dropout": 6, "hidden_dropout": 2}.get(name, 0)
        assert same == [True] * untouched + [False] * (6 - untouched), name


def test_logits_keep_their_digits_under_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        found = tiny().float()(words())
        again = tiny().float()(words(), found.state)
    assert found.features.dtype == torch.bfloat16
    assert found.logits.dtype == again.logits.dtype == torch.float32
    assert tiny()(words()).logits.dtype == torch.float64


def test_a_state_of_another_precision_is_read() -> None:
    """A run may go on in another precision than it began in."""
    state = tuple(each.to(torch.bfloat16) for each in tiny()(words()).state)
    assert tiny()(words(), state).state[0].dtype == torch.float64


def test_settings_that_mean_nothing_are_refused() -> None:
    for name in NO_DROPOUT:
        with pytest.raises(ValueError, match=says(f"^{name} ... 0 ... 1 ... 1.0")):
            tiny(**{name: 1.0})
    with pytest.raises(ValueError, match=says("^layers ... 1 ... 0")):
        AwdLstm(4, 6, 0, num_classes=3, shape=())


def test_it_is_said_that_it_is_not_compiled(caplog: pytest.LogCaptureFixture) -> None:
    network = Runtime(device="cpu", compile=True).compiled(tiny())
    assert network._compiled_call_impl is None
    (message,) = caplog.messages
    assert re.search(says("^not compiled ... LSTM"), message)
