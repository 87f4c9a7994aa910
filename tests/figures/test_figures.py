"""Figures: what they say of themselves, and that making one again changes no byte."""

import json
import re
import runpy
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from wording import says

from vicinal.draws import Rng
from vicinal.figures import figure5
from vicinal.figures.circles import circles
from vicinal.figures.figure1b import Figure1b
from vicinal.figures.figure5 import Figure5
from vicinal.figures.spread import over_seeds
from vicinal.figures.transition import along, transition
from vicinal.tasks.gan import loop
from vicinal.tasks.gan import runs as gan_runs
from vicinal.tasks.gan.mixtures import ring

SCRIPT = Path(__file__).parents[2] / "scripts" / "figures.py"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the ring, and fewer points, so that a figure takes a second."""
    monkeypatch.setattr(figure5, "MIXTURES", {"ring": ring})
    monkeypatch.setattr(gan_runs, "POINTS", 200)
    monkeypatch.setattr(loop.Setup, "__init__", narrow(loop.Setup.__init__))


def narrow(init: Any) -> Any:
    return lambda self, **arguments: init(self, **{"width": 32} | arguments)


def typed(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *words])
    runpy.run_path(str(SCRIPT), run_name="__main__")


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("figure", ["figure5 --steps 2", "figure1b --epochs 1"])
def test_a_figure_made_again_has_the_same_bytes(
    figure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = {"a": "one", "b": "two"}  # each from nothing
    if figure.startswith("figure5"):
        turns["c"] = "two"  # from what was kept
    for out, runs in turns.items():
        monkeypatch.setattr(figure5.Figure5, "runs", tmp_path / runs)
        typed(monkeypatch, *figure.split(), "--seeds", "0,1", "--out", str(tmp_path / out))
    made, *others = (files(tmp_path / out) for out in turns)
    assert all(other == made for other in others)
    name = figure.split(maxsplit=1)[0]
    assert set(made) == {f"{name}.json", f"{name}.svg"}
    numbers, picture = json.loads(made[f"{name}.json"]), made[f"{name}.svg"].decode()
    assert numbers["reduced"]
    assert numbers["seeds"] == [0, 1]
    assert len(picture) < 300_000
    root = ElementTree.fromstring(picture)
    texts = {
        tag: root.find(f"{{http://www.w3.org/2000/svg}}{tag}").text for tag in ("title", "desc")
    }
    assert all(texts.values())
    assert f"reduced: {numbers['reduced']}" in picture
    assert str(tmp_path) not in picture + made[f"{name}.json"].decode()


def test_the_full_figure_5_has_the_papers_columns_and_is_not_reduced() -> None:
    assert figure5.columns(Figure5().steps) == [10, 100, 1000, 10_000, 20_000]
    assert Figure5().reduced is None
    assert re.search(says("^2,000 ... 20,000"), Figure5(steps=2000).reduced or "")


@pytest.mark.parametrize("wrong", ["--steps 0", "--seeds 1,1", "--strength 0"])
def test_a_mistyped_figure_is_refused_in_a_line(
    wrong: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        typed(monkeypatch, "figure5", *wrong.split(), "--out", str(tmp_path))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"vicinal: {wrong[2:].split(maxsplit=1)[0]} must be ")


def test_a_linear_transition_and_a_step_have_the_numbers_they_should() -> None:
    linear = torch.linspace(0, 1, 51, dtype=torch.float64).view(-1, 1).expand(-1, 3)
    found = along(linear)
    assert (found.gap, found.steepest) == pytest.approx((0, 1), abs=1e-12)
    assert found.entropy == pytest.approx(0.7213, abs=0.02)  # the integral is 1 / (2 ln 2)
    step = along((linear > 0.5).double())
    assert (step.gap, step.steepest, step.entropy) == pytest.approx((0.25, 50, 0), abs=0.006)


def test_pairs_run_from_class_0_to_class_1() -> None:
    class Outer(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            inner = (x.norm(dim=1, keepdim=True) < 0.7).float()
            return 1e4 * torch.cat([1 - inner, inner], dim=1)

    data = circles(0)
    right = transition(Outer(), data.test, Rng.seeded(0))
    assert right.entropy == 0
    assert right.steepest == pytest.approx(50)
    assert right.gap < 0.4  # half, if the ends were swapped, is the least


def test_mixup_crosses_more_evenly_than_erm(tmp_path: Path) -> None:
    """Fig. 1b: "decision boundaries that transition linearly from class to class"."""
    Figure1b(epochs=15, seeds=(0,)).make(tmp_path)
    methods = json.loads((tmp_path / "figure1b.json").read_text())["methods"]
    erm, mixup = (methods[name] for name in ("ERM", "mixup"))
    assert mixup["gap"]["mean"] < 0.8 * erm["gap"]["mean"]
    assert mixup["steepest"]["mean"] < 0.4 * erm["steepest"]["mean"]
    assert mixup["entropy"]["mean"] > 2 * erm["entropy"]["mean"]


def test_the_spread_is_of_the_seeds_that_have_the_number() -> None:
    found = over_seeds([{"kl": None, "modes": 2}, {"kl": 1.0, "modes": 4}])
    assert found["kl"] == {"values": [None, 1.0], "mean": 1.0, "std": None}
    assert found["modes"] == {"values": [2, 4], "mean": 3, "std": pytest.approx(2**0.5)}
