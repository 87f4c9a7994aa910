"""Export a finished run's network as safetensors: weights and metadata, no code."""

import json
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import save_file
from torch import Tensor

from vicinal.cli.configs import build
from vicinal.contracts import Detector
from vicinal.errors import RunError
from vicinal.models.init import without_weights
from vicinal.models.timm import Timm
from vicinal.storage import weights
from vicinal.storage.files import atomic
from vicinal.storage.run_folder import read_record

NORMALIZE, BODY = "normalize.", "body."


def export(folder: Path, path: Path, report: str = "last") -> str:
    """Write the network that the run evaluated (the average of its weights, if it kept one).

    Returns a line of Python that builds the network from the file alone, if that is possible.

    The tensors have the plain network's names. It does not include the normalisation of inputs, if
    there is one, so the metadata holds mean and std, beside the run's name and config.
    """
    if path.suffix != ".safetensors":
        raise RunError(f"{path} must end in .safetensors (loaders check the name)")
    record = read_record(folder)
    if record is None:
        raise RunError(f"{folder} holds no finished run")
    network = weights.read(folder, record, report)
    moments = [name for name in ("mean", "std") if f"{NORMALIZE}{name}" in network]
    normalisation = {name: network.pop(f"{NORMALIZE}{name}").tolist() for name in moments}
    plain = plain_network(record)
    prefix = f"{BODY}network." if isinstance(plain, Timm) else BODY
    tensors = {name.removeprefix(prefix): t for name, t in network.items()}
    tensors |= _counters(tensors)
    words = {
        "format": "pt",
        "name": record["name"],
        "seed": str(record["seed"]),
        "reading": report,
        "epoch": str(record["weights"][report]["epoch"]),
        "model": json.dumps(record["config"]["model"]),
        "num_classes": str(record["data"]["num_classes"]),
        "shape": json.dumps(record["data"]["shape"]),
        **{name: json.dumps(values) for name, values in normalisation.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        save_file(tensors, temporary, metadata=words)
    if isinstance(plain, Detector):
        return f"{record['choices']['model']} is a detector: no single line builds it"
    body = plain.network if isinstance(plain, Timm) else plain
    if tensors.keys() != body.state_dict().keys():
        return (
            f"the method changed the network: a plain {record['choices']['model']} cannot load it"
        )
    return loading_line(plain, record, str(path))


def _counters(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The counters that frozen BatchNorms lack and others have."""
    ends = ".running_mean", ".num_batches_tracked"
    norms = [name.removesuffix(ends[0]) for name in tensors if name.endswith(ends[0])]
    lacking = (f"{norm}{ends[1]}" for norm in norms if f"{norm}{ends[1]}" not in tensors)
    return {name: torch.zeros((), dtype=torch.int64) for name in lacking}


def loading_line(plain: torch.nn.Module, record: dict[str, Any], path: str) -> str:
    """The line of Python that loads the network, with timm or our models."""
    model, data = record["config"]["model"], record["data"]
    if isinstance(plain, Timm):
        call = _call({**plain.arguments, "checkpoint_path": path})
        return f"import timm; network = timm.create_model({model['name']!r}, {call})"
    module, _, name = model["_target_"].rpartition(".")
    given = {key: value for key, value in model.items() if not key.startswith("_")}
    shapes = {"num_classes": data["num_classes"], "shape": tuple(data["shape"])}
    return (
        f"from safetensors.torch import load_file; from {module} import {name}; "
        f"network = {name}({_call(given | shapes)}); network.load_state_dict(load_file({path!r}))"
    )


def _call(arguments: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in arguments.items())


def plain_network(record: dict[str, Any]) -> torch.nn.Module:
    """Build the run's network without its method's changes, on the meta device."""
    config = OmegaConf.create(record["config"]["model"])
    assert isinstance(config, DictConfig)
    for changed in {"pretrained", "freeze_norms"} & {*config}:
        config[changed] = False
    data = record["data"]
    with without_weights():
        return build(config)(num_classes=data["num_classes"], shape=tuple(data["shape"]))
