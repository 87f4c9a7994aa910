"""`python train.py -m method=erm,mixup seed=0,1,2`: Hydra's sweep, which ends in a comparison.

Hydra imports this file at every start, so heavy modules are imported only to compare runs.
"""

from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper


class PlainSweeper(BasicSweeper):
    """Runs every combination; then prints what each configuration reached, over its seeds."""

    def sweep(self, arguments: list[str]) -> Any:
        from vicinal.cli.sweeps import Remembering  # noqa: PLC0415
        from vicinal.tables.swept import compared, job_of  # noqa: PLC0415

        assert self.launcher is not None
        self.launcher = launcher = Remembering(self.launcher)
        try:
            return super().sweep(arguments)
        finally:  # an interrupted batch has returned nothing
            print(compared([job_of(each) for each in launcher.returns]), end="")
