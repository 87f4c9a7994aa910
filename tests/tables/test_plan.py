"""The runs behind the papers' numbers: that they can be made, and what they are called."""

import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import detection_samples
import hydra
import numpy as np
import photos
import pytest
import speech_samples
import torch
from _pytest.mark import ParameterSet
from composing import compose
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file

from vicinal.cli.configs import CONFIGS, build, check
from vicinal.cli.overrides import merge
from vicinal.loop import Loop
from vicinal.run import Run
from vicinal.storage import records
from vicinal.tables import table
from vicinal.tables.cell import Cell
from vicinal.tables.plan import compose_cached, plan_run, split_hydra

CELLS = [cell for name in table.names() for cell in table.load(name).cells if cell.overrides]
SHAPES = {  # of what the papers train on, and how many classes it has
    "cifar10": ((3, 32, 32), 10),
    "cifar100": ((3, 32, 32), 100),
    "svhn": ((3, 32, 32), 10),
    "stl10": ((3, 96, 96), 10),
    "tiny_imagenet": ((3, 64, 64), 200),
    "tiny_imagenet_deepaugment": ((3, 64, 64), 200),
    "uci_abalone": ((10,), 28),
    "uci_arcene": ((10_000,), 2),
    "uci_arrhythmia": ((279,), 13),
    "uci_htru2": ((8,), 2),
    "uci_iris": ((4,), 3),
    "uci_phishing": ((30,), 2),
}
STREAMS = ("imagenet", "imagenet_deepaugment")
TEXTS = ("ptb", "wikitext2")
RESULTS = Path(__file__).parents[2] / "results"
RENAMED = (RESULTS / "tables" / "renamed.md").read_text()  # runs whose name has changed
PINNED = "5e7f44a642ff"  # of all cells' runs
ROWS = [
    line.strip("| ").split(" | ") for line in RENAMED.splitlines() if re.match(r"\| \w+/", line)
]


def option(overrides: Iterable[str], group: str) -> str:
    return next(line.partition("=")[2] for line in overrides if line.startswith(f"{group}="))


@dataclass(frozen=True)
class Planned:
    """A run of a cell, and the one that it begins with."""

    overrides: tuple[str, ...]
    start: tuple[str, ...] = ()


def planned(cells: Iterable[Cell]) -> Iterator[Planned]:
    """Every run that some cells need: the best of several, those attacked, those begun with."""
    for cell in cells:
        yield from (Planned(run, cell.start) for run in cell.runs)
        yield from (Planned(each) for each in (cell.source, cell.start) if each)


def kind(dataset: str) -> str:
    """What a method sees of a data set."""
    if dataset.startswith("uci"):
        return "feature vectors"
    if dataset in STREAMS:
        return "streamed images"
    others = {"speech_commands": "spectrograms", "coco": "photos of objects"}
    return "text" if dataset in TEXTS else others.get(dataset, "images")


def families() -> list[ParameterSet]:
    """A run of each method on each kind of data; on the other data sets in `make test-all`."""
    found: dict[str, Planned] = {}
    kinds = set[tuple[str, str, bool]]()
    marked = []
    for each in planned(cell for cell in CELLS if cell.trainable):
        method, dataset = (option(each.overrides, group) for group in ("method", "dataset"))
        name = f"{method} on {dataset}" + (", begun with another" if each.start else "")
        if name in found:
            continue
        found[name] = each
        family = method, kind(dataset), bool(each.start)
        marks = [pytest.mark.slow] if family in kinds else []
        kinds.add(family)
        marked.append(pytest.param(each, id=name, marks=marks))
    return marked


def stand_in(folder: Path, dataset: str) -> Path:
    """Four training samples and one test sample per class; of the true shape, if in memory."""
    if dataset in STREAMS:
        photos.folder(folder / "photos", train=4, val=1, side=60)
        for copies in ("EDSR", "CAE"):  # DeepAugment's
            shutil.copytree(folder / "photos" / "train", folder / "photos" / copies)
        return folder / "photos"
    if dataset == "speech_commands":
        return speech_samples.folder(folder, speech_samples.files())
    if dataset == "coco":
        return detection_samples.drawn_set(folder / "drawn")
    if dataset in TEXTS:
        for part in ("train", "valid", "test"):
            (folder / f"{part}.txt").write_text("the cat sat on the mat\n" * 20)
        return folder
    shape, classes = SHAPES[dataset]
    draws = np.random.default_rng(0)
    arrays = {}
    for split, each in (("train", 4), ("test", 1)):
        size = (each * classes, *shape)
        vectors = draws.standard_normal(size, np.float32)
        images = draws.integers(0, 256, size, np.uint8)
        arrays[f"x_{split}"] = vectors if len(shape) == 1 else images
        arrays[f"y_{split}"] = np.arange(each * classes) % classes
    np.savez(folder / "stand_in.npz", **arrays)
    return folder / "stand_in.npz"


def small(overrides: Iterable[str], file: Path) -> tuple[str, ...]:
    """A run with a small network, a small batch, and the stand-in for its data."""
    others = ("model", "+model", "optimizer.ema")
    lines = [line for line in overrides if not line.startswith(others)]
    keys = {line.partition("=")[0] for line in lines}
    if "dataset.unlabelled" in keys:  # where the stand-in has none of its own
        keys.add("dataset.train_per_class")
    if "init=file" in lines:  # which is the user's
        lines = [line for line in lines if not line.startswith("init")]
    less = {
        "dataset.holdout_per_class": 1,
        "dataset.train_per_class": 2,
        "schedule.warmup_epochs": 0,  # which may begin at a rate of 0
    }
    lines += [f"{key}={value}" for key, value in less.items() if key in keys]
    if option(lines, "dataset").startswith("uci"):
        lines = [line for line in lines if not line.startswith("dataset.")]
        data = ["dataset=tabular", f"dataset.table={file}", "model=mlp"]
    elif option(lines, "dataset") in STREAMS:
        size = ["dataset.size=64", "dataset.resize=64", "runtime.workers=0"]
        data = [f"dataset.root={file}", "model=wrn10_2", *size]
    elif option(lines, "dataset") == "speech_commands":
        data = [f"dataset.root={file}", "model=wrn10_2"]
    elif option(lines, "dataset") == "coco":
        data = [f"dataset.root={file}", *detection_samples.SMALL]
    elif option(lines, "dataset") in TEXTS:
        narrow = ["model=awd_lstm", "model.embedding=4", "model.hidden=6"]
        data = ["dataset=text", f"dataset.root={file}", *narrow]
    else:
        data = [f"dataset.arrays={file}", "model=wrn10_2"]
    machine = ["schedule.batch_size=8", "runtime=cpu", "runtime.threads=1"]
    return merge(lines, data, machine)


@pytest.fixture(scope="module")
def built() -> set[str]:
    """The networks that were built."""
    return set()


@pytest.mark.parametrize("name", table.names())
def test_every_cell_composes_and_every_runnable_one_is_built(name: str, built: set[str]) -> None:
    """A network of each kind once: building one takes ten times as long as all the rest."""
    cells = [cell for cell in table.load(name).cells if cell.overrides]
    runnable = {each.overrides for each in planned(cell for cell in cells if cell.runnable)}
    for overrides in dict.fromkeys(each.overrides for each in planned(cells)):
        mark = f"{overrides in runnable} {overrides}"
        if mark in built:  # of another table
            continue
        built.add(mark)
        config = compose(*overrides)
        check(config)
        if overrides in runnable:
            network = str(config.model)
            if network in built:
                config.model = compose("model=mlp").model
            built.add(network)
            assert isinstance(build(config), Run), overrides


@pytest.mark.parametrize("family", families())
def test_one_step_of_each_method_on_each_kind_of_data(family: Planned, tmp_path: Path) -> None:
    loop = small_loop(family, tmp_path)
    trained = [each for each in loop.model.named_parameters() if each[1].requires_grad]
    before = {name: value.clone() for name, value in trained}
    next(iter(loop.steps()))
    moved = [not torch.equal(before[name], value) for name, value in trained]
    assert sum(moved) >= 0.9 * len(moved)
    assert all(value.isfinite().all() for value in loop.model.parameters())


def small_loop(each: Planned, folder: Path) -> Loop:
    """Before the first step; a run that begins with another has the weights of a small one."""
    lines = small(each.overrides, stand_in(folder, option(each.overrides, "dataset")))
    if each.start:
        (folder / "start").mkdir()
        file = stand_in(folder / "start", option(each.start, "dataset"))
        backbone = ["model=timm", "model.name=test_resnet"] if "dataset=coco" in lines else []
        first: Run = build(compose(*small(each.start, file), *backbone, "seed=7"))
        save_file(first.build(first.dataset.load()).state_dict(), folder / "start.safetensors")
        named = ("init=", "init.name=", "init.report=", "init.seed=")
        lines = tuple(line for line in lines if not line.startswith(named))
        lines = ("init=file", f"init.path={folder / 'start.safetensors'}", *lines)
    run: Run = build(compose(*lines))
    return run.loop(run.dataset.load(), run.init and run.init.read(folder))


def test_a_run_that_begins_with_another_takes_its_step_from_there(tmp_path: Path) -> None:
    """No table's cells may need that yet, so this one has."""
    tree = {
        "caption": "Test error",
        "run": ["dataset=cifar10", "schedule.epochs=3"],
        "start": ["method=erm", "schedule.epochs=9"],
        "stub": [],
        "columns": [{"label": "mixup", "run": ["method=mixup"]}],
        "rows": [{"label": "CIFAR-10", "printed": ["1.0"]}],
    }
    own, start = planned(table.Table("paper/begun", tree).cells)
    assert (own.start, start.overrides) == (start.overrides, own.start)
    assert any(line.startswith("init.name=cifar10/") for line in own.overrides)
    weights = dict(small_loop(own, tmp_path).model.named_parameters())
    (tmp_path / "random").mkdir()
    random = small_loop(replace(own, overrides=start.overrides, start=()), tmp_path / "random")
    begun = load_file(tmp_path / "start.safetensors")
    assert all(torch.equal(value, begun[name]) for name, value in weights.items())
    assert not all(torch.equal(begun[name], v) for name, v in random.model.named_parameters())


@pytest.mark.parametrize("name", table.names())
def test_the_quick_way_of_composing_makes_what_hydra_makes(name: str) -> None:
    """Of one run of each table."""
    runs = [cell.overrides for cell in table.load(name).cells if cell.overrides]
    for overrides in runs[:1]:
        assert_composed_as_by_hydra(overrides)


@pytest.mark.slow
@pytest.mark.parametrize("name", table.names())
def test_the_quick_way_makes_what_hydra_makes_of_every_run(name: str) -> None:
    for overrides in {cell.overrides for cell in table.load(name).cells if cell.overrides}:
        assert_composed_as_by_hydra(overrides)


def assert_composed_as_by_hydra(overrides: tuple[str, ...]) -> None:
    quick, choices = compose_cached(overrides)
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        whole = hydra.compose("train", list(overrides), return_hydra_config=True)
    config, expected = split_hydra(whole)
    assert OmegaConf.to_container(quick) == OmegaConf.to_container(config)
    assert choices == expected


def test_a_split_that_follows_the_seed_does_not_name_the_run() -> None:
    redrawn = plan_run(("dataset=cifar10", "dataset.split_seed=${seed}"))
    assert redrawn.config["dataset"]["split_seed"] == "${seed}"
    assert redrawn.name == plan_run(("dataset.split_seed=${seed}",)).name
    assert redrawn.name != plan_run(("dataset.split_seed=3",)).name


def test_tables_share_the_runs_that_are_the_same() -> None:
    names = {}
    for name in ("maxup/table4", "maxup/table5"):
        cells = table.load(name).cells
        names[name] = {cell.printed: plan_run(cell.overrides).name for cell in cells}
    shared = names["maxup/table4"].items() & names["maxup/table5"].items()
    assert {printed for printed, _ in shared} == {
        "73.64±0.15",
        "75.26±0.21",
        "81.59±0.27",
        "82.48±0.23",
    }


def test_a_number_that_two_tables_print_is_read_from_one_run_in_one_way() -> None:
    """GradAug's Table 1 and PatchUp's Table 3 quote the same network of Yun et al."""
    found: dict[tuple[str, bool], list[tuple[float, int, Cell]]] = {}
    for cell in (cell for cell in CELLS if "dataset=imagenet" in cell.overrides):
        if cell.measures in ("error", "accuracy", "top5_error", "top5_accuracy"):
            error = cell.value if "error" in cell.measures else 100 - cell.value
            kind = plan_run(cell.overrides).name, cell.measures.startswith("top5")
            found.setdefault(kind, []).append((error, cell.decimals, cell))
    twice = 0
    for same in found.values():
        for (a, digits, one), (b, others, two) in combinations(same, 2):
            if one.table != two.table and abs(a - b) <= 10 ** -min(digits, others):
                twice += 1
                assert one.report == two.report, (one, two)
    assert twice > 20


def test_a_quoted_row_of_mixup_is_mixups_own_run() -> None:
    """82.5 in GradAug's Table 3 is the 17.5 of mixup's Figure 3a."""
    (quoted,) = [cell for cell in table.load("gradaug/table3").cells if cell.printed == "82.5"]
    (own,) = [cell for cell in table.load("mixup/figure3a").cells if cell.printed == "17.5"]
    assert plan_run(quoted.overrides).name == plan_run(own.overrides).name
    assert quoted.report == own.report


def test_wide_networks_are_trained_by_patchups_released_code() -> None:
    """It leaves the second loss's target as it was where CutMix changes the input."""
    wide = [cell for cell in CELLS if cell.table.startswith("patchup/") and _is_wide(cell)]
    configs = [plan_run(cell.overrides).config["method"] for cell in wide]
    for method in configs:
        cutmix = method["input"] == "cutmix" and 0 in method["layers"]
        assert method["unmixed_input"] == cutmix
    assert len(configs) > 30


def _is_wide(cell: Cell) -> bool:
    kinds = {"method=patchup_soft", "method=patchup_hard"}
    return "model=wrn28_10_meliketoy" in cell.overrides and bool(kinds & set(cell.overrides))


def test_each_cell_that_is_listed_has_the_run_that_is_named() -> None:
    for name, labels, before, after, _ in ROWS:
        cells = {cell.label.replace(" | ", ", "): cell for cell in table.load(name).cells}
        for label in labels.split("; "):
            assert plan_run(cells[label].overrides).name == after != before, (name, label)


def test_every_cell_is_listed_or_counted() -> None:
    found = re.search(r"^(\d+) of (\d+) cells kept theirs.*? In (\d+) more", RENAMED, re.M | re.S)
    assert found is not None
    kept, every, of_timm = map(int, found.groups())
    listed = sum(len(labels.split("; ")) for _, labels, *_ in ROWS)
    named = {after for *_, after, _ in ROWS}
    runs = [plan_run(cell.overrides).name for cell in CELLS if cell.overrides]
    assert of_timm == sum("/timm-" in name and name not in named for name in runs)
    assert (kept, every) == (len(CELLS) - listed - of_timm, len(CELLS))


def test_no_run_is_renamed_in_passing() -> None:
    """To rename runs on purpose, list the cells in renamed.md and pin the new digest."""
    names = [f"{cell.table}, {cell.label}: {plan_run(cell.overrides).name}" for cell in CELLS]
    assert records.digest(names) == PINNED


def test_no_finished_run_was_renamed() -> None:
    """Every record of UCI data is still that of a cell."""
    finished = {record["name"] for record in records.load(RESULTS / "runs")}
    assert not finished & {before for _, _, before, *_ in ROWS}
    own = {
        plan_run(cell.overrides).name
        for name in ("mixup/table4", "mixup/table4_raw")
        for cell in table.load(name).cells
    }
    assert {name for name in finished if name.startswith("uci_")} == own
