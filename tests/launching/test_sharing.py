"""Sharing finds how many runs a GPU is worth, in simulations of GPUs whose worth is known."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from vicinal.launching.gpus import Gpu, Memory
from vicinal.launching.jobs import Job, News
from vicinal.launching.sharing import Place, Sharing

Curve = Callable[[int], float]  # the speed of so many runs together, in that of one alone
TOTAL = 80_000  # MiB of a GPU


def flat_from(best: float) -> Curve:
    return lambda count: min(count, best)


@dataclass(frozen=True)
class Run:
    """What a run is like alone."""

    seconds: float = 1200.0  # of training
    rate: float = 1000.0
    compiles: float = 45.0  # seconds, in which it tells nothing
    memory: int = 4000
    evaluates: float = 40.0  # seconds after each quarter of its training, without a rate


@dataclass
class Machine:
    """GPUs that run jobs, so many seconds per tick."""

    runs: Sequence[Run]
    curve: Curve
    num_gpus: int = 1
    noise: float = 0.03
    seconds: float = 2.0
    now: float = 5000.0
    most: int = 0  # the most runs that were on a GPU
    deaths: int = 0  # out of memory
    _random: random.Random = field(default_factory=lambda: random.Random(0))

    def __post_init__(self) -> None:
        self.jobs = [Job(number, (f"seed={number}",)) for number in range(len(self.runs))]
        self.trained = [0.0] * len(self.runs)
        self.evaluated = [0.0] * len(self.runs)

    @property
    def gpus(self) -> list[Gpu]:
        return [Gpu(f"GPU-{number}") for number in range(self.num_gpus)]

    def on(self, gpu: int) -> list[Job]:
        return [job for job in self.jobs if job.running and job.device == gpu]

    def used(self, gpu: int) -> int:
        return sum(self.runs[job.number].memory for job in self.on(gpu) if job.news is not None)

    def read(self, gpus: Sequence[Gpu]) -> list[Memory | None]:
        return [Memory(TOTAL, TOTAL - self.used(gpu)) for gpu in range(len(gpus))]

    def end(self, job: Job, sharing: Sharing) -> None:
        """A job dies if it takes more memory than there is."""
        if job.device is not None and self.used(job.device) > TOTAL:
            job.ending = "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"
            self.deaths += 1
            if sharing.ended(job, self.jobs):
                self.jobs[job.number] = Job(job.number, job.overrides)

    def work(self, sharing: Sharing) -> float:
        """Run all jobs; the seconds that this took."""
        began = self.now
        while any(job.ending is None for job in self.jobs):
            waiting = [job for job in self.jobs if job.began is None]
            while waiting and (place := sharing.device(self.jobs, self.now)) is not None:
                job = waiting.pop(0)
                job.device, job.began = place.device, self.now
            assert any(job.running for job in self.jobs), "no progress"
            self.now += self.seconds
            for gpu in range(self.num_gpus):
                self.tick(self.on(gpu))
            for job in list(self.jobs):
                self.end(job, sharing)
        return self.now - began

    def tick(self, jobs: Sequence[Job]) -> None:
        self.most = max(self.most, len(jobs))
        speed = self.curve(len(jobs)) / max(1, len(jobs))
        for job in jobs:
            run, number = self.runs[job.number], job.number
            if self.now - (job.began or 0) < run.compiles:
                continue
            if self.evaluated[number] < run.evaluates * int(4 * self.trained[number] / run.seconds):
                self.evaluated[number] += speed * self.seconds
                continue
            self.trained[number] += speed * self.seconds
            rate = run.rate * speed * (1 + self._random.gauss(0, self.noise))
            job.news = News(self.trained[number] / run.seconds, rate, "images", None, "")
            if self.trained[number] >= run.seconds:
                job.ending = ""


def measured(machine: Machine) -> float:
    return machine.work(Sharing(machine.gpus, read=machine.read))


def fixed(runs: Sequence[Run], curve: Curve, places: int, num_gpus: int = 1) -> float:
    machine = Machine(runs, curve, num_gpus, seconds=20.0)
    return machine.work(Sharing(machine.gpus, places))


def mixed(number: int) -> Run:
    """One of 40 runs of many kinds, the longest first, which need the most memory."""
    rate = 300.0 * (1 + 7 * number % 40)
    return Run(3000.0 - 50 * number, rate, 20 + 3 * (number % 9), 8000 - 150 * number)


CURVES = {
    "flat": flat_from(1),
    "two": flat_from(2),
    "between": flat_from(3.5),
    "eight": flat_from(8),
    "soft": lambda count: count / (1 + 0.2 * (count - 1)),
}


@pytest.mark.parametrize(
    ("kind", "mixture"),
    [
        *(("flat", False), ("two", True), ("between", False)),
        *(("eight", False), ("eight", True), ("soft", False)),
    ],
)
def test_a_plan_is_nearly_as_fast_as_with_the_best_number_of_runs_at_once(
    kind: str, mixture: bool
) -> None:
    alike = Run(600.0 if kind == "flat" else 1200.0)
    runs = [mixed(number) if mixture else alike for number in range(40)]
    memory = max(run.memory for run in runs)
    fits = [count for count in (2, 4, 8, 16, 20) if count * memory <= TOTAL]
    machine = Machine(runs, CURVES[kind])
    assert measured(machine) <= min(fixed(runs, CURVES[kind], k) for k in fits) / 0.9
    assert machine.deaths == 0
    assert all(job.ending == "" for job in machine.jobs)


def test_several_gpus_are_filled_alike() -> None:
    machine = Machine([Run(2400.0)] * 40, flat_from(4), num_gpus=2)
    assert measured(machine) <= fixed(machine.runs, flat_from(4), 4, 2) / 0.9
    assert {job.device for job in machine.jobs[:4]} == {0, 1}


def test_more_memory_than_there_is_is_never_asked_for() -> None:
    machine = Machine([Run(memory=21_000)] * 12, flat_from(8))
    measured(machine)
    assert (machine.most, machine.deaths) == (3, 0)  # two more than two would be one too many


def test_a_run_out_of_memory_closes_a_place_and_starts_again() -> None:
    runs = [Run(memory=8000)] * 8 + [Run(memory=36_000)] * 8
    machine = Machine(runs, flat_from(8))
    measured(machine)
    assert 0 < machine.deaths < 8
    assert all(job.ending == "" for job in machine.jobs)


def test_a_run_alone_that_lacks_memory_is_not_started_again() -> None:
    sharing = Sharing([Gpu("GPU-0")], 4)
    dead = Job(0, (), 0, 0.0, None, "OutOfMemoryError: CUDA out of memory.")
    others = [Job(k, (), 0, 0.0) for k in range(1, 4)]
    assert not sharing.ended(dead, [dead])
    assert sharing.device([dead, others[0]], 1.0) is None  # one place is left, which is taken
    again = Sharing([Gpu("GPU-0")], 4)
    assert again.ended(dead, [dead, *others])
    assert again.device([dead, *others], 1.0) is None
    assert again.device([dead, *others[1:]], 1.0) == Place(0, {"CUDA_VISIBLE_DEVICES": "GPU-0"})
    wrong = Job(0, (), 0, 0.0, None, "ValueError: no")
    assert not again.ended(wrong, [wrong, *others])


def test_a_given_number_per_gpu_is_kept() -> None:
    machine = Machine([Run(300.0)] * 12, flat_from(1), num_gpus=2)
    machine.work(Sharing(machine.gpus, 3))
    assert machine.most == 3


def test_a_gpu_whose_memory_is_unknown_runs_one_at_a_time() -> None:
    machine = Machine([Run(300.0)] * 4, flat_from(8))
    machine.work(Sharing(machine.gpus, read=lambda gpus: [None for _ in gpus]))
    assert machine.most == 1


def test_a_slow_start_is_neither_a_reason_for_more_nor_against() -> None:
    """Rates that climb after compilation, and silence during it, leave the number as it is."""
    sharing = Sharing([Gpu("GPU-0")], read=lambda _: [Memory(TOTAL, TOTAL)])
    job = Job(0, ())
    assert sharing.device([job], 0.0) is not None
    job.device, job.began = 0, 0.0
    for second in range(1, 60):
        assert sharing.device([job], float(second)) is None  # silent
    for second in range(60, 150):
        job.news = News(0.1, 1.05 ** (second - 60), "images", None, "")
        assert sharing.device([job], float(second)) is None  # climbing
    places = []
    for second in range(150, 200):
        job.news = News(0.2, 80.0, "images", None, "")
        places.append(sharing.device([job], float(second)))
        if places[-1] is not None:
            break
    assert places[-1] is not None  # steady


def test_places_that_bring_nothing_are_closed() -> None:
    machine = Machine([Run()] * 4, flat_from(1))
    measured(machine)
    assert machine.most == 2


def test_a_run_in_a_long_evaluation_holds_up_no_measurement() -> None:
    sharing = Sharing([Gpu("GPU-0")], read=lambda _: [Memory(TOTAL, TOTAL - 8000)])
    jobs = [Job(number, ()) for number in range(3)]
    for second in range(300):
        waiting = [job for job in jobs if job.began is None]
        if waiting and (place := sharing.device(jobs, float(second))) is not None:
            waiting[0].device, waiting[0].began = place.device, float(second)
        if jobs[0].running:
            jobs[0].news = News(0.1, 100.0, "images", None, "")
        if jobs[1].began is not None and jobs[1].news is None:
            jobs[1].news = News(0.9, 100.0, "images", None, "")  # its last, then it evaluates
    assert all(job.running for job in jobs)
