"""Adversarial examples that are made on the network of another run."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from evaluation_samples import unchanged
from torch import nn
from whole_runs import execute
from wording import says

from vicinal.errors import RunError
from vicinal.evaluation.attacked import Attacked
from vicinal.evaluation.measuring import Measuring
from vicinal.training.attempt import Attempt

BLACK = ("evaluation=black_box", "evaluation.black_box.batch_size=50")


def from_(source: object) -> str:
    return f"evaluation.black_box.source={source}"


def measured(record: dict[str, Any]) -> dict[str, Any]:
    """Its only evaluation."""
    (found,) = record["evaluations"].values()
    return found


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished runs of one method, and one of another."""
    folder = tmp_path_factory.mktemp("out")
    for line in ("seed=0", "seed=1", "optimizer.lr=0.3"):
        execute(folder, line)
    return folder


@pytest.fixture
def runs(out: Path, tmp_path: Path) -> Path:
    """The same, to be measured."""
    return Path(shutil.copytree(out, tmp_path / "out"))


def test_a_record_says_on_whose_weights_the_examples_were_made(runs: Path) -> None:
    source = execute(runs, "seed=1")
    place = f"{source['name']}/seed1"
    found = measured(execute(runs, *BLACK, from_(place)))
    assert found["config"]["source"] == place
    known = {"name": source["name"], "seed": 1, "weights": source["weights"]["last"]}
    assert found["source"] == known
    elsewhere = measured(execute(runs, *BLACK, from_(runs / place), "optimizer.lr=0.3"))
    assert elsewhere["source"] == known


def test_examples_are_made_on_the_source_and_scored_on_the_run(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[nn.Module] = []
    transferred = Attacked.transferred

    def watched(self: Attacked, source: nn.Module) -> Any:
        seen.append(source)
        return transferred(self, source)

    monkeypatch.setattr(Attacked, "transferred", watched)
    name = execute(runs, "seed=1")["name"]
    black = measured(execute(runs, *BLACK, from_(f"{name}/seed1")))["metrics"]
    white = execute(runs, *BLACK, from_(f"{name}/seed0"))["evaluations"].values()
    (own,) = (each["metrics"] for each in white if each["source"]["seed"] == 0)
    assert black["clean_top1"] == own["clean_top1"]
    assert black["fgsm_top1"] > own["fgsm_top1"]  # examples for another network are weaker
    weights = [torch.cat([p.flatten() for p in each.parameters()]) for each in seen]
    assert not torch.equal(*weights)
    with unchanged(seen[0]):
        pass


def test_ones_own_network_is_the_white_box(runs: Path) -> None:
    name = execute(runs, "seed=0")["name"]
    own = measured(execute(runs, *BLACK, from_(f"{name}/seed0")))["metrics"]
    again = execute(runs, "evaluation=white_box", "evaluation.white_box.batch_size=50")
    (white,) = (each for each in again["evaluations"].values() if each["name"] == "white_box")
    assert own == white["metrics"]


def test_a_source_that_is_no_finished_run_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Attempt, "_train", None)
    with pytest.raises(RunError, match=says("^source ... finished run ... nowhere/seed0")):
        execute(tmp_path, *BLACK, from_("nowhere/seed0"))


def test_a_source_of_other_data_is_refused(runs: Path) -> None:
    folder = runs.parent / "larger"
    other = execute(folder, "dataset.size=16")
    place = folder / other["name"] / "seed0"
    with pytest.raises(RunError, match=says("^source ... shape ... [3, 16, 16] ... [3, 8, 8]")):
        execute(runs, *BLACK, from_(place))


def test_parts_of_another_source_are_not_taken(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same folder, with other weights than when the evaluation was interrupted."""
    record = execute(runs, "seed=1")
    place = from_(f"{record['name']}/seed1")
    marks: list[str] = []
    parts = Measuring._parts

    def noted(self: Measuring, name: str, report: str, config: Any) -> Path:
        marks.append(parts(self, name, report, config).name)
        return parts(self, name, report, config)

    monkeypatch.setattr(Measuring, "_parts", noted)
    execute(runs, *BLACK, place)
    folder = runs / record["name"]
    shutil.rmtree(folder / "seed1")
    shutil.copytree(runs / execute(runs, "optimizer.lr=0.3")["name"] / "seed0", folder / "seed1")
    run = folder / "seed0" / "record.json"
    run.write_text(run.read_text().replace("black_box-last", "forgotten-last"))
    execute(runs, *BLACK, place)
    assert len(set(marks)) == 2
