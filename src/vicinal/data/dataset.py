"""What a run asks of a dataset."""

from typing import Protocol, runtime_checkable

from vicinal.data.split import Data


@runtime_checkable
class Dataset(Protocol):
    """Named, and read once."""

    @property
    def name(self) -> str:
        """The folder its runs are filed under."""
        ...

    def load(self) -> Data:
        """Read it, downloading what is missing."""
        ...
