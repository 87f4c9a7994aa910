"""The page in a browser, where there is one."""

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from attacked_samples import both
from measured_samples import corrupted, entry
from report_samples import HOSTILE, record, small, unrun

from vicinal.report.page import page

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
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
    measured = record("d/m/other/1", 0, 5.0, entry(corrupted(70.0)))
    markup = page([small(), wide], [measured, *both()], "rules")
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
        assert f"Our number. no gradient {HOSTILE}" in first
