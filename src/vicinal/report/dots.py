"""The paper's numbers against ours, in SVG that fits any width: places are in percent."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import floor, log10

from vicinal.report import words
from vicinal.report.html import Html, tag
from vicinal.tables.markdown import difference
from vicinal.tables.outcome import Outcome


@dataclass(frozen=True)
class Scale:
    """A stretch of numbers, and round ones in it."""

    low: float
    high: float

    @classmethod
    def over(cls, values: Iterable[float]) -> "Scale":
        """All values, and a little more."""
        found = list(values)
        low, high = min(found), max(found)
        room = (high - low) * 0.06 or abs(high) * 0.05 or 1.0
        return cls(low - room, high + room)

    def at(self, value: float) -> float:
        """From 0 to 100, and at an end for what lies beyond it."""
        return min(max(100 * (value - self.low) / (self.high - self.low), 0.0), 100.0)

    def ticks(self, most: int = 4) -> list[float]:
        """A few round numbers."""
        rough = (self.high - self.low) / most
        power = 10.0 ** floor(log10(rough))
        step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough * 0.999)
        first = floor(self.low / step) + 1
        found = [step * (first + i) for i in range(2 * most + 2)]
        return [round(tick, 10) + 0.0 for tick in found if tick <= self.high]


def dots(outcomes: Sequence[Outcome], place: str) -> list[Html]:
    """One plot a measure: a line a number that there is a run of; `place` begins its ids."""
    run = [outcome for outcome in outcomes if outcome.mean is not None]
    kinds = dict.fromkeys((o.cell.measures, o.cell.unit) for o in run)
    return [
        _dots([o for o in run if (o.cell.measures, o.cell.unit) == kind], f"{place}-{i}", *kind)
        for i, kind in enumerate(kinds)
    ]


def _dots(outcomes: Sequence[Outcome], place: str, measures: str, unit: str) -> Html:
    values = Scale.over(x for o in outcomes for x in _reach(o, outcomes))
    judged = [o.difference for o in outcomes if o.difference and not o.reduced]
    found = judged or [o.difference for o in outcomes if o.difference]
    far = max((abs(d.difference) + d.half_width for d in found), default=1.0)
    differences = Scale(-1.1 * far, 1.1 * far)
    name = _namer(outcomes)
    lines = []
    for group, members in groupby(outcomes, key=lambda o: name(o)[0]):
        if group:
            lines.append(tag("p", group, class_="group"))
        for outcome in members:
            lines.append(
                tag(
                    "div",
                    tag("span", name(outcome)[1], class_="label"),
                    _track(f"{place}-v", _both(outcome, values)),
                    _track(f"{place}-d", _off(outcome, differences)),
                    tag("span", words.minus(difference(outcome)), class_="number"),
                    class_="line",
                )
            )
    head = tag(
        "div",
        tag("span", class_="label"),
        tag("span", f"{words.measure(measures)}, {unit}", class_="over"),
        tag("span", words.minus("ours - paper, 95 % interval"), class_="over"),
        class_="line head",
    )
    axes = tag("div", tag("span", class_="label"), _axis(values), _axis(differences), class_="line")
    rules = [_ruled(values, f"{place}-v", "rule"), _ruled(differences, f"{place}-d", "zero")]
    return tag("div", rules, head, lines, axes, class_="dots", aria_hidden="true")


def _reach(outcome: Outcome, among: Sequence[Outcome]) -> list[float]:
    """What the scale must hold: of reduced runs nothing, where there are others."""
    cell, own, theirs = outcome.cell, outcome.spread or 0.0, outcome.cell.spread or 0.0
    paper = [cell.value - theirs, cell.value + theirs]
    if outcome.mean is None or (outcome.reduced and not all(o.reduced for o in among)):
        return paper
    return [*paper, outcome.mean - own, outcome.mean + own]


def _namer(outcomes: Sequence[Outcome]) -> Callable[[Outcome], tuple[str, str]]:
    """A heading and a label for each line, less whatever all lines share."""

    def sides(outcome: Outcome) -> tuple[Sequence[str], Sequence[str]]:
        return outcome.cell.row, outcome.cell.column

    shared = [set.intersection(*(set(sides(o)[side]) for o in outcomes)) for side in (0, 1)]

    def name(outcome: Outcome) -> tuple[str, str]:
        row, column = (
            ", ".join(part for part in sides(outcome)[side] if part not in shared[side])
            for side in (0, 1)
        )
        return (row, column) if row and column else ("", row or column or outcome.cell.row[-1])

    return name


def _ruled(scale: Scale, name: str, zero: str) -> Html:
    """The rules of all tracks of one scale, and how that at zero is drawn."""
    marks = [
        _line(scale.at(tick), scale.at(tick), "0", "100%", "rule" if tick else zero)
        for tick in scale.ticks()
    ]
    return tag("svg", tag("defs", tag("g", marks, id=name)), class_="vh")


def _track(name: str, marks: Sequence[Html]) -> Html:
    return tag("svg", tag("use", href=f"#{name}"), marks, class_="track")


def _both(outcome: Outcome, scale: Scale) -> list[Html]:
    cell, marks = outcome.cell, list[Html]()
    if cell.spread is not None:
        marks.append(_bar(scale, cell.value, cell.spread, "7", "theirs"))
    x, moved = f"{scale.at(cell.value):.2f}%", "translate(-3.5)"
    square = tag("rect", x=x, y=3.5, width=7, height=7, transform=moved, class_="theirs")
    assert outcome.mean is not None
    ours = _mark(scale, outcome.mean, outcome.spread or 0.0, "15", outcome)
    return [*marks, square, *ours]


def _off(outcome: Outcome, scale: Scale) -> list[Html]:
    found = outcome.difference
    centre = found.difference if found else (outcome.mean or 0.0) - outcome.cell.value
    return _mark(scale, centre, found.half_width if found else 0.0, "11", outcome)


def _mark(scale: Scale, centre: float, half: float, y: str, outcome: Outcome) -> list[Html]:
    """A dot in its interval, or an arrow at the end behind which it lies."""
    kind = f"mine m-{words.slug(outcome.verdict)}"
    if not scale.low <= centre <= scale.high:
        x, arrow = ("100%", "M-7-4L0 0-7 4Z") if centre > 0 else ("0%", "M7-4L0 0 7 4Z")
        drawn = tag("path", d=arrow, class_=kind)
        return [tag("svg", drawn, x=x, y=y, overflow="visible", width=1, height=1)]
    bar = [_bar(scale, centre, half, y, kind)] if half else []
    return [*bar, tag("circle", cx=f"{scale.at(centre):.2f}%", cy=y, r=3.6, class_=kind)]


def _bar(scale: Scale, centre: float, half: float, y: str, kind: str) -> Html:
    return _line(scale.at(centre - half), scale.at(centre + half), y, y, kind)


def _line(x1: float, x2: float, y1: str, y2: str, class_: str) -> Html:
    return tag("line", x1=f"{x1:.2f}%", x2=f"{x2:.2f}%", y1=y1, y2=y2, class_=class_)


def _axis(scale: Scale) -> Html:
    texts = []
    for tick in scale.ticks():
        x = scale.at(tick)
        anchor = "start" if x < 6 else "end" if x > 94 else "middle"
        texts.append(tag("text", words.minus(f"{tick:g}"), x=f"{x:.2f}%", y=12, text_anchor=anchor))
    return tag("svg", texts, class_="track axis")


def caterpillar(outcomes: Iterable[Outcome]) -> Html | None:
    """Every difference in points at the protocol, paper by paper, smallest first."""
    found = [
        (o, d)
        for o in outcomes
        if o.cell.unit == "%" and not o.reduced and (d := o.difference) is not None
    ]
    if not found:
        return None
    ends = sorted(abs(d.difference) + d.half_width for _, d in found)
    far = max(ends[int(0.93 * (len(ends) - 1))], 1.0)
    scale = Scale(-1.05 * far, 1.05 * far)
    panels = []
    for paper, group in groupby(found, key=lambda each: each[0].cell.table.partition("/")[0]):
        ordered = sorted(group, key=lambda each: each[1].difference)
        marks = [
            _line(0, 100, at, at, "rule" if tick else "zero")
            for tick in scale.ticks(6)
            for at in [f"{100 - scale.at(tick):.2f}%"]
        ]
        for i, (outcome, d) in enumerate(ordered):
            x, kind = 100 * (i + 0.5) / len(ordered), words.slug(outcome.verdict)
            low, high, at = (100 - scale.at(d.difference + n * d.half_width) for n in (-1, 1, 0))
            whisker = _line(x, x, f"{high:.2f}%", f"{low:.2f}%", f"mine m-{kind}")
            dot = tag("circle", cx=f"{x:.2f}%", cy=f"{at:.2f}%", r=2.5, class_=f"mine m-{kind}")
            title = tag("title", f"{words.cited(outcome.cell)}: {words.minus(difference(outcome))}")
            marks.append(tag("g", title, whisker, dot, data_cell=words.cell_id(outcome)))
        drawn = tag("svg", marks, class_="panel")
        name = tag("span", words.short(paper), tag("small", f" {len(ordered)}"), class_="over")
        panels.append(tag("div", drawn, name, class_="column", style=f"flex-grow:{len(ordered)}"))
    texts = [
        tag(
            "text",
            words.minus(f"{t:+g}" if t else "0"),
            x="100%",
            y=f"{100 - scale.at(t):.2f}%",
            dy="0.32em",
            text_anchor="end",
        )
        for t in scale.ticks(6)
    ]
    axis = tag("div", tag("svg", texts, class_="panel"), class_="scale")
    return tag("div", axis, panels, class_="caterpillar", aria_hidden="true")
