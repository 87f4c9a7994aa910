"""A folder as the Hugging Face Hub has them: weights, config.json, and a model card."""

from pathlib import Path
from typing import Any

from vicinal.errors import RunError
from vicinal.models.timm import Timm
from vicinal.storage.card import card
from vicinal.storage.exported import Exported
from vicinal.storage.files import write_bytes_atomically, write_json_atomically
from vicinal.storage.loading import MODEL_FILE

# What timm's description of the architecture keeps, whatever it was trained on.
KEPT = ("classifier", "first_conv", "fixed_input_size", "interpolation")


def write_folder(exported: Exported, folder: Path) -> None:
    """Write the folder.

    timm loads its own networks by what config.json says. Ours are described by the metadata of the
    weights, of which config.json has a copy.
    """
    if (folder / "record.json").exists():
        raise RunError(f"{folder} must not be the folder of a run")
    folder.mkdir(parents=True, exist_ok=True)
    theirs = {} if exported.timm is None else timm_config(exported.timm, exported)
    write_bytes_atomically(folder / MODEL_FILE, exported.content())
    write_json_atomically(folder / "config.json", {**theirs, "vicinal": exported.about})
    write_bytes_atomically(folder / "README.md", card(exported, folder.resolve().name).encode())


def timm_config(body: Timm, exported: Exported) -> dict[str, Any]:
    """What timm reads in a config.json: the architecture, its arguments, and its inputs."""
    theirs: Any = body.network.pretrained_cfg
    num_classes = body.arguments["num_classes"]
    given = {key: value for key, value in body.arguments.items() if key != "num_classes"}
    return {
        "architecture": exported.record["config"]["model"]["name"].partition(".")[0],
        "num_classes": num_classes,
        "num_features": body.network.num_features,
        "model_args": given,
        "pretrained_cfg": {
            **{key: theirs[key] for key in KEPT if key in theirs},
            **exported.moments,
            "input_size": exported.record["data"]["shape"],
            "num_classes": num_classes,
            "crop_pct": 1.0,
            "custom_load": False,
        },
    }
