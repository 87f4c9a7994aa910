"""Configs as `vicinal.cli.configs.compose` makes them, some fifteen times as fast."""

from omegaconf import DictConfig, OmegaConf

from vicinal.cli.configs import CONFIGS
from vicinal.tables.plan import compose_cached


def compose(*overrides: str) -> DictConfig:
    """What is chosen of a group is composed once per process; a test of the plan compares both."""
    return compose_cached(overrides)[0]


def methods_by_class() -> tuple[list[str], list[str]]:
    """The first method of each class, and the others, which differ in what they hold."""
    kinds: dict[str, list[str]] = {}
    for path in sorted((CONFIGS / "method").glob("*.yaml")):
        kinds.setdefault(class_of(path.stem), []).append(path.stem)
    others = [method for _, *others in kinds.values() for method in others]
    return [first for first, *_ in kinds.values()], others


def class_of(method: str) -> str:
    """The class of a method's file, or else of the file that it inherits from."""
    config = OmegaConf.load(CONFIGS / "method" / f"{method}.yaml")
    return config["_target_"] if "_target_" in config else class_of(config["defaults"][0])
