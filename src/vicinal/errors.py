"""What ends a run with a clear message instead of a traceback."""


class RunError(Exception):
    """The run cannot go on, and the message says why and what to do; it may have several lines."""


class BusyError(RunError):
    """Another process has the run in hand."""


class DivergedError(RunError):
    """The training itself failed: a result, unlike a full disk."""


class PreemptedError(RunError):
    """A signal asked the run to stop; it saved itself, and the same command continues it."""

    EXIT_CODE = 75  # EX_TEMPFAIL: "the user is invited to retry"

    def __init__(self, signal: str) -> None:
        super().__init__(f"stopped by {signal} after a checkpoint; the same line again resumes")
