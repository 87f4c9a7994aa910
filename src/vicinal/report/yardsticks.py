"""Strong attacks that others are judged by: what they left standing, and how they are called."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vicinal.report.panels import target
from vicinal.tables.measured import Measured
from vicinal.tables.runs import mean_and_spread

CLASSES = ("Yardstick", "AutoAttack")
NAMES = {"apgd": "APGD", "square": "Square"}
NORMS = {"linf": "L∞", "l2": "L2"}

Yardsticks = Mapping[str, Measured]  # of one run and report, by their settings


@dataclass(frozen=True)
class Heading:
    """What a column of numbers is called; `ball` is how far images were moved, at most."""

    name: str
    ball: str


UNKNOWN = Heading("APGD + Square, 1,000 images", "")  # of the column where no run has a yardstick


def yardsticks(every: Iterable[Measured]) -> dict[tuple[str, str], dict[str, Measured]]:
    """Those of each run and report."""
    found = dict[tuple[str, str], dict[str, Measured]]()
    for each in every:
        if target(each) in CLASSES:
            found.setdefault((each.run, each.report), {})[each.settings] = each
    return found


def heading(each: Measured) -> Heading:
    """Its attacks and images."""
    config, count = each.config, each.config.get("images")
    attacks: Mapping[str, Any] = config.get("attacks", {"AutoAttack": {"threat": config}})
    names = " + ".join(NAMES.get(name, name) for name in attacks)
    images = "all images" if count is None else f"{count:,} images"
    balls = dict.fromkeys(ball(attack) for attack in attacks.values())
    return Heading(f"{names}, {images}", "; ".join(balls))


def in_turn(each: Measured) -> dict[Heading, str]:
    """The accuracy that is left after each of its attacks, where they are told apart."""
    attacks: Mapping[str, Any] = each.config.get("attacks", {})
    found = dict[Heading, str]()
    for name, attack in attacks.items():
        said = NAMES.get(name, name)
        found[Heading(f"then {said}" if found else said, ball(attack))] = f"{name}_top1"
    return found


def left(each: Measured) -> str:
    """Its robust accuracy, and over how many seeds."""
    return f"{mean_and_spread(each.values('robust_accuracy'))} ({len(each.entries)})"


def ball(attack: Mapping[str, Any], with_epsilon: bool = True) -> str:
    """The norm, and ε, of an attack's settings: L∞ 8/255."""
    threat = attack.get("threat", {})
    norm = NORMS.get(threat.get("norm"), "")
    units = "normalised" if threat.get("units") == "normalized" else ""
    epsilon = short(threat["epsilon"]) if with_epsilon and "epsilon" in threat else ""
    return " ".join(word for word in (norm, epsilon, units) if word)


def short(epsilon: float) -> str:
    """Written as 8/255 where it is that, unless it has at most three decimals."""
    steps = 255 * epsilon
    if round(epsilon, 3) == epsilon or abs(steps - round(steps)) > 1e-6:
        return f"{epsilon:g}"
    return f"{round(steps)}/255"
