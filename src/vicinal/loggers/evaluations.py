"""The evaluations of a record, as they are shown: their names, and the numbers that stand for all.

Loggers, printed lines and tables have no room for the hundreds of numbers of an evaluation.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

FEW = 8  # numbers of parts, where there are no others
CROWD = 5  # names that share a word, which thus names a part or what is measured of each part

Entry = Mapping[str, Any]


def headline(metrics: Iterable[str]) -> list[str]:
    """Of the names of an evaluation's numbers, those that stand for all of them.

    The numbers of its parts are called PART_KEY, so that a crowd shares their first or last word.
    A number of the whole is one word, is called a mean, or shares these words with few. Where all
    are of parts, those of the fewest words stand for them.
    """
    words = {name: name.split("_") for name in metrics}
    firsts, lasts = (Counter(each[end] for each in words.values()) for end in (0, -1))
    wholes = [
        name
        for name, (first, *rest) in words.items()
        if not rest or "mean" in (first, rest[-1]) or max(firsts[first], lasts[rest[-1]]) < CROWD
    ]
    return wholes or sorted(words, key=lambda name: len(words[name]))[:FEW]


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
