"""AWD-LSTM with a mixture of softmaxes: its size, its equation, and what is dropped."""

import pytest
import torch
from composing import compose
from hydra.utils import instantiate
from oracles.language import mixture
from torch import Tensor
from wording import says

from vicinal.models.init import without_weights
from vicinal.models.mos_awd_lstm import MosAwdLstm

NAMES = ("input", "hidden", "output", "latent", "weight")
NO_DROPOUT = {f"{name}_dropout": 0.0 for name in NAMES}
WIKITEXT2 = ("model.embedding=300", "model.hidden=1150", "model.last_hidden=650")
EXPERTS = 3


def tiny(embedding: int = 4, experts: int = EXPERTS, **dropouts: float) -> MosAwdLstm:
    torch.manual_seed(0)
    given = NO_DROPOUT | dropouts
    network = MosAwdLstm(embedding, 6, 5, 2, experts, **given, num_classes=9, shape=()).double()
    with torch.no_grad():  # so that the softmaxes and their shares differ
        for weight in (network.softmax.weight, network.latent.weight, network.prior.weight):
            weight.mul_(10)
        network.softmax.bias.normal_()
    return network


def words() -> Tensor:
    return torch.randint(9, (3, 8), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("settings", "vocabulary", "millions"), [((), 10_000, 22), (WIKITEXT2, 33_278, 35)]
)
def test_the_size_is_that_of_maxups_tables(
    settings: tuple[str, ...], vocabulary: int, millions: int
) -> None:
    """By hand: the shared matrix and a bias, four gates per LSTM, U, and the V with biases."""
    config = compose("model=mos_awd_lstm", *settings).model
    with without_weights():
        network = instantiate(config)(num_classes=vocabulary, shape=())
    e, h, last = config.embedding, config.hidden, config.last_hidden
    lstms = sum(4 * out * (into + out + 2) for into, out in [(e, h), (h, h), (h, last)])
    expected = vocabulary * (e + 1) + lstms + 15 * last + 15 * e * (last + 1)
    assert sum(p.numel() for p in network.parameters()) == expected
    assert round(expected / 1e6) == millions


def test_probabilities_are_those_of_the_equation() -> None:
    """With features of the softmaxes dropped: the same of a text in every word."""
    network = tiny(latent_dropout=0.4)
    torch.manual_seed(3)
    found = network(words())
    torch.manual_seed(3)
    factors = torch.empty(3, EXPERTS * 4, dtype=torch.float64).bernoulli_(0.6) / 0.6
    assert 0 < int((factors == 0).sum()) < factors.numel()
    weights = dict(network.named_parameters())
    for text in range(3):
        for place in range(8):
            h = found.features[text, place]
            expected = mixture(h, weights, factors[text], EXPERTS)
            torch.testing.assert_close(found.logits[text, place].exp(), expected)


def test_a_softmax_of_the_logits_is_the_mixture() -> None:
    logits = tiny()(words()).logits
    torch.testing.assert_close(logits.log_softmax(2), logits, rtol=1e-12, atol=1e-12)


def test_a_word_of_probability_0_in_one_softmax_has_that_of_the_others() -> None:
    """Logarithms, so that no p underflows: a single softmax gives a log p of -10,000 here."""
    network = tiny().float()
    with torch.no_grad():
        network.softmax.bias[0] = -10_000
    assert network(words()).logits[..., 0].isfinite().all()


def test_it_has_a_higher_rank_than_one_softmax() -> None:
    """The paper's reason: with one, log p has at most the rank of the embedding, plus 2."""
    drawn = torch.randint(9, (8, 20), generator=torch.Generator().manual_seed(1))
    ranks = []
    for experts in (1, 3):
        log_p = tiny(2, experts)(drawn).logits.detach().flatten(0, 1)
        ranks.append(int(torch.linalg.matrix_rank(log_p, rtol=1e-9)))
    assert ranks == [4, 9]


def test_each_dropout_has_its_place() -> None:
    """That of the softmaxes' features reaches the logits alone."""
    for name in NO_DROPOUT:
        network = tiny(**{name: 0.5})
        one, two = network(words()), network(words())
        assert not torch.equal(one.logits, two.logits), name
        assert torch.equal(one.features, two.features) == (name == "latent_dropout"), name
        outside = name in ("latent_dropout", "output_dropout")
        assert torch.equal(one.outputs, two.outputs) == outside, name


def test_versions_of_a_text_lose_the_same_features() -> None:
    model = tiny(latent_dropout=0.5, output_dropout=0.3)
    first, second = model.embed(words()), model.embed(words().flip(1))
    state, read = model(words()).state, []
    for each in (first, second):
        torch.manual_seed(3)
        read.append(model(each, state).logits)
    torch.manual_seed(3)
    torch.testing.assert_close(model(torch.cat([first, second]), state, 2).logits, torch.cat(read))


def test_logits_keep_their_digits_under_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        found = tiny().float()(words())
    assert found.features.dtype == torch.bfloat16
    assert found.logits.dtype == torch.float32
    torch.testing.assert_close(found.logits.exp().sum(2), torch.ones(3, 8), rtol=1e-5, atol=1e-5)


def test_settings_that_mean_nothing_are_refused() -> None:
    for name in NO_DROPOUT:
        with pytest.raises(ValueError, match=says(f"^{name} ... 0 ... 1 ... 1.0")):
            tiny(**{name: 1.0})
    with pytest.raises(ValueError, match=says("^experts ... 1 ... 0")):
        tiny(experts=0)
