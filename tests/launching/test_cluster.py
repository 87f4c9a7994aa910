"""Runs on a Ray cluster, with a stand-in for Ray: what it is asked, what its answers become."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import OmegaConf
from wording import says

from vicinal.errors import RunError
from vicinal.launching import node
from vicinal.launching.cluster import Cluster, on_cluster
from vicinal.launching.jobs import Job
from vicinal.launching.settings import ClusterSettings

SETTINGS = {"address": "auto", "cpus": 1, "gpus": None, "retries": 3, "patience": 180}
ORDER = {"number": 4, "folder": "."}


class RayError(Exception):
    pass


class TaskCancelledError(RayError):
    pass


class RayTaskError(RayError):
    cause = FileNotFoundError("no folder")


ERRORS = {each.__name__: each for each in (RayError, TaskCancelledError, RayTaskError)}


@dataclass
class FakeRay:
    """Functions and actors are called at once; the answers of tasks are what a test sets."""

    resources: Sequence[dict[str, float]]
    answers: dict[str, Any] = field(default_factory=dict)  # by a task's reference
    tasks: list[Any] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    cancelled: list[str] = field(default_factory=list)
    place: Any = None  # of the actor
    exceptions: Any = field(default_factory=lambda: SimpleNamespace(**ERRORS))

    def init(self, address: str, **_: bool) -> None:
        if address != "auto":
            raise ConnectionError("nobody answers\nthere")

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Resources": each, "Alive": "dead" not in each} for each in self.resources]

    def get_runtime_context(self) -> Any:
        return SimpleNamespace(get_node_id=lambda: "mine")

    def remote(self, **options: Any) -> Callable[[Any], Any]:
        def made(of: Any) -> Any:
            if of is node.Post:
                self.place = options["scheduling_strategy"]
                actor = of()
                calls = {name: _called(getattr(actor, name)) for name in ("tell", "read")}
                return SimpleNamespace(remote=lambda: SimpleNamespace(**calls))
            self.options = options
            return SimpleNamespace(remote=self._start)

        return made

    def _start(self, order: Any, task: str, post: Any) -> str:
        self.tasks.append(SimpleNamespace(order=order, task=task, post=post))
        return f"task{len(self.tasks) - 1}"

    def wait(self, references: list[str], num_returns: int, timeout: float) -> Any:
        return [each for each in references if each in self.answers], []

    def get(self, reference: Any) -> Any:
        found = self.answers.get(reference, reference) if isinstance(reference, str) else reference
        if isinstance(found, Exception):
            raise found
        return found

    def cancel(self, reference: str) -> None:
        self.cancelled.append(reference)


def _called(function: Any) -> Any:
    return SimpleNamespace(remote=function)


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    found = FakeRay([{"CPU": 4.0, "GPU": 1.0}, {"CPU": 2.0, "GPU": 2.0}, {"CPU": 9.0, "dead": 1}])
    monkeypatch.setitem(sys.modules, "ray", found)
    strategies = SimpleNamespace(NodeAffinitySchedulingStrategy=lambda at, soft: (at, soft))
    monkeypatch.setitem(sys.modules, "ray.util.scheduling_strategies", strategies)
    return found


def cluster(**settings: Any) -> Cluster:
    return Cluster(ClusterSettings(**SETTINGS | settings), "module:function").connect()


def jobs(running: int) -> list[Job]:
    return [Job(number, (), began=0.0) for number in range(running)]


@pytest.mark.parametrize(
    ("settings", "room"),
    [({}, 3), ({"gpus": 0.5}, 4), ({"gpus": 0}, 6), ({"gpus": 0, "cpus": 3}, 1), ({"gpus": 8}, 1)],
    ids=["a GPU each", "half a GPU", "CPUs", "most of a node", "one that no node has room for"],
)
def test_runs_fill_the_nodes_that_live(ray: FakeRay, settings: dict[str, Any], room: int) -> None:
    places = cluster(**settings)
    assert places.device(jobs(room - 1), 0.0) is not None
    assert places.device(jobs(room), 0.0) is None


def test_a_run_sees_the_gpus_that_ray_gives_it_or_none(ray: FakeRay) -> None:
    with_gpu, without = (cluster(gpus=gpus).device([], 0.0) for gpus in (1, 0))
    assert with_gpu is not None
    assert with_gpu.environment == {}
    assert without is not None
    assert without.environment == {"CUDA_VISIBLE_DEVICES": ""}


def test_ray_reserves_what_a_run_needs_and_retries_it(ray: FakeRay) -> None:
    cluster(cpus=2, gpus=0.5, retries=7).send(dict(ORDER))
    assert ray.options == {"num_cpus": 2, "num_gpus": 0.5, "max_retries": 7}
    assert (ray.tasks[0].order, ray.tasks[0].task) == (ORDER, "module:function")


def test_what_both_sides_call_is_lost_with_the_launchers_node_alone(ray: FakeRay) -> None:
    cluster()
    assert ray.place == ("mine", False)


def test_runs_on_cpus_need_no_gpu_of_a_node(ray: FakeRay) -> None:
    config = OmegaConf.create(
        {"runtime": {"device": "cpu"}, "hydra": {"overrides": {"task": ["+dry_run=true"]}}}
    )
    launching = on_cluster(ClusterSettings(**SETTINGS), config, "module:function")
    assert isinstance(launching.places, Cluster)
    assert launching.places.needs == {"CPU": 1, "GPU": 0}
    assert launching.patience == 180


def test_a_signal_reaches_runs_and_cancels_those_without_a_node(ray: FakeRay) -> None:
    nursery = cluster()
    for number in (0, 1):
        nursery.send(ORDER | {"number": number})
    ray.tasks[0].post.tell.remote([{"number": 0, "started": True}])
    assert nursery.receive(0.0) == []
    nursery.send({"signal": 2})
    assert ray.cancelled == ["task1"]
    assert nursery.receive(0.0) == []
    assert ray.tasks[0].post.tell.remote([]) == [2]
    ray.answers["task1"] = TaskCancelledError()
    assert nursery.receive(0.0) == [{"number": 1, "code": 130}]
    nursery.send({"signal": 2})
    assert ray.cancelled == ["task1", "task0"]


def test_news_come_before_the_ending(ray: FakeRay) -> None:
    nursery = cluster()
    nursery.send(dict(ORDER))
    ray.tasks[0].post.tell.remote([{"number": 4, "news": {}}])
    ray.answers["task0"] = [{"number": 4, "score": 1.0}, {"number": 4, "code": 0}]
    assert nursery.receive(0.0) == [{"number": 4, "news": {}}, *ray.answers["task0"]]
    assert nursery.receive(0.0) == []


@pytest.mark.parametrize(
    ("error", "said"),
    [(RayTaskError(), "FileNotFoundError: no folder"), (RayError("its node\ndied"), "its node")],
    ids=["on the node", "of the node"],
)
def test_a_task_that_fails_is_a_run_that_failed(ray: FakeRay, error: Exception, said: str) -> None:
    nursery = cluster()
    nursery.send(dict(ORDER))
    ray.answers["task0"] = error
    told, ended = nursery.receive(0.0)
    assert told["error"] == "RunError"
    assert told["message"].startswith(said)
    assert "\n" not in told["message"]
    assert ended == {"number": 4, "code": 1}


def test_an_address_without_a_cluster_is_told_in_one_line(ray: FakeRay) -> None:
    with pytest.raises(RunError, match=says("hydra.launcher.address ... got x:1 ... ray start")):
        cluster(address="x:1")


def test_what_to_install_is_told_where_ray_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RunError, match=says("hydra/launcher=ray needs Ray ... vicinal[ray]")):
        cluster()


def test_a_cluster_without_room_is_told(ray: FakeRay, capsys: pytest.CaptureFixture[str]) -> None:
    cluster(gpus=8)
    assert "no node of the cluster has what a run needs (1 CPU, 8 GPU)" in capsys.readouterr().out
    cluster(gpus=2)
    assert not capsys.readouterr().out


@pytest.mark.parametrize(
    ("key", "value"),
    [("address", 1), ("cpus", 0), ("gpus", -1), ("gpus", "two"), ("retries", -2), ("patience", -1)],
)
def test_mistyped_settings_are_named(key: str, value: Any) -> None:
    with pytest.raises(RunError, match=rf"hydra\.launcher\.{key} must be .*, got {value}"):
        ClusterSettings(**SETTINGS | {key: value}).check(OmegaConf.create({}))


@dataclass
class FakeNursery:
    task: str
    environment: Any
    script: Iterator[list[Any]]
    orders: list[Any] = field(default_factory=list)

    def send(self, message: Any) -> None:
        self.orders.append(message)

    def receive(self, timeout: float) -> list[Any]:
        return next(self.script)

    def close(self) -> None:
        self.orders.append("closed")


def test_a_task_passes_on_news_and_each_signal_once(monkeypatch: pytest.MonkeyPatch) -> None:
    news, score, code = ({"number": 4, key: 0} for key in ("news", "score", "code"))
    made, told = list[FakeNursery](), list[Any]()
    replies = iter([[], [15], [15], [15, 2], [15, 2]])

    def start(task: str, environment: Any) -> FakeNursery:
        made.append(FakeNursery(task, environment, iter([[news], [], [score], [code]])))
        return made[0]

    def tell(messages: Sequence[Any]) -> list[int]:
        told.extend(messages)
        return next(replies)

    monkeypatch.setattr(node, "NurseryProcess", start)
    assert node.execute(dict(ORDER), "module:function", tell) == [score, code]
    assert told == [{"number": 4, "started": True}, news]
    assert made[0].orders == [ORDER, {"signal": 15}, {"signal": 2}, "closed"]


def test_a_task_that_comes_after_a_signal_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "NurseryProcess", None)
    assert node.execute(dict(ORDER), "", lambda _: [15]) == [{"number": 4, "code": 130}]
