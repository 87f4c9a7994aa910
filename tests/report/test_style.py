"""Text can be read on every ground, in light and dark."""

import re

from vicinal.report import words
from vicinal.report.picture import INKS, colours
from vicinal.report.render import HERE


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
        for ground in ("page", "raised"):
            assert contrast(theme["differs"], theme[ground]) >= 4.5, ground  # .doubt
        assert contrast(theme["focus"], theme["page"]) >= 3
        assert contrast(theme["reduced"], theme["reduced-bg2"]) >= 4.5
        assert all(contrast(theme[f"c{i}"], theme["page"]) >= 3 for i in range(8))


def test_the_readme_picture_can_be_read_on_githubs_pages() -> None:
    for theme, ground in (("light", "#ffffff"), ("dark", "#0d1117")):
        found = colours(theme)
        for ink in ("ink", "soft", *INKS.values(), "unsure"):
            assert contrast(found[ink], ground) >= 4.5, (theme, ink)
    assert set(INKS) <= set(words.VERDICTS)


def test_nothing_moves_by_itself() -> None:
    """So that prefers-reduced-motion has nothing to switch off."""
    for name in ("report.css", "report.js"):
        assert not re.search(
            r"transition|animat|smooth|marquee|@keyframes", (HERE / name).read_text()
        )


def contrast(one: str, other: str) -> float:
    """As WCAG defines it."""

    def light(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)
