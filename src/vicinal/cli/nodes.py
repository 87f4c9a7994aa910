"""One node of a config, composed by Hydra itself, without all the others and Hydra's own."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra._internal.defaults_list import create_defaults_list
from omegaconf import OmegaConf

from vicinal.cli.configs import CONFIGS
from vicinal.cli.overrides import parse

Plain = dict[str, Any]  # as the YAML files have it: nothing is filled in


def compose_node(group: str, option: str, inside: Sequence[str]) -> tuple[Plain, dict[str, str]]:
    """What a group's option is, with these options for its parts, and all options chosen in it.

    Raises what Hydra raises, in particular where the option chooses something outside of its node.
    """
    loader, repository = _shipped()
    lines = [f"+{group}={option}", *inside]
    found = create_defaults_list(
        repository, None, [parse(line) for line in lines], prepend_hydra=False, skip_missing=False
    )
    config: Any = OmegaConf.to_container(
        loader._compose_config_from_defaults_list(found.defaults, repository)
    )
    chosen = found.overrides.known_choices.items()
    return config[group], {key: value for key, value in chosen if value}


@cache
def _shipped() -> tuple[ConfigLoaderImpl, CachingConfigRepository]:
    """Our own configs; each file is read once."""
    version.setbase("1.3")
    places = ConfigSearchPathImpl()
    places.append("main", f"file://{CONFIGS}")
    places.append("schema", "structured://")  # Hydra wants it to be there
    loader = ConfigLoaderImpl(places)
    return loader, CachingConfigRepository(loader.repository)
