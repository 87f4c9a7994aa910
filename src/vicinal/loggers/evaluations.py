"""The evaluations of a record, as they are shown: their names, and the numbers that stand for all.

Loggers, printed lines and tables have no room for the hundreds of numbers of an evaluation.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf
from typing import Any

FEW = 8  # numbers of parts, where there are no others
POINTS = 5  # of a curve
CROWD = 5  # names that share a word, which thus names a part or what is measured of each part
MASKED = 0.2  # points that Square may take after APGD, as in AutoAttack
PROBLEMS = {  # what a check that is not 0 says about an attack
    "zero_gradients": "gradients vanish: the attack may have failed",
    "random_logits": "logits change from pass to pass: the attack may have failed",
    "probabilities": "outputs are probabilities, not logits: the attack may have failed",
}

Entry = Mapping[str, Any]


def headline(metrics: Iterable[str]) -> list[str]:
    """Of the names of an evaluation's numbers, those that stand for all of them.

    The numbers of its parts are called PART_KEY, so that a crowd shares their first or last word.
    A number of the whole is one word, is called a mean, or shares these words with few, and has no
    PART of a crowd; what is measured of most parts comes first. Points of a curve, whose PART is a
    number, stand beside the whole. Where all numbers are of parts, the commonest KEY stands for
    the others: a few of the fewest words, of each part in turn. Checks have `warnings` instead.
    """
    words = {name: name.split("_") for name in metrics if not any(_checks(name))}
    firsts, lasts = (Counter(each[end] for each in words.values()) for end in (0, -1))
    parts = {tuple(each[:-1]) for each in words.values() if lasts[each[-1]] >= CROWD}
    wholes = [
        name
        for name, (*part, key) in words.items()
        if not part
        or "mean" in (part[0], key)
        or (max(firsts[part[0]], lasts[key]) < CROWD and tuple(part) not in parts)
    ]
    points = [name for name in words if name not in wholes and _is_number(words[name][0])]
    if wholes or points:
        common = sorted(wholes, key=lambda name: -lasts[words[name][-1]])
        return common + _spread_out(sorted(points, key=_by_size))
    commonest = max(lasts.values(), default=0)
    return _in_turn(name for name in words if lasts[words[name][-1]] == commonest)[:FEW]


def _checks(name: str) -> Iterator[str]:
    """The check whose number has this name, NAME or PREFIX_NAME."""
    return (check for check in PROBLEMS if f"_{name}".endswith(f"_{check}"))


def _is_number(word: str) -> bool:
    return word.replace(".", "", 1).isdecimal()


def _by_size(name: str) -> list[tuple[float, str]]:
    """A key to sort names with, in which 0.25 comes after 0 and before 1."""
    return [(float(word), "") if _is_number(word) else (inf, word) for word in name.split("_")]


def _spread_out(names: Sequence[str]) -> list[str]:
    """At most POINTS of them, evenly spaced, with the first and the last."""
    if len(names) <= POINTS:
        return [*names]
    return [names[round((len(names) - 1) * i / (POINTS - 1))] for i in range(POINTS)]


def _in_turn(names: Iterable[str]) -> list[str]:
    """Those of the fewest words first; of these, one of each first word before a second of any."""
    turns = Counter[tuple[int, str]]()
    places = dict[str, tuple[int, int]]()
    for name in sorted(names, key=_by_size):
        length, first = name.count("_"), name.partition("_")[0]
        turns[length, first] += 1
        places[name] = length, turns[length, first]
    return sorted(places, key=lambda name: places[name])


def named(record: Mapping[str, Any]) -> Iterator[tuple[str, Entry]]:
    """Each evaluation under NAME/REPORT; under NAME-DIGEST/REPORT if others differ in settings."""
    found: Mapping[str, Entry] = record["evaluations"]
    count = Counter((each["name"], each["report"]) for each in found.values())
    for key, each in found.items():
        name, report = each["name"], each["report"]
        others = f"-{key.rpartition('-')[2]}" if count[name, report] > 1 else ""
        yield f"{name}{others}/{report}", each


def headlines(entry: Entry) -> dict[str, float]:
    """The numbers that stand for all of an evaluation, by name."""
    return {name: entry["metrics"][name] for name in headline(entry["metrics"])}


def warnings(metrics: Mapping[str, float]) -> list[str]:
    """What an evaluation's numbers say against its attacks: a sentence for each problem.

    Names may have a prefix, PREFIX_NAME.
    """
    found = [
        f"{value:.3g} % of {PROBLEMS[check]}"
        for name, value in metrics.items()
        for check in _checks(name)
        if value > 0
    ]
    for name, before in metrics.items():
        prefix, apgd, _ = f"_{name}".rpartition("_apgd_top1")
        after = metrics.get(f"{prefix}_square_top1"[1:], before) if apgd else before
        if before - after > MASKED:
            lost = f"{before - after:.3g} % of images withstand APGD and not Square"
            found.append(f"{lost}: gradients may be masked")
    return found
