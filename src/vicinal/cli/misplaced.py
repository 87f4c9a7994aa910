"""Settings that Hydra would take, and that would do nothing here or not what was meant."""

from collections.abc import Sequence

from vicinal.cli.overrides import ONLY_WITH_TABLE
from vicinal.errors import RunError

_FOLDERS = ("hydra.run.dir", "hydra.sweep.dir")
_NAMES = ("hydra.sweep.subdir", "hydra.output_subdir")


def refuse_misplaced(overrides: Sequence[str], sweep: bool, runs: bool = True) -> None:
    """Refuse, before anything runs or is written, a setting that has its place elsewhere.

    Without `runs`, configs are only shown.
    """
    typed = [(line.partition("=")[0].lstrip("+"), line) for line in overrides]
    plan = sweep and any(key.partition("/")[0] == "table" for key, _ in typed)
    for key, line in typed:
        if key in _FOLDERS:
            raise RunError(f"{key} cannot be set: runs go to out={line.partition('=')[2]}")
        if key in _NAMES:
            raise RunError(f"{key} cannot be set: runs go to out=FOLDER, and name their own folder")
        if key in ONLY_WITH_TABLE and plan and not line.startswith("+"):
            raise RunError(f"{line} needs a + before it: +{line}")
        if key == "hydra/launcher" and runs and not sweep:
            raise RunError(f"{line} needs -m (a launcher starts the runs of a sweep)")
        if key in ONLY_WITH_TABLE and not plan:
            raise RunError(f"{key} only works with -m table=PAPER/TABLE, got {line}")
