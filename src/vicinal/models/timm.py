"""Any network of timm (github.com/huggingface/pytorch-image-models), by its name there."""

import difflib
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vicinal.models.arguments import image_channels


class Timm(nn.Module):
    """timm's `name`, unchanged under `network`; its classifier has timm's name, not `fc`.

    `stages` are names inside timm's network, by default those that feature_info lists. `options` go
    to timm.create_model, for example {drop_path_rate: 0.1}. With `freeze_norms`, BatchNorm always
    normalises by its running statistics, and nothing in it is trained.
    `trained_classes` is how many classes the published weights were trained on, if they are used.
    """

    def __init__(
        self,
        name: str,
        pretrained: bool = False,
        stages: tuple[str, ...] | None = None,
        options: dict[str, Any] | None = None,
        freeze_norms: bool = False,
        *,
        num_classes: int,
        shape: tuple[int, ...],
    ) -> None:
        import timm  # noqa: PLC0415 (slow, and to name a run only the signature above is needed)
        from timm.layers.norm_act import freeze_batch_norm_2d  # noqa: PLC0415

        super().__init__()
        check_name(name, pretrained)
        sized: dict[str, Any] = {}
        config = timm.get_pretrained_cfg(name)
        if config is not None and config.fixed_input_size:
            sized = {"img_size": shape[1:]}
        self.trained_classes = config.num_classes if pretrained and config else None
        # On the meta device there are no weights to fill, so none are downloaded.
        pretrained = pretrained and torch.get_default_device().type != "meta"
        made: dict[str, Any] = {"in_chans": image_channels(shape), "num_classes": num_classes}
        self.arguments = made | sized | (options or {})  # for export, which rebuilds the network
        try:
            self.network = timm.create_model(name, pretrained=pretrained, **self.arguments)
        except TypeError as error:
            raise ValueError(f"options must be arguments of timm's {name}: {error}") from error
        except OSError as error:  # only what is fetched or read can raise it
            raise ValueError(not_fetched(name, error)) from error
        if freeze_norms:
            self.network = freeze_batch_norm_2d(self.network)
        chosen = default_stages(self.network) if stages is None else tuple(stages)
        check_stages(self.network, chosen)
        self.stages = tuple(f"network.{stage}" for stage in chosen)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        """Logits."""
        return self.network(x)


def check_name(name: str, pretrained: bool) -> None:
    """Refuse a name that timm does not know, or weights that it does not have."""
    import timm  # noqa: PLC0415 (slow to import)

    architectures, weights = timm.list_models(), timm.list_models(pretrained=True)
    if name not in architectures and name not in weights:
        known = weights if "." in name else architectures
        near = difflib.get_close_matches(name, known, n=5, cutoff=0.4)
        raise ValueError(
            f"name must be one of timm's {len(known)} networks, got {name} "
            f"(nearest: {', '.join(near) or 'none'}; all: timm.list_models())"
        )
    if pretrained and not timm.is_model_pretrained(name):
        raise ValueError(f"pretrained must be false for {name}, got true (timm has no weights)")


def not_fetched(name: str, error: OSError) -> str:
    """Why a network's published weights are not there, and the ways out."""
    reason = str(error).partition("\n")[0].partition(". ")[0].rstrip(".")
    return (
        f"pretrained=true needs the weights of {name}, which could not be downloaded ({reason}): "
        "set HF_HOME to a cache that has them, or train with pretrained=false, from random weights "
        "or a file's (init=file init.path=FILE)"
    )


def default_stages(network: nn.Module) -> tuple[str, ...]:
    """The modules that timm lists as the ends of stages, or all children if it lists none.

    timm ends a ResNet's stem before its max-pool; ours is the input of the first stage.
    """
    children = [name for name, _ in network.named_children()]
    modules = {name for name, _ in network.named_modules()}
    listed = [str(feature["module"]) for feature in getattr(network, "feature_info", ())]
    if not listed or not modules.issuperset(listed):
        return tuple(children)
    after_pool = {"act1": "maxpool"} if "maxpool" in children else {}
    return tuple(after_pool.get(name, name) for name in listed)


def check_stages(network: nn.Module, stages: tuple[str, ...]) -> None:
    """Refuse a stage that is not a submodule."""
    modules = [name for name, _ in network.named_modules() if name]
    for stage in stages:
        if stage not in modules:
            near = difflib.get_close_matches(stage, modules, n=5, cutoff=0.4)
            children = [name for name, _ in network.named_children()]
            raise ValueError(
                f"stages must be names of the network's modules, got {stage} "
                f"(nearest: {', '.join(near) or 'none'}; outermost: {', '.join(children)})"
            )
