"""Write small SVG files: the same bytes each time, titled, legible on light and dark."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import matplotlib
from matplotlib.figure import Figure

from vicinal.storage.files import write_bytes_atomically

INK, PAPER, FAINT = "#1f2328", "#ffffff", "#8b949e"
DARK_INK, DARK_PAPER = "#e6edf3", "#0d1117"
DPI = 110  # of rasterised points
# Text stays text, for readers and for size; ids are hashes of their content.
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "vicinal",
    "font.family": "sans-serif",
    "font.size": 8,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "axes.facecolor": "none",
}
# matplotlib writes colours as inline styles; a viewer in dark mode swaps paper and ink.
STYLE = f"""<style>@media (prefers-color-scheme: dark) {{
[style*="fill: {PAPER}"] {{ fill: {DARK_PAPER} !important }}
[style*="fill: {INK}"] {{ fill: {DARK_INK} !important }}
[style*="stroke: {INK}"] {{ stroke: {DARK_INK} !important }}
}}</style>"""


@contextmanager
def style() -> Iterator[None]:
    """Use our matplotlib settings instead of the user's; draw and save inside."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        yield


def save(figure: Figure, path: Path, title: str, description: str) -> None:
    """Write the file atomically; `description` says in words what the figure shows."""
    buffer = BytesIO()
    # Without creator, date and title matplotlib writes no metadata block.
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", dpi=DPI, metadata=nothing)
    head, tag, rest = buffer.getvalue().decode().partition("<svg ")
    attributes, _, body = rest.partition(">")
    spoken = f"<title>{escape(title)}</title>\n<desc>{escape(description)}</desc>"
    text = f'{head}{tag}role="img" {attributes}>\n{spoken}\n{STYLE}{body}'
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes_atomically(path, text.encode())
