"""What runtime.deterministic refuses on CUDA, found without: of all methods one asks for it."""

from typing import Any

import pytest
import torch
from composing import ONE_OF_EACH_CLASS, brief, compose, written
from test_contract import network, terms
from torch.utils._python_dispatch import TorchDispatchMode

from vicinal.cli.configs import CONFIGS, build
from vicinal.contracts import LanguageModel
from vicinal.draws import Rng
from vicinal.losses import cross_entropy
from vicinal.run import Run

# By torch.use_deterministic_algorithms' list and the alerts in libtorch_cuda of 2.11: what raises.
REFUSED = {
    *(f"_adaptive_avg_pool{n}d_backward" for n in (2, 3)),
    *(f"adaptive_max_pool{n}d_backward" for n in (2, 3)),
    *(f"fractional_max_pool{n}d_backward" for n in (2, 3)),
    *(f"max_unpool{n}d" for n in (2, 3)),
    *(f"{kind}_pad{n}d_backward" for kind in ("reflection", "replication") for n in (1, 2, 3)),
    *(f"upsample_{kind}_backward" for kind in ("linear1d", "bilinear2d", "bicubic2d")),
    *(f"_upsample_{kind}2d_aa_backward" for kind in ("bilinear", "bicubic")),
    *(f"nll_loss2d_{way}" for way in ("forward", "backward")),
    *(f"grid_sampler_{n}d_backward" for n in (2, 3)),
    *("upsample_trilinear3d_backward", "avg_pool3d_backward", "max_pool3d_with_indices_backward"),
    *("_ctc_loss_backward", "_embedding_bag_dense_backward", "put", "put_", "histc"),
    *("bincount.weights", "median.dim", "nanmedian.dim", "scatter_reduce.prod", "scatter.reduce"),
}
# AdvMax's flow: torch refuses the whole backward, though of the grid alone it would repeat itself.
KNOWN = {"advmax": {"grid_sampler_2d_backward"}}


class Asked(TorchDispatchMode):
    """The operations of REFUSED that are called in here."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, overload = func._overloadpacket.__name__, func._overloadname
        names = {name, f"{name}.{overload}"}
        if name == "scatter_reduce" and "prod" in args:
            names.add("scatter_reduce.prod")
        if name == "bincount" and len(args) > 1 and args[1] is not None:
            names.add("bincount.weights")
        self.found |= names & REFUSED
        return func(*args, **kwargs or {})


@pytest.mark.parametrize("name", ONE_OF_EACH_CLASS)
def test_steps_ask_for_nothing_that_is_refused(name: str) -> None:
    run: Run = build(compose(f"method={name}", "dataset=digits", "model=wrn10_2"))
    method = brief(run.method)
    model = method.prepare(network())
    with Asked() as asked:
        for term in terms(method, model, Rng.seeded(0)):
            term.backward()
    assert asked.found == KNOWN.get(name, set())


FILES = sorted((CONFIGS / "model").glob("*.yaml"), reverse=True)
FAMILIES = {written("model", path.stem)["_target_"]: path.stem for path in FILES}


# What a detector computes depends on what it finds, which is nothing on the meta device.
@pytest.mark.parametrize("name", sorted({*FAMILIES.values()} - {"mlp", "timm", "mask_rcnn"}))
def test_networks_ask_for_nothing_that_is_refused(name: str) -> None:
    run: Run = build(compose(f"model={name}", "dataset=cifar10"))
    with torch.device("meta"), Asked() as asked:
        model = run.model(num_classes=10, shape=(3, 32, 32))
        if isinstance(model, LanguageModel):
            logits = model(torch.empty(2, 3, dtype=torch.int64)).logits[:, -1]
        else:
            logits = model(torch.empty(2, 3, 32, 32))
        cross_entropy(logits, torch.empty(2, 10)).sum().backward()
    assert not asked.found


def test_what_is_refused_is_found() -> None:
    x = torch.ones(1, 1, 4, 4, requires_grad=True)
    with Asked() as asked:
        torch.nn.functional.interpolate(x, size=3, mode="bilinear").sum().backward()
        torch.nn.functional.pad(x, (1, 1, 1, 1), mode="reflect").sum().backward()
        torch.nn.functional.adaptive_avg_pool2d(x, 2).sum().backward()
        torch.bincount(torch.ones(2).long(), torch.ones(2))
    assert asked.found == {
        "upsample_bilinear2d_backward",
        "reflection_pad2d_backward",
        "_adaptive_avg_pool2d_backward",
        "bincount.weights",
    }
