"""One screen tells of hundreds of runs: what runs where, how fast, and how long it will take."""

import io
import re

import pytest
from rich.console import Console

from vicinal.launching.jobs import Job, News
from vicinal.launching.names import short_names
from vicinal.launching.screen import Screen, plan_left

METHODS = ("erm", "maxup_cutmix", "patchup_soft")


def plan(seeds: int = 100) -> list[Job]:
    """A plan of three methods by so many seeds; none has begun."""
    kinds = [(method, seed) for seed in range(seeds) for method in METHODS]
    return [
        Job(number, ("dataset=cifar10", f"method={method}", "schedule.epochs=200", f"seed={seed}"))
        for number, (method, seed) in enumerate(kinds)
    ]


def start(job: Job, device: int, done: float = 0.25, left: float | None = 5400.0) -> None:
    job.began, job.device = 0.0, device
    job.news = News(done, 12_345.0, "images", left, "")


def screen(width: int, height: int = 30, terminal: bool = True) -> tuple[Screen, io.StringIO]:
    file = io.StringIO()
    console = Console(
        file=file, force_terminal=terminal, width=width, height=height, _environ={"TERM": "xterm"}
    )
    return Screen(console), file


def picture(jobs: list[Job], now: float, width: int, height: int = 30) -> list[str]:
    """The first picture, without what moves the cursor."""
    shown, file = screen(width, height)
    with shown:
        shown.show(jobs, now)
        text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", file.getvalue())
    return [line.rstrip() for line in text.splitlines()]


def test_a_picture_of_80_columns() -> None:
    jobs = plan()
    start(jobs[0], 0)
    start(jobs[1], 0, 0.5, None)
    jobs[2].began, jobs[2].device = 1750.0, 1
    # A run takes 1,800 + 5,400 s: 5,400 + 5,400 + 7,150 s and 297 such runs, in three places.
    assert picture(jobs, 1800.0, 80) == [
        "3 running, 297 waiting  24,690 images/s  8 d 07 h left",
        "all: dataset=cifar10 schedule.epochs=200",
        "#0   erm seed=0            gpu 0    25 %  12,345 images/s  1 h 30 min left",
        "#1   maxup_cutmix seed=0   gpu 0    50 %  12,345 images/s  ? left",
        "#2   patchup_soft seed=0   gpu 1   starts",
    ]


def test_a_picture_of_120_columns_has_bars() -> None:
    jobs = plan()
    start(jobs[1], 3, 0.25)
    assert picture(jobs, 1800.0, 120)[-1] == (
        "#1   method=maxup_cutmix seed=0   gpu 3   ━━━━━───────────────   25 %  "
        "12,345 images/s  1 h 30 min left"
    )


@pytest.mark.parametrize("width", [80, 120])
def test_more_runs_than_lines_are_counted_and_no_line_is_too_long(width: int) -> None:
    jobs = plan()
    for job in jobs[:40]:
        start(job, job.number // 5)
    lines = picture(jobs, 1800.0, width, height=12)
    assert lines[-1] == "and 32 more"
    assert len(lines) == 11
    assert max(map(len, lines)) <= width


def test_nothing_is_promised_before_anything_is_known() -> None:
    jobs = plan(1)
    assert picture(jobs, 0.0, 80)[0] == "3 waiting  ? left"


def test_the_plans_time_left_is_that_of_its_runs_over_its_places() -> None:
    jobs = plan(4)
    for job in jobs[:4]:
        start(job, 0, left=None)
    assert plan_left(jobs, [], 500.0) is None
    # A run that finished after 1,000 s says how long the others take: 500 s more, and 8 waiting.
    assert plan_left(jobs, [1000.0], 500.0) == pytest.approx((4 * 500 + 8 * 1000) / 4)
    start(jobs[0], 0, left=2500.0)  # 3,000 s in all: the mean is 2,000 s
    expected = (2500 + 3 * 1500 + 8 * 2000) / 4
    assert plan_left(jobs, [1000.0], 500.0) == pytest.approx(expected)
    last = jobs[:1]
    assert plan_left(last, [10.0] * 50, 500.0) == pytest.approx(2500.0)
    last[0].ending = ""
    assert plan_left(last, [10.0], 500.0) == 0.0


def test_a_pipe_gets_a_line_per_end_and_one_of_state_per_minute(
    capsys: pytest.CaptureFixture[str],
) -> None:
    jobs = plan(1)
    shown, file = screen(80, terminal=False)
    with shown:
        for second in range(0, 150):
            if second == 10:
                start(jobs[0], 0, left=90.0)
                start(jobs[1], 0, left=90.0)
            if second == 100:
                jobs[0].ending = ""
                jobs[1].ending = "ValueError: no (log: a.log)"
            shown.show(jobs, float(second))
    assert capsys.readouterr().out.splitlines() == [
        "2 running, 1 waiting  24,690 images/s  3 min left",
        "#0   method=erm  finished after 2 min",
        "#1   method=maxup_cutmix  failed after 2 min: ValueError: no (log: a.log)",
        "1 done, 1 waiting, 1 failed  2 min left",
    ]
    assert file.getvalue() == ""


def test_long_names_keep_what_tells_them_apart() -> None:
    jobs = [
        (
            "dataset=cifar100",
            f"model={model}",
            "+evaluation=[clean,corrupted]",
            f"method={method}",
            f"method.vicinity.alpha={alpha}",
            f"seed={seed}",
        )
        for model in ("wrn28_10", "preactresnet18")
        for method, alpha in (("mixup", 0.1), ("manifold_mixup_with_a_long_name", 2.0))
        for seed in range(2)
    ]
    assert short_names(jobs, 100)[0] == "model=wrn28_10 method=mixup alpha=0.1 seed=0"
    wide, narrow = short_names(jobs, 70), short_names(jobs, 34)
    assert wide[7] == "preactresnet18 manifold_mixup_with_a_long_name alpha=2.0 seed=1"
    assert narrow[7] == "preactresnet18 alpha=2.0 seed=1"
    assert len(set(narrow)) == len(jobs)
    tiny = short_names(jobs, 12)
    assert max(map(len, tiny)) == 12
    assert tiny[7] == "preact…eed=1"
    assert short_names([("seed=0",)], 20) == ["seed=0"]
