"""What a family of shifted test sets provides: corrupted, deformed or collected again."""

from typing import Protocol, runtime_checkable

from vicinal.data.split import Part
from vicinal.draws import Rng


@runtime_checkable
class ShiftedSets(Protocol):
    """Test sets by name, beside a run's own."""

    @property
    def names(self) -> tuple[str, ...]:
        """All of them; known before any is read."""
        ...

    def load(self, name: str, test: Part, rng: Rng) -> Part:
        """One of them, for batches on the device of `test`, the run's own test set.

        What is generated is made from `test` and depends on `rng` alone, which is the set's own and
        equal on all ranks. What was published is downloaded, checked, and compared with `test`
        as far as the two must agree.
        """
        ...
