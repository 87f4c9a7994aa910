"""Measure trained networks: finished runs, whose records get the results, or networks of timm.

vicinal evaluate runs/cifar10/wrn40_2/*/*/seed* evaluation=[cifar10_c,deformed]
vicinal evaluate runs/digits/wrn10_2/erm/*/seed* evaluation=clean reports=[best_test]
vicinal evaluate --table augmax/table2
vicinal evaluate --timm resnet50.tv_in1k --data imagenet/val evaluation=imagenet_c

The settings are those of `vicinal train`: evaluation, evaluation.NAME.KEY, reports and runtime.
--table takes what `vicinal train` takes beside table=, and measures what its finished runs lack
without training the others. What was measured already is left alone, and what was interrupted goes
on.
"""

import argparse
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from vicinal.cli.configs import build, check, compose, recorded
from vicinal.cli.explain import explain
from vicinal.cli.failures import one_line_errors
from vicinal.cli.overrides import key_of
from vicinal.cli.own import importable
from vicinal.data.decode.select import decoder_for
from vicinal.errors import RunError
from vicinal.evaluation.pretrained import Measured, folder_data, pretrained
from vicinal.machine import ranks
from vicinal.run import Run
from vicinal.storage.run_folder import locked, read_record
from vicinal.tables import plan, table
from vicinal.tables.plan import Composed, split_hydra
from vicinal.tables.request import parse_request
from vicinal.tables.sweep import Sweep

NODES = ("evaluation", "reports", "runtime")  # what may be set; a record says the rest


@one_line_errors()
def main() -> None:
    """Evaluate one network after the other."""
    arguments = parse()
    folders = [Path(each) for each in arguments.folders if "=" not in each or Path(each).is_dir()]
    settings = [each for each in arguments.folders if Path(each) not in folders]
    if sum(map(bool, (folders, arguments.table, arguments.timm))) != 1:
        raise RunError("either folders of finished runs, --table or --timm must be given")
    if arguments.config_dir:
        importable(arguments.config_dir)
    if arguments.table:
        evaluate_table(arguments.table, settings)
    elif arguments.timm:
        evaluate_timm(arguments, composed(settings))
    else:
        chosen = composed(settings)
        for folder in folders:
            evaluate(folder, chosen)


def parse() -> argparse.Namespace:
    """The command line."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("folders", nargs="*", help="folders of finished runs, and settings")
    parser.add_argument("--table", metavar="NAME", help="every finished run of a paper's table")
    parser.add_argument("--timm", metavar="NAME", help="a network of timm, with its weights there")
    parser.add_argument("--weights", type=Path, help="a file with other weights for it")
    parser.add_argument("--data", type=Path, help="its test images: DATA/CLASS/*.jpg")
    parser.add_argument(
        "--out", type=Path, help="its results; runs/results/networks/NAME.json if none"
    )
    parser.add_argument(
        "--config-dir", type=Path, metavar="DIR", help="a folder with evaluations of your own"
    )
    return parser.parse_intermixed_args()


def composed(settings: list[str]) -> DictConfig:
    """The config that these settings make; of it only NODES count."""
    for line in settings:
        if key_of(line).split("@")[-1].split(".")[0] not in NODES:
            raise RunError(f"{line} is not a setting of evaluations (those: {', '.join(NODES)})")
    try:
        config = compose(*settings)
    except HydraException as error:
        raise RunError(explain(error, settings, _with_hydra)) from error
    if not config.evaluation:
        raise RunError("evaluation must be given: evaluation=NAME or evaluation=[NAME,NAME]")
    return config


def _with_hydra(settings: Sequence[str]) -> DictConfig:
    return compose(*settings, with_hydra=True)


def _composed(settings: Sequence[str]) -> Composed:
    return plan.composed(settings, _with_hydra)


def evaluate(folder: Path, chosen: DictConfig) -> None:
    """Add the evaluations that a run's record lacks."""
    record = read_record(folder)
    if record is None:
        raise RunError(f"{folder} holds no finished run")
    config = OmegaConf.create(record["config"])
    assert isinstance(config, DictConfig)
    config.update({node: chosen[node] for node in NODES})
    check(config)
    run: Run = build(config)
    evaluations: Any = recorded(config)["evaluation"]
    ranks.join(run.runtime.target)
    with locked(folder) if ranks.is_main() else nullcontext():
        finished = run.finished(folder)
        lacking = finished.lacking(evaluations, run.reports)
        finished.measure(lacking, run.evaluation, evaluations)
    if ranks.is_main() and not lacking:
        print(f"{folder} has these evaluations already")


def evaluate_table(name: str, settings: list[str]) -> None:
    """Measure what the finished runs of a table lack."""
    asked = parse_request([f"table={name}", *settings])
    sweep = Sweep([table.load(name)], asked, _composed)
    print(sweep.plan())
    for stage in sweep.stages():
        for overrides in (overrides for job, overrides in stage if job.state == "trained"):
            config, choices = split_hydra(_with_hydra(overrides))
            run: Run = build(config)
            run.execute(recorded(config), choices)


def evaluate_timm(arguments: argparse.Namespace, chosen: DictConfig) -> None:
    """Measure a network of timm."""
    if arguments.data is None:
        raise RunError("--timm needs its test images: --data FOLDER")
    check(chosen)
    run: Run = build(chosen)
    ranks.join(run.runtime.target)
    run.runtime.start()
    network, crop = pretrained(arguments.timm, arguments.weights)
    data = folder_data(arguments.data, crop, network)
    out = arguments.out or Path("runs", "results", "networks", f"{arguments.timm}.json")
    data = data.to(run.runtime.target, decoder_for(run.runtime))
    Measured(out, arguments.timm).add(
        network, data, run.runtime, run.evaluation, recorded(chosen)["evaluation"]
    )
