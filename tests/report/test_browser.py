"""The page in a browser, where there is one."""

import os
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from attacked_samples import both
from measured_samples import corrupted, entry
from report_browser import CHROMIUM, Browser, browser
from report_samples import HOSTILE, record, small, unrun

from vicinal.report.page import page

ROOT = Path(__file__).parents[2]
AXE = Path(os.environ.get("VICINAL_AXE", ROOT / "node_modules" / "axe-core" / "axe.min.js"))
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
FIRST = "mixup-table0-1-1"
# What every cell's details say.
SAID = """(() => {
  const said = {};
  for (const id of Object.keys(JSON.parse(document.getElementById("data").textContent).cells)) {
    document.getElementById(id).click();
    said[id] = panel.open ? panel.textContent : "shut";
    panel.close();
  }
  return said;
})()"""
# The element with the focus has an outline and lies in the window.
SEEN = """(() => {
  const found = document.activeElement, box = found.getBoundingClientRect();
  const marked = found.id === "hide" ? found.closest("label") : found;
  const style = getComputedStyle(marked);
  const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1;
  const inside = box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
  return outlined && inside || `${found.outerHTML.slice(0, 200)} ${style.outline} ${box.top}`;
})()"""
SHOWN = """[...document.querySelectorAll("#papers section section")]
  .filter((each) => each.checkVisibility()).map((each) => each.id)"""
VIOLATIONS = """axe.run().then((found) => found.violations.flatMap((rule) =>
  rule.nodes.map((node) => `${rule.id}: ${node.html.slice(0, 200)}`)))"""


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with a table that has runs, two that have none, and what was measured beside them."""
    path = tmp_path_factory.mktemp("report") / "page.html"
    waiting = unrun("mixup/table3a"), unrun("mixup/table5")
    measured = record("d/m/other/1", 0, 5.0, entry(corrupted(70.0)))
    path.write_text(page([small(), *waiting], [measured, *both()], "rules"))
    return path


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("chromium")) as found:
        yield found


@needs_chromium
def test_a_browser_opens_every_cell_and_nothing_overflows(
    chromium: Browser, page_file: Path
) -> None:
    """To see it: chromium --headless --screenshot=a.png --window-size=1280,2000 index.html."""
    for width in (390, 1280):
        chromium.open(page_file, width)
        chromium.run("hide.click()")
        assert chromium.run("document.scrollingElement.scrollWidth") <= width
        said = chromium.run(SAID)
        assert chromium.errors == []
        assert chromium.run("panel.querySelectorAll('img').length") == 0
        assert "shut" not in said.values()
        assert "Reproduced" in said[FIRST]
        assert "python train.py -m method=erm seed=0,1,2" in said[FIRST]
        assert "with uncommitted changes" in said[FIRST]
        assert f"Our number. no gradient {HOSTILE}" in said[FIRST]


def tab_to(chromium: Browser, name: str) -> None:
    """Press Tab until this has the focus; on the way each element must be seen to have it."""
    for _ in range(150):
        chromium.press("Tab")
        seen = chromium.run(SEEN)
        assert seen is True, seen
        if chromium.focused() == name:
            return
    raise AssertionError(f"{name} is not reached by the keyboard")


@needs_chromium
def test_the_keyboard_alone_opens_reads_and_closes_a_number(
    chromium: Browser, page_file: Path
) -> None:
    chromium.open(page_file)
    tab_to(chromium, "Skip to the tables")
    chromium.press("Enter")
    assert chromium.focused() == "papers"
    tab_to(chromium, FIRST)
    for key in ("Enter", " "):
        chromium.press(key)
        assert chromium.run("panel.open") is True
        assert chromium.focused() == "Close"
        for _ in range(12):
            chromium.press("Tab")
            assert chromium.run(
                "panel.contains(document.activeElement) || document.activeElement === document.body"
            )
        chromium.press("Escape")
        assert chromium.run("panel.open") is False
        assert chromium.focused() == FIRST
    chromium.press("ArrowDown")
    assert chromium.focused() == "mixup-table0-2-1"
    chromium.press("ArrowRight")
    assert chromium.focused() == "mixup-table0-2-2"
    for name in ("papers", "hide"):
        chromium.run(f"document.getElementById('{name}').focus()")
    chromium.press(" ")
    assert chromium.run(SHOWN) == ["mixup-table0", "mixup-table3a", "mixup-table5"]


@needs_chromium
def test_tables_without_runs_are_left_out_until_asked_for_even_without_scripts(
    chromium: Browser, page_file: Path
) -> None:
    for disabled in (False, True):
        chromium.call("Emulation.setScriptExecutionDisabled", value=disabled)
        chromium.open(page_file)
        assert chromium.run(SHOWN) == ["mixup-table0"]
        for asked in ("mixup-table5", "mixup-table5-1-1"):  # the table, or a number in it
            chromium.run(f"location.hash = '{asked}'")
            assert chromium.run(SHOWN) == ["mixup-table0", "mixup-table5"]
        chromium.run("panel.close(), hide.click()")
        assert chromium.run(SHOWN) == ["mixup-table0", "mixup-table3a", "mixup-table5"]
    chromium.call("Emulation.setScriptExecutionDisabled", value=False)


@needs_chromium
@pytest.mark.skipif(not AXE.exists(), reason="no axe-core: npm install axe-core, or VICINAL_AXE")
def test_axe_finds_nothing(chromium: Browser, page_file: Path) -> None:
    for width, theme in product((390, 1280), ("light", "dark")):
        chromium.open(page_file, width, theme)
        chromium.run(AXE.read_text() + ";0")
        assert chromium.run(VIOLATIONS) == []
        chromium.run(f"document.getElementById('{FIRST}').click()")
        assert chromium.run("panel.open") is True
        assert chromium.run(VIOLATIONS) == []
