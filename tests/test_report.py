"""The report says what the tables say, in one page that any browser shows without network."""

import base64
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from vicinal.report import details, dots, grids, words
from vicinal.report.figures import Figure, load
from vicinal.report.page import HERE, page
from vicinal.storage import records
from vicinal.tables import table
from vicinal.tables.cell import Cell
from vicinal.tables.counts import EXACT, NUMBERS
from vicinal.tables.joined import Joined, Records
from vicinal.tables.outcome import Outcome
from vicinal.tables.plan import Planned
from vicinal.tables.table import Table
from vicinal.tables.verdicts import Deviation

ROOT = Path(__file__).parents[1]
HOSTILE = """</script><img src=x onerror=alert(1)>"'&<!--"""
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


def record(name: str, seed: int, error: float) -> dict[str, Any]:
    session = {
        "from_step": 0,
        "git": {"commit": "c0ffee", "dirty": seed == 1},
        "device": {"name": f"GPU {HOSTILE}", "count": 1, "type": "cuda"},
        "machine": {"cores": 2},
        "versions": {"torch": "2.11"},
    }
    reading = {"top1": 100 - error, "top5": 99.0, "nll": error / 20}
    return {
        "name": name,
        "seed": seed,
        "config": {"schedule": {"epochs": 3}},
        "metrics": {"last": reading, "median10": reading, "best_test": reading | {"epoch": 3}},
        "curves": {"epoch": [1, 2, 3], "test_top1": [50.0, 70.0, 100 - error]},
        "timing": {"seconds": 12.3},
        "data": {"canonical": True, "fingerprint": {"train": "f1"}, "samples": {"train": 9}},
        "parameters": 1000,
        "sessions": [session],
    }


def outcome(
    cell: Cell,
    errors: dict[int, float],
    failed: tuple[int, ...] = (),
    reduced: tuple[str, ...] = (),
) -> Outcome:
    name = f"d/m/e/{cell.place[0]}{cell.place[1]}"
    run = Planned(cell.overrides, {}, name)
    found = [record(name, seed, error) for seed, error in errors.items()]
    found += [{**record(name, s, 0), "failed": f"not finite {HOSTILE}"} for s in failed]
    return Outcome(cell, run, errors, failed, reduced, tuple(found))


def small() -> Joined:
    """Every verdict once, in a table with labels of unequal depth and hostile text."""
    waits = {"printed": "4.0", "waits": "speech data", "note": HOSTILE}
    size = {"printed": "4.0", "measures": "parameters", "unit": "M"}
    printed = [
        ["4.0±0.02", "4.0", "4.0"],
        ["4.0", "4.0", "4.0"],
        ["4.0", waits, None],
        ["4.0", "4.0", "4.0"],
        ["4.0", {"printed": "4.0", "better": "none"}, {"printed": "4.0", "definition": True}],
        [size, size, None],
    ]
    labels = [["A", "one"], ["A", f"two {HOSTILE}"], ["B"], ["C"], ["D"], ["E"]]
    tree = {
        "caption": f"Errors {HOSTILE}",
        "run": ["method=erm"],
        "stub": ["Group", ""],
        "columns": [{"label": ["X", "p"]}, {"label": ["X", "q"]}, {"label": "Y"}],
        "rows": [
            {"label": label, "printed": row, "quoted": HOSTILE}
            for label, row in zip(labels, printed, strict=True)
        ],
        "claims": [{"says": f"p beats q {HOSTILE}", "better": "p", "than": ["q"]}],
    }
    made = Table("mixup/table0", tree)
    narrow, wide = {0: 4.0, 1: 4.01, 2: 3.99}, {0: 2.0, 1: 4.0, 2: 6.0}
    known = Deviation(0.1, "pooled")
    found = [
        outcome(made.cells[0], narrow),
        outcome(made.cells[1], {seed: value + 2 for seed, value in narrow.items()}),
        outcome(made.cells[2], {seed: value - 2 for seed, value in narrow.items()}),
        outcome(made.cells[3], wide),
        outcome(made.cells[4], narrow, reduced=("schedule.epochs=3",)),
        outcome(made.cells[5], {}, failed=(0, 1, 2)),
        Outcome(made.cells[6], Planned((), {}, "d/m/e/none"), {}),
        Outcome(made.cells[7], None, {}),
        replace(outcome(made.cells[8], {0: 4.0}), pooled=known),
        replace(outcome(made.cells[9], {0: 4.2}), pooled=known),
        replace(outcome(made.cells[10], {0: 9.0}), pooled=known),
        outcome(made.cells[11], {0: 4.0, 1: 4.01}),
        outcome(made.cells[12], {seed: value + 2 for seed, value in narrow.items()}),
        Outcome(made.cells[13], None, {}),
        Outcome(made.cells[14], None, {}, counted=4.01),
        Outcome(made.cells[15], None, {}, counted=5.0),
    ]
    return Joined(made, tuple(found))


def unrun(name: str) -> Joined:
    made = table.load(name)
    return Joined(made, tuple(Outcome(cell, None, {}) for cell in made.cells))


def whole() -> str:
    drawn = Figure("mixup", "figure1b", f"<svg>{HOSTILE}</svg>", {"a": [1, 2], "b": HOSTILE})
    return page([small()], [record("d/m/other/1", 0, 5.0)], f"rules {HOSTILE}", [drawn])


class Read(HTMLParser):
    """A page's elements, and the places of a table's cells."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, key: str) -> list[str]:
        return [found[key] or "" for _, found in self.elements if key in found]


def laid_out(markup: str) -> dict[tuple[int, int], str]:
    """What stands at each place of a table once spans are followed."""
    places: dict[tuple[int, int], str] = {}
    row = -1
    for line in re.findall(r"<tr>(.*?)</tr>", markup, re.DOTALL):
        row, column = row + 1, 0
        for head, inside in re.findall(r"<t[hd]\b([^>]*)>(.*?)</t[hd]>", line, re.DOTALL):
            while (row, column) in places:
                column += 1
            down, across = (
                int(found[1]) if (found := re.search(rf'{key}="(\d+)"', head)) else 1
                for key in ("rowspan", "colspan")
            )
            button = re.search(r'id="([^"]+)"', inside)
            said = button[1] if button else "".join(Read(inside).text)
            for i in range(down):
                for j in range(across):
                    assert (row + i, column + j) not in places
                    places[row + i, column + j] = said
            column += across
    return places


@pytest.mark.parametrize(
    "joined", [small(), *map(unrun, table.names())], ids=lambda j: j.table.name
)
def test_each_number_stands_under_its_labels(joined: Joined) -> None:
    places = laid_out(grids.grid(joined))
    made = joined.table
    depth, width = max(map(len, made.columns)), max(map(len, made.rows))
    for each in joined.outcomes:
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
    assert 'rowspan="2"' in stubs[0][0]
    assert "rowspan" not in stubs[3][0]


def test_every_verdict_has_its_own_words_colour_and_sign() -> None:
    joined = small()
    assert Counter(each.verdict for each in joined.outcomes) == Counter([*words.VERDICTS])
    assert {*NUMBERS, *EXACT[:4]} == set(words.VERDICTS)
    markup, css = grids.grid(joined), (HERE / "report.css").read_text()
    for each in joined.outcomes:
        kind = words.slug(each.verdict)
        assert all(f".{letter}-{kind}" in css for letter in "kb")
        button = markup.split(f'id="{words.cell_id(each)}"')[1].split("</button>")[0]
        assert f"#i-{words.slug(each.verdict)}" in button
        assert each.verdict in "".join(Read(button).text)
        assert each.verdict in words.verdict(each).lower()


def test_quoted_numbers_and_chance_stand_beside_the_counts() -> None:
    joined = small()
    text = "".join(Read(page([joined], [], "rules")).text)
    assert "counted apart: reproduced 1 · better 1 · worse 1" in text  # all of it is quoted
    own = [replace(each, cell=replace(each.cell, quoted=None)) for each in joined.outcomes]
    text = "".join(Read(page([Joined(joined.table, tuple(own))], [], "rules")).text)
    assert "counted apart" not in text
    assert "1 (by chance alone at most 0.1) the whole 95 % interval" in text


def test_a_cell_tells_its_seeds_command_and_provenance() -> None:
    joined = small()
    told = details.details([joined], "../runs")
    assert set(told["cells"]) == {words.cell_id(each) for each in joined.outcomes}
    first = told["cells"]["mixup-table0-1-1"]
    assert first["values"] == [[0, 4.0], [1, 4.01], [2, 3.99]]
    assert told["pool"][first["commands"]] == [
        ["At the paper's protocol", "python train.py -m method=erm seed=0,1,2"],
        ["All that is missing of this table", "python train.py -m table=mixup/table0"],
    ]
    step, place = told["runs"][first["run"]][1]["sessions"][0]
    assert step == 0
    assert told["pool"][place]["git"] == {"commit": "c0ffee", "dirty": True}
    reduced = told["cells"]["mixup-table0-2-2"]
    assert told["pool"][reduced["reduced"]] == ("schedule.epochs=3",)
    line = "python train.py -m method=erm schedule.epochs=3 seed=0,1,2"
    assert ["The reduced runs shown here", line] in told["pool"][reduced["commands"]]
    failed = told["runs"][told["cells"]["mixup-table0-2-3"]["run"]]
    assert all("not finite" in run["failed"] for run in failed.values())


def test_commands_survive_the_shell() -> None:
    cell = small().table.cells[0]
    line = ("dataset.mean=[0,0]", "dataset.split_seed=${seed}", "method.name='a b'")
    command = details._train(line, cell.seeds)
    shown = "import sys; print('\\n'.join(sys.argv[1:]))"
    typed = command.replace("python train.py -m", f'"{sys.executable}" -c "{shown}"')
    out = subprocess.run(["bash", "-c", typed], capture_output=True, text=True, check=True).stdout
    assert out.splitlines() == [*line, "seed=0,1,2"]


def test_text_is_never_markup() -> None:
    markup = whole()
    assert "<img src=x" not in markup
    found = Read(markup)
    assert [found for name, found in found.elements if "onerror" in found] == []
    assert sum(name == "script" for name, _ in found.elements) == 3
    assert "".join(found.text).count(HOSTILE) >= 6
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
    pages = [page([Joined.of(made, Records(each))], each, "") for each in (found, shuffled)]
    assert pages[0] == pages[1]
    program = "import sys, test_report; sys.stdout.buffer.write(test_report.whole().encode())"
    known = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    here = {"PYTHONPATH": known, "PYTHONHASHSEED": "1"}
    command = [sys.executable, "-c", program]
    out = subprocess.run(command, env=os.environ | here, capture_output=True, check=True).stdout
    assert out.decode() == whole()


def test_a_page_of_four_hundred_runs_and_a_thousand_numbers_is_small() -> None:
    made, waiting = table.load("patchup/table2"), unrun("gradaug/table8")
    found = tuple(outcome(c, {s: c.value + 0.01 * s for s in c.seeds}) for c in made.cells)
    frame, run, not_run = (
        len(page(every, [], "").encode()) for every in ([], [Joined(made, found)], [waiting])
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


def test_rounded_ticks_lie_within_their_scale() -> None:
    rng = random.Random(0)
    for _ in range(200):
        scale = dots.Scale.over(
            [rng.uniform(-100, 100) * 10 ** rng.randint(-4, 3) for _ in range(2)]
        )
        ticks = scale.ticks()
        assert 1 <= len(ticks) <= 9
        assert all(scale.low <= tick <= scale.high for tick in ticks)


def test_text_can_be_read_on_every_ground() -> None:
    css = (HERE / "report.css").read_text()
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})\b", part.split("}")[0]))
        for part in css.split("@media (prefers-color-scheme: dark)", 1)
    )
    for theme in (light, {**light, **dark}):
        for ground in ("page", "raised", "shade", *(key for key in theme if "-bg" in key)):
            assert contrast(theme["ink"], theme[ground]) >= 4.5, ground
        for ground in ("page", "raised", "shade"):
            assert contrast(theme["soft"], theme[ground]) >= 4.5, ground
            assert contrast(theme["link"], theme[ground]) >= 4.5, ground
        for ink in ("good", "better", "worse", "differs", "unsure", "reduced", "failed"):
            assert contrast(theme[ink], theme[f"{ink}-bg"]) >= 4.5, ink
            assert contrast(theme["soft"], theme[f"{ink}-bg"]) >= 4.5, ink
        assert contrast(theme["reduced"], theme["reduced-bg2"]) >= 4.5
        assert all(contrast(theme[f"c{i}"], theme["page"]) >= 3 for i in range(8))


def contrast(one: str, other: str) -> float:
    """As WCAG defines it."""

    def light(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


PROBE = """<script>
const errors = [];
addEventListener("error", (event) => errors.push(event.message));
addEventListener("load", () => {
  const panel = document.getElementById("panel"), said = {};
  for (const id of Object.keys(JSON.parse(document.getElementById("data").textContent).cells)) {
    const button = document.getElementById(id);
    button.focus(); button.click();
    said[id] = panel.open ? panel.textContent : "shut";
    panel.close();
  }
  setTimeout(() => {
    const button = document.querySelector("table.paper button");
    button.focus(); button.click(); panel.close();
    setTimeout(() => parent.postMessage({
      errors, said, width: innerWidth, scroll: document.scrollingElement.scrollWidth,
      focused: document.activeElement.id, injected: panel.querySelectorAll("img").length,
    }, "*"), 50);
  }, 50);
});
</script>"""
FRAMES = """<!doctype html><body><script>
const sizes = [[390, 844], [1280, 900]], frame = document.createElement("iframe");
const next = () => {
  if (!sizes.length) return frame.remove();
  [frame.width, frame.height] = sizes.shift();
  frame.src = `page.html?${frame.width}`;
};
addEventListener("message", (event) => {
  const said = document.createElement("pre");
  const json = unescape(encodeURIComponent(JSON.stringify(event.data)));
  said.textContent = `SAID${btoa(json)}END`;
  document.body.append(said);
  next();
});
document.body.append(frame);
next();
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
def test_a_browser_opens_every_cell_and_nothing_overflows(tmp_path: Path) -> None:
    """To see it: chromium --headless --screenshot=a.png --window-size=1280,2000 index.html."""
    assert CHROMIUM is not None
    wide = unrun("gradaug/table8")
    markup = page([small(), wide], [record("d/m/other/1", 0, 5.0)], "rules")
    (tmp_path / "page.html").write_text(markup.replace("<head>", f"<head>{PROBE}", 1))
    (tmp_path / "frames.html").write_text(FRAMES)
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'user'}"]
    flags += ["--virtual-time-budget=20000", "--dump-dom", f"file://{tmp_path / 'frames.html'}"]
    out = subprocess.run([CHROMIUM, *flags], capture_output=True, text=True, timeout=60, check=True)
    said = [json.loads(base64.b64decode(each)) for each in re.findall(r"SAID(.*?)END<", out.stdout)]
    assert sorted(each["width"] for each in said) == [390, 1280]
    for each in said:
        assert each["errors"] == []
        assert each["scroll"] <= each["width"]
        assert each["injected"] == 0
        assert "shut" not in each["said"].values()
        assert each["focused"] == "mixup-table0-1-1"
        first = each["said"]["mixup-table0-1-1"]
        assert "Reproduced" in first
        assert "python train.py -m method=erm seed=0,1,2" in first
        assert "with uncommitted changes" in first
        assert HOSTILE in first
