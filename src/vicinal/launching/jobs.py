"""What a launcher knows of its jobs, each of which is one run in a process of its own."""

from dataclasses import dataclass

from vicinal.loggers.news import News

__all__ = ["Job", "News"]


@dataclass
class Job:
    """One run of a sweep."""

    number: int  # from 0, in the order of their launch
    overrides: tuple[str, ...]
    device: int | None = None  # the GPU that it has, by its place among the launcher's; None: a CPU
    began: float | None = None  # by the launcher's clock; None: it waits
    news: News | None = None
    ending: str | None = None  # None while it waits or runs; "" if it finished, else why not

    @property
    def running(self) -> bool:
        """Whether it has a process."""
        return self.began is not None and self.ending is None
