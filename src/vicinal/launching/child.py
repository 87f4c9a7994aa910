"""A launched run's own side: a forked process becomes what the run's command line would start."""

import atexit
import ctypes
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial, wraps
from pathlib import Path
from typing import Any, NoReturn

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from vicinal.cli.failures import reason
from vicinal.cli.main import start
from vicinal.cli.sweeps import Search
from vicinal.loggers import news

Message = dict[str, Any]
_PARENT_DEATH_SIGNAL = 1  # Linux's PR_SET_PDEATHSIG


@dataclass(frozen=True)
class Birth:
    """What a child is to do, where it tells of it, and its parent."""

    job: Message
    pipe: int
    parent: int


def live(birth: Birth, execute: Callable[..., float]) -> NoReturn:
    """Do what `train.py ARGUMENTS` does, tell of it, and exit as it does.

    But for what Python frees when it exits: on so many frozen objects that takes seconds.
    """
    code = 1
    try:
        _execute(birth, execute)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else bool(end.code)
    except BaseException:
        traceback.print_exc()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _execute(birth: Birth, execute: Callable[..., float]) -> None:
    _become(birth)
    job, pipe = birth.job, birth.pipe
    os.environ.update(job["environment"])
    if job["threads"] is not None:
        torch.set_num_threads(job["threads"])
    _redirect(Path(job["log"]))
    sys.argv = job["arguments"]
    search = Search(job["search"][0], tuple(job["search"][1])) if job["search"] else None
    news.listen(partial(_tell_news, pipe))

    @wraps(execute)
    def told(config: DictConfig) -> float:
        known = {"config": OmegaConf.to_container(config)}
        known["choices"] = OmegaConf.to_container(HydraConfig.get().runtime.choices)
        try:
            score = execute(config, search)
        except Exception as error:
            _tell(pipe, known | {"error": type(error).__name__, "message": reason(error)})
            raise
        _tell(pipe, known | {"score": score})
        return score

    start(told)


def _become(birth: Birth) -> None:
    """Have a process group, which ends with this process, and obey signals as a run does."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):  # Linux
        libc.prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    if os.getppid() != birth.parent:  # it was killed before
        sys.exit(1)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))


def _redirect(log: Path) -> None:
    """Send all output to the end of a file, where tracebacks stand before one-line messages."""
    with log.open("ab") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    sys.stdout, sys.stderr = (
        os.fdopen(number, "w", 1, errors="backslashreplace", closefd=False) for number in (1, 2)
    )


def _tell_news(pipe: int, found: news.News) -> None:
    """Tell news, unless the launcher, which may be suspended, has not read the last."""
    os.set_blocking(pipe, False)
    with suppress(BlockingIOError, BrokenPipeError):
        os.write(pipe, _line({"news": asdict(found)}))


def _tell(pipe: int, message: Message) -> None:
    os.set_blocking(pipe, True)
    text = _line(message)
    with suppress(BrokenPipeError):  # the nursery was killed
        while text:
            text = text[os.write(pipe, text) :]


def _line(message: Message) -> bytes:
    return json.dumps(message).encode() + b"\n"
