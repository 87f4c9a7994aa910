"""The launcher's side of runs on a Ray cluster, in place of a nursery of its own.

Each run is a task of Ray. If its node dies, Ray starts the task on another, where the run resumes
from its checkpoint: all nodes share the folder that the sweep is started in, and have this package.
It has not been tried on nodes with GPUs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from time import sleep
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vicinal.cli.messages import one_line
from vicinal.errors import RunError, StoppedByUserError
from vicinal.launching import node
from vicinal.launching.jobs import Job
from vicinal.launching.launcher import Launching
from vicinal.launching.places import Place
from vicinal.launching.process import Message
from vicinal.launching.settings import ClusterSettings


@dataclass
class Cluster:
    """Hands runs to Ray, as many at a time as its nodes have room for."""

    settings: ClusterSettings
    task: str  # MODULE:FUNCTION, which executes a run
    _numbers: dict[Any, int] = field(default_factory=dict)  # of jobs that run, by Ray's references
    _started: set[int] = field(default_factory=set)  # those of them that have a node
    _signals: list[int] = field(default_factory=list)  # to be passed on
    _stops: int = 0  # signals so far

    def connect(self) -> "Cluster":
        """Join the cluster."""
        address = self.settings.address
        try:
            self._ray.init(address=address, log_to_driver=False, configure_logging=False)
        except (ConnectionError, ValueError) as error:
            raise RunError(
                f"hydra.launcher.address must be that of a Ray cluster, got {address} "
                f"({one_line(error)}; `ray start --head` starts one)"
            ) from error
        try:
            self._ray.get(self._post.read.remote([]))
        except self._ray.exceptions.RayError as error:
            raise RunError(
                "hydra/launcher=ray needs this version of vicinal on every node of the cluster "
                f"({str(error).strip().splitlines()[-1]})"
            ) from error
        if self._room == 0:
            needs = ", ".join(f"{amount:g} {name}" for name, amount in self.needs.items())
            print(f"vicinal: no node of the cluster has what a run needs ({needs}); waiting")
        return self

    @cached_property
    def needs(self) -> dict[str, float]:
        """What each run takes of its node."""
        gpus = self.settings.gpus
        if gpus is None:
            gpus = float(any(resources.get("GPU") for resources in self._nodes))
        return {"CPU": self.settings.cpus, "GPU": gpus}

    def device(self, jobs: Sequence[Job], now: float) -> Place | None:
        """On any node; one run always waits for Ray, which may have to start a node for it."""
        if sum(job.running for job in jobs) >= max(self._room, 1):
            return None
        return Place(environment={}) if self.needs["GPU"] else Place()

    def ended(self, job: Job, jobs: Sequence[Job]) -> bool:
        """Never: Ray starts tasks again."""
        return False

    def send(self, message: Message) -> None:
        """Start a run; or pass a signal on, and start no run that has no node.

        The second signal ends every task: one whose node died may be waiting for another.
        """
        if "signal" not in message:
            self._numbers[self._execute.remote(message, self.task, self._post)] = message["number"]
            return
        self._signals.append(message["signal"])
        self._stops += 1
        for reference, number in self._numbers.items():
            if number not in self._started or self._stops > 1:
                self._ray.cancel(reference)

    def receive(self, timeout: float) -> list[Message]:
        """What tasks have told; waits that long for one to end."""
        references = list(self._numbers)
        if references:
            references, _ = self._ray.wait(references, num_returns=len(references), timeout=timeout)
        else:
            sleep(timeout)
        told = self._ray.get(self._post.read.remote(self._signals))
        self._signals.clear()
        self._started |= {message["number"] for message in told if "started" in message}
        messages = [message for message in told if "started" not in message]
        for reference in references:
            messages += self._ending(reference)
        return messages

    def _ending(self, reference: Any) -> list[Message]:
        """What a task that has ended returns, or why it returns nothing."""
        number, exceptions = self._numbers.pop(reference), self._ray.exceptions
        self._started.discard(number)
        try:
            return self._ray.get(reference)
        except exceptions.TaskCancelledError:
            return [{"number": number, "code": StoppedByUserError.EXIT_CODE}]
        except exceptions.RayTaskError as error:
            said = f"{type(error.cause).__name__}: {error.cause}"
        except exceptions.RayError as error:
            said = one_line(error)
        told = {"error": RunError.__name__, "message": said}
        return [{"number": number, **told}, {"number": number, "code": 1}]

    @cached_property
    def _ray(self) -> Any:
        try:
            return import_module("ray")
        except ImportError as error:
            raise RunError(
                f"hydra/launcher=ray needs Ray (pip install 'vicinal[ray]'): {error}"
            ) from error

    @property
    def _nodes(self) -> list[dict[str, float]]:
        """The resources of each."""
        return [each["Resources"] for each in self._ray.nodes() if each["Alive"]]

    @property
    def _room(self) -> int:
        """How many runs fit on the nodes."""
        needs = [(name, amount) for name, amount in self.needs.items() if amount]
        return sum(
            min(int(node.get(name, 0) // amount) for name, amount in needs) for node in self._nodes
        )

    @cached_property
    def _post(self) -> Any:
        """On this node: if it is lost, so is this process."""
        strategies = import_module("ray.util.scheduling_strategies")
        here = self._ray.get_runtime_context().get_node_id()
        place = strategies.NodeAffinitySchedulingStrategy(here, soft=False)
        return self._ray.remote(num_cpus=0, scheduling_strategy=place)(node.Post).remote()

    @cached_property
    def _execute(self) -> Any:
        options = {"num_cpus": self.needs["CPU"], "num_gpus": self.needs["GPU"]}
        return self._ray.remote(max_retries=self.settings.retries, **options)(execute)


def on_cluster(settings: ClusterSettings, config: DictConfig, task: str) -> Launching:
    """Launch what a MODULE:FUNCTION executes; Ray gives a run as many threads as it has CPUs."""
    if OmegaConf.select(config, "runtime.device") == "cpu" and settings.gpus is None:
        settings = replace(settings, gpus=0.0)
    cluster = Cluster(settings, task)
    return Launching(config, cluster, cluster.connect, patience=settings.patience)


def execute(order: Message, task: str, post: Any) -> list[Message]:
    """A task of Ray."""
    ray: Any = import_module("ray")
    return node.execute(order, task, lambda messages: ray.get(post.tell.remote(messages)))
