"""Stand-ins for what configs call, so that tests of the command line need no data and no torch."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import hydra
from omegaconf import DictConfig, OmegaConf, open_dict

from vicinal.cli.configs import build, check
from vicinal.cli.explain import explain


class Vicinity(Protocol):
    def draw(self) -> float: ...


@dataclass(frozen=True)
class Mixup:
    alpha: float = 1.0
    per: Literal["batch", "sample"] = "batch"


@dataclass(frozen=True)
class Cutout:
    fill: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Erm:
    vicinity: Vicinity


@dataclass(frozen=True)
class MaxUp:
    vicinity: Vicinity
    copies: int
    chunk: int | None = None

    def __post_init__(self) -> None:
        if self.copies < 1:
            raise ValueError(f"copies must be at least 1, got {self.copies} (it keeps the worst)")


@dataclass(frozen=True)
class Data:
    root: str
    mean: tuple[float, float, float]
    fetch: bool
    sources: dict[str, int]


def network(num_classes: int, depth: int, name: str) -> int:
    if depth % 6 != 4:
        raise ValueError(f"depth must be 6n + 4, got {depth}")
    return num_classes


@dataclass(frozen=True, kw_only=True)
class Run:
    dataset: Data
    model: Callable[..., int]
    method: Erm | MaxUp
    warmup: Erm | None = None
    seed: int
    out: str
    results: str

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, got {self.seed}")
        self.model(num_classes=2)

    def execute(self, config: dict[str, Any], choices: dict[str, str], search: None) -> float:
        return float(self.seed)


YAML = {
    "train": """
        defaults:
          - dataset: digits
          - model: wrn
          - method: maxup_mixup
          - method@warmup: null
          - _self_
          - override hydra/job_logging: stdout
        _target_: standins.Run
        seed: 0
        out: runs
        results: results
        hydra: {output_subdir: null, run: {dir: .}, sweep: {dir: "${out}/.sweep", subdir: .}}
        """,
    "dataset/digits": """
        _target_: standins.Data
        root: data
        mean: [0.1, 0.2, 0.3]
        fetch: true
        sources: {first: 1}
        """,
    "dataset/arrays": """
        _target_: standins.Data
        root: ???
        mean: [0.1, 0.2, 0.3]
        fetch: true
        sources: {}
        """,
    "model/wrn": """
        _target_: standins.network
        _partial_: true
        depth: 16
        name: wrn
        """,
    "method/erm": """
        defaults: [/vicinity@vicinity: mixup]
        _target_: standins.Erm
        """,
    "method/maxup_mixup": """
        defaults: [/vicinity@vicinity: mixup]
        _target_: standins.MaxUp
        copies: 4
        """,
    "method/maxup_cutout": """
        defaults: [/vicinity@vicinity: cutout]
        _target_: standins.MaxUp
        copies: 4
        """,
    "vicinity/mixup": """
        _target_: standins.Mixup
        alpha: 1.0
        per: batch
        """,
    "vicinity/cutout": """
        _target_: standins.Cutout
        fill: ${dataset.mean}
        """,
}


def write_configs(folder: Path) -> Path:
    for name, text in YAML.items():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(line[8:] for line in text.splitlines()))
    return folder


def compose_from(folder: Path) -> Callable[[list[str]], DictConfig]:
    def compose(overrides: list[str]) -> DictConfig:
        with hydra.initialize_config_dir(str(folder), version_base="1.3"):
            return hydra.compose("train", overrides, return_hydra_config=True)

    return compose


def told(folder: Path, overrides: list[str]) -> str | None:
    """What a user is told, or None where the run is built."""
    compose = compose_from(folder)
    try:
        config = compose(overrides)
    except Exception as error:
        line = explain(error, overrides, compose)
        assert line, f"unexplained: {overrides}"
        return line
    choices = OmegaConf.to_container(config.hydra.runtime.choices)
    typed = OmegaConf.to_container(config.hydra.overrides.task)
    assert isinstance(choices, dict)
    assert isinstance(typed, list)
    with open_dict(config):
        del config["hydra"]
    try:
        check(config, {str(key): value for key, value in choices.items()}, typed)
        build(config)
    except ValueError as error:
        return str(error)
    return None
