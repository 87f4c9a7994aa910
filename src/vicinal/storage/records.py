"""Records of finished runs: identity, and numbers under fixed names, in one JSON each."""

import hashlib
import inspect
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from hydra.utils import get_object

from vicinal.errors import RunError
from vicinal.storage.files import write_json_atomically
from vicinal.storage.names import current_name, network_name

SCIENCE = ("dataset", "model", "method", "optimizer", "schedule")
# Where a dataset lies, and what is known of its original, do not change what it is.
NOT_SCIENCE = ("root", "arrays", "table", "labels", "cache", "canonical", "known_size")
HIGHER = ("top1", "average_precision")  # what a run is judged by, where larger is better
# Classes that moved: the name that records use, and the name today. With its entry here, the old
# records of a class can still be built, and its runs keep their ids.
MOVED = {"vicinal.runtime.Runtime": "vicinal.machine.runtime.Runtime"}


def identity(config: dict[str, Any], dataset: str) -> str:
    """Hash what was trained, without the seed, the machine and the location of the data."""
    return digest(science(config, dataset))


def name(config: dict[str, Any], dataset: str, choices: Mapping[str, str]) -> str:
    """DATASET/MODEL/METHOD/ID, the name in a run's folder and record."""
    network, method = network_name(config, choices), choices["method"]
    return f"{dataset}/{network}/{method}/{identity(config, dataset)}"


def science(config: dict[str, Any], dataset: str) -> dict[str, Any]:
    """The part of a config that is the experiment.

    Arguments that equal their constructor's default are left out, so that a new option with a
    default never renames a finished run. A setting that follows the seed is `${seed}` here.
    """
    first_names = {new: old for old, new in MOVED.items()}
    found = {group: _renamed(canonical(config[group]), first_names) for group in SCIENCE}
    if "init" in config:  # where a file lies does not matter
        found["init"] = without(("path",), canonical(config["init"]))
    found["dataset"] = without(NOT_SCIENCE, found["dataset"]) | {"name": dataset}
    return found


def digest(node: Any) -> str:
    """Hash plain containers to 12 hex digits."""
    return hashlib.sha256(json.dumps(node, sort_keys=True).encode()).hexdigest()[:12]


def canonical(node: Any) -> Any:
    """A config without the arguments that equal their constructor's default."""
    if isinstance(node, list | tuple):
        return [canonical(item) for item in node]
    if isinstance(node, float) and node.is_integer():
        return int(node)  # alpha=1 and alpha=1.0 are one run
    if not isinstance(node, dict):
        return node
    kept = {key: canonical(value) for key, value in node.items()}
    if "_target_" in node:
        for key, default in _defaults(node["_target_"]).items():
            if key in kept and kept[key] == default:
                del kept[key]
    return kept


@cache
def _defaults(target: str) -> dict[str, Any]:
    """The defaults of a constructor, in canonical form."""
    parameters = inspect.signature(get_object(target)).parameters
    return {key: canonical(parameter.default) for key, parameter in parameters.items()}


def _renamed(node: Any, names: Mapping[str, str]) -> Any:
    """The config with its classes under other names."""
    if isinstance(node, list):
        return [_renamed(item, names) for item in node]
    if not isinstance(node, dict):
        return node
    renamed = {key: _renamed(value, names) for key, value in node.items()}
    if "_target_" in node:
        renamed["_target_"] = names.get(node["_target_"], node["_target_"])
    return renamed


def without(keys: Sequence[str], node: Any) -> Any:
    """A config without these settings, at any depth."""
    if not isinstance(node, dict):
        return node
    return {key: without(keys, value) for key, value in node.items() if key not in keys}


def check_data(record: dict[str, Any] | None, fingerprint: dict[str, str]) -> None:
    """Refuse a record of other data; the name of a run says only which dataset it was."""
    if record is None or "failed" in record or record["data"]["fingerprint"] == fingerprint:
        return
    raise RunError(
        f"the record of {record['name']}, seed {record['seed']}, is of other data (its fingerprint "
        "differs); use that data, name this data dataset.name=NAME, or set another out and results"
    )


def check_start(record: dict[str, Any], mark: str | None) -> None:
    """Refuse a finished run that began with other weights, if these are still there."""
    began = record.get("init", {}).get("sha256")
    if mark not in (None, began):
        raise RunError(
            f"init must be the weights that {record['name']}, seed {record['seed']}, began with "
            f"({began}), got others ({mark}); use those, or set another out and results"
        )


def check_clean(record: dict[str, Any], config: dict[str, Any]) -> None:
    """Refuse a finished run that was measured with other settings than these while it trained."""
    settings = [each["clean"] for each in (record["config"], config)]
    then, now = (without(("batch_size",), canonical(each)) for each in settings)
    for key in sorted(then.keys() | now.keys()):
        if then.get(key) != now.get(key):
            was, got = (each.get(key) for each in settings)
            raise RunError(
                f"clean.{key} was {was} when {record['name']} finished, got {got}; "
                "evaluation=clean (of text: evaluation=perplexity) measures a finished run again"
            )


def published(results: str, name: str, seed: int) -> Path:
    """The path of a record's copy, which can be kept in version control."""
    return Path(results, "runs", f"{name}-seed{seed}.json")


def publish(path: Path, record: dict[str, Any]) -> None:
    """Write a record to that path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json_atomically(path, record)


def metrics(history: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """The test metrics of one run by report, the epoch or epochs whose numbers papers print.

    Only measured epochs count; by default all are measured.
    """
    tests = [_under("test_", epoch) for epoch in history]
    found = {
        "last": tests[-1],
        "median10": {key: median(epoch[key] for epoch in tests[-10:]) for key in tests[-1]},
    }
    for report, best in best_epochs(history).items():
        found[report] = {**_under("test_", best), "epoch": best["epoch"]}
    return found


def best_epochs(history: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """The epochs with the best score, by report.

    Among equals on test the last counts, as in AugMax's and CutMix's code (`>=`); on validation
    the first, as in PatchUp's.
    """
    found = {"best_test": max(reversed(history), key=lambda epoch: score(epoch, "test"))}
    if any(key.startswith("valid_") for key in history[-1]):
        found["best_valid"] = max(history, key=lambda epoch: score(epoch, "valid"))
    return found


def score(epoch: Mapping[str, float], split: str) -> float:
    """By what epochs are compared; the likelihood where a run has no accuracy or precision."""
    for name in HIGHER:
        if f"{split}_{name}" in epoch:
            return epoch[f"{split}_{name}"]
    return -epoch[f"{split}_nll"]


def headline(metrics: Mapping[str, float]) -> float:
    """The number that stands for a run's metrics; of a language model it is the perplexity."""
    return next(metrics[name] for name in (*HIGHER, "perplexity") if name in metrics)


def objective(record: Mapping[str, Any]) -> float:
    """What a search optimises: the last epoch's headline, of validation data if there are any."""
    valid = _under("valid_", {key: curve[-1] for key, curve in record["curves"].items()})
    return headline(valid or record["metrics"]["last"])


def _under(prefix: str, epoch: Mapping[str, float]) -> dict[str, float]:
    return {key.removeprefix(prefix): v for key, v in epoch.items() if key.startswith(prefix)}


def curves(history: list[dict[str, float]]) -> dict[str, list[float]]:
    """Every logged value by epoch, to six digits; the run's JSONL keeps all digits.

    A value that was measured only after the last epoch is a list of one.
    """
    found = {key: [epoch[key] for epoch in history if key in epoch] for key in history[-1]}
    return {key: [float(f"{value:.6g}") for value in values] for key, values in found.items()}


def epochs(curves: Mapping[str, Sequence[float]]) -> Iterator[tuple[int, dict[str, float]]]:
    """Each epoch and its values, from what `curves` made of them.

    Old records do not say which epochs were measured: all were.
    """
    count = max(map(len, curves.values()))
    for left in range(count, 0, -1):
        values = {key: each[-left] for key, each in curves.items() if len(each) >= left}
        yield int(values.pop("epoch", count - left + 1)), values


def timing(history: list[dict[str, float]], samples: int, unit: str) -> dict[str, float]:
    """Medians over epochs, since a shared machine has slow moments; a run of none has no rates."""
    seconds = [epoch["seconds"] for epoch in history if epoch["epoch"]]
    if not seconds:
        return {"seconds": 0.0}
    return {
        "seconds": sum(seconds) * history[-1]["epoch"] / len(history),
        "seconds_per_epoch": median(seconds),
        f"{unit}_per_second": samples / median(seconds),
    }


def load(folder: Path) -> list[dict[str, Any]]:
    """Load every record under a folder, in path order; those of failed runs have no numbers.

    A run that is there twice counts once. Copies that differ are an error: a person must choose.
    """
    found: dict[tuple[str, int], tuple[Path, dict[str, Any]]] = {}
    for path in sorted(folder.rglob("*.json")):
        record = read(path)
        first, same = found.setdefault((record["name"], record["seed"]), (path, record))
        if same != record:
            raise RunError(f"{first} and {path} are records of one run and differ; delete one")
        if first != path:
            print(f"{path} repeats {first}; counted once", file=sys.stderr)
    return [record for _, record in found.values()]


def read_if_there(path: Path) -> dict[str, Any] | None:
    """Read a record, or None if there is none."""
    return read(path) if path.exists() else None


def read(path: Path) -> dict[str, Any]:
    """Read one record."""
    try:
        record = json.loads(path.read_bytes())
    except ValueError as error:
        raise RunError(f"{path} is damaged: not JSON ({error})") from error
    if not isinstance(record, dict) or not {"name", "seed"} <= record.keys():
        raise RunError(f"{path} is not the record of a run: it has no name or no seed")
    if "config" in record:
        record["config"] = current(record["config"])
        record["name"] = current_name(record)
    return record


def current(config: dict[str, Any]) -> dict[str, Any]:
    """A config with the keys and classes of today; earlier runs had one evaluation, `clean`."""
    renamed = _renamed(config, MOVED)
    if "clean" in renamed or "evaluation" not in renamed:  # those of the GAN have neither
        return renamed
    return renamed | {"clean": renamed["evaluation"], "evaluation": {}, "reports": ["last"]}
