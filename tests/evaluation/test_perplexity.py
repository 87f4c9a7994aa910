"""The perplexity of a text, however it is read, and that reading changes nothing."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from evaluation_samples import resumed, unchanged
from language import Small, ids, small
from oracles import perplexity as oracle
from torch import nn
from torch.nn import functional as F
from two_ranks import on_two
from wording import says

from vicinal.contracts import Read
from vicinal.data.text import Text, TextData
from vicinal.draws import Rng
from vicinal.errors import RunError
from vicinal.evaluation.perplexity import OwnTexts, Perplexity, losses
from vicinal.machine.runtime import Runtime

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def data() -> TextData:
    train, valid, test = (Text(ids(count, seed=count)) for count in (300, 95, 64))
    return TextData(train, valid, test, 11, {})


@pytest.mark.parametrize("columns", [1, 3, 10])
@pytest.mark.parametrize("bptt", [1, 7, 70])
def test_it_equals_a_reader_of_one_word_at_a_time(columns: int, bptt: int) -> None:
    model, text = small().train(), ids(95)
    found = Perplexity(columns, bptt)(model, Text(text))
    expected = oracle.nll(small().eval(), text.tolist(), columns)
    assert found["nll"] == pytest.approx(expected, rel=1e-13)
    assert found["perplexity"] == pytest.approx(math.exp(expected), rel=1e-13)


def test_equal_probabilities_have_the_perplexity_of_the_vocabulary() -> None:
    model = Small(11)
    for weight in model.parameters():
        nn.init.zeros_(weight)
    assert Perplexity()(model, Text(ids(95)))["perplexity"] == pytest.approx(11, rel=1e-6)


@pytest.mark.parametrize("columns", [5, 1])
def test_ranks_share_the_columns_and_find_the_same(columns: int, tmp_path: Path) -> None:
    model, text = small(), Text(ids(95))
    alone = Perplexity(columns, 7)(model, text)
    found, other = on_two(lambda: Perplexity(columns, 7)(model, text), tmp_path)
    assert found == other
    assert found == pytest.approx(alone, rel=1e-13)


def test_a_rank_reads_its_own_columns_alone(tmp_path: Path) -> None:
    text, model = Text(ids(95)), small()
    read: list[int] = []
    model.register_forward_pre_hook(lambda _, given: read.append(len(given[0])))

    def rows() -> set[int]:
        Perplexity(5, 7)(model, text)
        return set(read)

    assert on_two(rows, tmp_path) == [{3}, {2}]


@pytest.mark.parametrize("within", [torch.no_grad, torch.enable_grad])
@pytest.mark.parametrize("measure", [Perplexity(), OwnTexts()])
def test_the_network_is_left_as_it_was(
    measure: Perplexity | OwnTexts, within: Callable[[], torch.no_grad]
) -> None:
    model = small().train()
    model.drop.eval()
    with unchanged(model), within():
        if isinstance(measure, OwnTexts):
            measure(model, data(), Rng.seeded(0))
        else:
            measure(model, data().valid)


def test_validation_is_read_in_10_columns_and_the_test_text_in_one() -> None:
    model, of = small(), data()
    found = OwnTexts()(model, of, Rng.seeded(0))
    valid, test = Perplexity(10)(model, of.valid), Perplexity(1)(model, of.test)
    assert found == {
        **{f"valid_{key}": value for key, value in valid.items()},
        **{f"test_{key}": value for key, value in test.items()},
    }
    measured: list[str] = []
    assert OwnTexts()(model, of, Rng.seeded(0), resumed(["valid"], measured)) == found
    assert measured == ["test"]


def test_it_is_measured_as_a_run_evaluates() -> None:
    """Behind the step that CUDA graphs need, through which the state goes as well."""
    model, text = small(), Text(ids(95))
    evaluated = Runtime(device="cpu").evaluated(model)
    assert Perplexity(bptt=2)(evaluated, text) == Perplexity(bptt=2)(model, text)


def test_losses_are_taken_in_float32() -> None:
    """Of logits in bf16, whose own log-probabilities would be 1 % off."""
    torch.manual_seed(0)
    logits, y = torch.randn(3, 5, 11).bfloat16(), ids(15).view(3, 5)
    read = Read(logits, logits, logits, ())
    exact = F.cross_entropy(logits.double().flatten(0, 1), y.flatten(), reduction="none")
    torch.testing.assert_close(losses(read, y).double(), exact, rtol=1e-6, atol=1e-6)


def test_logits_that_are_not_numbers_are_not_hidden() -> None:
    model = small()
    with torch.no_grad():
        model.decoder.bias[3] = math.nan
    assert math.isnan(Perplexity()(model, Text(ids(95)))["nll"])


def test_a_text_without_a_word_to_predict_is_refused() -> None:
    one = Text(torch.zeros(19, dtype=torch.int64))
    with pytest.raises(RunError, match=says("2 words ... 10 columns ... 19")):
        Perplexity(10)(small(), one)


@pytest.mark.parametrize("name", ["columns", "bptt"])
def test_a_value_below_one_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match=says(f"^{name} ... 1 ... 0")):
        Perplexity(**{name: 0})
    for key in ("valid_columns", "test_columns", "bptt"):
        with pytest.raises(ValueError, match=says(f"^{key} ... 1 ... 0")):
            OwnTexts(**{key: 0})


def test_three_ranks_find_what_one_does_for_the_runs_own_texts(tmp_path: Path) -> None:
    model, of = small(), data()
    whole = OwnTexts(valid_columns=2)(model, of, Rng.seeded(0))
    for found in on_two(lambda: OwnTexts(valid_columns=2)(model, of, Rng.seeded(0)), tmp_path, 3):
        assert found == pytest.approx(whole, rel=1e-13)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_measures_the_same_and_waits_once() -> None:
    expected = Perplexity()(small(), Text(ids(95)))
    model, text = small().cuda(), Text(ids(95)).to("cuda")
    Perplexity()(model, text)  # whatever the first call sets up
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with pytest.warns(UserWarning, match="synchroniz") as waits:
            found = Perplexity()(model, text)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert found == pytest.approx(expected, rel=1e-12)
    assert len(waits) == 1
