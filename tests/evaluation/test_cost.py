"""What a training step costs: which steps are timed, beside what, and that nothing else changes."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from composing import METHODS, brief, compose
from evaluation_samples import data, network, unchanged
from speech_samples import files, folder
from text_samples import SMALL as SMALL_TEXT
from text_samples import sentences
from torch import Tensor, nn
from two_ranks import on_two
from whole_runs import execute, small
from wording import says

from vicinal.cli.configs import build, recorded
from vicinal.contracts import Method, Rows
from vicinal.data.batches import Extent, Feed
from vicinal.data.decode.pool import AHEAD
from vicinal.data.size import Size
from vicinal.draws import Rng
from vicinal.errors import RunError
from vicinal.evaluation import cost as module
from vicinal.evaluation.cost import Clocked, Cost, counted
from vicinal.evaluation.evaluation import Numbers
from vicinal.loop import Loop
from vicinal.machine.runtime import Runtime
from vicinal.methods.erm import Erm
from vicinal.run import Run
from vicinal.tables.networks import counts
from vicinal.training.trial import check_measures
from vicinal.vicinities.identity import Identity

PLAIN = Erm(Identity())
BRIEF = [f"evaluation.cost.{key}=1" for key in ("warmup", "turns", "steps")]
ROWS, EPOCH, STEPS, WARMUP = 16, 100, 3, 16  # of a batch, steps of an epoch, of a turn, before all


class Feeding:
    """A hundred batches an epoch, the third of which is smaller."""

    seed, batch_size, unit = 0, ROWS, "images"

    @property
    def unlabelled(self) -> None:
        return None

    def steps(self, epoch: int) -> int:
        return EPOCH

    def first(self, epoch: int) -> int:
        return EPOCH * epoch

    def samples(self, epoch: int) -> int:
        return ROWS * EPOCH

    def extent(self, epoch: int, number: int) -> Extent:
        rows = ROWS // 2 if number == 2 else ROWS
        return Extent(rows, rows)

    def epoch(self, epoch: int, first: int, rng: Rng) -> Iterator[tuple[Tensor, Tensor, Rows]]:
        for number in range(first, EPOCH):
            rows = torch.arange(self.extent(epoch, number).rows)
            yield torch.zeros(len(rows), 3, 8, 8), torch.zeros(len(rows), 4), rows

    def more(self, count: int, rng: Rng) -> Tensor:
        raise NotImplementedError

    def trial(self, count: int, rng: Rng) -> tuple[Tensor, Tensor, Rows]:
        raise NotImplementedError


class Paced:
    """Training whose steps take known seconds by a clock that all share, `slow` times as many."""

    def __init__(
        self, clock: list[float], alone: float, fed: float, slow: Sequence[float] = (1, 1, 1)
    ) -> None:
        self.model: nn.Module = nn.Linear(1, 1)
        self.batches: Feed = Feeding()
        self.runtime, self.rng = Runtime(device="cpu"), Rng.seeded(0)
        self.steps_done, self.first, self.turn = 0, WARMUP, 0
        self.clock, self.alone, self.fed, self.slow = clock, alone, fed, (*slow, 1.0)
        self.seen: list[int] = []  # rows of steps alone

    def steps(self) -> Iterator[int]:
        for number in range(EPOCH):
            self.steps_done += 1
            ready = number < AHEAD  # decoded before it was asked for
            seconds = 0 if ready else self.fed * self.slow[self.turn - 1]
            self.clock[0] += 1e9 if self.first else seconds  # libraries try what is fastest
            self.first = max(self.first - 1, 0)
            yield ROWS

    def step(self, x: Tensor, y: Tensor, rows: Rows, extent: Extent) -> None:
        assert len(x) == len(y) == len(rows) == extent.rows
        self.clock[0] += self.alone * self.slow[self.turn]
        self.steps_done += 1
        self.seen.append(len(x))

    def check(self) -> None:
        self.turn += 1

    def close_epoch(self) -> dict[str, float]:
        return {}


def paced(monkeypatch: pytest.MonkeyPatch, plain: Paced, own: Paced) -> Numbers:
    monkeypatch.setattr(module, "perf_counter", lambda: plain.clock[0])
    cost = Cost(PLAIN, warmup=WARMUP, turns=3, steps=STEPS)

    def begin(method: Method | None) -> Paced:
        assert method in (None, PLAIN)
        return own if method is None else plain

    return cost.timed(begin)(network(), data(4), Rng.seeded(0))


def test_steps_are_timed_alone_and_fed_after_the_first_and_after_what_lay_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0.0]
    plain, own = Paced(clock, 0.5, 0.75), Paced(clock, 2.0, 3.0)
    found = paced(monkeypatch, plain, own)
    assert {name: value for name, value in found.items() if name.startswith("erm_")} == {
        "erm_step_ms": 500,
        "erm_fed_step_ms": 750,
        "erm_samples_per_second": pytest.approx(ROWS / 0.75),
        "erm_seconds_per_epoch": pytest.approx(0.75 * EPOCH),
    }
    assert (found["step_ms"], found["fed_step_ms"]) == (2000, 3000)
    assert found["samples_per_second"] == pytest.approx(ROWS / 3)
    assert found["seconds_per_epoch"] == pytest.approx(3 * EPOCH)
    assert found["time_ratio"] == found["fed_time_ratio"] == pytest.approx(4)
    assert not [name for name in found if "memory" in name]  # on a CPU


def test_a_slow_moment_changes_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, slow = [0.0], (1, 1, 100)
    found = paced(monkeypatch, Paced(clock, 0.5, 0.75, slow), Paced(clock, 2.0, 3.0, slow))
    assert (found["step_ms"], found["erm_fed_step_ms"]) == (2000, 750)
    assert found["time_ratio"] == pytest.approx(4)
    drifting = (1, 5, 25)
    found = paced(monkeypatch, Paced(clock, 0.5, 0.75, drifting), Paced(clock, 2.0, 3.0, drifting))
    assert found["time_ratio"] == found["fed_time_ratio"] == pytest.approx(4)


def test_ratios_are_those_of_one_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are 4, 2 and 4, while the ratio of the medians is 2."""
    clock = [0.0]
    plain, own = Paced(clock, 1, 1, (1, 2, 2)), Paced(clock, 4, 4, (1, 1, 2))
    found = paced(monkeypatch, plain, own)
    assert found["time_ratio"] == found["fed_time_ratio"] == pytest.approx(4)


def test_steps_alone_are_on_full_batches_and_keep_the_place_in_the_epoch() -> None:
    training = Paced([0.0], 1.0, 1.0)
    clocked = Clocked(training, torch.device("cpu"))
    clocked._alone(5)
    assert training.seen == [ROWS] * 5
    assert training.steps_done == 0


def made(*lines: str) -> Run:
    return build(compose(*small(lines), *lines))


def measured(run: Run, method: Method | None = None) -> Numbers:
    read = run.dataset.load()
    evaluation = Cost(PLAIN, warmup=1, turns=1, steps=1)
    if method is not None:
        evaluation = Cost(method, warmup=1, turns=1, steps=1)
    return evaluation.timed(lambda method: run.timed_loop(read, method))(
        run.build(read), read, Rng.seeded(0)
    )


# With surgery, an attack, memory of the data, unlabelled images, progress; the others are slow.
SOME = {"gradaug", "augmax", "knn_mixup", "mean_teacher", "scheduled_dropblock"}
EACH = [*SOME, *(pytest.param(name, marks=pytest.mark.slow) for name in {*METHODS} - SOME)]


@pytest.mark.parametrize("method", sorted(EACH, key=str))
def test_every_method_is_timed_beside_plain_training(method: str) -> None:
    run = made(f"method={method}", "schedule.epochs=0")
    object.__setattr__(run, "method", brief(run.method))
    found = measured(run)
    names = ("step_ms", "fed_step_ms", "samples_per_second", "seconds_per_epoch")
    assert {f"{kind}{name}" for kind in ("", "erm_") for name in names} < found.keys()
    assert all(value > 0 for value in found.values())


def test_the_loops_are_those_of_the_method_and_of_plain_training() -> None:
    """Each has its own network, and neither the schedule nor a rate to move it by."""
    run = made("method=augmax", "schedule=cosine", "schedule.epochs=0")
    read = run.dataset.load()
    own, plain = run.timed_loop(read), run.timed_loop(read, PLAIN)
    assert own.method == run.method
    assert plain.method == PLAIN
    assert any("auxiliary" in name for name in own.model.state_dict())
    assert not any("auxiliary" in name for name in plain.model.state_dict())
    before = [weight.detach().clone() for weight in plain.model.parameters()]
    for _ in plain.steps():
        pass
    for weight, old in zip(plain.model.parameters(), before, strict=True):
        assert torch.allclose(weight, old, atol=1e-6)
    assert own.batches.batch_size == run.schedule.batch_size


def test_the_method_is_timed_even_where_training_begins_with_another() -> None:
    lines = "method@schedule.warmup_method=erm", "schedule.warmup_method_epochs=1"
    loop = made("method=pgdat", *lines).timed_loop(made().dataset.load())
    assert loop.schedule.method(0, loop.method) is loop.method


@pytest.mark.parametrize("method", ["erm", "augmax"])
def test_networks_are_counted_as_tables_count_them(method: str) -> None:
    """DuBIN has more parameters and no more multiply-adds."""
    run = made(f"method={method}")
    read = run.dataset.load()
    config = recorded(compose(*small(()), "model=wrn10_2"))["model"]
    expected = counts(config, Size(1, 1, read.shape, read.num_classes))
    model = run.build(read)
    with unchanged(model):
        found = counted(model, read)
    assert found["multiply_adds"] == expected.multiply_adds
    trained = sum(weight.numel() for weight in model.parameters())
    assert found["parameters"] == trained
    assert (trained == expected.parameters) == (method == "erm")


def test_the_network_of_the_run_is_left_alone() -> None:
    run = made("schedule.epochs=0")
    read, model = run.dataset.load(), run.build(run.dataset.load())
    with unchanged(model):
        evaluation = Cost(PLAIN, warmup=1, turns=1, steps=1)
        evaluation.timed(lambda method: run.timed_loop(read, method))(model, read, Rng.seeded(0))


def test_a_run_of_no_epochs_is_measured_in_its_own_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Autocast around the steps would keep the weights that it cast in the first of them."""
    around, original = list[bool](), Loop.step

    def step(self: Loop, *given: object) -> None:
        around.append(torch.is_autocast_enabled("cpu"))
        original(self, *given)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(Loop, "step", step)
    lines = "evaluation=cost", *BRIEF, "schedule.epochs=0", "runtime.precision=bf16"
    record = execute(tmp_path, *lines)
    (entry,) = record["evaluations"].values()
    assert entry["epoch"] == 0
    assert entry["metrics"]["parameters"] == record["parameters"]
    assert around
    assert not any(around)


def test_a_language_model_is_timed_and_counted_by_the_word(tmp_path: Path) -> None:
    where = "dataset=text", f"dataset.root={sentences(tmp_path)}", "dataset.name=text"
    run: Run = build(compose(*where, *SMALL_TEXT, "schedule.epochs=0", "method=maxup_words"))
    plain: Run = build(compose(*where, *SMALL_TEXT, "method=next_word"))
    found = measured(run, plain.method)
    read = run.dataset.load()
    config = recorded(compose(*where, *SMALL_TEXT))["model"]
    expected = counts(config, Size(1, 1, (), read.num_classes))
    assert found["multiply_adds"] == expected.multiply_adds
    assert found["samples_per_second"] > 0
    with pytest.raises(RunError, match=says("^method ... text ... Erm")):
        run.timed_loop(read, PLAIN)


def test_a_baseline_of_another_kind_of_data_is_refused_before_training(tmp_path: Path) -> None:
    where = "dataset=text", f"dataset.root={sentences(tmp_path)}", "dataset.name=text"
    run: Run = build(compose(*where, *SMALL_TEXT, "evaluation=cost"))
    with pytest.raises(RunError, match=says("^evaluation.cost.baseline ... text ... Erm")):
        check_measures(run.clean, run.evaluation, run.dataset.load())


def test_spectrograms_are_timed_too(tmp_path: Path) -> None:
    root = folder(tmp_path, files())
    where = "dataset=speech_commands", f"dataset.root={root}", "model=wrn10_2", "runtime=cpu"
    run: Run = build(compose(*where, "schedule.batch_size=3", "method=mixup"))
    assert measured(run)["seconds_per_epoch"] > 0


def test_without_a_run_there_is_nothing_to_time() -> None:
    with pytest.raises(RunError, match=says("cost ... run")):
        Cost(PLAIN)(network(), data(4), Rng.seeded(0))


@pytest.mark.parametrize("key", ["warmup", "turns", "steps"])
def test_counts_below_one_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match=says(f"{key} ... 1 ... 0")):
        Cost(PLAIN, **{key: 0})  # pyright: ignore[reportArgumentType]


def test_ranks_find_the_same_numbers(tmp_path: Path) -> None:
    run = made("schedule.epochs=0")
    one, two = on_two(lambda: measured(run), tmp_path)
    assert one == two
    assert one["seconds_per_epoch"] > 0
