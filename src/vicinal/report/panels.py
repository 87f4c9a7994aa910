"""How the runs of one panel are told apart."""

from collections import Counter
from collections.abc import Callable, Sequence

from vicinal.storage.evaluations import NOT_MEASURED
from vicinal.storage.records import digest, without
from vicinal.tables.measured import Measured

Named = Sequence[tuple[str, Measured]]


def method(each: Measured) -> str:
    """The method of its run."""
    return each.run.split("/")[2]


def named(found: Sequence[Measured], label: Callable[[Measured], str] = method) -> Named:
    """Each run by its label; by its id too, where there are several of a label."""
    count = Counter(map(label, found))
    names = list[tuple[str, Measured]]()
    for each in found:
        own, identity = label(each), each.run.rpartition("/")[2]
        name = own if count[own] == 1 else f"{own}, {identity}"
        names.append((f"{name} (reduced)" if each.reduced else name, each))
    return names


def settings_but(key: str, each: Measured) -> str:
    """The digest of all settings that its numbers depend on, but one; its class is not needed."""
    return digest(without((*NOT_MEASURED, key), each.config))


def target(each: Measured) -> str:
    """The name of the evaluation's class."""
    return str(each.config.get("_target_", "")).rpartition(".")[2]
