"""Plan the session: `python -m gpu_session.plan OUT DATA [--rehearse]`.

Writes OUT/items.json, what is tried and timed, and OUT/plan.json, the runs in order of value: the
overrides and name of each, and what its length depends on. The overrides are those of the papers'
tables; a rehearsal shortens them and trains on drawn images.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import instantiate

from gpu_session import pace, steps
from vicinal.cli.configs import compose
from vicinal.contracts import Method
from vicinal.data.size import size_of
from vicinal.storage.files import write_json_atomically
from vicinal.tables.jobs import Job
from vicinal.tables.plan import compose_cached
from vicinal.tables.request import SweepRequest
from vicinal.tables.sweep import Sweep
from vicinal.tables.table import load

BY_VALUE = (  # table, data set, labels that a cell must have
    ("mixup/figure3a", "cifar100", ("CIFAR-100", "PreAct ResNet-18")),
    ("mixup/table5", "cifar10", ()),
    ("mixup/table2", "cifar10", ()),
    ("maxup/table4", "cifar100", ()),
)
FILES = {  # any of them is the data set
    "cifar10": ("cifar-10-python.tar.gz", "cifar-10-batches-py"),
    "cifar100": ("cifar-100-python.tar.gz", "cifar-100-python"),
}
CUT = ("model=wrn10_2", "schedule.epochs=3", "schedule.batch_size=32")
DRAWN = (96, 32)  # images in a rehearsal, for training and for testing


def main() -> None:
    """Write both files."""
    out, data, *flags = sys.argv[1:]
    rehearse = "--rehearse" in flags
    items = {"steps": steps.items(rehearse), "pace": pace.items(rehearse)}
    write_json_atomically(Path(out, "items.json"), items)
    root = Path(out, "data") if rehearse else Path(data)
    jobs: dict[tuple[str, int], dict[str, Any]] = {}
    for table, dataset, only in BY_VALUE[:1] if rehearse else BY_VALUE:
        if rehearse:
            draw(root, dataset)
        where = found(root, dataset)
        for job in listed(table, only, [*(where or ()), *folders(out)], rehearse):
            method: Method = instantiate(job.run.config["method"], _convert_="all")
            size = size_of(job.run.config["dataset"])
            assert size is not None
            images, tested = DRAWN if rehearse else (size.train, size.test)
            entry = {
                "table": table,
                "name": job.run.name,
                "seed": job.seed,
                "line": list(job.overrides),
                "epochs": job.run.config["schedule"]["epochs"],
                "images": images,
                "tested": tested,
                "over_erm": method.work,
                "missing": None if where else f"no {dataset} in {root}",
            }
            jobs.setdefault((job.run.name, job.seed), entry)
    write_json_atomically(Path(out, "plan.json"), {"runs": list(jobs.values())})


def folders(out: str) -> list[str]:
    """Overrides for where runs and their records are written."""
    return [f"out='{out}/runs'", f"results='{out}/results'"]


def found(root: Path, dataset: str) -> list[str] | None:
    """Overrides that read the data set from this folder; None if it is not there."""
    if (arrays := root / f"{dataset}.npz").exists():
        return [f"dataset.arrays='{arrays}'"]
    if any((root / name).exists() for name in FILES[dataset]):
        return [f"dataset.root='{root}'"]
    return None


def draw(root: Path, dataset: str) -> None:
    """Write random images of the data set's shape and number of classes."""
    root.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    classes = compose(f"dataset={dataset}").dataset.known_size.classes
    arrays = {}
    for part, count in zip(("train", "test"), DRAWN, strict=True):
        arrays[f"x_{part}"] = generator.integers(256, size=(count, 3, 32, 32), dtype=np.uint8)
        arrays[f"y_{part}"] = np.arange(count) % classes
    np.savez(root / f"{dataset}.npz", allow_pickle=False, **arrays)


def listed(
    table: str, only: Sequence[str], everywhere: Sequence[str], rehearse: bool
) -> Sequence[Job]:
    """The runs of a table, seed by seed; one seed in a rehearsal."""
    seeds, cut = ((0,), CUT) if rehearse else (None, ())
    request = SweepRequest((table,), seeds, tuple(everywhere), (cut,), tuple(only))
    return Sweep([load(table)], request, compose_cached).jobs


if __name__ == "__main__":
    main()
