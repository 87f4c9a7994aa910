"""A pytest plugin that writes each test's outcome at once, as a line of JSON."""

import json
import os
from pathlib import Path

import pytest

from gpu_session.processes import REPORTS, TAIL


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Write the call of each test, and its setup or teardown unless they passed."""
    target, worker = os.environ.get(REPORTS), os.environ.get("PYTEST_XDIST_WORKER")
    if target is None or worker is not None or (report.passed and report.when != "call"):
        return
    tail = report.longreprtext.splitlines()[-TAIL:] if report.failed else []
    row = {
        "test": report.nodeid,
        "outcome": report.outcome,
        "seconds": round(report.duration, 2),
        "tail": "\n".join(tail),
    }
    with Path(target).open("a") as file:
        file.write(f"{json.dumps(row)}\n")
