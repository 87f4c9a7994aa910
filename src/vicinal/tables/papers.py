"""Title, authors and venue of each paper, from configs/papers.yaml."""

from dataclasses import dataclass
from functools import cache

import yaml

from vicinal.cli.configs import CONFIGS


@dataclass(frozen=True)
class Paper:
    """What is printed about a paper; `name` is its method's."""

    name: str
    title: str
    authors: str = ""
    venue: str = ""
    arxiv: str = ""


@cache
def papers() -> dict[str, Paper]:
    """All papers in the order of the report, by their folder under configs/table."""
    tree = yaml.safe_load((CONFIGS / "papers.yaml").read_text())
    return {folder: Paper(**fields) for folder, fields in tree.items()}


def paper(folder: str) -> Paper:
    """One paper; an unlisted one goes by the name of its folder."""
    return papers().get(folder, Paper(folder, folder))
