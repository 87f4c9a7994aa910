"""What a run asks of a dataset."""

from typing import Protocol, runtime_checkable

from vicinal.contracts import Vicinity
from vicinal.data.split import Data


@runtime_checkable
class Dataset(Protocol):
    """Named, read once, and augmented batch by batch."""

    @property
    def name(self) -> str:
        """The folder its runs are filed under."""
        ...

    @property
    def augment(self) -> Vicinity:
        """What training batches go through before the method sees them."""
        ...

    def load(self) -> Data:
        """Read it, downloading what is missing."""
        ...
