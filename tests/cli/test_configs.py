"""Every mistake in a config has its line, and every config that we ship has none."""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter
from pathlib import Path
from typing import Any, Literal, Protocol

import hydra
import pytest
from omegaconf import DictConfig, OmegaConf, open_dict

from vicinal.cli.annotations import AN_OBJECT, fault_in, wanted
from vicinal.cli.configs import CONFIGS, build, check, settings
from vicinal.cli.explain import explain
from vicinal.cli.messages import listed

# Stand-ins for what configs call, so that these tests need no network, data or torch.


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

    def execute(self, config: dict[str, Any], choices: dict[str, str]) -> float:
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
        _target_: test_configs.Run
        seed: 0
        out: runs
        results: results
        hydra: {output_subdir: null, run: {dir: .}, sweep: {dir: "${out}/.sweep", subdir: .}}
        """,
    "dataset/digits": """
        _target_: test_configs.Data
        root: data
        mean: [0.1, 0.2, 0.3]
        fetch: true
        sources: {first: 1}
        """,
    "dataset/arrays": """
        _target_: test_configs.Data
        root: ???
        mean: [0.1, 0.2, 0.3]
        fetch: true
        sources: {}
        """,
    "model/wrn": """
        _target_: test_configs.network
        _partial_: true
        depth: 16
        name: wrn
        """,
    "method/erm": """
        defaults: [/vicinity@vicinity: mixup]
        _target_: test_configs.Erm
        """,
    "method/maxup_mixup": """
        defaults: [/vicinity@vicinity: mixup]
        _target_: test_configs.MaxUp
        copies: 4
        """,
    "method/maxup_cutout": """
        defaults: [/vicinity@vicinity: cutout]
        _target_: test_configs.MaxUp
        copies: 4
        """,
    "vicinity/mixup": """
        _target_: test_configs.Mixup
        alpha: 1.0
        per: batch
        """,
    "vicinity/cutout": """
        _target_: test_configs.Cutout
        fill: ${dataset.mean}
        """,
}


def write_configs(folder: Path) -> Path:
    for name, text in YAML.items():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(line[8:] for line in text.splitlines()))
    return folder


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_configs(tmp_path_factory.mktemp("configs"))


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


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "seed=3 out=elsewhere",
        "method=erm",
        "method=maxup_cutout method.copies=2",
        "vicinity@method.vicinity=cutout method.vicinity.fill=null",
        "method@warmup=erm warmup.vicinity.alpha=2",
        "+method.chunk=8",
        "dataset.mean=[0,1,0.5] +dataset.sources.second=3",
        "dataset=arrays dataset.root=/x",
        "out=\\'2024\\'".replace("\\", ""),
        "model.depth=10",
    ],
)
def test_what_constructors_take_passes(folder: Path, typed: str) -> None:
    assert told(folder, typed.split()) is None


METHODS = "erm, maxup_cutout, maxup_mixup"
ROOT = "dataset, method, model, out, results, seed"
MAXUP = "test_configs.MaxUp"


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        # names of options and groups
        (
            "method=maxup_mxiup",
            f"method=maxup_mxiup is not known; did you mean maxup_mixup? (known: {METHODS})",
        ),
        ("method=", f"method= is not known (known: {METHODS})"),
        ("method=3", "method must be one of its options, got 3"),
        ("method=null", "method must be one of its options, got null"),
        (
            "method=[erm,maxup_cutout]",
            "method must be one of its options, got [erm,maxup_cutout]",
        ),
        ("methd=erm", f"methd is not a setting; did you mean method? (settings: {ROOT})"),
        (
            "vicinity=mixup",
            "... 'vicinity'. Did you mean ... vicinity@method.vicinity?",
        ),
        (
            "vicinity@method.vicinty=cutout",
            "... 'vicinity@method.vicinty'. Did you mean ... vicinity@method.vicinity?",
        ),
        (
            "vicinty@method.vicinity=cutout",
            "... vicinty@method.vicinity=cutout ... group 'vicinty' does not exist.",
        ),
        ("+method=erm", "Multiple values for method. ..."),
        ("~method=erm", "... 'method=erm'. No match ..."),
        (
            "hydra/output=defualt",
            "hydra/output=defualt is not known; did you mean default? (known: default)",
        ),
        # names of settings
        (
            "method.copeis=3",
            f"method.copeis is not a setting of {MAXUP}; did you mean method.copies? "
            "(settings: chunk, copies, vicinity)",
        ),
        (
            "+method.copeis=3",
            f"method.copeis is not a setting of {MAXUP}; did you mean method.copies? "
            "(settings: chunk, copies, vicinity)",
        ),
        (
            "metod.copies=3",
            f"metod is not a setting; did you mean method.copies? (settings: {ROOT})",
        ),
        (
            "alpha=3",
            f"alpha is not a setting; did you mean method.vicinity.alpha? (settings: {ROOT})",
        ),
        ("+alpha=3", f"alpha is not a setting of test_configs.Run (settings: {ROOT}, warmup)"),
        ("method.chunk=3", "method.chunk is not in this config; add it with +method.chunk=3"),
        (
            "dataset.sources.second=3",
            "dataset.sources.second is not in this config; add it with +dataset.sources.second=3",
        ),
        (
            "dataset.sources={second: 3}",
            "dataset.sources.second is not in this config; "
            "add it with '+dataset.sources={second: 3}'",
        ),
        (
            "warmup.vicinity=3",
            "warmup is not in this config; choose one with method@warmup=NAME",
        ),
        ("seed.x=3", "seed.x is not a setting: seed is 0"),
        ("+seed=3", "... already at 'seed'."),
        ("~foo", f"foo is not a setting (settings: {ROOT})"),
        ("~seed=3", "... 'seed' is 0 and not 3."),
        (
            "~method",
            "method is missing; test_configs.Run needs it; choose one with method=NAME",
        ),
        ("~method.copies", f"method.copies is missing; {MAXUP} needs it"),
        ("dataset=arrays", "dataset.root must be given: dataset.root=VALUE"),
        # types
        ("seed=abc", "seed must be an integer, got 'abc'"),
        ("seed=", "seed must be an integer, got ''"),
        ("seed=true", "seed must be an integer, got true"),
        ("seed=1.0", "seed must be an integer, got 1.0"),
        ("seed=null", "seed must be an integer, got null"),
        ("seed=[1]", "seed must be an integer, got [1]"),
        ("method.vicinity.alpha=a", "method.vicinity.alpha must be a number, got 'a'"),
        ("method.vicinity.alpha=nan", "method.vicinity.alpha must be a number, got nan"),
        ("method.vicinity.alpha=-inf", "method.vicinity.alpha must be a number, got -inf"),
        ("method.vicinity.per=run", "method.vicinity.per must be batch or sample, got 'run'"),
        ("+method.chunk=a", "method.chunk must be an integer or null, got 'a'"),
        ("dataset.fetch=1", "dataset.fetch must be true or false, got 1"),
        ("dataset.mean=[1,2]", "dataset.mean must be a list of 3 values, got [1, 2]"),
        ("dataset.mean=[1,2,b]", "dataset.mean[2] must be a number, got 'b'"),
        ("dataset.mean=1", "dataset.mean must be a list [...], got 1"),
        ("dataset.sources.first=a", "dataset.sources.first must be an integer, got 'a'"),
        ("dataset.sources=1", "dataset.sources must be a mapping {key: value}, got 1"),
        ("out=2024", r"out must be text, got 2024 (as text: out=\'2024\')"),
        (
            "method.vicinity=cutout",
            "method.vicinity must be a config with a _target_, got 'cutout'; "
            "choose one with vicinity@method.vicinity=cutout",
        ),
        (
            "++warmup=erm",
            "warmup must be a config with a _target_ or null, got 'erm'; "
            "choose one with method@warmup=erm",
        ),
        (
            "~method.vicinity._target_",
            "method.vicinity must be a config with a _target_, got "
            "{'alpha': 1.0, 'per': 'batch'}; choose one with vicinity@method.vicinity=NAME",
        ),
        # what constructors refuse
        ("method.copies=0", "method.copies must be at least 1, got 0 (it keeps the worst)"),
        ("model.depth=17", "model.depth must be 6n + 4, got 17"),
        ("seed=-1", "seed must be at least 0, got -1"),
        ("~model.name", "network() missing 1 required positional argument: 'name'"),
        # interpolation
        (
            "seed=${dataset.sed}",
            "seed copies dataset.sed, and test_configs.Data has no sed; choose another seed or "
            "dataset, or give seed=VALUE",
        ),
        ("seed=${sed}", "seed: Interpolation key 'sed' not found"),
        ("seed=${seed}", "seed: Recursive interpolation detected"),
        ("seed=???", "seed must be given: seed=VALUE"),
        # targets
        (
            "method._target_=test_configs.MaxUpp",
            "method._target_=test_configs.MaxUpp cannot be imported "
            "(AttributeError: module 'test_configs' has no attribute 'MaxUpp')",
        ),
        (
            "method._target_=nowhere.MaxUp",
            "method._target_=nowhere.MaxUp cannot be imported "
            "(ModuleNotFoundError: No module named 'nowhere')",
        ),
        ("method._target_=3", "method._target_ must name a class or function, got 3"),
        ("+_partial_=true", "_partial_ cannot be set on the run itself"),
        # grammar
        ("seed", "seed has no value; settings are written key=value"),
        ("=3", "=3 has no key; settings are written key=value"),
        (
            "seed=[1",
            r"seed=[1 cannot be read: no viable alternative at input '[1' "
            r"(text with symbols needs quotes: key=\'a b: c\')",
        ),
        (
            "é=1",
            r"é=1 cannot be read: 'é' at character 1 is not allowed "
            r"(text with symbols needs quotes: key=\'a b: c\')",
        ),
        (
            "seed=1,2",
            "seed=1,2 gives several values; add -m to run one after another, "
            "or write seed=[...] for a list",
        ),
        (
            "method=erm,maxup_mixup",
            "method=erm,maxup_mixup gives several values; add -m to run one after another",
        ),
    ],
)
def test_a_mistake_has_its_line(folder: Path, typed: str, line: str) -> None:
    """Three dots stand for words of Hydra's own."""
    pattern = ".*".join(map(re.escape, line.split("...")))
    found = told(folder, [typed])
    assert found is not None
    assert re.fullmatch(pattern, found), found


def test_a_sweep_is_told_of_the_job_that_fails(folder: Path) -> None:
    compose = compose_from(folder)
    sweep = ["method=maxup_mixup,erm", "method.copies=2,3", "seed=range(2)"]
    line = "method.copies is not a setting of test_configs.Erm (settings: vicinity)"
    error = RuntimeError("of any kind")
    assert explain(error, sweep, compose, sweep=True) == line
    assert explain(error, sweep[1:], compose, sweep=True) is None


def test_many_names_are_cut_to_the_nearest(folder: Path) -> None:
    many = [f"option_{index:02d}" for index in range(30)]
    found = listed("option_07", many)
    assert found.startswith("option_07, ")
    assert found.endswith(", ... 30 in all")
    assert len(found.split(", ")) == 13


@pytest.mark.parametrize(
    ("value", "hint", "words"),
    [
        (1, float, None),
        (True, int, "an integer"),
        (1, bool, "true or false"),
        ("x", Path, None),
        ([1, 2.5], list[float], None),
        ([1, "x"], Sequence[int], "an integer"),
        ([[1, 2], [3]], tuple[tuple[int, int], ...], "a list of 2 values"),
        ({"a": 1}, dict[str, int], None),
        ({"a": "x"}, Mapping[str, int], "an integer"),
        ("a", Literal["a", "b"], None),
        (1, Literal[True, 2], "True or 2"),
        ("relu", Callable[[float], float], AN_OBJECT),
        (3, Vicinity, AN_OBJECT),
        ({"_target_": "x"}, Vicinity, None),
        (None, Vicinity | None, None),
        ([1, "x"], list[int] | None, "an integer"),
        ("x", int | list[int], "an integer or a list [...]"),
        ("anything", Any, None),
        ("anything", object, None),
        (None, Parameter.empty, None),
    ],
)
def test_annotations_decide(value: object, hint: Any, words: str | None) -> None:
    fault = fault_in("key", value, hint)
    assert (fault and wanted(fault[2], fault[1])) == words


def groups() -> list[tuple[str, str]]:
    found = (path.relative_to(CONFIGS).with_suffix("") for path in CONFIGS.glob("*/*.yaml"))
    return sorted((path.parent.as_posix(), path.name) for path in found)


# Everything else is written out, so that `key=value` works without a + and --cfg job shows it.
UNWRITTEN = {
    "model": {"num_classes", "shape"},  # the data's
    "schedule": {"warmup_method"},  # chosen with method@schedule.warmup_method=NAME
    "method/patchup_hard": {"alpha"},  # soft PatchUp's
    **{f"vicinity/{option}": {"among"} for option in ("mixup", "mixup_manifold")},
    **{
        f"method/maxup_{vicinity}": {"selection"}
        for vicinity in ("cutmix", "cutout", "gauss", "mixup")
    },
}


@pytest.mark.parametrize(("group", "option"), groups())
def test_every_config_that_we_ship_passes_and_writes_out_its_settings(
    group: str, option: str
) -> None:
    place = {"vicinity": "vicinity@method.vicinity"}.get(group, group)
    compose = compose_from(CONFIGS)
    config = compose([f"{place}={option}"])
    for key in OmegaConf.missing_keys(config[group]) if group in config else ():
        OmegaConf.update(config, key, "given")
    choices = dict(config.hydra.runtime.choices)
    assert choices[place] == option
    node = OmegaConf.select(config, place.rpartition("@")[2])
    unwritten = UNWRITTEN.get(group) or UNWRITTEN.get(f"{group}/{option}", set())
    assert set(settings(node["_target_"]) or ()) - set(node) == unwritten
    with open_dict(config):
        del config["hydra"]
    check(config, choices)


class Typist:
    """Types lines that are nearly right, or not at all."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)

    GROUPS = ("dataset", "model", "method", "vicinity@method.vicinity", "method@warmup", "vicinity")
    OPTIONS = ("digits", "arrays", "wrn", "erm", "maxup_mixup", "maxup_cutout", "mixup", "cutout")
    KEYS = (
        *("seed", "out", "results", "method.copies", "method.vicinity", "method.vicinity.alpha"),
        *("method.vicinity.per", "dataset.mean", "dataset.mean.0", "dataset.fetch", "model.depth"),
        *("dataset.sources.first", "model._partial_", "method._target_", "_target_", "warmup"),
        *("hydra.run.dir", "hydra.verbose", "method.chunk", "_convert_", "method._recursive_"),
    )
    VALUES = (
        *(
            "0",
            "1",
            "-1",
            "1.5",
            "1e-3",
            "nan",
            "inf",
            "true",
            "null",
            "abc",
            "",
            "''",
            '""',
            "'a b'",
        ),
        *("[1,2,3]", "[1,a]", "[]", "{}", "{a:1}", "{first:1}", "[[1],[2]]", "???", "a=b", "a b"),
        *("1,2", "range(3)", "choice(1,2)", "interval(0,1)", "glob(*)", "int(3)", "str(3)", "x(3)"),
        *("${seed}", "${sed}", "${", "${oc.env:NOPE}", "${dataset.mean}", "${.x}", "${hydra:x}"),
        *(
            "é",
            "'é'",
            "\\",
            "'",
            '"',
            "[1",
            "{a",
            "a:b",
            "@",
            "$x",
            "~",
            "../x",
            "/etc",
            "😀",
            "\t",
        ),
        *(
            "16",
            "2",
            "0.5",
            "batch",
            "test_configs.MaxUp",
            "os.system",
            "no.where",
            "builtins.dict",
            "4",
        ),
    )

    def line(self) -> str:
        draw = self.draw
        groups = draw.random() < 0.4
        key = self.misspelt(draw.choice(self.GROUPS if groups else self.KEYS))
        value = draw.choice(self.OPTIONS if groups and draw.random() < 0.7 else self.VALUES)
        sign = draw.choice([""] * 8 + ["+", "++", "~"])
        return f"{sign}{key}" if draw.random() < 0.1 else f"{sign}{key}={self.misspelt(value)}"

    def misspelt(self, word: str) -> str:
        draw = self.draw
        if not word or draw.random() < 0.85:
            return word
        at = draw.randrange(len(word))
        new = draw.choice(["", "x", ".", "@", "é", "[", "_", "/", word[at] * 2, " ", ",", ":", "0"])
        return word[:at] + new + word[at + 1 :]


def fuzz(folder: Path, seed: int, lines: int) -> tuple[int, int]:
    """How many of that many command lines were refused with a line, and how many were built."""
    typist = Typist(seed)
    refused = built = 0
    for _ in range(lines):
        typed = [typist.line() for _ in range(typist.draw.choice([1, 1, 1, 2, 3]))]
        try:
            line = told(folder, typed)
        except BaseException as error:
            raise AssertionError(f"unexplained: {typed}") from error
        if line is None:
            built += 1  # no constructor here takes **kwargs: an unknown key would have failed
        else:
            assert len(line.splitlines()) == 1, (typed, line)
            refused += 1
    return refused, built


def test_whatever_is_typed_is_built_or_explained_in_one_line(folder: Path) -> None:
    refused, built = fuzz(folder, seed=0, lines=100)
    assert refused > 50
    assert built > 3
