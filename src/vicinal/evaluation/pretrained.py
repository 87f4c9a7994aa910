"""Networks of timm with their published weights, measured on image folders without any run.

network, crop = pretrained("resnet50.tv_in1k")
data = folder_data(Path("imagenet/val"), crop, network)
numbers = Corrupted(ImageNetC("data"), "alexnet")(network, data, Rng.seeded(0))
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data.config import resolve_data_config

from vicinal.data.dataset import Data
from vicinal.data.decode.crops import Crop
from vicinal.data.image_folder import class_folders
from vicinal.data.stream import StreamedSplit
from vicinal.data.streamed_images import listed
from vicinal.errors import RunError
from vicinal.evaluation.evaluation import Evaluation
from vicinal.evaluation.measuring import Measuring, described
from vicinal.machine import ranks
from vicinal.machine.runtime import Runtime
from vicinal.models.normalized import Normalized
from vicinal.models.timm import Timm, check_name
from vicinal.storage import weights
from vicinal.storage.evaluations import key, missing
from vicinal.storage.files import write_json_atomically
from vicinal.storage.starts import tensors_in
from vicinal.surgery.modes import evaluating

PUBLISHED = "published"  # in place of a report, an epoch that counts


def pretrained(name: str, file: Path | None = None) -> tuple[Normalized, Crop]:
    """A network of timm that takes images in [0, 1], and the crop that it is evaluated on.

    Its weights are timm's, downloaded on first use, or those in a file.
    """
    check_name(name, pretrained=file is None)
    config = timm.get_pretrained_cfg(name)
    if config is None:
        raise RunError(f"timm does not say how {name} is evaluated")
    known = resolve_data_config(pretrained_cfg=config.to_dict())
    size = known["input_size"][1]
    body = Timm(name, file is None, num_classes=config.num_classes, shape=known["input_size"])
    if file is not None:
        body.network.load_state_dict(tensors_in(file))
    crop = Crop(size, int(size / known["crop_pct"]), interpolation=known["interpolation"])
    return Normalized(body, known["mean"], known["std"]), crop


def folder_data(folder: Path, crop: Crop, network: Normalized) -> Data:
    """The images FOLDER/CLASS/*, or FOLDER/val/CLASS/*, as a test set; there is no other split."""
    root = folder / "val" if (folder / "val").is_dir() else folder
    classes = class_folders(root)
    with evaluating(network), torch.no_grad():
        num_classes = network(torch.zeros(1, 3, crop.size, crop.size)).shape[1]
    if len(classes) != num_classes:
        raise RunError(f"{root} must hold the network's {num_classes} classes, got {len(classes)}")
    names, labels, mark = listed(root, classes)
    test = StreamedSplit(str(root), names, labels, crop)
    return replace(Data.of_test(test, num_classes), fingerprint={"test": mark})


@dataclass(frozen=True)
class Measured:
    """The file with the results of one network of timm."""

    path: Path
    name: str

    def add(
        self,
        network: Normalized,
        data: Data,
        runtime: Runtime,
        evaluations: Mapping[str, Evaluation],
        configs: Mapping[str, Any],
    ) -> None:
        """Measure what the file lacks; each result is written at once."""
        digest = weights.digest(network)
        origin = {"network": self.name, "weights": digest, "data": data.fingerprint}
        found = ranks.broadcast_object(lambda: self._read(origin))
        measuring = Measuring(data, runtime, self.path.with_suffix(".parts"), digest)
        model = runtime.compiled(runtime.place(network))
        for report, name in missing(found, configs, [PUBLISHED]):
            entry = measuring.entry(model, report, name, evaluations[name], configs[name])
            found["evaluations"][key(name, report, configs[name])] = entry
            if ranks.is_main():
                write_json_atomically(self.path, found)
                print(f"{self.path}: {described(entry)}")
            measuring.forget_parts(entry)

    def _read(self, origin: dict[str, Any]) -> dict[str, Any]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self.path.exists():
            return origin | {"evaluations": {}}
        found = json.loads(self.path.read_bytes())
        if all(found.get(key) == value for key, value in origin.items()):
            return found
        raise RunError(f"{self.path} holds results of other weights or data; choose another --out")
