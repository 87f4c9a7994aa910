"""Certified accuracy is seen by run and radius, with the best of a method's runs."""

import random
import re
from typing import Any

import pytest
from report_samples import HOSTILE, Read, laid_out, record, small

from vicinal.report.certificates import certificates
from vicinal.report.page import page
from vicinal.storage.evaluations import key

RADII = [step / 4 for step in range(17)]
SETTINGS = {"n0": 100, "n": 100_000, "alpha": 0.001, "every": 20}
GAUSS, MAXUP = "cifar10/resnet110/gauss", "cifar10/resnet110/maxup_gauss"


def accuracy(at_0: float, slope: float, radius: float) -> float:
    return max(at_0 - slope * radius, 0.0)


def certified(
    sigma: float, at_0: float, slope: float, report: str = "last", **config: Any
) -> dict[str, Any]:
    """One evaluation by its key, as a record has it."""
    config = (
        {"_target_": "vicinal.evaluation.certified.Certified", "sigma": sigma} | SETTINGS | config
    )
    metrics = {f"{r:g}_certified_accuracy": accuracy(at_0, slope, r) for r in RADII}
    metrics |= {"abstained": 2.5, "mean_radius": at_0 / 100}
    found = {"name": "certified", "config": config, "report": report, "metrics": metrics}
    return {key("certified", report, config): found}


def runs() -> list[dict[str, Any]]:
    """A run of little noise over two seeds and one of much, whose curves cross, and MaxUp's."""
    return [
        record(f"{GAUSS}/1", 0, 5.0, certified(0.25, 80.0, 60.0)),
        record(f"{GAUSS}/1", 1, 5.0, certified(0.25, 84.0, 60.0)),
        record(f"{GAUSS}/2", 0, 5.0, certified(0.5, 60.0, 20.0)),
        record(f"{MAXUP}/3", 0, 5.0, certified(0.25, 90.0, 40.0)),
    ]


def section(found: list[dict[str, Any]]) -> str:
    return page([small()], found, "").split('<section id="certificates"')[1].split("</main>")[0]


def lines(markup: str) -> dict[str, list[str]]:
    """Each row of the table by its first cell."""
    places = laid_out(markup.split('<table class="plain measured">')[1].split("</table>", 1)[0])
    height, width = (1 + max(each[i] for each in places) for i in (0, 1))
    rows = [[places[i, j] for j in range(width)] for i in range(height)]
    return {row[0]: row[1:] for row in rows}


def test_each_accuracy_stands_at_its_run_and_radius() -> None:
    found = lines(section(runs()))
    assert found["method"] == ["seeds", "abstained, %", "mean radius", *(f"{r:g}" for r in RADII)]
    seeds, abstained, radius, *accuracies = found["gauss, \u03c3 = 0.25"]
    assert (seeds, abstained, radius) == ("2", "2.50 ± 0.00", "0.820 ± 0.028")
    assert [float(each.split(" ± ")[0]) for each in accuracies] == pytest.approx(
        [(accuracy(80, 60, r) + accuracy(84, 60, r)) / 2 for r in RADII], abs=0.051
    )
    assert found["maxup_gauss, \u03c3 = 0.25"][3:5] == ["90.0", "80.0"]


def test_an_envelope_is_the_best_of_its_runs_at_each_radius() -> None:
    found = lines(section(runs()))
    best = found["gauss, best of its runs"][3:]
    own = [found[f"gauss, \u03c3 = {sigma}"][3:] for sigma in ("0.25", "0.5")]
    means = [[float(each.split(" ± ")[0]) for each in run] for run in own]
    assert [float(each) for each in best] == [max(at) for at in zip(*means, strict=True)]
    assert means[0][0] > means[1][0]
    assert means[0][4] < means[1][4]
    assert found["maxup_gauss, best of its runs"][3:] == found["maxup_gauss, \u03c3 = 0.25"][3:]


def test_reduced_runs_are_in_no_envelope_of_whole_ones() -> None:
    short = record(f"{GAUSS}/4", 0, 5.0, certified(1.0, 99.0, 1.0), reduced=("schedule.epochs=1",))
    found = lines(section([*runs(), short]))
    assert found["gauss, best of its runs"] == lines(section(runs()))["gauss, best of its runs"]
    assert found["gauss (reduced), best of its runs"][3] == "99.0"
    assert "gauss, \u03c3 = 1 (reduced)" in found


def test_a_run_is_a_thin_curve_and_an_envelope_a_thick_one_through_its_accuracies() -> None:
    (panel,) = certificates(runs())
    (chart,) = panel["charts"]
    axes, curves = chart["axes"], chart["curves"]
    assert [curve["look"] for curve in curves] == [
        "one c0",
        "one c0",
        "one c1",
        "best c0",
        "best c1",
    ]
    assert [curve["name"] for curve in curves if curve["name"]] == ["gauss", "maxup_gauss"]
    numbers = [int(number) for number in re.findall(r"-?\d+", curves[3]["line"])]
    steps = list(zip(numbers[::2], numbers[1::2], strict=True))
    places = [tuple(sum(each) / 10 for each in zip(*steps[:i], strict=True)) for i in range(1, 18)]
    for (x, y), r in zip(places, RADII, strict=True):
        assert (x, y) == pytest.approx((axes.x(r), axes.y(envelope_at(r))), abs=0.11)
    assert axes.columns == [0, 1, 2, 3, 4]
    assert axes.rows == [0, 25, 50, 75]


def envelope_at(radius: float) -> float:
    """The envelope of `gauss`."""
    low = (accuracy(80, 60, radius) + accuracy(84, 60, radius)) / 2
    return max(low, accuracy(60, 20, radius))


def test_networks_reports_and_settings_but_sigma_have_panels_of_their_own() -> None:
    found = [
        record(f"{GAUSS}/1", 0, 5.0, certified(0.25, 80.0, 60.0)),
        record(f"{GAUSS}/1", 1, 5.0, certified(0.25, 80.0, 60.0, "best_test")),
        record(f"{GAUSS}/1", 2, 5.0, certified(0.25, 80.0, 60.0, n=1000)),
        record(f"{GAUSS}/1", 3, 5.0, certified(0.25, 80.0, 60.0, alpha=0.01)),
        record(f"{GAUSS}/1", 4, 5.0, certified(0.5, 80.0, 60.0)),
        record("cifar10/resnet18/gauss/1", 0, 5.0, certified(0.25, 80.0, 60.0)),
    ]
    panels = certificates(found)
    assert len({panel["id"] for panel in panels}) == len(panels) == 5
    assert sorted(len(panel["runs"]) for panel in panels) == [1, 1, 1, 1, 2]


def test_the_panel_says_how_it_was_certified() -> None:
    text = Read(section(runs())).text
    assert "One in 20 test images, n = 100,000 noisy copies of each, \u03b1 = 0.001" in text


def test_more_methods_than_colours_have_several_charts() -> None:
    found = [
        record(f"cifar10/resnet110/m{i}/1", 0, 5.0, certified(0.25, 80.0, 60.0)) for i in range(9)
    ]
    (panel,) = certificates(found)
    assert [len(chart["curves"]) for chart in panel["charts"]] == [16, 2]


def test_a_reader_who_sees_no_picture_is_told_its_envelopes() -> None:
    found = Read(section(runs()))
    (label,) = [each for each in found.all("aria-label") if each.startswith("Certified accuracy")]
    assert "gauss 82.0 % at 0, 67.0 % at 0.25" in label
    assert "; maxup_gauss 90.0 % at 0" in label
    assert label.endswith("10.0 % at 2 and 0.0 % at 2.25")
    heads = [found for name, found in found.elements if name == "th"]
    assert {each.get("scope") for each in heads} == {"row", "col"}
    markup = section(runs())
    assert markup.count("<title>") == 5
    assert "<title>gauss, best of its runs</title>" in markup


def test_certificates_are_listed_before_other_runs_and_each_panel_can_be_linked_to() -> None:
    found = Read(page([small()], runs(), ""))
    ids, links = found.all("id"), [link[1:] for link in found.all("href") if link[0] == "#"]
    assert len(ids) == len(set(ids))
    assert set(links) <= set(ids)
    for places in (ids, links):
        assert places.index("certificates") < places.index("others")


def test_without_certificates_nothing_is_printed() -> None:
    body = page([small()], [record(f"{GAUSS}/1", 0, 5.0)], "").split("</style>")[1]
    assert "ertificate" not in body


def test_names_are_never_markup() -> None:
    odd = HOSTILE.replace("/", "")
    markup = section([record(f"cifar10/{odd}/{odd}/1", 0, 5.0, certified(0.25, 80.0, 60.0))])
    assert "<img" not in markup
    assert odd in Read(markup).text


def test_the_same_records_give_the_same_bytes() -> None:
    shuffled = random.Random(0).sample(runs(), len(runs()))
    assert section(runs()) == section(shuffled)
