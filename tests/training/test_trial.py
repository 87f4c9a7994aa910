"""What would end a run late is found out before it trains, and finding it out changes nothing."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from composing import EVERY, METHODS, compose
from torch import Tensor
from wording import says

from vicinal.cli.configs import build, check
from vicinal.cli.sweeps import Search
from vicinal.errors import RunError, SearchError
from vicinal.evaluation.clean import Clean
from vicinal.evaluation.perplexity import Perplexity
from vicinal.loop import Loop
from vicinal.machine import ranks
from vicinal.run import Run
from vicinal.training.trial import check_ranks, check_search, rehearse, smallest_piece

DIGITS = "dataset=digits", "dataset.size=8", "dataset.train_per_class=1", "runtime=cpu"


def loop(*overrides: str) -> Loop:
    config = compose(*overrides)
    check(config)
    run: Run = build(config)
    data = run.dataset.load()
    return run.loop(replace(data, unlabelled=data.test))


def tensors(node: Any) -> list[Tensor]:
    if isinstance(node, Mapping | list):
        values = node.values() if isinstance(node, Mapping) else node
        return [each for value in values for each in tensors(value)]
    return [node.clone()] if isinstance(node, Tensor) else []


@pytest.mark.parametrize("method", METHODS)
def test_weights_statistics_and_generators_stay_as_they_are(method: str) -> None:
    trained = loop(*DIGITS, "model=wrn10_2", f"method={method}", "optimizer.ema_decay=0.9")
    before = tensors(trained.state())
    rehearse(trained)
    after = tensors(trained.state())
    assert len(before) > 50
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(p.grad is None for p in trained.model.parameters())


@pytest.mark.parametrize(("batch_size", "refused"), [(9, True), (3, True), (5, False), (4, False)])
def test_a_last_batch_of_one_is_refused_where_the_network_fails_on_it(
    batch_size: int, refused: bool
) -> None:
    """Ten samples; the last map of this network is 1 x 1."""
    given = "model=timm", "model.name=test_resnet", f"schedule.batch_size={batch_size}"
    trained = loop(*DIGITS, *given)
    if not refused:
        rehearse(trained)
        return
    rule = says(f"^schedule.batch_size ... {batch_size} ... 10")
    with pytest.raises(RunError, match=rule):
        rehearse(trained)
    rehearse(loop(*DIGITS, "model=wrn10_2", f"schedule.batch_size={batch_size}"))


@pytest.mark.parametrize(
    ("batch_size", "count", "smallest"), [(10, 2, 5), (9, 2, 1), (8, 2, 1), (8, 4, 2), (6, 3, 1)]
)
def test_a_ranks_share_counts(
    batch_size: int, count: int, smallest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = loop(*DIGITS, "model=mlp", f"schedule.batch_size={batch_size}")
    monkeypatch.setattr(ranks, "world_size", lambda: count)
    assert smallest_piece(trained.batches) == smallest


@pytest.mark.parametrize(
    ("batch_size", "accumulate", "smallest"), [(10, 5, 2), (9, 3, 1), (6, 2, 2), (6, 3, 1)]
)
def test_the_smallest_piece_counts(batch_size: int, accumulate: int, smallest: int) -> None:
    """Ten samples: the last batch has 10, 1, 4 and 4."""
    trained = loop(*DIGITS, "model=mlp", f"schedule.batch_size={batch_size}")
    assert smallest_piece(trained.batches, accumulate) == smallest


def test_a_piece_of_one_is_refused_where_the_network_fails_on_it() -> None:
    given = "model=timm", "model.name=test_resnet", "schedule.batch_size=6"
    rehearse(loop(*DIGITS, *given, "runtime.accumulate=2"))
    with pytest.raises(RunError, match=says("^schedule.batch_size ... 3 pieces ... accumulate")):
        rehearse(loop(*DIGITS, *given, "runtime.accumulate=3"))


@pytest.mark.parametrize(
    ("count", "rule"),
    [
        (1, "^runtime.accumulate ... 12 samples of a batch, got 5"),
        (2, "^runtime.accumulate ... 6 samples of a batch of each rank, got 5"),
    ],
)
def test_pieces_of_different_sizes_are_refused(
    count: int, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranks, "world_size", lambda: count)
    monkeypatch.setattr(ranks, "all_gather_object", lambda mine: [mine] * count)
    with pytest.raises(ValueError, match=says(rule)):
        check_ranks(12, 5, Path("run"))
    check_ranks(12, 6, Path("run"))


def test_the_warmup_method_is_rehearsed_too() -> None:
    warm = "method@schedule.warmup_method=dropblock", "schedule.warmup_method_epochs=1"
    with pytest.raises(ValueError, match=says("^method.block_size ... 7 ... 4 x 4")):
        rehearse(loop(*DIGITS, "model=wrn10_2", "method=erm", *warm, "dataset.size=4"))


def test_what_other_libraries_raise_is_one_line() -> None:
    """GradAug resizes, and a transformer takes one size."""
    given = "model=timm", "model.name=test_vit", "method=gradaug_depth", "dataset.size=32"
    trained = loop(*DIGITS, *given)
    with pytest.raises(RunError, match=says("^method ... model ... dataset ... AssertionError")):
        rehearse(trained)


VECTORS = {"erm", "gauss", "knn_mixup", "label_smoothing", "manifold_mixup", "maxup_gauss"}
VECTORS |= {"maxup_mixup", "mean_teacher", "mixup"}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vectors") / "vectors.npz"
    x, y = np.random.default_rng(0).normal(size=(31, 6)), np.arange(31) % 3
    np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y)
    return path


@pytest.mark.parametrize("method", EVERY)
def test_every_method_trains_on_vectors_or_is_refused_in_one_line(method: str, table: Path) -> None:
    given = "dataset=tabular", f"dataset.table={table}", "model=mlp", "runtime=cpu"
    if method not in VECTORS:
        with pytest.raises((RunError, ValueError), match=r"\A(method|model|places|inputs)\b.*\Z"):
            rehearse(loop(*given, f"method={method}"))
        return
    trained = loop(*given, f"method={method}", "schedule.batch_size=10")
    rehearse(trained)
    for samples in trained.steps():
        assert samples in (10, 1)
    assert trained.close_epoch()["train_loss"] < 3


CLEAN, PERPLEXITY = Clean(batch_size=1), Perplexity(columns=1, bptt=1)


@pytest.mark.parametrize(
    ("clean", "directions", "refused"),
    [
        (CLEAN, ("maximize",), None),
        (CLEAN, ("minimize",), "maximize, got minimize ... accuracy"),
        (CLEAN, ("maximize", "minimize"), "maximize, got maximize, minimize"),
        (CLEAN, (), None),
        (PERPLEXITY, ("minimize",), None),
        (PERPLEXITY, ("maximize",), "minimize, got maximize ... perplexity"),
    ],
)
def test_a_search_for_the_worst_is_refused(
    clean: Any, directions: tuple[str, ...], refused: str | None
) -> None:
    dataset = build(compose(*DIGITS, "dataset.holdout_per_class=1")).dataset
    arguments = Search("optuna", directions), dataset, clean, dataset.load()
    if refused is None:
        check_search(*arguments)
        return
    with pytest.raises(SearchError, match=says(f"hydra.sweeper.direction must be {refused}")):
        check_search(*arguments)


@pytest.mark.parametrize(
    ("dataset", "way"),
    [("digits", "dataset.holdout_per_class=N"), ("uci_iris", "no setting of this dataset")],
)
def test_a_search_on_test_numbers_is_refused_with_the_way_out(dataset: str, way: str) -> None:
    made = build(compose(f"dataset={dataset}")).dataset
    arguments = made, CLEAN, made.load()
    check_search(None, *arguments)
    with pytest.raises(SearchError, match=says(f"basic ... got optuna ... hold-out ... {way}")):
        check_search(Search("optuna", ("maximize",)), *arguments)
