"""A plugin of pytest that leaves each test's outcome, as soon as it is known, as a line of JSON."""

import json
import os
from pathlib import Path

import pytest

from quarter.processes import REPORTS, TAIL


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """One test's set-up, call or end; those that merely passed say nothing but the call."""
    target, worker = os.environ.get(REPORTS), os.environ.get("PYTEST_XDIST_WORKER")
    if target is None or worker is not None or (report.passed and report.when != "call"):
        return
    said = report.longreprtext.splitlines()[-TAIL:] if report.failed else []
    row = {
        "test": report.nodeid,
        "outcome": report.outcome,
        "seconds": round(report.duration, 2),
        "tail": "\n".join(said),
    }
    with Path(target).open("a") as file:
        file.write(f"{json.dumps(row)}\n")
