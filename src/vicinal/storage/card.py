"""The model card of an export, made from the run's record alone."""

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from vicinal.cli.signatures import locate
from vicinal.loggers.evaluations import headlines, named
from vicinal.storage.exported import Exported

# What the Hub calls a run's numbers, and what it shows beside them.
HUB_METRICS = {"top1": "accuracy", "average_precision": "mAP", "perplexity": "perplexity"}
TASKS = {"top1": "classification", "average_precision": "detection", "perplexity": "words"}
HUB_TASKS = {  # by what is measured, and whether it is of images
    ("classification", True): "image-classification",
    ("classification", False): "tabular-classification",
    ("detection", True): "object-detection",
    ("words", False): "text-generation",
}
PAPER = re.compile(r"^Paper: +([^;]*?)(?:;|\n[A-Z])", re.MULTILINE)  # the first of a docstring


def card(exported: Exported, folder: str) -> str:
    """README.md of an exported folder: what was trained, on what, how, and with which result."""
    record, config = exported.record, exported.record["config"]
    dataset, network, method, _ = record["name"].split("/")
    unit = "; all but nll in percent" if "top1" in record["metrics"]["last"] else ""
    header = yaml.safe_dump(_metadata(exported), sort_keys=False, allow_unicode=True)
    paragraphs = [
        f"---\n{header}---",
        f"# {network} trained on {dataset} with {method}",
        f"Trained with vicinal. These are the weights after epoch {exported.epoch} of "
        f"{config['schedule']['epochs']} (report `{exported.report}`), seed {record['seed']}.",
        "## Use",
        "\n".join(["```python", *exported.lines(Path(folder)), "```"]),
        f"`{folder}` is this folder.{_changes(exported)}",
        "## Training",
        _grid(("", ""), _training(record)),
        "## Results",
        _grid(*_numbers(record)),
        f"On test data{unit}. The weights in this folder are those of `{exported.report}`.",
        *_evaluations(record, exported.report),
        "## Origin",
        _grid(("", ""), _origin(record)),
        *_papers(config["method"]),
        "## Licence",
        "vicinal's code is under the MIT licence. The data have terms of their own.",
    ]
    return "\n\n".join(paragraphs) + "\n"


def _metadata(exported: Exported) -> dict[str, Any]:
    """The card's YAML header, as the Hub reads it."""
    record, report = exported.record, exported.report
    dataset, network, method, _ = record["name"].split("/")
    name = next(key for key in HUB_METRICS if key in record["metrics"]["last"])
    metric, task = HUB_METRICS[name], _task(exported, name)
    value = record["metrics"][report][name]
    result = {
        "task": {"type": task},
        "dataset": {"name": dataset, "type": dataset, "split": "test"},
        "metrics": [{"type": metric, "value": round(value, 4), "name": f"test {name}"}],
    }
    return {
        "library_name": "vicinal" if exported.timm is None else "timm",
        "pipeline_tag": task,
        "tags": ["vicinal", *([] if exported.timm is None else ["timm"]), task, method],
        "metrics": [metric],
        "model-index": [{"name": f"{network}-{method}", "results": [result]}],
    }


def _task(exported: Exported, metric: str) -> str:
    of_images = len(exported.record["data"]["shape"]) == 3
    return HUB_TASKS[TASKS[metric], of_images]


def _changes(exported: Exported) -> str:
    if not exported.changed:
        return ""
    return " The method changed the network's layers; vicinal builds them again."


def _training(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What was trained, on what and how: the rows of a table."""
    config, data = record["config"], record["data"]
    dataset, network, *_ = record["name"].split("/")
    samples = ", ".join(f"{count} {split}" for split, count in data["samples"].items())
    known = {True: "", False: " (not the original files)", None: ""}[data["canonical"]]
    shape = " x ".join(map(str, data["shape"]))
    yield "data", f"{dataset}{known}: {samples}"
    yield "samples", ", ".join([f"{data['num_classes']} classes", *([shape] if shape else [])])
    yield "network", f"{network}: {in_words(config['model'])}; {record['parameters']:,} parameters"
    for part in ("method", "optimizer", "schedule"):
        yield part, in_words(config[part])
    if "init" in record:
        yield "first weights", in_words(record["init"])
    if config.get("reduced"):
        yield "reduced by", ", ".join(config["reduced"])


def in_words(node: Any) -> str:
    """A config as words: `Sgd (lr 0.1, momentum 0.9)`; what is null is left out."""
    if isinstance(node, bool):
        return str(node).lower()
    if isinstance(node, list):
        return "[" + ", ".join(map(in_words, node)) + "]"
    if not isinstance(node, dict):
        return str(node)
    given = {key: value for key, value in node.items() if not key.startswith("_")}
    words = ", ".join(
        f"{key.replace('_', ' ')} {in_words(value)}"
        for key, value in given.items()
        if value is not None and value != {}
    )
    name = node.get("_target_", "").rpartition(".")[2]
    return f"{name} ({words})" if name and words else name or words


def _numbers(record: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The test numbers by report: head and rows."""
    metrics, kept = record["metrics"], record["weights"]
    names = list(metrics["last"])
    rows = [
        [report, str(kept.get(report, {}).get("epoch", "")), *(f"{found[n]:.4g}" for n in names)]
        for report, found in metrics.items()
    ]
    return ["report", "epoch", *names], rows


def _evaluations(record: Mapping[str, Any], report: str) -> Iterator[str]:
    """What was measured of these weights beside that, by the numbers that stand for all."""
    rows = [
        (name.rpartition("/")[0], number, f"{value:.4g}")
        for name, entry in named(record)
        if entry["report"] == report
        for number, value in headlines(entry).items()
    ]
    if rows:
        yield _grid(("evaluation", "number", "value"), rows)


def _origin(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Where the numbers come from."""
    session = record["sessions"][-1]
    git = session["git"] or {"commit": "unknown", "dirty": False}
    versions = {name: each for name, each in session["versions"].items() if each is not None}
    yield "run", f"`{record['name']}`, seed {record['seed']}"
    yield "commit", git["commit"] + (", with changes" if git["dirty"] else "")
    yield "versions", ", ".join(f"{name} {each}" for name, each in versions.items())
    yield "device", f"{session['device']['name']}, {record['timing']['seconds']:.0f} seconds"


def _papers(method: Any) -> Iterator[str]:
    """The papers that the method's modules name, each once."""
    papers: dict[str, str] = {}  # by arXiv's id
    for target in _targets(method):
        module = inspect.getmodule(locate("", target))
        if match := PAPER.search(getattr(module, "__doc__", None) or ""):
            paper = " ".join(match[1].split())
            papers.setdefault(paper.rpartition("arXiv")[2], paper)
    if papers:
        yield "## Papers"
        yield "\n".join(f"- {_linked(paper)}" for paper in papers.values())


def _targets(node: Any) -> Iterator[str]:
    """The classes that a config names."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield node["_target_"]
        node = [*node.values()]
    if isinstance(node, list):
        for each in node:
            yield from _targets(each)


def _linked(paper: str) -> str:
    return re.sub(r"arXiv (\d+\.\d+)", r"[arXiv \1](https://arxiv.org/abs/\1)", paper)


def _grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(each)} |" for each in lines)
