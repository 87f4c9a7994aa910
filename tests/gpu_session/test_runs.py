"""Real runs: none starts that cannot end in time, a slow one stops, unfinished ones resume."""

import json
import os
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from gpu_session.choose import Concurrency
from gpu_session.runs import Runs

from vicinal.storage.files import write_json_atomically

# Instead of train.py: an epoch takes SECONDS; on SIGTERM it writes a checkpoint and later resumes
# from it. `deaf` ignores SIGTERM, `die` fails.
TRAIN = """
import json, pathlib, signal, sys, time
words = dict(word.split("=", 1) for word in sys.argv[1:])
folder = pathlib.Path(words["folder"])
(folder / "checkpoints").mkdir(parents=True, exist_ok=True)
history, kept = folder / "history.jsonl", folder / "checkpoints" / "epoch1.pt"
def stop(*_):
    if "deaf" not in words:
        kept.write_text("here")
        sys.exit(75)
signal.signal(signal.SIGTERM, stop)
if "die" in words:
    sys.exit("this network does not fit")
done = history.read_text().count("\\n") if history.exists() else 0
while done < int(words["epochs"]):
    time.sleep(float(words["seconds"]))
    done += 1
    with history.open("a") as file:
        file.write("{}\\n")
record = {"metrics": {"last": {"top1": 90.0}}, "words": words, "ended": time.monotonic()}
(folder / "record.json").write_text(json.dumps(record))
"""


def job(out: Path, name: str, epochs: int, *words: str, seconds: float = 0.05) -> dict[str, Any]:
    folder = out / "runs" / "cifar100" / "net" / name / "id" / "seed0"
    line = [f"folder={folder}", f"epochs={epochs}", f"seconds={seconds}", *words]
    return {
        "name": f"cifar100/net/{name}/id",
        **{"seed": 0, "table": "mixup/figure3a", "line": line, "epochs": epochs},
        **{"images": 1000, "tested": 100, "over_erm": 1.0, "missing": None},
    }


def expect(out: Path, seconds: float, start: float = 0.0) -> None:
    """What was measured of the network: seconds of an epoch, and before the first."""
    (out / "pace").mkdir(exist_ok=True)
    rate = {"images_per_second": 1e9}
    true = {"train_seconds": seconds, "evaluate_seconds": 0.0, "first_seconds": start}
    write_json_atomically(out / "pace" / "net.compiled.json", rate)
    write_json_atomically(out / "pace" / "net.epochs-compiled.json", true)


def made(
    out: Path, *jobs: dict[str, Any], seconds: float = 60, together: Concurrency | None = None
) -> dict[str, Any]:
    """What became of the runs, by method."""
    script = out / "train.py"
    script.write_text(TRAIN)
    words = {"compiled": ["form=compiled"], "graphs": ["form=graphs"]}
    runs = Runs(out, jobs, words, os.environ, together or Concurrency(), grace=1.0, script=script)
    deadline = monotonic() + seconds
    runs.work(deadline)
    assert monotonic() < deadline + 1
    rows = json.loads((out / "runs.json").read_text())
    return {row["name"].split("/")[2]: row for row in rows.values()}


def record(out: Path, method: str) -> dict[str, Any]:
    path = out / "runs" / "cifar100" / "net" / method / "id" / "seed0" / "record.json"
    return json.loads(path.read_text())


def test_what_cannot_end_is_not_begun_and_the_next_that_can_is(tmp_path: Path) -> None:
    expect(tmp_path, 0.05)
    long, short = job(tmp_path, "long", 10_000), job(tmp_path, "short", 4)
    found = made(tmp_path, long, short)
    assert found["long"]["state"] == "not started"
    assert found["long"]["expected_seconds"] == pytest.approx(500)
    assert not (tmp_path / "runs" / "cifar100" / "net" / "long").exists()
    assert found["short"]["state"] == "finished"
    assert found["short"]["metrics"] == {"last": {"top1": 90.0}}
    (tmp_path / "runs.json").write_text("{}")  # as if the script had been killed
    assert made(tmp_path, short)["short"]["state"] == "finished"
    words = record(tmp_path, "short")["words"]
    assert words["form"] == "compiled"
    assert words["runtime.progress"] == "false"


def test_one_that_turns_out_slow_is_stopped_and_goes_on_another_day(tmp_path: Path) -> None:
    expect(tmp_path, 0.001)
    slow, quick = job(tmp_path, "slow", 1000, seconds=0.1), job(tmp_path, "quick", 3)
    found = made(tmp_path, slow, quick, seconds=20)
    assert found["slow"]["state"] == "unfinished"
    assert "too long for the time left" in found["slow"]["reason"]
    assert found["slow"]["seconds_per_epoch"] > 0.09
    assert 3 <= found["slow"]["epochs"] < 20
    assert found["quick"]["state"] == "finished"

    slow["epochs"], slow["line"][1] = (epochs := found["slow"]["epochs"] + 3), f"epochs={epochs}"
    further = made(tmp_path, job(tmp_path, "new", 2), slow, seconds=20)
    assert further["slow"]["state"] == "finished"
    assert further["slow"]["epochs"] == epochs
    ended = [record(tmp_path, method)["ended"] for method in ("slow", "new")]
    assert ended == sorted(ended)  # what was begun comes first
    assert further["quick"]["state"] == "finished"  # as it was


def test_at_the_deadline_none_is_under_way(tmp_path: Path) -> None:
    expect(tmp_path, 0.001)
    hangs = job(tmp_path, "hangs", 5, seconds=600)
    deaf = job(tmp_path, "deaf", 5, "deaf=1", seconds=600)
    found = made(tmp_path, hangs, deaf, seconds=4, together=Concurrency(2, gain=2.0))
    assert found["hangs"]["state"] == "unfinished"
    assert found["hangs"]["reason"] == "the time was over"
    assert found["deaf"]["state"] == "failed"
    assert found["deaf"]["reason"] == "killed by SIGKILL"


def test_one_that_fails_is_reported_and_costs_no_other(tmp_path: Path) -> None:
    expect(tmp_path, 0.01)
    found = made(tmp_path, job(tmp_path, "broken", 3, "die=1"), job(tmp_path, "sound", 3))
    assert found["broken"]["state"] == "failed"
    assert found["broken"]["tail"].endswith("this network does not fit")
    assert found["sound"]["state"] == "finished"


def test_several_are_made_at_once_and_expected_to_take_longer_each(tmp_path: Path) -> None:
    expect(tmp_path, 1.0)
    jobs = [job(tmp_path, f"m{k}", 4, seconds=0.5) for k in range(2)]
    began = monotonic()
    found = made(tmp_path, *jobs, together=Concurrency(2, gain=1.6))
    assert monotonic() - began < 2 * 4 * 0.5
    assert found["m0"]["expected_seconds"] == pytest.approx(4 * 2 / 1.6)
    assert {row["state"] for row in found.values()} == {"finished"}


def test_without_data_or_a_pace_nothing_is_begun(tmp_path: Path) -> None:
    (tmp_path / "pace").mkdir()
    blank, homeless = job(tmp_path, "blank", 3), job(tmp_path, "homeless", 3)
    homeless["missing"] = "no cifar100 in data"
    found = made(tmp_path, blank, homeless)
    assert found["blank"]["reason"] == "its network was not timed"
    assert found["homeless"]["reason"] == "no cifar100 in data"
    assert not (tmp_path / "runs").exists()
