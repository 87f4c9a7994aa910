"""Errors that end a run with a clear message instead of a traceback."""


class RunError(Exception):
    """The run cannot continue; the message says why and what to do, in one line or several."""


class BusyError(RunError):
    """Another process is executing the run."""


class LossNotFiniteError(RunError):
    """A loss or a weight is not a number any more, so training cannot continue."""


class DivergedError(RunError):
    """The training itself failed: that is a result, unlike a full disk."""


class SearchError(RunError):
    """A sweep that optimises would choose by the wrong number, in every one of its jobs."""


class PreemptedError(RunError):
    """A signal stopped the run after a checkpoint; the same command resumes it."""

    EXIT_CODE = 75  # EX_TEMPFAIL: "the user is invited to retry"


class StoppedByUserError(PreemptedError):
    """The signal was Ctrl-C's."""

    EXIT_CODE = 130  # as shells have it: 128 + SIGINT
