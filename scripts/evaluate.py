"""Evaluate finished runs from the weights they kept, and add the results to their records.

python scripts/evaluate.py runs/cifar10/wrn40_2/*/*/seed* evaluation=[cifar10_c,deformed]
python scripts/evaluate.py runs/digits/wrn10_2/erm/*/seed* evaluation=clean reports=[best_test]

The settings are those of train.py: evaluation, evaluation.NAME.KEY, reports and runtime.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from vicinal.cli.configs import build, check, compose, resolved
from vicinal.cli.explain import explain
from vicinal.cli.failures import user_message
from vicinal.cli.overrides import key_of
from vicinal.errors import RunError
from vicinal.run import Run
from vicinal.storage.run_folder import locked, read_record

NODES = ("evaluation", "reports", "runtime")  # what may be set; a record says the rest


def main() -> None:
    """Evaluate one folder after the other."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("folders", nargs="+", help="folders of finished runs, and settings")
    arguments = parser.parse_intermixed_args().folders
    folders = [Path(each) for each in arguments if "=" not in each or Path(each).is_dir()]
    settings = [each for each in arguments if Path(each) not in folders]
    try:
        chosen = composed(settings)
        for folder in folders:
            evaluate(folder, chosen)
    except Exception as error:
        message = user_message(error)
        if message is None:
            raise
        sys.exit(f"evaluate.py: {message}")


def composed(settings: list[str]) -> DictConfig:
    """The config that these settings make; of it only NODES count."""
    for line in settings:
        if key_of(line).split(".")[0] not in NODES:
            raise RunError(f"{line} is not a setting of evaluations (those: {', '.join(NODES)})")
    try:
        config = compose(*settings)
    except HydraException as error:
        raise RunError(explain(error, settings, _with_hydra)) from error
    if not config.evaluation:
        raise RunError("evaluation must be given: evaluation=NAME or evaluation=[NAME,NAME]")
    return config


def _with_hydra(settings: list[str]) -> DictConfig:
    return compose(*settings, with_hydra=True)


def evaluate(folder: Path, chosen: DictConfig) -> None:
    """Add the evaluations that its record lacks."""
    with locked(folder):
        record = read_record(folder)
        if record is None:
            raise RunError(f"{folder} holds no finished run")
        config = OmegaConf.create(record["config"])
        assert isinstance(config, DictConfig)
        config.update({node: chosen[node] for node in NODES})
        check(config)
        run: Run = build(config)
        evaluations: Any = resolved(config)["evaluation"]
        finished = run.finished(folder)
        lacking = finished.lacking(evaluations, run.reports)
        finished.measure(lacking, run.evaluation, evaluations)
        if not lacking:
            print(f"{folder} has these evaluations already")


if __name__ == "__main__":
    main()
