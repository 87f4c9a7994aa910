"""Tables in a user's own folder: which there are, what they hold, whether their runs compose."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vicinal.cli.configs import check, compose
from vicinal.cli.explain import explain
from vicinal.cli.messages import one_line
from vicinal.cli.search import folders
from vicinal.tables.cell import Cell
from vicinal.tables.plan import compose_cached


def names() -> list[str]:
    """The tables in the folders that --config-dir names."""
    places = [folder / "table" for folder in folders()]
    files = ((path, place) for place in places for path in place.rglob("*.yaml"))
    return sorted(path.relative_to(place).with_suffix("").as_posix() for path, place in files)


def path(name: str) -> Path:
    """The file of a table."""
    files = [folder / "table" / f"{name}.yaml" for folder in folders()]
    return next(file for file in files if file.is_file())


def tree(name: str) -> Mapping[str, Any]:
    """What the file of a table holds, and what it takes from others by its defaults list."""
    try:
        config = compose(f"table={name}").table
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(one_line(error)) from error
    except yaml.YAMLError as error:
        raise ValueError(f"cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(config, DictConfig):
        raise ValueError(f"must have fields, got {config}")
    found: Any = OmegaConf.to_container(config)
    return found


def check_runs(cells: Iterable[Cell]) -> None:
    """Raise ValueError at the first cell with a setting that its run does not have."""
    for cell in cells:
        for lines in (*cell.runs, cell.source, cell.start) if cell.runnable else ():
            try:
                check(*compose_cached(lines))
            except (HydraException, OmegaConfBaseException, ValueError) as error:
                said = str(error) if isinstance(error, ValueError) else _explained(error, lines)
                raise ValueError(f"{cell.label}: {said}") from error


def _explained(error: Exception, lines: tuple[str, ...]) -> str:
    def composed(overrides: list[str]) -> DictConfig:
        return compose(*overrides, with_hydra=True)

    return explain(error, list(lines), composed) or one_line(error)
