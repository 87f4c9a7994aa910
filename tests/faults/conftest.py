"""Each fault is a test that draws what goes wrong from its own name and the number of its trial.

`make test` makes one trial of each, `make torture` as many as its marker says. A trial that failed
can be seen again by its name: pytest "tests/faults/test_kills.py::test_...[17]" --share 1.
"""

from pathlib import Path
from random import Random
from typing import Any

import pytest
from faults.runs import TINY, finish

from vicinal.storage.files import write_json_atomically
from vicinal.storage.provenance import provenance


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults")
    group.addoption("--share", type=float, default=0.0, help="share of each fault's trials to make")
    group.addoption("--summary", type=Path, help="JSON file for how many trials were survived")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if marker := metafunc.definition.get_closest_marker("trials"):
        share = metafunc.config.getoption("share", 0.0)
        metafunc.parametrize("trial", range(max(1, round(share * marker.args[0]))))


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("summary", None)
    if path is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Summary(path))


class Summary:
    """How many trials of each fault were survived, and the sums of the numbers they recorded."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, dict[str, Any]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped or (report.when != "call" and report.passed):
            return
        test, _, parameters = report.nodeid.rpartition("::")[2].rstrip("]").partition("[")
        name = test.removeprefix("test_")
        empty = {"fault": name, "tried": 0, "survived": 0, "seconds": 0.0, "failures": []}
        row = self.rows.setdefault(name, empty)
        row["tried"] += 1
        row["survived"] += report.passed
        row["seconds"] = round(row["seconds"] + report.duration, 1)
        if report.failed:
            row["failures"].append(f"{parameters}: {report.longreprtext.splitlines()[-1]}")
        for key, value in report.user_properties:
            counted = isinstance(value, int) and not isinstance(value, bool)
            row[key] = row.get(key, 0) + value if counted else value

    def pytest_sessionfinish(self) -> None:
        if self.rows:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            made = {"faults": list(self.rows.values()), "made": provenance("cpu")}
            write_json_atomically(self.path, made)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        terminalreporter.section("faults")
        for row in self.rows.values():
            counts = f"{row['tried']:5} tried {row['survived']:5} survived {row['seconds']:7.0f} s"
            terminalreporter.write_line(f"{counts}  {row['fault']}")


@pytest.fixture
def draw(request: pytest.FixtureRequest) -> Random:
    """Draws the same in every run of a trial."""
    return Random(request.node.name)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a TINY run that was not disturbed."""
    out = tmp_path_factory.mktemp("faults") / "whole"
    finish(TINY, out)
    return out
