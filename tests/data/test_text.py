"""Text in columns and segments of random length, as AWD-LSTM reads it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import fmean, pstdev

import pytest
import torch
from language import Small, ids
from oracles import segments as oracle
from torch import nn
from two_ranks import on_two
from wording import says

from vicinal.contracts import Images, Inputs, Loss, Maps, Method, Targets, Words
from vicinal.data.batches import Feed
from vicinal.data.dataset import Data, RunData
from vicinal.data.split import Split
from vicinal.data.text import Segments, Text, TextData
from vicinal.draws import Rng
from vicinal.errors import RunError
from vicinal.methods.erm import Erm
from vicinal.vicinities.identity import Identity

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
RNG = Rng.seeded(0)


def data(words: int = 11) -> TextData:
    train, valid, test = (Text(ids(count, words)) for count in (900, 90, 120))
    return TextData(train, valid, test, words, {"train": "a"})


def batches(feed: Segments, epoch: int = 0, first: int = 0) -> list[tuple[list, list]]:
    return [(x.tolist(), y.tolist()) for x, y, _ in feed.epoch(epoch, first, RNG)]


@pytest.mark.parametrize(("words", "columns"), [(1000, 4), (997, 3), (53, 2), (30, 10), (1003, 1)])
def test_segments_equal_the_literal_reader(words, columns):
    text = ids(words, 50)
    feed = Segments(Text(text), columns, seed=3, bptt=12)
    for epoch in range(3):
        # Long enough to be cut by the end of the text, not by the end of the list.
        lengths = [*feed.lengths(epoch)[:-1], 1000]
        assert batches(feed, epoch) == oracle.segments(text.tolist(), columns, lengths)


@pytest.mark.parametrize("columns", [1, 7])
def test_an_epoch_reads_every_word_once_and_in_order(columns):
    text = torch.arange(2000)
    feed = Segments(Text(text), columns, seed=0, bptt=20)
    length = 2000 // columns
    for epoch in range(20):
        x, y = (
            torch.cat(each, 1) for each in list(zip(*feed.epoch(epoch, 0, RNG), strict=True))[:2]
        )
        assert torch.equal(y, x + 1)
        assert x.shape[1] in (length - 1, length - 2)  # one word that is left makes no segment
        whole = text[: columns * length].view(columns, length)
        assert torch.equal(x, whole[:, : x.shape[1]])
        assert feed.samples(epoch) == x.numel()


def test_lengths_are_around_70_in_95_of_100_segments_and_around_35_in_the_others():
    feed = Segments(Text(torch.zeros(3_000_000, dtype=torch.int64)), 1, seed=0)
    lengths = feed.lengths(0)[:-1]
    short = [length for length in lengths if length < 52]
    usual = [length for length in lengths if length >= 52]
    count = len(lengths)
    assert len(short) / count == pytest.approx(0.05, abs=3 * (0.05 * 0.95 / count) ** 0.5)
    # int() cuts half a word off in the mean
    assert fmean(usual) == pytest.approx(70 - 0.5, abs=4 * 5 / count**0.5)
    assert fmean(short) == pytest.approx(35 - 0.5, abs=4 * 5 / len(short) ** 0.5)
    assert pstdev(usual) == pytest.approx(5, rel=0.03)
    assert fmean(lengths) == pytest.approx(70 * 0.95 + 35 * 0.05 - 0.5, abs=0.25)


def test_lengths_are_at_least_5_and_at_most_40_more_than_bptt():
    text = Text(torch.zeros(40_000, dtype=torch.int64))
    lengths = Segments(text, 1, seed=0, bptt=8).lengths(0)[:-1]
    assert min(lengths) == 5  # half of them would be near 4
    assert Segments(text, 1, seed=0, bptt=5).lengths(0)[:-1].count(5) > 3000
    assert max(lengths) <= 48


def test_lengths_are_a_function_of_seed_and_epoch_alone():
    text = Text(ids(5000))
    feed, again = Segments(text, 2, seed=0), Segments(text, 2, seed=0)
    list(feed.epoch(0, 0, Rng.seeded(1)))
    drawn = [feed.lengths(epoch) for epoch in range(3)]
    assert len(set(drawn)) == 3
    assert [again.lengths(epoch) for epoch in (2, 1, 0)] == drawn[::-1]
    assert Segments(text, 2, seed=1).lengths(0) != drawn[0]


def test_steps_are_counted_over_epochs_of_different_length():
    feed = Segments(Text(ids(5000)), 2, seed=0, bptt=10)
    steps = [feed.steps(epoch) for epoch in range(6)]
    assert len(set(steps)) > 1
    assert feed.first(5) == sum(steps[:5])
    assert [feed.first(epoch) for epoch in range(5)] == [sum(steps[:e]) for e in range(5)]
    assert batches(feed, 4, first=7) == batches(feed, 4)[7:]


def test_a_steps_extent_is_its_words_and_its_share_of_bptt():
    feed = Segments(Text(ids(5000)), 4, seed=0, bptt=20)
    for number, (x, *_) in enumerate(feed.epoch(1, 0, RNG)):
        extent = feed.extent(1, number)
        assert (extent.rows, extent.samples) == (4, x.numel())
        assert extent.rate == x.shape[1] / 20


def test_each_rank_reads_half_of_the_columns_in_the_same_segments(tmp_path):
    feed = Segments(Text(ids(900)), 6, seed=0, bptt=20)

    def found() -> list:
        return [(x, y, rows) for x, y, rows in feed.epoch(1, 2, RNG)]

    whole, (first, second) = found(), on_two(found, tmp_path)
    assert len(first) == len(second) == len(whole) > 3
    for parts in zip(first, second, strict=True):
        assert all(len(rows) == 3 for *_, rows in parts)
    for each, *halves in zip(whole, first, second, strict=True):
        for mine, joined in zip(each, map(torch.cat, zip(*halves, strict=True)), strict=True):
            assert torch.equal(mine, joined)


def test_batches_are_views_of_one_table():
    feed = Segments(Text(ids(900)), 6, seed=0, bptt=20)
    stretches = [each for x, y, _ in feed.epoch(0, 0, RNG) for each in (x, y)]
    assert len({each.untyped_storage().data_ptr() for each in stretches}) == 1


def test_a_trial_meets_the_last_word_of_the_vocabulary():
    feed = Segments(Text(torch.arange(900) % 41), 6, seed=0, bptt=20)
    x, y, rows = feed.trial(2, RNG)
    assert x.shape == y.shape == (2, 3)
    assert torch.equal(x[:, 1:], y[:, :-1])
    assert (x == 40).any(1).all()
    assert (y == 40).any(1).all()
    assert rows.tolist() == [0, 1]


def test_a_text_too_short_for_its_columns_is_refused():
    assert Segments(Text(ids(30)), 10, seed=0).steps(0) == 1
    with pytest.raises(ValueError, match=says("schedule.batch_size ... 3 words ... 10 ... 29")):
        Segments(Text(ids(29)), 10, seed=0)
    with pytest.raises(ValueError, match=says("^bptt ... at least 5 ... 4")):
        Segments(Text(ids(300)), 10, seed=0, bptt=4)


def test_text_is_a_runs_data_and_its_segments_are_a_feed():
    of = data()
    assert isinstance(of, RunData)
    assert isinstance(of.batches(4, 0), Feed)
    assert of.batches(4, 0).unit == "words"
    assert of.batches(4, 0).unlabelled is None
    assert list(of.measured()) == ["test", "valid"]
    assert of.summary()["samples"] == {"train": 900, "test": 120, "valid": 90}
    assert of.zeros("cpu").tolist() == [[0, 0]]
    model = Small(11)
    assert of.network(model) is model


@dataclass(frozen=True)
class OfImages:
    def __call__(self, x: Images, y: Targets, rng: Rng) -> tuple[Inputs, Targets]:
        return x, y


@dataclass(frozen=True)
class OfMaps:
    def __call__(self, x: Maps, y: Targets, rng: Rng) -> tuple[Inputs, Targets]:
        return x, y


@dataclass(frozen=True)
class OnText(Method):
    inner: object = field(default_factory=Identity)

    def __call__(self, model: nn.Module, x: Words, y: Words, rng: Rng) -> Iterator[Loss]:
        yield from ()


def test_a_method_for_other_samples_is_refused_in_one_line():
    data().check_method("method", OnText())
    data().check_method("method", OnText(OnText()))
    with pytest.raises(RunError, match=says("^method must ... text ... Erm")):
        data().check_method("method", Erm(Identity()))
    for inner in (OfImages(), OfMaps()):
        with pytest.raises(RunError, match=says("^method.inner must ... word ... images")) as error:
            data().check_method("method", OnText(inner))
        assert type(inner).__name__ in str(error.value)
    split = Split(torch.rand(3, 3, 4, 4), torch.arange(3))
    images = Data(split, split, None, 3, (0.0,) * 3, (1.0,) * 3, {}, None)
    with pytest.raises(RunError, match=says("^method must ... OnText")):
        images.check_method("method", OnText())


def test_a_network_of_another_kind_is_refused_in_one_line():
    data().check_network(Small(11))
    with pytest.raises(RunError, match=says("^model must ... language model ... Linear")):
        data().check_network(nn.Linear(2, 2))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_an_epoch_on_a_gpu_never_waits_for_it():
    feed = Segments(Text(ids(900)).to("cuda"), 6, seed=0, bptt=20)
    torch.cuda.set_sync_debug_mode("error")
    try:
        stretches = [x for x, *_ in feed.epoch(0, 0, RNG)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    expected = batches(Segments(Text(ids(900)), 6, seed=0, bptt=20))
    assert [x.tolist() for x in stretches] == [x for x, _ in expected]
