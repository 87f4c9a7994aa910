"""The report says what the tables say, in one page that any browser shows without network."""

import json
import os
import random
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from report_samples import HOSTILE, Read, outcome, small, unrun, whole

from vicinal.report.figures import load
from vicinal.report.page import page
from vicinal.report.render import HERE, render
from vicinal.report.section import section
from vicinal.storage import records
from vicinal.tables import table
from vicinal.tables.papers import paper, papers
from vicinal.tables.results import RecordIndex, TableResults

ROOT = Path(__file__).parents[2]


def test_quoted_numbers_and_chance_stand_beside_the_counts() -> None:
    results = small()
    text = Read(page([results], [], "rules")).text
    assert "counted separately: reproduced 1 · better 1 · worse 1" in text  # all are quoted
    assert re.search(r"reproduced ?0 the", text)
    own = [replace(each, cell=replace(each.cell, quoted=None)) for each in results.outcomes]
    text = Read(page([TableResults(results.table, tuple(own))], [], "rules")).text
    assert "counted separately" not in text
    assert re.search(r"reproduced ?1 \(by chance [^)]*0\.1\)", text)


def test_text_is_never_markup() -> None:
    markup = whole()
    assert "<img src=x" not in markup
    found = Read(markup)
    assert [found for name, found in found.elements if "onerror" in found] == []
    assert sum(name == "script" for name, _ in found.elements) == 3
    assert found.text.count(HOSTILE) >= 6
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', markup, re.DOTALL)
    assert data is not None
    assert HOSTILE in json.dumps(json.loads(data[1]), ensure_ascii=False).replace('\\"', '"')


def test_the_page_has_landmarks_one_heading_and_no_dead_link() -> None:
    found = Read(whole())
    count = Counter(name for name, _ in found.elements)
    assert (count["h1"], count["main"], count["nav"], count["dialog"]) == (1, 1, 1, 1)
    ids = found.all("id")
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in found.all("href") if link.startswith("#")} <= set(ids)
    levels = [int(name[1]) for name, _ in found.elements if re.fullmatch(r"h\d", name)]
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_nothing_is_fetched() -> None:
    markup = whole()
    found = Read(markup)
    assert [link for link in found.all("src") if not link.startswith("data:")] == []
    assert not any(name == "link" for name, _ in found.elements)
    assert all(link.startswith(("#", "https://arxiv.org/")) for link in found.all("href"))
    for sign in ("url(", "@import", "fetch(", "XMLHttpRequest", "import("):
        assert sign not in markup.split("</style>")[0]
        assert sign not in (HERE / "report.js").read_text()


def test_the_same_records_give_the_same_bytes() -> None:
    found = records.load(ROOT / "results" / "runs")
    shuffled = random.Random(0).sample(found, len(found))
    made = table.load("mixup/figure3a")
    pages = [
        page([TableResults.of(made, RecordIndex(each))], each, "") for each in (found, shuffled)
    ]
    assert pages[0] == pages[1]
    program = "import sys, report_samples; sys.stdout.buffer.write(report_samples.whole().encode())"
    known = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    here = {"PYTHONPATH": known, "PYTHONHASHSEED": "1"}
    command = [sys.executable, "-c", program]
    out = subprocess.run(command, env=os.environ | here, capture_output=True, check=True).stdout
    assert out.decode() == whole()


def test_a_page_of_four_hundred_runs_and_a_thousand_numbers_is_small() -> None:
    made, waiting = table.load("patchup/table2"), unrun("gradaug/table8")
    found = tuple(outcome(c, {s: c.value + 0.01 * s for s in c.seeds}) for c in made.cells)
    frame, run, not_run = (
        len(page(every, [], "").encode()) for every in ([], [TableResults(made, found)], [waiting])
    )
    each_run = (run - frame) / len(found)
    each_not_run = (not_run - frame) / len(waiting.outcomes)
    assert frame + 400 * each_run + 700 * each_not_run < 2.5e6


def test_figures_come_with_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "mixup").mkdir()
    (tmp_path / "mixup" / "figure5.svg").write_text("<svg><title>t: a &lt; b</title></svg>")
    (tmp_path / "mixup" / "figure5.json").write_text('{"alpha": {"loss": 0.25}}')
    drawn = load(tmp_path)
    markup = page([small()], [], "", drawn)
    assert "Figure 5" in markup
    assert '<th scope="row">alpha.loss</th><td>0.25</td>' in markup
    assert "<span>a &lt; b</span>" in markup


def test_a_template_that_lacks_a_name_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="charts"):
        render("charts.html.j2")


def test_style_and_script_are_the_files_themselves() -> None:
    markup = whole()
    for name in ("report.css", "report.js"):
        assert (HERE / name).read_text() in markup


def test_every_paper_with_a_table_is_listed() -> None:
    assert {*papers()} == {name.partition("/")[0] for name in table.names()}
    assert paper("maxup").name == "MaxUp"
    assert paper("unlisted").title == "unlisted"


def test_tables_without_runs_can_be_hidden_and_reduced_curves_say_so() -> None:
    shown = section(small())
    assert shown["look"] == "table"
    names = [curve["name"] for chart in shown["charts"] for curve in chart["curves"]]
    assert [name.endswith(" (reduced)") for name in names].count(True) == 1
    assert section(unrun("mixup/figure3a"))["look"] == "table empty uniform"


def test_tables_without_runs_are_left_out_at_first_while_most_have_none() -> None:
    waiting = [unrun("mixup/figure3a"), unrun("mixup/table5")]
    for every, checked in (([small(), *waiting], True), ([small(), waiting[0]], False)):
        found = Read(page(every, [], ""))
        (box,) = [each for _, each in found.elements if each.get("id") == "hide"]
        assert ("checked" in box) is checked
        assert f"Leave out the {len(every) - 1} table" in found.text
    assert 'id="hide"' not in page([small()], [], "")
    left = re.findall(r'left-out">(.*?)</p>', page([small(), *waiting], [], ""), re.DOTALL)
    assert [Read(each).all("href") for each in left] == [
        ["#hide", "#mixup-figure3a", "#mixup-table5"]
    ]


def test_the_first_words_say_how_much_has_been_run() -> None:
    assert (
        "at the papers' own protocols: 0 of the 12 numbers"
        in Read(page([unrun("mixup/figure3a")], [], "")).text
    )
    text = Read(page([small()], [], "")).text
    runs = sum(bool(o.values) and not o.reduced for o in small().outcomes)
    assert f"own protocols: {runs} of the" in text
    assert "reproduced 1 · better 1" in text.split("Contents")[0]


def test_tables_and_drawings_have_names_for_those_who_cannot_see_them() -> None:
    found = Read(whole())
    count = Counter(name for name, _ in found.elements)
    assert count["table"] == count["caption"] > 4
    assert all(each.get("scope") for name, each in found.elements if name == "th")
    assert all(each.get("aria-label") for _, each in found.elements if each.get("role") == "img")
    scrolled = [each for _, each in found.elements if each.get("class") == "scroll"]
    assert all(each.get("aria-label") for each in scrolled if "tabindex" in each)
    assert [each.get("lang") for name, each in found.elements if name == "html"] == ["en"]
    assert Counter(name for name, _ in unnamed(whole())) == {}


def unnamed(markup: str) -> list[tuple[str, str]]:
    """Drawings that are neither named nor hidden from screen readers, with all around them."""
    body = re.sub(r"<(style|script).*?</\1>", "", markup, flags=re.DOTALL)
    named = re.compile(r'<(svg|div|span)\b[^>]*(?:aria-hidden="true"|role="img")')
    while (start := named.search(body)) is not None:
        body = body[: start.start()] + body[_end(body, start[1], start.start()) :]
    return re.findall(r"<(svg)\b([^>]*)", body)


def _end(body: str, name: str, start: int) -> int:
    """Where the element that starts there ends."""
    depth = 0
    for tag in re.finditer(rf"<(/?){name}\b[^>]*>", body[start:]):
        depth += -1 if tag[1] else 1
        if depth == 0:
            return start + tag.end()
    raise AssertionError(body[start : start + 200])
