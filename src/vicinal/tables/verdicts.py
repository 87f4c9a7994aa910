"""When a number counts as reproduced, and when one method counts as better than another.

All intervals are two-sided 95 % intervals of Student's t.

A number. Ours is the mean of n runs at the paper's protocol; the paper's, a mean of `paper_runs`.
The difference's standard error adds what both means are uncertain by: ours by our sample
deviation, the paper's by the deviation it prints or, where it prints none, by ours; and the
rounding of the printed digits. Degrees of freedom are Welch and Satterthwaite's, or n - 1 where
our deviation is all there is.

    reproduced    the interval contains 0, and its half-width is at most 1 percentage point
                  (a tenth of the printed value for what is no percentage)
    above, below  the interval lies on one side of 0: our number is larger, or smaller
    inconclusive  the interval contains 0 but is wider, or there are fewer than two runs, or some
                  of the planned seeds are missing or failed
    reduced       all runs have another budget or other data: whatever they show does not count
    failed        every run diverged
    not run       there is nothing; `waits` says what for, where there cannot be

An ordering "A beats B". The runs of both are paired by seed, which gives both the same split and
order of data; the interval is that of the mean paired difference over the shared seeds.

    holds         the interval lies on A's side of 0
    contradicted  it lies on B's side
    undecided     it contains 0, or fewer than two seeds are shared
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import mean, stdev

from scipy import stats

NARROW_POINTS = 1.0
NARROW_SHARE = 0.1


@dataclass(frozen=True)
class Interval:
    """A difference, and how far it may be off."""

    difference: float
    half_width: float

    @property
    def side(self) -> int:
        """-1 or 1 where the whole interval lies on that side of 0, else 0."""
        if abs(self.difference) <= self.half_width:
            return 0
        return 1 if self.difference > 0 else -1


def against_paper(
    ours: Sequence[float], value: float, spread: float | None, paper_runs: int, decimals: int
) -> Interval:
    """Our mean minus the printed one."""
    n, own = len(ours), stdev(ours) ** 2 / len(ours)
    rounding = 10.0 ** (-2 * decimals) / 12
    theirs = (stdev(ours) if spread is None else spread) ** 2 / paper_runs
    freedom = n - 1.0
    if spread is not None and paper_runs > 1 and own + theirs > 0:
        freedom = (own + theirs) ** 2 / (own**2 / (n - 1) + theirs**2 / (paper_runs - 1))
    half = _quantile(freedom) * sqrt(own + theirs + rounding)
    return Interval(mean(ours) - value, half)


def paired(better: Mapping[int, float], worse: Mapping[int, float], sign: int) -> Interval | None:
    """The mean advantage over shared seeds; `sign` is -1 where lower is better."""
    shared = sorted(better.keys() & worse.keys())
    if len(shared) < 2:
        return None
    gains = [sign * (better[seed] - worse[seed]) for seed in shared]
    half = _quantile(len(gains) - 1) * stdev(gains) / sqrt(len(gains))
    return Interval(mean(gains), half)


def verdict(interval: Interval, value: float, percent: bool, whole: bool) -> str:
    """Of a number with at least two runs at the protocol; `whole` if no planned seed is lacking."""
    if interval.side:
        return "above" if interval.side > 0 else "below"
    narrow = NARROW_POINTS if percent else NARROW_SHARE * abs(value)
    return "reproduced" if whole and interval.half_width <= narrow else "inconclusive"


def ordering(interval: Interval | None) -> str:
    """Of a claim about two cells."""
    if interval is None or not interval.side:
        return "undecided"
    return "holds" if interval.side > 0 else "contradicted"


def _quantile(freedom: float) -> float:
    return float(stats.t.ppf(0.975, freedom))
