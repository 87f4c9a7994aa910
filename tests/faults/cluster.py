"""A Slurm of one node, with its own daemons, ports, key and folder; no systemd, no accounting."""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL

NEEDED = ("slurmctld", "slurmd", "munged", "sbatch", "srun")
CPUS = 4  # of the node, as Slurm believes, however many there are
CONFIG = """
ClusterName=vicinal
SlurmctldHost=localhost
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A requeued job waits this long for its old credential to expire.
AuthInfo=socket={folder}/munge/socket,cred_expire=6
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_min_interval=100000,sched_interval=2
SlurmdParameters=config_overrides
KillWait=5
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=localhost CPUs={cpus}
PartitionName=low Nodes=ALL Default=YES MaxTime=INFINITE PriorityTier=1
PartitionName=high Nodes=ALL MaxTime=INFINITE PriorityTier=2
"""


def missing() -> str:
    """Why Slurm cannot run here; empty if it can."""
    if os.geteuid() != 0:
        return "needs root, to start slurmd"
    absent = [name for name in NEEDED if shutil.which(name) is None]
    return f"{', '.join(absent)} not found; apt-get install slurm-wlm munge" if absent else ""


@dataclass(frozen=True)
class Cluster:
    """Its folder, and the environment in which Slurm's commands talk to it."""

    folder: Path
    environment: dict[str, str]

    def ask(self, *command: str) -> str:
        """The output of one of Slurm's commands."""
        found = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False
        )
        if found.returncode:
            raise AssertionError(f"{' '.join(command)}: {found.stderr.strip()}")
        return found.stdout

    def jobs(self) -> dict[str, str]:
        """The state of every job that has not ended; elements of arrays are listed one by one."""
        lines = self.ask("squeue", "--array", "--noheader", "--format=%i %T").splitlines()
        return dict(line.split() for line in lines)


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Run Slurm until the end of the block; none of its processes or jobs outlives it."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # for jobs that say `python`
    environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": path}
    ports = _free_ports(2)
    config = CONFIG.format(folder=folder, ports=ports, cpus=CPUS)
    (folder / "slurm.conf").write_text(config)
    (folder / "state").mkdir()
    (folder / "spool").mkdir()
    here, daemons = Cluster(folder, environment), []
    try:
        daemons.append(_munged(folder, environment))
        for command in (["slurmctld", "-D"], ["slurmd", "-D", "-N", "localhost"]):
            with (folder / f"{command[0]}.out").open("w") as out:
                daemons.append(subprocess.Popen(command, env=environment, stdout=out, stderr=out))
        _wait_for(lambda: "idle" in here.ask("sinfo", "--noheader", "--format=%t"), "an idle node")
        yield here
    finally:
        _end(folder)
        for daemon in daemons:
            daemon.wait()


def _munged(folder: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    user = pwd.getpwnam("munge")
    place = folder / "munge"
    place.mkdir(mode=0o755)
    (place / "key").write_bytes(secrets.token_bytes(128))
    (place / "key").chmod(0o600)
    for path in (place, place / "key"):
        os.chown(path, user.pw_uid, user.pw_gid)
    named = [f"--{name}-file={place}/{name}" for name in ("key", "pid", "log", "seed")]
    command = ["munged", "--foreground", f"--socket={place}/socket", *named]
    daemon = subprocess.Popen(
        command, user="munge", group="munge", extra_groups=[], env=environment, stderr=DEVNULL
    )
    _wait_for((place / "socket").exists, "munged's socket")
    return daemon


def _end(folder: Path) -> None:
    """End every process that has this cluster's environment: daemons, steps, jobs."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + 5
        while (left := _processes(folder)) and time.monotonic() < deadline:
            for process in left:
                _signal(process, number)
            time.sleep(0.2)
    assert not _processes(folder), f"processes outlive SIGKILL: {_processes(folder)}"


def _signal(process: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, number)


def _processes(folder: Path) -> list[int]:
    mark, found = f"SLURM_CONF={folder}/slurm.conf".encode(), []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if mark in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("", 0))
        return [each.getsockname()[1] for each in sockets]


def _wait_for(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while True:
        with suppress(AssertionError):
            if condition():
                return
        if time.monotonic() > deadline:
            raise AssertionError(f"no {what} within {seconds} seconds")
        time.sleep(0.1)
