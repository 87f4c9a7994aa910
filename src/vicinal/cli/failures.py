"""What a user reads when a run fails: one line if they can fix it, else a traceback."""

import os
import select
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from vicinal.cli.launch import num_ranks, rank
from vicinal.cli.messages import one_line
from vicinal.errors import PreemptedError, RunError, StoppedByUserError

_JOB = "in the job "
_PIPE_CLOSED = 141  # as shells count an end by SIGPIPE


def user_message(error: Exception) -> str | None:
    """The message if the user can fix this; None if it is our fault."""
    if isinstance(error, HydraException | OmegaConfBaseException | UserWarning):
        return one_line(error)
    if isinstance(error, OSError) and error.filename:
        return f"{error.strerror}: {error.filename}"
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    ours = bool(frames) and frames[-1].f_globals.get("__name__", "").startswith("vicinal.")
    meant = isinstance(error, RunError | OSError) or (isinstance(error, ValueError) and ours)
    return str(error) if meant else None


def reason(error: Exception) -> str:
    """What an error says, even if it is our fault."""
    return user_message(error) or f"{type(error).__name__}: {error}"


def print_error(error: Exception, message: str | None, tracebacks: bool) -> None:
    """Print the message; the traceback as well if it is asked for or there is no message."""
    if tracebacks or message is None:
        traceback.print_exception(error)
    if message is not None:
        speaker = f"vicinal (rank {rank()})" if num_ranks() > 1 else "vicinal"
        print(f"{speaker}: {message}", file=sys.stderr)


def add_job(error: Exception, overrides: Iterable[str]) -> None:
    """Note the job on an error that was printed, so that the end of the sweep can name it."""
    error.add_note(f"{_JOB}{' '.join(overrides)}")


def job_message(error: Exception) -> str | None:
    """The last line of a sweep; None if the error was not raised by one of its jobs."""
    jobs = [note for note in getattr(error, "__notes__", ()) if note.startswith(_JOB)]
    return f"failed {jobs[0]}: {reason(error)}" if jobs else None


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End a command in one line where its user can fix what is wrong."""
    try:
        with quiet_pipe():
            yield
    except KeyboardInterrupt:
        print("\nvicinal: interrupted", file=sys.stderr)
        sys.exit(StoppedByUserError.EXIT_CODE)
    except Exception as error:
        message = user_message(error)
        if message is None:
            raise
        print_error(error, message, tracebacks=False)
        sys.exit(error.EXIT_CODE if isinstance(error, PreemptedError) else 1)


@contextmanager
def quiet_pipe() -> Iterator[None]:
    """End without a word where the reader of standard output, such as `head`, has left."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()  # here, and not when Python exits
    except BrokenPipeError:
        if not _has_no_reader(sys.stdout.fileno()):
            raise
        with Path(os.devnull).open("w") as nowhere:  # for what Python flushes when it exits
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        sys.exit(_PIPE_CLOSED)


def _has_no_reader(pipe: int) -> bool:
    poll = select.poll()
    poll.register(pipe, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
