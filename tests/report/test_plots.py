"""Marks stand where their numbers are."""

import random
import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from report_samples import Read, drawn, outcome, record, small
from table_samples import ERM

from vicinal.report import words
from vicinal.report.caterpillar import caterpillar
from vicinal.report.curves import ZERO, Axes, charts
from vicinal.report.dots import plots
from vicinal.report.frames import FRAME
from vicinal.report.overview import overview
from vicinal.report.page import page
from vicinal.report.render import render
from vicinal.report.scales import Scale
from vicinal.tables import names


def test_rounded_ticks_lie_within_their_scale() -> None:
    rng = random.Random(0)
    for _ in range(200):
        scale = Scale.over([rng.uniform(-100, 100) * 10 ** rng.randint(-4, 3) for _ in range(2)])
        ticks = scale.ticks()
        assert 1 <= len(ticks) <= 9
        assert all(scale.low <= tick <= scale.high for tick in ticks)


def test_a_bar_is_filled_by_its_shares_one_after_the_other() -> None:
    found = words.shares(["unavailable", "reproduced", "unavailable", "worse"])
    assert [(share.verdict, share.start, share.width) for share in found] == [
        ("reproduced", 0, 25),
        ("worse", 25, 25),
        ("unavailable", 50, 50),
    ]


def test_a_mark_off_the_scale_is_an_arrow_at_its_own_end() -> None:
    results = small()
    for value, x, arrow in ((90.0, "100%", "M-7-4L0 0-7 4Z"), (0.5, "0%", "M7-4L0 0 7 4Z")):
        far = outcome(results.table.cells[0], {0: value}, reduced=("schedule.epochs=1",))
        markup = drawn(replace(results, outcomes=(far, *results.outcomes[1:])))
        plot = markup.split('class="dots"')[1]
        arrows = re.findall(r'<svg x="([^"]+)"[^>]*><path d="([^"]+)"', plot)
        assert arrows[0] == (x, arrow)


def test_dots_and_intervals_are_at_their_numbers() -> None:
    found = [each for each in small().outcomes if each.mean is not None]
    (plot,) = plots([each for each in found if each.cell.unit == "%"], "p")
    scale = plot["numbers"]

    def value(place: float) -> float:
        return scale.low + place * (scale.high - scale.low) / 100

    for each, line in zip(found, plot["lines"], strict=False):
        if not line["ours"].side:
            assert value(line["ours"].at) == pytest.approx(each.mean)
            assert value(line["ours"].high) - each.mean == pytest.approx(each.spread or 0)
        assert value(line["theirs"].at) == pytest.approx(each.cell.value)
    markup = drawn(small())
    assert all(f'cx="{line["ours"].at:.2f}%" cy="15"' in markup for line in plot["lines"])


def test_a_curve_ends_at_its_last_error_and_its_band_at_the_extremes() -> None:
    seeds = [record("d/m/e/1", seed, error) for seed, error in enumerate((4.0, 8.0))]
    ((chart,), axes) = (found := charts([("one", seeds), ("twice", seeds)])), found[0]["axes"]
    (curve,) = chart["curves"]
    assert (chart["title"], curve["name"], curve["number"]) == ("d, m", "one", "6.00")

    def end(path: str, steps: int) -> tuple[float, float]:
        numbers = [int(number) for number in re.findall(r"-?\d+", path)]
        places = list(zip(numbers[::2], numbers[1::2], strict=True))[: steps + 1]
        return tuple(sum(each) / 10 for each in zip(*places, strict=True))

    assert end(curve["line"], 2) == pytest.approx((axes.x(3), axes.y(6.0)), abs=0.1)
    assert end(curve["band"], 2) == pytest.approx((axes.x(3), axes.y(8.0)), abs=0.1)
    assert end(curve["band"], 3) == pytest.approx((axes.x(3), axes.y(4.0)), abs=0.1)
    assert axes.x(1) == FRAME.left
    assert axes.x(3) == FRAME.right
    assert FRAME.top < axes.y(50.0) < axes.y(4.0) < FRAME.bottom


def test_an_error_of_zero_is_drawn_on_a_line_of_its_own_below_the_scale() -> None:
    seeds = [record("d/m/e/1", seed, error) for seed, error in enumerate((0.0, 8.0))]
    (chart,) = charts([("one", seeds)])
    axes = chart["axes"]
    assert (axes.y(0.0), axes.y(axes.low)) == (FRAME.bottom, pytest.approx(FRAME.bottom - ZERO))
    assert axes.low == pytest.approx(0.9 * 4.0)  # the mean; no number that is not there
    assert chart["measure"] == "test error, %, log scale with 0 below"
    markup = render("charts.html.j2", charts=[chart])
    assert f'y="{FRAME.bottom + 3.5}" text-anchor="end">0</text>' in markup
    (without,) = charts([("one", seeds[1:])])
    assert without["measure"] == "test error, %, log scale"
    assert without["axes"].y(without["axes"].low) == pytest.approx(FRAME.bottom)
    assert "nought" not in render("charts.html.j2", charts=[without])


def language(name: str, *perplexities: float) -> dict[str, Any]:
    curve = {"epoch": [1, 2, 3], "test_perplexity": list(perplexities)}
    return {"name": name, "curves": curve}


def test_language_models_have_curves_of_perplexity_beside_those_of_errors() -> None:
    reader = language("ptb/awd_lstm/next_word/1", 4000.0, 400.0, 40.0)
    errors, perplexities = charts([("one", [record("d/m/e/1", 0, 4.0)]), ("two", [reader])])
    assert errors["measure"] == "test error, %, log scale"
    assert errors["says"] == "Test error by epoch, d, m: one ends at 4.00 %"
    assert perplexities["measure"] == "test perplexity, log scale"
    assert perplexities["says"] == "Test perplexity by epoch, ptb, awd_lstm: two ends at 40.00"
    axes, (curve,) = perplexities["axes"], perplexities["curves"]
    assert (curve["number"], axes.rows) == ("40.00", [50, 100, 200, 500, 1000, 2000])
    assert axes.y(400.0) == pytest.approx((axes.y(40.0) + axes.y(4000.0)) / 2)
    x, y, _, up, *_ = map(int, re.findall(r"-?\d+", curve["line"]))
    assert (x / 10, y / 10) == pytest.approx((FRAME.left, axes.y(4000.0)), abs=0.06)
    assert (y + up) / 10 == pytest.approx(axes.y(400.0), abs=0.06)


def test_a_narrow_range_is_labelled_too() -> None:
    assert Axes(10, 62.0, 82.0).rows == [65, 70, 75, 80]
    assert Axes(10, 1.4, 2.6).rows == [1.5, 2, 2.5]


def test_a_run_of_one_epoch_has_a_chart() -> None:
    short = record("d/m/e/1", 0, 4.0) | {"curves": {"epoch": [1], "test_top1": [96.0]}}
    (chart,) = charts([("one", [short])])
    assert chart["axes"].columns == [1]


def test_a_chart_has_no_more_curves_than_colours() -> None:
    named = [(str(i), [record(f"d/m/e/{i}", 0, 5.0)]) for i in range(9)]
    failed = {**record("d/m/e/x", 0, 5.0), "failed": "not finite"}
    assert [len(chart["curves"]) for chart in charts([*named, ("x", [failed])])] == [8, 1]


def test_larger_differences_are_further_to_the_right_and_higher_up() -> None:
    found = small().outcomes
    cells = {words.cell_id(each): each for each in found}
    picture = caterpillar(found)
    assert picture is not None
    scale, dots = picture["scale"], picture["papers"]["mixup"]
    judged = [each for each in found if each.difference and not each.reduced]
    assert {dot["cell"] for dot in dots} == {words.cell_id(each) for each in judged}
    ordered = sorted(dots, key=lambda dot: dot["x"])
    gaps = [cells[dot["cell"]].difference for dot in ordered]
    assert all(one.difference <= two.difference for one, two in pairwise(gaps))
    markup = page([small()], [], "").split('class="caterpillar"')[1]
    for dot, gap in zip(ordered, gaps, strict=True):
        drawn_at = re.search(rf'data-cell="{dot["cell"]}".*?cy="([\d.]+)%"', markup, re.DOTALL)
        assert drawn_at is not None
        assert float(drawn_at[1]) == pytest.approx(100 - scale.at(gap.difference), abs=0.006)


def test_numbers_that_differ_are_listed_by_the_size_of_the_difference_with_their_notes() -> None:
    cell = replace(small().table.cells[0], note="which set is not stated")
    places = {(0, 0): 4.5, (0, 1): 9.0, (1, 0): 1.0, (1, 1): 2.5}
    noisy = {(1, 0): 0.5}  # a large difference with a wide interval
    found = [
        outcome(
            replace(cell, place=place),
            {s: mean + (s - 1) * noisy.get(place, 0.01) for s in range(3)},
        )
        for place, mean in places.items()
    ]
    unlike = outcome(
        replace(cell, place=(2, 0), unit="nats", note=None), {0: 90.0, 1: 90.0, 2: 90.1}
    )
    listed = overview({"mixup": [unlike, *found]})["apart"]
    assert [o.cell.place for o in listed] == [(0, 1), (1, 0), (1, 1), (0, 0), (2, 0)]
    assert all(o.verdict in ("better", "worse") for o in listed)
    text = Read(render("apart.html.j2", overview={"apart": listed})).text
    assert "5 numbers differ from the paper's, the largest difference first" in text
    assert text.count("which set is not stated") == 4
    assert re.search(r"\+86\.03 ± [\d.]+ nats worse", text)


def test_a_stub_that_is_empty_in_a_row_is_no_part_of_its_name() -> None:
    """As in MaxUp's Table 6, which groups only some of its rows."""
    cell = replace(ERM, row=("", "AWD-LSTM"), column=("Test",))
    assert names.cited(cell)[1] == "AWD-LSTM, Test"
