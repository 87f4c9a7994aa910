"""Where configs are looked for besides ours, by this process."""

from pathlib import Path

from vicinal.cli.overrides import join

_SEARCHED: list[str] = []  # as Hydra's URLs


def search(url: str) -> None:
    """Look for configs in one more place, after ours."""
    if url not in _SEARCHED:
        _SEARCHED.append(url)


def searchpath() -> list[str]:
    """The override by which Hydra looks there; none if there are no such places."""
    return [join("hydra.searchpath", _SEARCHED)] if _SEARCHED else []


def folders() -> list[Path]:
    """Those of them that are folders."""
    urls = (url for url in _SEARCHED if url.startswith("file://"))
    return [Path(url.removeprefix("file://")) for url in urls]
