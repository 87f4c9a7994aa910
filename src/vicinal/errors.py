"""What ends a run with a clear message instead of a traceback."""


class RunError(Exception):
    """The run cannot go on, and the message says why and what to do; it may have several lines."""


class BusyError(RunError):
    """Another process has the run in hand."""


class DivergedError(RunError):
    """The training itself failed: a result, unlike a full disk."""
