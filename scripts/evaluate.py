"""Evaluate finished runs from the weights they kept, and add the results to their records.

python scripts/evaluate.py runs/digits/wrn10_2/erm/*/seed* --evaluation clean bins=30
python scripts/evaluate.py runs/digits/wrn10_2/erm/*/seed* --reading best_test
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vicinal.cli.configs import CONFIGS, build, check, compose
from vicinal.errors import RunError
from vicinal.run import Run
from vicinal.storage import records
from vicinal.storage.run_folder import locked, read_record, write_record
from vicinal.storage.weights import REPORTS


def main() -> None:
    """Evaluate one folder after the other."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    given = "folders of finished runs, and settings of the evaluation"
    parser.add_argument("folders", nargs="+", type=Path, help=given)
    known = sorted(path.stem for path in (CONFIGS / "evaluation").glob("*.yaml"))
    parser.add_argument("--evaluation", default="clean", choices=known)
    parser.add_argument("--reading", default="last", choices=REPORTS, help="which weights")
    parser.add_argument("--runtime", default="auto")
    arguments, settings = parser.parse_known_intermixed_args()
    folders = [path for path in arguments.folders if "=" not in str(path)]
    settings += [str(path) for path in arguments.folders if "=" in str(path)]
    try:
        for folder in folders:
            evaluate(folder, arguments, settings)
    except (RunError, ValueError, OSError) as error:
        sys.exit(f"evaluate.py: {error}")


def evaluate(folder: Path, arguments: argparse.Namespace, settings: list[str]) -> None:
    """Add one evaluation to one record; repeating it replaces the earlier result."""
    name, reading = arguments.evaluation, arguments.reading
    with locked(folder):
        record = read_record(folder)
        if record is None:
            raise RunError(f"{folder} holds no finished run")
        config = OmegaConf.create(record["config"])
        assert isinstance(config, DictConfig)
        config.evaluation = group("evaluation", name, settings)
        config.runtime = group("runtime", arguments.runtime, [])
        check(config)
        run: Run = build(config)
        chosen: Any = OmegaConf.to_container(config.evaluation)
        found = run.measure(*run.trained(folder, reading))
        epoch = record["weights"][reading]["epoch"]
        measured = {"config": chosen, "reading": reading, "epoch": epoch, "metrics": found}
        key = f"{name}-{reading}-{records.digest(chosen)}"
        record["evaluations"][key] = measured
        write_record(folder, record)
        copy = records.published(record["config"]["results"], record["name"], record["seed"])
        records.publish(copy, record)
    print(f"{folder}, {reading}: {', '.join(f'{key} {value:.4g}' for key, value in found.items())}")


def group(name: str, option: str, settings: list[str]) -> Any:
    """The config of one option of a group, with some settings changed."""
    node = compose(f"{name}={option}")[name]
    OmegaConf.set_struct(node, False)  # `check` refuses what is not a setting
    return OmegaConf.merge(node, OmegaConf.from_dotlist(settings))


if __name__ == "__main__":
    main()
