"""Which numbers of a table are the best of those that they can be compared with.

Numbers are compared down a column if its rows train one network on one data set in several ways,
else along a row in which they do, else down a column whose networks differ. Runs at the protocol
are compared with each other, and reduced ones only if all are reduced alike.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from vicinal.tables.outcome import Outcome

Place = tuple[int, int]
Kind = tuple[object, ...]


def best(outcomes: Iterable[Outcome]) -> set[Place]:
    """The places of the best numbers, by each number's own `better`."""
    comparable = [each for each in outcomes if _comparable(each)]
    for kind in (_column_and_network, _row_and_network, _column):
        groups = _groups(comparable, kind)
        if groups:
            return set().union(*map(_winners, groups))
    return set()


def digits(outcome: Outcome) -> int:
    """The number of decimals that are shown of our number."""
    return max(outcome.cell.decimals, 2)


def _comparable(outcome: Outcome) -> bool:
    cell = outcome.cell
    return outcome.mean is not None and cell.better != "none" and cell.over is None


def _groups(
    outcomes: Iterable[Outcome], kind: Callable[[Outcome], Kind]
) -> list[Sequence[Outcome]]:
    groups: dict[Kind, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        groups[(*kind(outcome), *_measured(outcome))].append(outcome)
    return [group for group in map(_alike, groups.values()) if len(group) > 1]


def _measured(outcome: Outcome) -> Kind:
    cell, run = outcome.cell, outcome.run
    assert run is not None
    how = cell.measures, cell.evaluation, cell.part, cell.split, cell.report, cell.better
    return *how, run.config["dataset"]["name"]


def _column(outcome: Outcome) -> Kind:
    return ("column", outcome.cell.place[1])


def _column_and_network(outcome: Outcome) -> Kind:
    return *_column(outcome), _network(outcome)


def _row_and_network(outcome: Outcome) -> Kind:
    return "row", outcome.cell.place[0], _network(outcome)


def _network(outcome: Outcome) -> str:
    assert outcome.run is not None
    return str(outcome.run.config["model"])


def _alike(outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
    """Those with the same budget."""
    if len({each.reduced for each in outcomes}) == 1:
        return outcomes
    return [each for each in outcomes if not each.reduced]


def _winners(outcomes: Sequence[Outcome]) -> set[Place]:
    """All that share the best number as it is shown; none if all share it."""
    choose = max if outcomes[0].cell.better == "higher" else min
    shown = {each.cell.place: round(each.mean or 0.0, digits(each)) for each in outcomes}
    found = {place for place, number in shown.items() if number == choose(shown.values())}
    return found if len(found) < len(shown) else set()
