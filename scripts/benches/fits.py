"""How a cost grows with a size: as a power of it, or as a fixed part and a part per unit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """Both fits of some costs, by least squares.

    `residual` and `line_residual` are root mean squares of ln(cost / fit): 0.1 is about 10 percent.
    They are None for two points, through which everything fits.
    """

    exponent: float  # of cost = factor * size ** exponent
    residual: float | None
    fixed: float  # of cost = fixed + per_unit * size
    per_unit: float
    line_residual: float | None

    @property
    def is_line(self) -> bool:
        """Whether the line fits better."""
        if self.residual is None or self.line_residual is None:
            return False
        return self.line_residual < self.residual

    def row(self) -> dict[str, Any]:
        """The fits as JSON has them."""
        power = {"exponent": self.exponent, "residual": self.residual}
        line = {"fixed": self.fixed, "per_unit": self.per_unit, "residual": self.line_residual}
        return {"power": power, "line": line, "fits_better": "line" if self.is_line else "power"}


def fit(sizes: Sequence[float], costs: Sequence[float]) -> Fit:
    """Fit costs above 0 at two sizes or more."""
    n, cost = np.array(sizes, dtype=float), np.array(costs, dtype=float)
    assert len(n) >= 2
    assert (n > 0).all()
    assert (cost > 0).all()
    exponent, logarithm = _line(np.log(n), np.log(cost), np.ones_like(n))
    per_unit, fixed = _line(n, cost, 1 / cost)  # relative errors count, as in the other fit
    two = len(n) == 2
    return Fit(
        exponent=exponent,
        residual=None if two else _residual(cost, np.exp(logarithm) * n**exponent),
        fixed=fixed,
        per_unit=per_unit,
        line_residual=None if two else _residual(cost, fixed + per_unit * n),
    )


def _line(x: Numbers, y: Numbers, weights: Numbers) -> tuple[float, float]:
    """Slope and intercept; a point's error is multiplied by its weight."""
    columns = np.stack([x, np.ones_like(x)], axis=1) * weights[:, None]
    found = np.linalg.lstsq(columns, y * weights, rcond=None)[0]
    return float(found[0]), float(found[1])


def _residual(costs: Numbers, fitted: Numbers) -> float:
    """Infinite for a fit that no cost can have."""
    if (fitted <= 0).any():
        return float("inf")
    return float(np.sqrt(np.mean(np.log(costs / fitted) ** 2)))
