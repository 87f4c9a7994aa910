"""Each number stands under its labels, with its verdict."""

import re
from collections import Counter

import pytest
from report_samples import Read, drawn, laid_out, small, unrun

from vicinal.report import grids, words
from vicinal.report.render import HERE
from vicinal.tables import table
from vicinal.tables.counts import COSTS, EXACT, NUMBERS
from vicinal.tables.markdown import our_number
from vicinal.tables.results import TableResults


@pytest.mark.parametrize(
    "results", [small(), *map(unrun, table.names())], ids=lambda j: j.table.name
)
def test_each_number_stands_under_its_labels(results: TableResults) -> None:
    places = laid_out(drawn(results).split('<table class="paper')[1].split("</table>")[0])
    made = results.table
    depth, width = max(map(len, made.columns)), max(map(len, made.rows))
    for each in results.outcomes:
        row, column = each.cell.place
        assert places[depth + row, width + column] == words.cell_id(each)
        above = [places[level, width + column] for level in range(depth)]
        beside = [places[depth + row, level] for level in range(width)]
        assert above == [
            *each.cell.column,
            *[each.cell.column[-1]] * (depth - len(each.cell.column)),
        ]
        assert beside == [*each.cell.row, *[each.cell.row[-1]] * (width - len(each.cell.row))]


def test_equal_neighbours_share_a_stub() -> None:
    rows = [("A", "x"), ("A", "y"), ("B", "x"), ("A", "x")]
    stubs = grids.row_stubs(rows, 2)
    assert [len(stub) for stub in stubs] == [2, 1, 2, 2]
    assert [stub[0].rowspan for stub in stubs] == [2, 1, 1, 1]


def test_every_verdict_has_its_own_words_colour_and_sign() -> None:
    results = small()
    assert Counter(each.verdict for each in results.outcomes) == Counter([*words.VERDICTS])
    assert {*NUMBERS, *EXACT[:4], *COSTS[:3]} == set(words.VERDICTS)
    markup, css = drawn(results), (HERE / "report.css").read_text()
    for each in results.outcomes:
        kind = words.slug(each.verdict)
        assert all(f".{letter}-{kind}" in css for letter in "kb")
        button = markup.split(f'id="{words.cell_id(each)}"')[1].split("</button>")[0]
        assert f"#i-{words.slug(each.verdict)}" in button
        text = Read(button).text
        assert words.printed(each.cell) in text
        assert words.minus(our_number(each)) in text
        assert each.verdict in text
        assert each.verdict in words.verdict(each).lower()


def test_a_claim_shows_its_pairs_and_their_verdicts() -> None:
    results = small()
    listed = drawn(results).split('class="claims"')[1].split("</ul>")[0]
    rows = re.findall(r"<tr>(<th scope=.row.>.*?)</tr>", listed)
    pairs = [p for p in results.orderings if p.verdict != "not run" or not p.paper_agrees]
    assert len(rows) == len(pairs) > 2
    assert any(pair.reduced for pair in pairs)
    for row, pair in zip(rows, pairs, strict=True):
        better, worse, *_, verdict = (Read(cell).text for cell in re.split("</t[dh]>", row)[:-1])
        assert (better, worse) == ("p", "q")
        reduced = pair.reduced and pair.verdict != "not run"
        assert verdict == (f"{pair.verdict}, reduced" if reduced else pair.verdict)
