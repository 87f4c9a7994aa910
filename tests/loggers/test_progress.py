"""Progress says true things about a run, at the cost of microseconds, and waits for no device."""

import io
import re
import sys
import time

import pytest
from rich.console import Console

from vicinal.loggers.news import EVERY, News, Recent
from vicinal.loggers.progress import Progress, Rate, duration


class Clock:
    """Time that only the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def plain(clock: Clock, epochs: int, steps: int, start: int = 0) -> Progress:
    console = Console(file=io.StringIO())  # no terminal
    return Progress(
        epochs=epochs, steps_per_epoch=steps, start_step=start, clock=clock, console=console
    )


def train_epoch(progress: Progress, clock: Clock, steps: int, seconds: float) -> None:
    for _ in range(steps):
        clock.now += seconds
        progress.step(128)


def test_a_log_file_gets_one_line_an_epoch(capsys: pytest.CaptureFixture[str]):
    clock = Clock()
    with plain(clock, 200, 10) as progress:
        for epoch, top1 in ((1, 50.0), (2, 60.5)):
            train_epoch(progress, clock, 10, 0.5)
            clock.now += 1.0  # evaluation
            progress.epoch(epoch, {"train_loss": 0.4124, "test_top1": top1, "lr": 0.1})
    # 6 s an epoch, 198 epochs to go; the images' rate is that of training alone.
    assert capsys.readouterr().out.splitlines() == [
        "epoch   1/200  loss 0.412  test 50.00 %  256 images/s  20 min left",
        "epoch   2/200  loss 0.412  test 60.50 %  256 images/s  20 min left",
    ]


def test_the_last_line_is_done_and_a_hold_out_is_shown(capsys: pytest.CaptureFixture[str]):
    clock = Clock()
    with plain(clock, 1, 2) as progress:
        train_epoch(progress, clock, 2, 1.0)
        progress.epoch(1, {"train_loss": 2.0, "test_top1": 10.0, "valid_top1": 11.0})
    assert capsys.readouterr().out == (
        "epoch 1/1  loss 2.000  valid 11.00 %  test 10.00 %  128 images/s  done\n"
    )


@pytest.mark.parametrize("done", [0, 45, 70])
def test_time_left_counts_from_where_the_run_resumed(done: int):
    clock = Clock()
    rate = Rate(done, 100, clock)
    assert rate.seconds_left is None
    for _ in range(10):
        clock.now += 3.0
        rate.step(1)
    assert rate.seconds_left == pytest.approx(3.0 * (100 - done - 10))


def test_a_launcher_is_told_twice_per_second_of_the_speed_without_evaluation():
    clock, told = Clock(), list[News]()
    progress = plain(clock, 2, 100)
    progress.listener = told.append
    train_epoch(progress, clock, 100, 0.1)
    clock.now += 50.0  # evaluation
    progress.epoch(1, {"test_top1": 25.0})
    first = len(told)
    assert 10 / EVERY * 0.8 <= first <= 10 / EVERY + 1
    train_epoch(progress, clock, 100, 0.2)
    assert [each.rate for each in told[5:first]] == pytest.approx([1280.0] * (first - 5))
    assert min(each.rate for each in told) >= 639.0  # right after the evaluation, too
    assert told[-1].rate == pytest.approx(640.0)  # of the last seconds alone
    assert (told[first - 1].done, told[-1].done) == pytest.approx((0.5, 1.0), abs=0.03)
    assert told[-1].unit == "images"
    assert "epoch 2/2" in told[-1].line
    assert "test 25.00 %" in told[-1].line


def test_the_speed_counts_no_time_before_the_first_step_of_an_epoch_but_its_own():
    recent = Recent(0.0)
    assert recent.step(1.0, 100)
    recent.resume(61.0)
    assert recent.step(62.0, 100)
    assert recent.per_second == pytest.approx(100.0)


def test_a_slow_first_epoch_is_forgotten():
    clock = Clock()
    rate = Rate(0, 1000, clock)
    for epoch in range(10):
        clock.now += 600.0 if epoch == 0 else 10.0
        for _ in range(10):
            rate.step(1)
        rate.end_epoch()
    assert rate.seconds_left == pytest.approx(900 * 1.0)


def test_evaluation_is_in_the_time_left_and_not_in_the_rate():
    clock = Clock()
    rate = Rate(0, 40, clock)
    for _ in range(10):
        clock.now += 1.0
        rate.step(100)
    clock.now += 10.0
    rate.end_epoch()
    assert rate.per_second == pytest.approx(100.0)
    assert rate.seconds_left == pytest.approx(30 * 2.0)


def on_terminal(clock: Clock, start: int = 0, width: int = 200) -> tuple[Progress, io.StringIO]:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=width, _environ={"TERM": "xterm"})
    progress = Progress(
        epochs=3, steps_per_epoch=10, start_step=start, clock=clock, console=console
    )
    return progress, screen


def frames(screen: io.StringIO) -> list[str]:
    """What stood on the screen, one after the other."""
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue())
    return [frame for frame in re.split(r"[\r\n]+", text) if "epoch" in frame]


def test_a_terminal_shows_where_the_whole_run_stands():
    clock = Clock()
    progress, screen = on_terminal(clock)
    with progress:
        train_epoch(progress, clock, 10, 1.0)
        progress.epoch(1, {"train_loss": 0.5, "test_top1": 90.0})
        train_epoch(progress, clock, 4, 1.0)
    expected = "epoch 2/3  step 4/10  loss 0.500  test 90.00 %  128 images/s  16 s left"
    assert frames(screen)[-1].endswith(expected)


@pytest.mark.parametrize("stdout_too", [True, False])
def test_the_lines_of_epochs_stay_above_the_bar_or_go_to_the_file(
    stdout_too: bool, monkeypatch: pytest.MonkeyPatch
):
    clock, file = Clock(), io.StringIO()
    monkeypatch.setattr(file, "isatty", lambda: stdout_too)
    monkeypatch.setattr(sys, "stdout", file)
    progress, screen = on_terminal(clock)
    with progress:
        for epoch in (1, 2, 3):
            train_epoch(progress, clock, 10, 1.0)
            progress.epoch(epoch, {"test_top1": 90.0 + epoch})
    lines = [
        "epoch 1/3  test 91.00 %  128 images/s  20 s left",
        "epoch 2/3  test 92.00 %  128 images/s  10 s left",
        "epoch 3/3  test 93.00 %  128 images/s  done",
    ]
    left = on_screen(screen) if stdout_too else file.getvalue().splitlines()
    assert left == lines
    assert file.getvalue() == "" or not stdout_too


def on_screen(screen: io.StringIO) -> list[str]:
    """The lines that are left on the screen, as a terminal moves up and erases."""
    lines, row = [""], 0
    for token in re.findall(r"\x1b\[[0-9;?]*[a-zA-Z]|\n|[^\x1b\n]+", screen.getvalue()):
        if token == "\n":
            lines, row = [*lines, ""], row + 1
        elif token == "\x1b[1A":
            row -= 1
        elif token == "\x1b[2K":
            lines[row] = ""
        elif not token.startswith("\x1b"):
            lines[row] += token.strip("\r")
    return [line.rstrip() for line in lines if line.strip()]


def test_a_long_first_epoch_is_told_of_once_it_can_be_estimated(capsys: pytest.CaptureFixture[str]):
    clock = Clock()
    with plain(clock, 200, 1000) as progress:
        train_epoch(progress, clock, 1, 600.0)  # compiles
        train_epoch(progress, clock, 14, 2.0)
        assert capsys.readouterr().out == ""  # of 28 seconds
        train_epoch(progress, clock, 20, 2.0)
    # 199,984 steps are left.
    assert capsys.readouterr().out == "about 4 d 15 h for epochs 1 to 200 at 64 images/s\n"


def test_of_a_run_that_was_resumed_the_rest_is_estimated(capsys: pytest.CaptureFixture[str]):
    clock = Clock()
    with plain(clock, 10, 100, start=850) as progress:
        train_epoch(progress, clock, 16, 2.0)
    assert capsys.readouterr().out == "about 4 min for epochs 9 to 10 at 64 images/s\n"


def test_nothing_is_estimated_once_an_epoch_was_told(capsys: pytest.CaptureFixture[str]):
    clock = Clock()
    with plain(clock, 2, 10) as progress:
        train_epoch(progress, clock, 10, 1.0)
        progress.epoch(1, {})
        train_epoch(progress, clock, 10, 60.0)
    assert "about" not in capsys.readouterr().out


def test_a_resumed_run_starts_its_bar_in_the_middle():
    progress, screen = on_terminal(Clock(), start=14)
    with progress:
        pass
    assert "epoch 2/3  step 4/10" in frames(screen)[0]


def test_a_finished_run_ends_on_its_last_step():
    clock = Clock()
    progress, screen = on_terminal(clock)
    with progress:
        train_epoch(progress, clock, 30, 1.0)
        progress.epoch(3, {})
    assert "epoch 3/3  step 10/10" in frames(screen)[-1]
    assert frames(screen)[-1].rstrip().endswith("done")


def test_a_narrow_terminal_keeps_it_on_one_line():
    clock = Clock()
    progress, screen = on_terminal(clock, width=40)
    with progress:
        train_epoch(progress, clock, 10, 1.0)
    assert all(len(frame) <= 40 for frame in frames(screen))
    assert screen.getvalue().count("\n") == 1


def test_a_terminal_is_drawn_twice_a_second_at_most():
    clock = Clock()
    progress, screen = on_terminal(clock)
    with progress:
        before = len(frames(screen))
        for _ in range(25):
            clock.now += 0.1
            progress.step(1)
        assert len(frames(screen)) - before <= 6


def test_the_cursor_comes_back_when_the_run_fails():
    progress, screen = on_terminal(Clock())
    with pytest.raises(RuntimeError), progress:
        raise RuntimeError
    assert screen.getvalue().rfind("\x1b[?25h") > screen.getvalue().rfind("\x1b[?25l")


def test_disabled_it_says_nothing(capfd: pytest.CaptureFixture[str]):
    with Progress(epochs=1, steps_per_epoch=1, enabled=False) as progress:
        progress.step(1)
        progress.epoch(1, {"train_loss": 1.0})
    assert capfd.readouterr() == ("", "")


def test_a_step_costs_microseconds():
    clock = Clock()
    for progress in (plain(clock, 10**6, 10), on_terminal(clock)[0]):
        with progress:
            progress.step(1)
            best = min(_seconds(progress) for _ in range(5))
        assert best < 200e-6  # about 1 µs, and the checks of types; drawing the bar takes 600


def _seconds(progress: Progress) -> float:
    began = time.thread_time()  # what others do on the machine is not counted
    for _ in range(200):
        progress.step(1)
    return (time.thread_time() - began) / 200


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (1380, "23 min"),
        (3599, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (86399, "1 d 00 h"),
        (273600, "3 d 04 h"),
    ],
)
def test_durations_carry_over(seconds: float, text: str):
    assert duration(seconds) == text
