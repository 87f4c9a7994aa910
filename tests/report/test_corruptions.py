"""Corrupted sets are seen by method; what is generated or reduced says so."""

import random
import re
from collections.abc import Sequence
from typing import Any

import pytest
from measured_samples import KINDS, corrupted, entry
from report_samples import HOSTILE, Read, laid_out, record, small

from vicinal.report.corruptions import corruptions
from vicinal.report.page import page

ERM, MIXUP = "cifar10/wrn28_10/erm/1", "cifar10/wrn28_10/mixup/2"


def section(found: Sequence[dict[str, Any]]) -> str:
    return page([small()], found, "").split('<section id="corruptions"')[1].split("</main>")[0]


def tables(markup: str, look: str) -> dict[str, str]:
    """The tables of one class, by caption."""
    found = re.findall(rf'<table class="{look}">(.*?)</table>', markup, re.DOTALL)
    return {Read(each.split("</caption>")[0]).text.strip(): each for each in found}


def both(**config: Any) -> list[dict[str, Any]]:
    """ERM over two seeds with a robust accuracy of 60 and 62, and mixup with 65."""
    erm_0, erm_1, mixup = (
        entry(corrupted(accuracy, "baseline" in config), **config) for accuracy in (70, 72, 75)
    )
    return [record(ERM, 0, 5.0, erm_0), record(ERM, 1, 5.0, erm_1), record(MIXUP, 0, 5.0, mixup)]


def test_each_accuracy_stands_at_its_corruption_and_severity() -> None:
    maps = tables(section(both()), "map")
    assert list(maps) == ["erm", "mixup"]
    for name, clean in (("erm", 71.0), ("mixup", 75.0)):
        places = laid_out(maps[name])
        assert len(places) == 16 * 6
        assert [places[i + 1, 0] for i in range(15)] == [kind.replace("_", " ") for kind in KINDS]
        assert [places[0, severity] for severity in range(1, 6)] == list("12345")
        for i in range(15):
            for severity in range(1, 6):
                assert float(places[i + 1, severity]) == clean - i - severity


def test_equal_accuracies_have_the_same_colour_in_every_map() -> None:
    """The accuracies lie between 51 and 74, so that the scale goes from 50 to 80."""
    markup = section(both())
    cells = re.findall(r'<td style="--at:(\d+)%">([\d.]+)</td>', markup)
    assert len(cells) == 2 * 75
    assert all(int(at) == round(100 * (float(top1) - 50) / 30) for at, top1 in cells)
    assert re.search(r"<span>50<i[^>]*></i>80</span>", markup)


@pytest.mark.parametrize(("accuracy", "low", "high"), [(100.0, 90, 100), (0.0, 0, 10)])
def test_one_accuracy_alone_has_a_scale(accuracy: float, low: int, high: int) -> None:
    (panel,) = corruptions([record(ERM, 0, 5.0, entry({"fog_1_top1": accuracy}))])
    assert (panel["scale"].low, panel["scale"].high) == (low, high)
    assert panel["bars"] is None


def test_a_bar_is_as_long_as_the_mean_error_and_has_the_deviation_over_seeds() -> None:
    shown = tables(section(both()), "bars")
    ((caption, bars),) = shown.items()
    assert caption.startswith("Mean corruption error, %")
    longest = 39 + 2**0.5
    widths = [float(width) for width in re.findall(r'<rect width="([\d.]+)%"', bars)]
    assert widths == pytest.approx([100 * 39 / longest, 100 * 35 / longest], abs=0.006)
    ((low, high),) = re.findall(r'x1="([\d.]+)%" x2="([\d.]+)%"', bars)
    assert float(low) == pytest.approx(100 * (39 - 2**0.5) / longest, abs=0.006)
    assert float(high) == 100
    assert re.findall(r'class="n">([^<]+)', bars) == ["39.00 ± 1.41 (2)", "35.00 (1)"]


def test_no_errors_at_all_have_bars_of_no_length() -> None:
    perfect = {"fog_1_top1": 100.0, "robust_accuracy": 100.0}
    (panel,) = corruptions([record(ERM, 0, 5.0, entry(perfect))])
    assert [line["mark"].at for line in panel["bars"]["lines"]] == [0.0]


def test_where_there_is_an_mce_the_bars_are_of_it() -> None:
    markup = section(both(baseline="alexnet"))
    ((caption, bars),) = tables(markup, "bars").items()
    assert caption.startswith("mCE, %")
    assert re.findall(r'class="n">([^<]+)', bars) == ["78.00 ± 2.83 (2)", "70.00 (1)"]
    assert "relative to alexnet" in Read(markup).text


def test_generated_sets_are_marked_and_never_averaged_with_published_ones() -> None:
    generated = [record(ERM, 2, 5.0, entry(corrupted(20.0), sets="generated"))]
    panels = corruptions([*both(), *generated])
    assert [panel["evaluation"].generated for panel in panels] == [False, True]
    assert [len(panel["maps"]) for panel in panels] == [2, 1]
    published, made_here = section([*both(), *generated]).split('class="table"')[1:]
    assert "generated" not in published
    assert "Published sets" in published
    assert "generated" in made_here
    assert "not the published ones" in made_here
    assert laid_out(tables(published, "map")["erm"])[1, 1] == "70.0"
    assert laid_out(tables(made_here, "map")["erm"])[1, 1] == "19.0"


def test_networks_reports_and_settings_have_panels_of_their_own() -> None:
    found = [
        record("cifar10/wrn28_10/erm/1", 0, 5.0, entry(corrupted(70.0))),
        record("cifar10/wrn28_10/erm/1", 1, 5.0, entry(corrupted(70.0), report="best_test")),
        record("cifar10/wrn28_10/erm/1", 2, 5.0, entry(corrupted(70.0), "cifar10_c_again")),
        record("cifar10/resnet18/erm/1", 0, 5.0, entry(corrupted(70.0))),
        record("svhn/wrn28_10/erm/1", 0, 5.0, entry(corrupted(70.0))),
    ]
    panels = corruptions(found)
    assert len({panel["id"] for panel in panels}) == len(panels) == 5


def test_runs_of_one_method_are_told_apart_and_reduced_ones_say_so() -> None:
    short = record("cifar10/wrn28_10/mixup/3", 0, 5.0, entry(corrupted(50.0)), reduced=("a=1",))
    (panel,) = corruptions([*both(), short])
    names = ["erm", "mixup, 2", "mixup, 3 (reduced)"]
    assert [each["name"] for each in panel["maps"]] == names
    assert [each["name"] for each in panel["bars"]["lines"]] == names


def test_without_corrupted_sets_nothing_is_printed() -> None:
    bad = {"name": ERM, "seed": 1, "config": {}, "failed": "loss is not finite"}
    other = entry({"fog_1_top1": 1.0}, "deformed", _target_="vicinal.evaluation.shifted.Shifted")
    markup = page([small()], [record(ERM, 0, 5.0), bad, record(MIXUP, 0, 5.0, other)], "")
    body = markup.split("</style>")[1]
    assert "orruption" not in body
    assert 'class="map"' not in body


def test_sets_that_were_left_out_are_blank() -> None:
    some = {name: x for name, x in corrupted(70.0).items() if name != "snow_2_top1"}
    some = {name: x for name, x in some.items() if not name.startswith(("fog", "robust"))}
    more = {"spatter_1_top1": 40.0}
    markup = section([record(ERM, 0, 5.0, entry(some | more))])
    places = laid_out(tables(markup, "map")["erm"])
    rows = [places[i + 1, 0] for i in range(15)]
    assert rows == [kind.replace("_", " ") for kind in KINDS if kind != "fog"] + ["spatter"]
    snow = [places[1 + rows.index("snow"), severity] for severity in range(1, 6)]
    assert [each == "" for each in snow] == [False, True, False, False, False]
    assert tables(markup, "bars") == {}


def test_names_are_never_markup() -> None:
    odd = entry(corrupted(70.0), HOSTILE, baseline=HOSTILE)
    markup = section([record(f"cifar10/{HOSTILE.replace('/', '')}/erm/1", 0, 5.0, odd)])
    assert "<img" not in markup
    assert HOSTILE in Read(markup).text


def test_the_same_records_give_the_same_bytes() -> None:
    found = [record(ERM, seed, 5.0, entry(corrupted(70.0 + seed))) for seed in range(5)]
    shuffled = random.Random(0).sample(found, len(found))
    assert section(found) == section(shuffled)
