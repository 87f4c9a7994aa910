"""Time training steps of AWD-LSTM against a bare PyTorch loop, and MaxUp's two copies against one.

The bare loop is what a competent user writes: the same kernels, masks, loss, clipping and SGD, and
nothing else. With all dropouts off, its loss is checked to be ours. All see segments of 70 words,
and take turns in one process; each figure is the median over rounds, ratios are medians of ratios
within a round. Penn Treebank's network on CUDA, with a fifth of the width and all words on a CPU.
Writes words.json.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping
from itertools import cycle
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benches.drawn import drawn_text
from benches.turns import turns
from benches.writing import write
from vicinal.cli.configs import build, compose
from vicinal.contracts import Memory
from vicinal.data.batches import Extent
from vicinal.data.text import TextData
from vicinal.draws import Rng
from vicinal.methods.next_word import NextWord
from vicinal.models.awd_lstm import AwdLstm, LockedDropout, WeightDropLstm
from vicinal.run import Run
from vicinal.storage.provenance import provenance

LENGTH = 70  # words of a segment
SEGMENTS = 8  # of drawn text
PTB_WORDS = 929_589
WIDTHS = {"embedding": 400, "hidden": 1150}
VOCABULARY = 10_000
GOALS = {"ours_over_bare": 1.03, "maxup_2_over_1": 1.4}
RATIOS = {"ours_over_bare": ("ours", "bare loop"), "maxup_2_over_1": ("maxup 2", "maxup 1")}
QUIET = ("optimizer.lr=1e-3",)  # random text teaches nothing, and must not diverge
PLAIN, WORD_DROPOUT = "next_word", 0.1  # the method without MaxUp, and its share of words

Segment = tuple[Tensor, Tensor]  # words and next words, n x t
Pair = tuple[Tensor, Tensor]  # h and c of a layer
State = list[Pair]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Define the command line."""
    parser.add_argument("overrides", nargs="*", help="for every run of ours, e.g. runtime=cpu")
    parser.add_argument("--width", type=float, help="of Penn Treebank's network, as a share")
    parser.add_argument("--batch", type=int, default=20, help="columns of the text")
    parser.add_argument("--turn", type=int, default=5, help="steps")
    parser.add_argument("--rounds", type=int, default=10)


def bench(arguments: argparse.Namespace) -> None:
    """Measure, print, write the JSON."""
    settings = {key: getattr(arguments, key) for key in ("batch", "turn", "rounds", "overrides")}
    device = composed(arguments, PLAIN).runtime.target
    if arguments.width is None:
        arguments.width = 1.0 if device == "cuda" else 0.2
    count = arguments.batch * (SEGMENTS * LENGTH + 1)
    data = drawn_text(count, device, VOCABULARY)
    check(arguments, data)
    contenders = {
        "ours": ours(arguments, data, PLAIN),
        "bare loop": bare(arguments, data),
        "maxup 2": ours(arguments, data, "maxup_words", "method.copies=2"),
        "maxup 1": ours(arguments, data, "maxup_words", "method.copies=1"),
    }
    result = table(arguments, turns(contenders, arguments.rounds))
    origin = provenance(device)
    print(f"{origin['device']['name']}, {arguments.width:g} of the width")
    written = origin | settings | {"width": arguments.width, "length": LENGTH, "goals": GOALS}
    write(arguments.out, "words", written | result)


def composed(arguments: argparse.Namespace, method: str, *overrides: str) -> Run:
    """The run that the command line would build for Penn Treebank, at this width."""
    share = arguments.width or 1.0
    widths = [f"model.{key}={round(share * width)}" for key, width in WIDTHS.items()]
    common = ["dataset=ptb", "model=awd_lstm", f"schedule.batch_size={arguments.batch}", *QUIET]
    lines = (*common, *widths, f"method={method}", *arguments.overrides, *overrides)
    return build(compose(*lines))


def segments(arguments: argparse.Namespace, data: TextData) -> list[Segment]:
    """Of every column, one after the other."""
    columns = data.train.columns(arguments.batch)
    starts = range(0, SEGMENTS * LENGTH, LENGTH)
    stretches = (columns[:, start : start + LENGTH + 1] for start in starts)
    return [(each[:, :-1], each[:, 1:]) for each in stretches]


def ours(
    arguments: argparse.Namespace, data: TextData, method: str, *overrides: str
) -> Callable[[], float]:
    """Steps of the suite's own loop."""
    run = composed(arguments, method, *overrides)
    run.runtime.start()
    loop = run.loop(data)
    loop.model.train()
    rows = torch.arange(arguments.batch, device=run.runtime.target)
    extent = Extent(arguments.batch, arguments.batch * LENGTH)
    endless = cycle(segments(arguments, data))

    def steps() -> float:
        for _ in range(arguments.turn):
            x, y = next(endless)
            loop.step(run.runtime.begin_step(x), y, rows, extent)
        loop.check()
        return loop.loss_sum

    return steps


def bare(arguments: argparse.Namespace, data: TextData) -> Callable[[], float]:
    """Steps of the bare loop."""
    run, p = composed(arguments, PLAIN), WORD_DROPOUT
    network = bare_network(run, data)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, weight_decay=1.2e-6)
    endless, carried = cycle(segments(arguments, data)), [start(network, arguments.batch)]

    def steps() -> float:
        total = torch.zeros((), device=run.runtime.target)
        for _ in range(arguments.turn):
            with run.runtime.autocast():
                loss, state = bare_loss(network, *next(endless), carried.pop(), p)
            carried.append([(h.detach(), c.detach()) for h, c in state])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 0.25)
            optimizer.step()
            total += loss.detach()
        return total.item()

    return steps


def bare_network(run: Run, data: TextData) -> AwdLstm:
    """On its device, and neither compiled nor wrapped."""
    network = run.model(num_classes=data.num_classes, shape=())
    assert isinstance(network, AwdLstm)
    return network.to(run.runtime.target).train()


def layers(network: AwdLstm) -> Iterator[tuple[WeightDropLstm, LockedDropout]]:
    """Each LSTM, and the dropout that follows it."""
    for layer, dropout in zip(network.layers, network.dropouts, strict=True):
        assert isinstance(layer, WeightDropLstm)
        assert isinstance(dropout, LockedDropout)
        yield layer, dropout


def start(network: AwdLstm, columns: int) -> State:
    """Zeros, as at the start of a text."""
    weight = network.classifier.weight
    sizes = [layer.lstm.hidden_size for layer, _ in layers(network)]
    zeros = (weight.new_zeros(1, columns, size) for size in sizes)
    return [(each, each) for each in zeros]


def bare_loss(
    network: AwdLstm, x: Tensor, y: Tensor, state: State, p: float
) -> tuple[Tensor, State]:
    """Cross-entropy with AR and TAR of the same network, written out; p is that of words."""
    embedding, words, carried = network.classifier.weight, x.T, list[Pair]()
    kept = embedding.new_empty(len(embedding), 1).bernoulli_(1 - p) / (1 - p)
    steps = locked(F.embedding(words, embedding * kept), network.input_dropout.p)
    outputs = steps
    for (layer, dropout), pair in zip(layers(network), state, strict=True):
        lstm = layer.lstm
        to_gates, between_hidden, *biases = lstm.all_weights[0]
        weights = [to_gates, F.dropout(between_hidden, layer.p), *biases]
        h, c = (each.to(steps.dtype) for each in pair)
        outputs, h, c = torch.lstm(steps, (h, c), weights, True, 1, 0.0, True, False, False)
        carried.append((h, c))
        steps = locked(outputs, dropout.p)
    logits = F.linear(steps, embedding, network.classifier.bias).flatten(0, 1)
    loss = F.cross_entropy(logits.float(), y.T.flatten())
    changes = outputs[1:] - outputs[:-1]
    return loss + 2 * steps.float().pow(2).mean() + changes.float().pow(2).mean(), carried


def locked(x: Tensor, p: float) -> Tensor:
    """Drop the same features at every word."""
    return x * x.new_empty(1, *x.shape[1:]).bernoulli_(1 - p).div_(1 - p)


def check(arguments: argparse.Namespace, data: TextData) -> None:
    """Compare the losses of both with all dropouts off."""
    kinds = ("input", "hidden", "output", "weight")
    nothing = [*(f"model.{kind}_dropout=0" for kind in kinds), "method.word_dropout.p=0"]
    run = composed(arguments, PLAIN, *nothing)
    network, device = bare_network(run, data), run.runtime.target
    x, y = segments(arguments, data)[0]
    with run.runtime.autocast():
        assert isinstance(run.method, NextWord)
        terms = run.method(network, x, y, Rng.seeded(0, device=device), memory=Memory())
        losses = [next(terms), bare_loss(network, x, y, start(network, len(x)), 0.0)[0]]
    one, two = (loss.item() for loss in losses)
    if abs(one - two) > 1e-3 * two:
        raise RuntimeError(f"the losses differ: {one} and {two}")


def table(arguments: argparse.Namespace, seconds: Mapping[str, list[float]]) -> dict[str, Any]:
    """Print and return milliseconds per step, words per second, epochs per hour, and the ratios."""
    rows = {}
    for name, times in seconds.items():
        step = median(times) / arguments.turn
        pace = arguments.batch * LENGTH / step
        rows[name] = {"milliseconds": 1000 * step, "words_per_second": pace}
        rows[name]["epochs_per_hour"] = 3600 * pace / PTB_WORDS
    print(f"{'':12} {'ms/step':>9} {'words/s':>9} {'epochs/h':>9}")
    for name, row in rows.items():
        print(f"{name:12}" + "".join(f" {value:9.1f}" for value in row.values()))
    ratios = {
        key: median(a / b for a, b in zip(seconds[one], seconds[two], strict=True))
        for key, (one, two) in RATIOS.items()
    }
    for key, ratio in ratios.items():
        print(f"{key}: {ratio:.3f} (goal: at most {GOALS[key]})")
    return {"contenders": rows, "ratios": ratios}
