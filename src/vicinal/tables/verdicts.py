"""When a number counts as reproduced, and when one method counts as better than another.

A number. Ours is the mean of n runs at the paper's protocol, with the planned seeds; the paper's
is the mean of p = `paper_runs`. We ask two questions about the difference d and its two-sided 95 %
interval d ± h:

    different  Does the interval exclude 0? Then ours is better or worse (or it differs, if neither
               direction is good).
    within     Is |d| + h at most the margin? Then the true difference is smaller than the margin,
               with an error rate of at most one in forty.

The margin is the smaller of one percentage point and a tenth of the printed error (100 minus an
accuracy). For a perplexity it is one percent, as papers claim gains of one to two percent. For any
other number that is not a percentage it is a tenth of the printed value, but at most three times
the deviation printed beside it: five runs against five have an h of one and a half deviations. It
is never below one unit of the last printed digit.

Once all planned seeds have finished, the verdict is final:

    reproduced               within the margin, different or not; the tables show both answers
    better, worse, differs   not within the margin, and different
    inconclusive             neither; or a planned seed diverged; or no deviation is known

Before that nothing is final: looking after every seed finds a difference by chance more often than
one time in twenty.

    agrees (one run)         one run: the interval contains 0 and lies within the margin
    near (one run)           one run: it contains 0 but reaches beyond the margin
    off (one run)            one run: it excludes 0
    interim                  several runs, or a single one if no deviation is known

The other words:

    equal, unequal           parameters and multiply-adds (of convolutions and matrix products) are
                             counted without a run: ours has the printed digits, or it does not
    definition               the number follows from a definition, and no run could change it
    same ratio, other ratio  what a method costs: ours is, or is not, within a tenth of the paper's
    reference                the cost of plain training, which the others are divided by
    reduced                  all runs have another budget or other data: shown, never counted
    failed                   every run diverged
    not run, unavailable     can be run but was not; cannot be run, and the cell says why

Numbers that a paper quotes from another are counted separately, since they test our guess at the
other paper's recipe.

Costs (memory, seconds, hours) depend on the machine, so they are compared as ratios. The paper's
is a printed number over that of its row of plain training. Ours is the method's number over plain
training's, ERM of the same network on the same data, which the evaluation `cost` measures beside
it in the same process, turn by turn: so the two always come from one device. Hours are those of an
epoch, times the epochs of each row's protocol. Nothing is trained for them, and one run is enough.

Where h comes from. Five runs or more are judged by their own deviation and, if the paper prints
one, by the paper's as well (Student's t, degrees of freedom after Welch and Satterthwaite). If it
prints none, its runs are assumed to scatter as ours do. Two to four runs are judged in the same way
if the paper prints a deviation of three runs or more, and one run by that deviation alone:
t(p - 1) s sqrt(1 + 1/p) is the exact prediction interval for one more run of the paper's.
Everything else is judged by the pooled deviation of its data set and measure, and h is twice the
standard error. The pooled deviation is the median of those that the five papers print (at least
five of them), each divided by the median sample deviation of as many runs whose true deviation
is 1. Our own deviation is used instead if it is larger than the pooled one allows (chi-squared,
1 %), or if there is no pooled one. The tables name the deviation; if it is pooled, they show the t
interval of our own runs beside it. The rounding of the printed digits is part of h.

Seeds that redraw the split of one small data set share most of their training data, so their mean
is less certain than 1/n says: 1/n becomes 1/n + test samples / training samples (Nadeau and Bengio,
Machine Learning 52, 2003).

An ordering "A beats B". The runs of both are paired by seed, which gives both the same split and
order of data. The interval is that of the mean difference over the shared seeds: Student's t from
five seeds on and the pooled deviation below that, with the exceptions above.

    holds                    all planned seeds are shared, and the interval lies on A's side of 0
    contradicted             it lies on B's side
    undecided                it contains 0, or a planned seed diverged
    interim                  several seeds are shared, but not all of the planned ones
    points that way          one seed is shared, and A is ahead by more than 2 sqrt(2) deviations
    points the other way     one seed is shared, and B is ahead by as much
    no sign                  one seed is shared, and neither is, or no deviation is known

An ordering of costs compares the two ratios, since the numbers may come from different machines. It
holds or is contradicted if they are more than a tenth of the larger one apart, and is undecided
otherwise. It is counted among the costs.

Chance alone. If all our numbers were equal to the papers', one final verdict in forty would be
better, one in forty worse, and one single run in twenty off. If all were off by exactly the margin,
at most one in forty would be reproduced, or agree. If no method were better than another, one final
ordering in forty would hold and one in forty would be contradicted, and likewise the signs of
single seeds. The numbers that these shares predict are printed beside the counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import sqrt
from statistics import mean, stdev

from scipy import special

from vicinal.tables.cell import Cell

ENOUGH_RUNS = 5  # runs whose own deviation is trusted
MIN_PRINTED_RUNS = 3  # runs of a paper whose printed deviation is trusted
STANDARD_ERRORS = 2.0  # half-width where the deviation is known: 95.4 %
MAX_POINTS = 1.0
ERROR_SHARE = 0.1
PERPLEXITY_SHARE = 0.01
MAX_SPREADS = 3.0
WIDE_QUANTILE = 0.99
RATIO_SHARE = 0.1  # of a ratio of costs


@dataclass(frozen=True)
class Deviation:
    """How far single runs scatter, according to a source other than our own runs."""

    value: float
    source: str


@dataclass(frozen=True)
class Interval:
    """A difference, its half-width, and the source of the deviation behind that."""

    difference: float
    half_width: float
    source: str = "ours"
    ours_alone: float | None = None  # the half-width by our deviation, if `source` is another

    @property
    def side(self) -> int:
        """-1 or 1 if the whole interval lies on that side of 0, else 0."""
        if abs(self.difference) <= self.half_width:
            return 0
        return 1 if self.difference > 0 else -1

    def within(self, margin: float) -> bool:
        """Whether the whole interval lies within the margin on both sides of 0."""
        return abs(self.difference) + self.half_width <= margin


def margin(cell: Cell) -> float:
    """How far from the printed number still counts as the same."""
    if cell.unit == "%":
        error = 100 - cell.value if "accuracy" in cell.measures else cell.value
        narrow = min(MAX_POINTS, ERROR_SHARE * abs(error))
    elif cell.measures == "perplexity":
        narrow = PERPLEXITY_SHARE * cell.value
    else:
        narrow = ERROR_SHARE * abs(cell.value)
        if cell.spread is not None:
            narrow = min(narrow, MAX_SPREADS * cell.spread)
    return max(narrow, 10.0**-cell.decimals)


def against_paper(
    ours: Sequence[float], cell: Cell, pooled: Deviation | None = None
) -> Interval | None:
    """Our mean minus the printed one; None if no deviation is known."""
    n, p, difference = len(ours), cell.paper_runs, mean(ours) - cell.value
    rounding = 10.0 ** (-2 * cell.decimals) / 12
    weight = 1 / n + cell.overlap
    printed = cell.spread if p >= MIN_PRINTED_RUNS else None
    if n == 1 and printed is not None:
        half = _t(p - 1) * sqrt(printed**2 * (weight + 1 / p) + rounding)
        return Interval(difference, half, f"printed, {printed:g}")
    ours_alone = _welch(ours, cell, weight, rounding) if n > 1 else None
    if pooled is None or printed is not None or not _pooled_applies(ours, pooled):
        source = "ours" if cell.spread is None else "ours and printed"
        return None if ours_alone is None else Interval(difference, ours_alone, source)
    half = STANDARD_ERRORS * sqrt(pooled.value**2 * (weight + 1 / p) + rounding)
    return Interval(difference, half, pooled.source, ours_alone)


def paired_gain(
    better: Mapping[int, float],
    worse: Mapping[int, float],
    sign: int,
    overlap: float = 0.0,
    pooled: Deviation | None = None,
) -> Interval | None:
    """The mean advantage over shared seeds; `sign` is -1 if lower is better."""
    gains = [sign * (better[seed] - worse[seed]) for seed in sorted(better.keys() & worse.keys())]
    if not gains:
        return None
    weight, ours_alone = 1 / len(gains) + overlap, None
    if len(gains) > 1:
        ours_alone = _t(len(gains) - 1) * stdev(gains) * sqrt(weight)
    # A gain is the difference of two runs.
    of_gains = None if pooled is None else Deviation(sqrt(2) * pooled.value, pooled.source)
    if of_gains is None or not _pooled_applies(gains, of_gains):
        return None if ours_alone is None else Interval(mean(gains), ours_alone)
    half = STANDARD_ERRORS * of_gains.value * sqrt(weight)
    return Interval(mean(gains), half, of_gains.source, ours_alone)


def verdict(
    interval: Interval | None, cell: Cell, num_runs: int, complete: bool, failed: bool
) -> str:
    """Judge a number with runs at the protocol; `complete` if no planned seed is missing."""
    if failed:
        return "inconclusive"
    if num_runs == 1 and interval is not None:
        if interval.side:
            return "off (one run)"
        return "agrees (one run)" if interval.within(margin(cell)) else "near (one run)"
    if not complete:
        return "interim"
    if interval is not None and interval.within(margin(cell)):
        return "reproduced"
    return (interval and different(interval, cell)) or "inconclusive"


def different(interval: Interval, cell: Cell) -> str:
    """In which direction the interval excludes 0; empty if it does not."""
    if not interval.side:
        return ""
    if cell.better == "none":
        return "differs"
    return "better" if (interval.side > 0) == (cell.better == "higher") else "worse"


def ordering(gain: Interval | None, num_seeds: int, complete: bool, failed: bool) -> str:
    """Judge a claim about two cells by the seeds that they share."""
    side = gain.side if gain else 0
    if failed:
        return "undecided"
    if num_seeds == 1:
        return {1: "points that way", -1: "points the other way", 0: "no sign"}[side]
    if not complete:
        return "interim"
    return {1: "holds", -1: "contradicted", 0: "undecided"}[side]


def same_ratio(ours: float, cell: Cell) -> str:
    """Judge what a method costs, as a ratio to plain training."""
    assert cell.ratio is not None
    near = abs(ours - cell.ratio) <= RATIO_SHARE * cell.ratio
    return "same ratio" if near else "other ratio"


def ratio_gain(better: float, worse: float, sign: int) -> Interval:
    """The advantage of one ratio over another; `sign` is -1 if lower is better."""
    return Interval(sign * (better - worse), RATIO_SHARE * max(better, worse), "a tenth")


def _welch(ours: Sequence[float], cell: Cell, weight: float, rounding: float) -> float:
    """The half-width by our deviation and, if there is one, by the printed one."""
    n, p, spread = len(ours), cell.paper_runs, cell.spread
    our_variance = stdev(ours) ** 2 * weight
    their_variance = (stdev(ours) if spread is None else spread) ** 2 / p
    freedom = n - 1.0
    if spread is not None and p > 1 and our_variance + their_variance > 0:
        shares = our_variance**2 / (n - 1) + their_variance**2 / (p - 1)
        freedom = (our_variance + their_variance) ** 2 / shares
    return _t(freedom) * sqrt(our_variance + their_variance + rounding)


def _pooled_applies(values: Sequence[float], pooled: Deviation) -> bool:
    """Whether there are so few values, scattered so little, that the pooled deviation judges."""
    n = len(values)
    if n == 1 or n >= ENOUGH_RUNS:
        return n == 1
    return stdev(values) ** 2 <= pooled.value**2 * _widest(n - 1)


@cache
def _widest(freedom: int) -> float:
    """How many times its expectation a sample variance may be: a quantile of chi-squared."""
    return 2 * float(special.gammaincinv(freedom / 2, WIDE_QUANTILE)) / freedom


@cache
def _t(freedom: float) -> float:
    return float(special.stdtrit(freedom, 0.975))
