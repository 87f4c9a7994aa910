"""A user's own folder, which --config-dir names: its configs, and the modules beside them.

mine/method/focal.yaml      _target_: focal.Focal
mine/focal.py               class Focal(Method): ...
"""

import os
import sys
from pathlib import Path

from vicinal.cli.search import search
from vicinal.errors import RunError


def importable(folder: Path) -> None:
    """Let this process, and those that it starts, import modules from a folder."""
    if not folder.is_dir():
        raise RunError(f"--config-dir must be a folder, got {folder}")
    path = str(folder.absolute())
    if path not in sys.path:
        sys.path.append(path)
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if path not in inherited:
        os.environ["PYTHONPATH"] = os.pathsep.join([*filter(None, inherited), path])
    search(f"file://{path}")
