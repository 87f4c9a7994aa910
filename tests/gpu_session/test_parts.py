"""The parts of a GPU session: none can stop the next, and all end within the budget."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from gpu_session.parts import Part, complete, run
from gpu_session.pool import Pool
from gpu_session.processes import REPORTS, Child, environment
from wording import says

# Says something, starts a process that would outlive it, and hangs.
HANGS = """
import subprocess, sys, time
held = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("started", held.pid, flush=True)
time.sleep(600)
"""
# Writes a result for each item; `hang` and `die` do what they say.
WORKS = """
import json, os, pathlib, sys, time
for line in sys.stdin:
    item = line.strip()
    print(item, "...", flush=True)
    if item == "die":
        os._exit(3)
    if item == "hang":
        time.sleep(600)
    path = pathlib.Path(sys.argv[1], item + ".json")
    path.with_suffix(".new").write_text(json.dumps({"by": os.getpid()}))
    path.with_suffix(".new").rename(path)
"""


def child(code: str, out: Path, *words: str) -> Child:
    return Child([sys.executable, "-c", code, *words], out / "log", os.environ)


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def notes(out: Path, *parts: Part, budget: float = 60.0) -> dict[str, Any]:
    run(parts, out, budget, lambda: None)
    return json.loads((out / "parts.json").read_text())


def within(code: str, out: Path, seconds: float) -> Callable[[float], None]:
    """A part that is one process, which has so long."""
    return lambda deadline: complete(child(code, out), min(deadline, monotonic() + seconds))


def test_a_part_that_hangs_is_killed_with_what_it_started_and_the_next_runs(tmp_path: Path) -> None:
    ran: list[str] = []
    hangs = Part("hangs", within(HANGS, tmp_path, 3.0), weight=1)
    found = notes(tmp_path, hangs, Part("next", lambda _: ran.append("next"), weight=1))
    assert ran == ["next"]
    assert found["hangs"]["state"] == "failed"
    assert re.search(says("killed ... 3 s"), found["hangs"]["reason"])
    held = int(found["hangs"]["tail"].split()[-1])
    assert not alive(held)
    assert found["next"]["state"] == "ended"


def test_a_part_that_crashes_is_reported_with_its_last_lines_and_the_next_runs(
    tmp_path: Path,
) -> None:
    crash = within("raise SystemError('out of order')", tmp_path, 30.0)

    def wrong(_: float) -> None:
        raise KeyError("a mistake of ours")

    parts = Part("crashes", crash, weight=1), Part("wrong", wrong, weight=1)
    found = notes(tmp_path, *parts, Part("next", lambda _: None, weight=1))
    assert re.search(says("code 1"), found["crashes"]["reason"])
    assert found["crashes"]["tail"].endswith("SystemError: out of order")
    assert (found["wrong"]["state"], found["wrong"]["reason"]) == ("failed", "KeyError")
    assert "a mistake of ours" in found["wrong"]["tail"]
    assert found["next"]["state"] == "ended"


def test_a_summary_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    written: list[int] = []

    def write() -> None:
        written.append(1)
        raise OSError("no space left on device")

    run([Part("a", lambda _: None), Part("b", lambda _: None, reserve=0)], tmp_path, 60, write)
    assert len(written) == 2


def test_time_is_divided_by_weight_and_what_one_leaves_is_the_others(tmp_path: Path) -> None:
    given: dict[str, float] = {}

    def take(name: str, deadline: float) -> None:
        given[name] = deadline - monotonic()

    parts = [
        Part("quick", partial(take, "quick"), weight=1),
        Part("third", partial(take, "third"), weight=1),
        Part("greedy", partial(take, "greedy"), weight=2, reserve=10),
    ]
    notes(tmp_path, *parts, budget=101)
    assert 24 < given["quick"] <= 25
    assert 32 < given["third"] <= 100 / 3
    assert 85 < given["greedy"] <= 90


def test_the_budget_is_kept_and_what_it_does_not_reach_is_named(tmp_path: Path) -> None:
    forever = Part(
        "forever", lambda deadline: complete(child(HANGS, tmp_path), deadline), reserve=0
    )
    began = monotonic()
    found = notes(tmp_path, forever, Part("late", lambda _: None, reserve=0), budget=3)
    assert monotonic() - began < 3 + 1
    assert found["forever"]["state"] == "failed"
    late = {"state": "not started", "reason": "the budget was spent"}
    assert late.items() <= found["late"].items()


TERMINATED = """
import os, pathlib, sys
from gpu_session.parts import Part, leave_on_sigterm, run, complete
from gpu_session.processes import Child
leave_on_sigterm()
out, hangs = pathlib.Path(sys.argv[1]), [sys.executable, "-c", sys.argv[2]]
part = Part("hangs", lambda deadline: complete(Child(hangs, out / "log", os.environ), deadline))
run([part], out, 600, lambda: None)
"""


def test_sigterm_ends_what_is_running(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TERMINATED, str(tmp_path), HANGS]
    script = subprocess.Popen(command, env=environment(tmp_path))
    log, deadline = tmp_path / "log", monotonic() + 60
    while not (log.exists() and log.read_text()) and monotonic() < deadline:
        sleep(0.01)
    script.terminate()
    script.terminate()
    assert script.wait() == 128 + signal.SIGTERM
    assert not alive(int(log.read_text().split()[-1]))


def test_what_ends_by_itself_leaves_nothing_running(tmp_path: Path) -> None:
    leaves = HANGS.replace("time.sleep(600)\n", "raise SystemExit(7)\n")
    with child(leaves, tmp_path) as quits:
        assert quits.wait(monotonic() + 30) == 7
        held = int(quits.tail.split()[-1])
    deadline = monotonic() + 10
    while alive(held) and monotonic() < deadline:
        sleep(0.01)
    assert not alive(held)


def pool(out: Path, timeout: float = 3.0) -> Pool:
    command = [sys.executable, "-c", WORKS, str(out / "items")]
    return Pool(command, out / "items", os.environ, out / "logs", timeout)


def results(out: Path) -> dict[str, Any]:
    return {path.stem: json.loads(path.read_text()) for path in (out / "items").glob("*.json")}


def test_items_that_hang_or_kill_their_worker_cost_no_other(tmp_path: Path) -> None:
    pool(tmp_path).work(["a", "hang", "b", "die", "c"], 1, monotonic() + 60)
    found = results(tmp_path)
    assert re.search(says("hung ... killed ... 3 s"), found["hang"]["error"])
    assert found["hang"]["tail"].endswith("hang ...")
    assert re.search(says("code 3"), found["die"]["error"])
    assert [sorted(found[item]) for item in "abc"] == [["by"]] * 3
    assert len({found[item]["by"] for item in "abc"}) == 3


def test_what_was_measured_is_kept_and_what_failed_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "items").mkdir()
    (tmp_path / "items" / "a.json").write_text('{"by": "an earlier day"}')
    (tmp_path / "items" / "b.json").write_text('{"error": "hung"}')
    pool(tmp_path).work(["a", "b"], 2, monotonic() + 60)
    found = results(tmp_path)
    assert found["a"] == {"by": "an earlier day"}
    assert isinstance(found["b"]["by"], int)


def test_a_pool_ends_with_its_time(tmp_path: Path) -> None:
    pool(tmp_path, timeout=100).work(["hang", "never"], 1, monotonic() + 1)
    found = results(tmp_path)
    assert found.keys() == {"hang"}
    assert re.search(says("stopped ... time"), found["hang"]["error"])
    assert found["hang"]["late"]


def test_a_worker_that_cannot_start_fails_each_item(tmp_path: Path) -> None:
    broken = pool(tmp_path)
    broken.command = [sys.executable, "-c", "import no_such_module"]
    broken.work(["a", "b"], 1, monotonic() + 60)
    found = results(tmp_path)
    assert found.keys() == {"a", "b"}
    assert all("no_such_module" in row["tail"] for row in found.values())


def test_outcomes_of_tests_are_there_although_pytest_is_killed(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import os, signal\n"
        "def test_sound(): pass\n"
        "def test_wrong(): assert 1 + 1 == 3\n"
        "def test_deadly(): os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    target = tmp_path / "tests.jsonl"
    words = ["-m", "pytest", "-q", "-p", "gpu_session.reports", "-c", os.devnull, str(tmp_path)]
    variables = environment(tmp_path) | {REPORTS: str(target), "PYTEST_XDIST_WORKER": ""}
    variables.pop("PYTEST_XDIST_WORKER")
    with Child([sys.executable, *words], tmp_path / "log", variables, tmp_path) as tests:
        assert tests.wait(monotonic() + 120) == -9
    sound, wrong = (json.loads(line) for line in target.read_text().splitlines())
    assert (sound["test"], sound["outcome"]) == ("test_it.py::test_sound", "passed")
    assert wrong["outcome"] == "failed"
    assert "assert (1 + 1) == 3" in wrong["tail"]
