"""Where the system has no locks, one line says which systems have."""

import re
import subprocess
import sys

import pytest
from wording import says

WITHOUT = "import sys; sys.modules['fcntl'] = None; "


@pytest.mark.parametrize("module", ["vicinal.storage.run_folder", "vicinal.data.download"])
def test_a_system_without_locks_is_told_so_in_one_line(module: str) -> None:
    program = f"{WITHOUT}import {module}"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert re.search(says("Linux ... macOS"), done.stderr)
