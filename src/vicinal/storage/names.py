"""What networks of timm are called in the names of runs, DATASET/MODEL/METHOD/ID."""

import re
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Any

from vicinal.errors import RunError

TIMM = "timm"  # the option of `model` that stands for every network of timm


def network_name(config: Mapping[str, Any], choices: Mapping[str, str]) -> str:
    """The option of `model`; of timm's networks timm-NAME."""
    if choices["model"] != TIMM:
        return choices["model"]
    return f"{TIMM}-{re.sub('[/:]', '-', config['model']['name'])}"


def current_name(record: Mapping[str, Any]) -> str:
    """The name of a recorded run; those of earlier versions had `timm` for any network of timm."""
    dataset, *rest = record["name"].split("/")
    if rest[:1] != [TIMM]:
        return record["name"]
    return "/".join([dataset, network_name(record["config"], record["choices"]), *rest[1:]])


def check_moved(out: Path, name: str) -> None:
    """Refuse to train again what a folder holds under the name of earlier versions."""
    dataset, network, *rest = name.split("/")
    before = out / "/".join([dataset, TIMM, *rest])
    if network.startswith(f"{TIMM}-") and before.is_dir() and not (out / name).is_dir():
        parent, old, new = (quote(str(path)) for path in ((out / name).parent, before, out / name))
        raise RunError(
            f"{before} holds this run under the name of earlier versions; move it: "
            f"mkdir -p {parent} && mv {old} {new}"
        )
