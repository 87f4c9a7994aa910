"""What a shell sees of the command line: three ways to start it, its help, completion in bash."""

import os
import re
import subprocess
import sys
from pathlib import Path

from wording import says

from vicinal.cli.configs import CONFIGS

REPO = Path(__file__).parents[2]


def shell(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A real process, in a folder that is not the repository."""
    return subprocess.run(
        words,
        cwd="/",
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_script_the_module_and_the_console_script_are_one() -> None:
    installed = str(Path(sys.executable).with_name("vicinal-train"))
    python = sys.executable
    for start in ([python, f"{REPO}/train.py"], [python, "-m", "vicinal.train"], [installed]):
        told = shell(*start, "method=maxup_cutmx")
        assert told.returncode == 1
        said = says("^vicinal: ... method=maxup_cutmx ... maxup_cutmix?")
        assert re.search(said, told.stderr), told.stderr


def test_help_is_ours_and_needs_no_torch() -> None:
    told = shell(sys.executable, "-X", "importtime", f"{REPO}/train.py", "--help")
    assert told.returncode == 0
    typed = f"python {REPO}/train.py"
    assert f"\n  {typed} method=maxup_cutmix model=wrn28_10 " in told.stdout
    assert f'eval "$({typed} -sc install=bash)"' in told.stdout
    first = next(line for line in told.stdout.splitlines() if typed in line)
    assert "dataset=digits" in first  # which needs no download
    assert len(told.stdout.splitlines()) <= 70
    for group in CONFIGS.iterdir():
        if group.is_dir() and any(group.glob("*.yaml")):
            assert f"\n{group.name}: " in told.stdout
    assert "\ntable=mixup/: figure3a, " in told.stdout
    assert "| torch\n" not in told.stderr


def test_tab_completes_in_bash() -> None:
    script = f"""
        cd {REPO}
        eval "$({sys.executable} train.py -sc install=bash)"
        COMP_LINE='python train.py method=maxup_cutm' COMP_CWORD=2 hydra_bash_completion
        echo "${{COMPREPLY[@]}}"
    """
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    told = shell("bash", "-c", script, PATH=path)
    assert told.stdout.split()[-1:] == ["method=maxup_cutmix"], told.stderr
