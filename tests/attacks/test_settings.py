"""Attacks refuse settings that mean nothing, naming the setting, its value and the rule."""

from typing import Any

import pytest

from vicinal.attacks.affine import WorstAffine
from vicinal.attacks.flow import Flow
from vicinal.attacks.levels import WorstLevels
from vicinal.attacks.mixture import MixtureAscent
from vicinal.attacks.pgd import Pgd
from vicinal.attacks.threat import Threat

PGD = {"threat": Threat(0.1), "step": 0.2, "steps": 3}
FLOW = {"bound": 1.0, "step_size": 0.5, "steps": 3}
ASCENT = {"steps": 3, "step_size": 0.1}


@pytest.mark.parametrize(
    ("attack", "settings", "message"),
    [
        (Threat, {"epsilon": -0.1}, "epsilon must be at least 0, got -0.1"),
        (Threat, {"epsilon": float("nan")}, "epsilon must be at least 0, got nan"),
        (Pgd, PGD | {"step": -0.1}, "step must be at least 0, got -0.1"),
        (Pgd, PGD | {"steps": -1}, "steps must be at least 0, got -1"),
        (Flow, FLOW | {"bound": -1.0}, "bound must be at least 0, got -1.0"),
        (Flow, FLOW | {"step_size": -1.0}, "step_size must be at least 0, got -1.0"),
        (Flow, FLOW | {"steps": -1}, "steps must be at least 0, got -1"),
        (WorstAffine, {"draws": 0}, "draws must be at least 1, got 0"),
        (WorstAffine, {"degrees": -1.0}, "degrees must be from 0 to 180, got -1.0"),
        (WorstAffine, {"shift": 1.1}, "shift must be from 0 to 1, got 1.1"),
        (WorstLevels, {"draws": 0}, "draws must be at least 1, got 0"),
        (MixtureAscent, ASCENT | {"steps": -1}, "steps must be at least 0, got -1"),
        (MixtureAscent, ASCENT | {"step_size": 0}, "step_size must be above 0, got 0"),
        (MixtureAscent, ASCENT | {"patience": 2}, "patience must be 1 when early_stop is none"),
    ],
)
def test_settings_that_mean_nothing_are_refused(
    attack: Any, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        attack(**settings)
