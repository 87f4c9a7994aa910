"""The README's picture shows the numbers that ran at the protocol, where they are."""

import re
from collections.abc import Sequence
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from report_samples import HOSTILE, outcome, small

from vicinal.report import picture_lines, picture_scatter
from vicinal.report.picture import MOST, picture, pictures
from vicinal.tables.outcome import Outcome
from vicinal.tables.results import TableResults
from vicinal.tables.table import Table

KNOWN = {"svg", "title", "desc", "style", "g", "text", "tspan", "path", "rect", "circle"}
SVG = "{http://www.w3.org/2000/svg}"


def many() -> TableResults:
    """More numbers than have a line each: half of them on the diagonal, half of them better."""
    results = small()
    cell = results.table.cells[0]
    ours = ((4.0, 3.99, 4.01), (2.0, 1.99, 2.01))
    found = [outcome(cell, dict(enumerate(ours[i % 2]))) for i in range(MOST + 1)]
    return replace(results, outcomes=tuple(found))


def shown(results: TableResults) -> list[Outcome]:
    return [o for o in results.outcomes if o.values and not o.reduced and o.cell.over is None]


def texts(markup: str) -> list[str]:
    return ["".join(each.itertext()) for each in ElementTree.fromstring(markup).iter(f"{SVG}text")]


@pytest.mark.parametrize("results", [small(), many()], ids=["lines", "scatter"])
def test_a_picture_is_one_file_with_a_title_and_no_background(results: TableResults) -> None:
    for theme in ("light", "dark"):
        markup = picture([results], theme)
        assert markup == picture([results], theme)
        root = ElementTree.fromstring(markup)
        assert (root.tag, root.get("role")) == (f"{SVG}svg", "img")
        title, description = root[0], root[1]
        assert (title.tag, description.tag) == (f"{SVG}title", f"{SVG}desc")
        assert f": {len(shown(results))} numbers" in "".join(title.itertext())
        for each in shown(results):
            assert f"ours {each.mean:.2f}" in "".join(description.itertext())
        assert {each.tag.removeprefix(SVG) for each in root.iter()} <= KNOWN
        assert not {"href", "src"} & {key for each in root.iter() for key in each.attrib}
        assert not re.search(r"url\(|@import|://", root[2].text or "")
        for rect in root.iter(f"{SVG}rect"):
            assert float(rect.get("width") or 0) <= 10


def test_both_themes_differ_in_colours_alone() -> None:
    light, dark = (re.sub(r"#[0-9a-f]{3,6}\b", "#", text) for text in pictures([small()]).values())
    assert light == dark
    assert [*pictures([])] == [
        "report/paper-against-ours-light.svg",
        "report/paper-against-ours-dark.svg",
    ]


def test_only_what_ran_at_the_protocol_is_drawn() -> None:
    results = small()
    said = texts(picture([results], "light"))
    verdicts = {each.verdict for each in results.outcomes}
    assert verdicts & set(said) == {each.verdict for each in shown(results)}
    assert not verdicts & set(said) & {"reduced", "equal", "failed", "not run", "same ratio"}
    made = results.table
    repeated = Table(made.name, made.tree | {"variant_of": "mixup/table1"})
    variant = replace(results, table=repeated)
    assert any(": 0 numbers" in text for text in texts(picture([variant], "light")))


def test_marks_are_at_their_numbers() -> None:
    found = shown(small())
    panels = picture_lines.lines(found)["panels"]
    root = ElementTree.fromstring(picture([small()], "light"))
    circles = [float(each.get("cx") or 0) for each in root.iter(f"{SVG}circle")][1:]
    squares = [float(each.get("x") or 0) for each in root.iter(f"{SVG}rect")][1:]
    lines = [(panel["scale"], line) for panel in panels for line in panel["lines"]]
    assert [line.outcome for _, line in lines] == found
    for (scale, line), circle, square in zip(lines, circles, squares, strict=True):
        assert circle == pytest.approx(150 + 1.9 * scale.at(line.outcome.mean), abs=0.06)
        assert square + 5 == pytest.approx(150 + 1.9 * scale.at(line.outcome.cell.value), abs=0.06)
        half = line.outcome.difference.half_width if line.outcome.difference else 0
        assert line.ours.high == pytest.approx(scale.at(line.outcome.mean + half))
        assert (line.ours.side, line.theirs.side) == (0, 0)


def test_a_note_is_written_once_and_long_labels_are_cut() -> None:
    results = small()
    noted = [
        replace(each, cell=replace(each.cell, note=f"why {HOSTILE}", row=("A" * 80,)))
        for each in shown(results)
    ]
    markup = picture([replace(results, outcomes=tuple(noted))], "light")
    said = texts(markup)
    assert sum(HOSTILE in text for text in said) == 1
    assert said.count("a") == len(noted) + 1
    assert "<img" not in markup
    assert all(len(text) <= 100 for text in said)


def dots(results: Sequence[Outcome]) -> list[dict[str, float]]:
    (panel,) = picture_scatter.scatter(results)["panels"]
    return panel["dots"]


def test_equal_errors_are_on_the_diagonal_and_smaller_ones_of_ours_below_it() -> None:
    even, odd = dots(shown(many()))[:2]
    size = picture_scatter.SIZE
    assert size - even["y"] == pytest.approx(even["x"])
    assert odd["x"] == pytest.approx(even["x"])
    assert odd["y"] > even["y"]
    assert odd["high"] <= odd["y"] <= odd["low"]
    accurate = [
        replace(each, cell=replace(each.cell, printed="96.0", better="higher"), values=values)
        for each, values in zip(shown(many())[:2], ({0: 96.0}, {0: 98.0}), strict=True)
    ]
    assert [dot["y"] for dot in dots(accurate)] == pytest.approx([even["y"], odd["y"]])


def test_numbers_that_are_no_percentages_are_counted_as_left_out() -> None:
    results = many()
    nats = replace(results.outcomes[0], cell=replace(results.outcomes[0].cell, unit="nats"))
    some = replace(results, outcomes=(*results.outcomes, nats))
    assert any("1 number not in percent" in text for text in texts(picture([some], "light")))
    assert len(dots(shown(some))) == MOST + 1
    assert "drawn at the edge" not in picture([some], "light")
    tiny = replace(results.outcomes[0], values={0: 0.4, 1: 0.5})
    edge = replace(results, outcomes=(*results.outcomes, tiny))
    assert "Errors below 1 are drawn at the edge" in picture([edge], "light")
