"""What every method promises, for every file in configs/method: a new one is tested unasked.

Those for text are in methods/test_next_word.py.
"""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from composing import EVERY, METHODS, compose
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

import vicinal
from vicinal.cli.configs import CONFIGS, build
from vicinal.contracts import Method
from vicinal.data.dataset import Data
from vicinal.data.split import Split
from vicinal.draws import Rng
from vicinal.models.normalized import Normalized
from vicinal.models.wide_resnet import WideResNet
from vicinal.run import Run

SOURCE = Path(vicinal.__file__).parent
COST = re.compile(
    r"^Cost: +(?P<forwards>.+?) forwards?(?: \(.*?\))?, (?P<backwards>.+?) backwards?, "
    r"(?P<updates>.+?) updates? of BatchNorm",
    re.MULTILINE,
)


@cache
def built(name: str) -> Method:
    run: Run = build(compose(f"method={name}", "dataset=digits", "model=wrn10_2"))
    return run.method


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> Method:
    return built(request.param)


def network() -> nn.Module:
    torch.manual_seed(0)
    body = WideResNet(10, 1, num_classes=4, shape=(3, 8, 8))
    return Normalized(body, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(8, 3, 8, 8, generator=generator)
    return x, F.one_hot(torch.arange(8) % 4, 4).float()


class Operations(TorchDispatchMode):
    """Counts those of convolutions and products, as torch's counter does where no hook is in the
    way of gradients to the images.
    """

    total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        result = func(*args, **(kwargs or {}))
        if formula := flop_registry.get(func.overloadpacket):
            self.total += formula(*args, **(kwargs or {}), out_val=result)
        return result


def given() -> dict[str, Any]:
    """The batch, with all that a method may want, and the training set that it lies in."""
    x, y = batch()
    more = {"rows": torch.arange(len(x)), "unlabelled": x.flip(0), "progress": 0.5}
    return {"x": x, "y": y, "train.x": (x * 255).byte(), "train.y": y.argmax(1)} | more


def terms(
    method: Method, model: nn.Module, rng: Rng, inputs: dict[str, Any] | None = None
) -> Iterator[Tensor]:
    """The method's terms on the batch, with what more it wants."""
    inputs = inputs or given()
    split = Split(inputs["train.x"], inputs["train.y"])
    data = Data(split, split, None, 4, (0.5,) * 3, (0.2,) * 3, {}, None, split)
    inputs = {**inputs, "progress": 0.5}
    wanted = {name: inputs[name] for name in method.wants}
    return method.attach(data)(model, inputs["x"], inputs["y"], rng, **wanted)


def test_steps_reach_every_parameter_and_leaves_the_rest_alone(method: Method) -> None:
    model = method.prepare(network())
    modes = [module.training for module in model.modules()]
    hooks = {
        name: len(module._forward_hooks) + len(module._forward_pre_hooks)
        for name, module in model.named_modules()
    }
    tracking = {n: getattr(m, "track_running_stats", True) for n, m in model.named_modules()}
    trained = [p for p in model.parameters() if p.requires_grad]
    for seed in range(20):  # a step may drop a branch, but not every step the same
        for term in terms(method, model, Rng.seeded(seed)):
            term.backward()
            assert term.isfinite()
        if all(p.grad is not None and p.grad.any() for p in trained):
            break
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.any(), name
        else:
            assert parameter.grad is None, name
    assert [module.training for module in model.modules()] == modes
    for name, module in model.named_modules():
        assert len(module._forward_hooks) + len(module._forward_pre_hooks) == hooks[name]
        assert getattr(module, "track_running_stats", True) == tracking[name]


def test_inputs_are_left_as_they_were(method: Method) -> None:
    inputs, model = given(), method.prepare(network())
    for term in terms(method, model, Rng.seeded(0), inputs):
        term.backward()
    for name, value in given().items():
        assert not isinstance(value, Tensor) or torch.equal(inputs[name], value), name


def test_the_cost_is_what_the_docstring_says(method: Method) -> None:
    """Searches, whose gradients are in eval mode, cost no weight gradients where compiled."""
    found = COST.search(sys.modules[type(method).__module__].__doc__ or "")
    assert found, (
        "the module's docstring needs the line `Cost: N forwards, N backwards, N updates …`"
    )
    model = method.prepare(network())
    norm = next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    forwards = backwards = 0

    def count(*_: object) -> None:
        nonlocal forwards
        forwards += 1
        if torch.is_grad_enabled() and not model.training:
            assert not any(p.requires_grad for p in model.parameters())

    model.register_forward_hook(count)
    for term in terms(method, model, Rng.seeded(0)):
        term.backward()
        backwards += 1
    updates = int(norm.num_batches_tracked.item())
    fields = dict(vars(method))
    promised = {key: eval(value, {}, fields) for key, value in found.groupdict().items()}
    assert {"forwards": forwards, "backwards": backwards, "updates": updates} == promised


def test_a_step_has_the_arithmetic_that_the_method_states(method: Method) -> None:
    """In ERM's steps; less where branches are dropped, or sub-networks have fewer channels."""
    ratio = operations(method) / operations_of_erm()
    assert 0.6 * method.work < ratio < 1.05 * method.work


@cache
def operations_of_erm() -> int:
    return operations(built("erm"))


def operations(method: Method) -> int:
    model = method.prepare(network())
    with Operations() as counter:
        for term in terms(method, model, Rng.seeded(0)):
            term.backward()
    return counter.total


def test_steps_are_reproduced_from_the_generators_alone(method: Method) -> None:
    gradients = []
    for _ in range(2):
        model = method.prepare(network())
        torch.manual_seed(0)
        for term in terms(method, model, Rng.seeded(3)):
            term.backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize("name", EVERY)
def test_no_method_is_named_where_all_methods_pass(name: str) -> None:
    """train.py, run.py, loop.py and the networks know no method and no vicinity."""
    places = [SOURCE / "train.py", SOURCE / "run.py", SOURCE / "loop.py"]
    for path in [*places, *(SOURCE / "models").glob("*.py")]:
        text = path.read_text().replace("nn.Dropout(", "")  # a layer of torch's
        assert not re.search(rf"\b{name}\b", text, re.IGNORECASE), path.name


def test_no_module_of_a_method_is_imported_where_all_methods_pass() -> None:
    for path in [SOURCE / "train.py", SOURCE / "run.py", SOURCE / "loop.py"]:
        assert not re.search(r"vicinal\.(methods|vicinities)", path.read_text()), path.name
    for path in (SOURCE / "models").glob("*.py"):
        assert not re.search(r"vicinal\.(?!models|contracts)", path.read_text()), path.name


def test_only_the_loops_go_backwards_and_step() -> None:
    """That of classifiers, the one of the two players of a GAN, and steps in others' trainers."""
    found = set()
    for path in SOURCE.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
                of = ast.unparse(call.func.value)
                steps = call.func.attr == "step" and re.search("optim|adam|sgd", of)
                if steps or call.func.attr == "backward":
                    found.add(path.relative_to(SOURCE).as_posix())
    theirs = {"adapters/lightning.py", "adapters/transformers.py"}
    assert found == {"loop.py", "tasks/gan/loop.py", *theirs}


def modules() -> set[str]:
    """Of the methods that there are configs for."""
    configs = "".join(path.read_text() for path in (CONFIGS / "method").glob("*.yaml"))
    return set(re.findall(r"_target_: vicinal\.methods\.(\w+)\.", configs))


@pytest.mark.parametrize("name", sorted(modules()))
def test_every_method_says_what_it_is(name: str) -> None:
    text = (SOURCE / "methods" / f"{name}.py").read_text()
    fields = re.findall(r"^(Paper|Code|Differs|Cost):", text, re.MULTILINE)
    assert fields == ["Paper", "Code", "Differs", "Cost"]


@pytest.mark.parametrize(
    "path", sorted((SOURCE / "vicinities").glob("[!_]*.py")), ids=lambda p: p.stem
)
def test_every_vicinity_says_what_it_is(path: Path) -> None:
    fields = re.findall(r"^(Paper|Code|Differs|Cost):", path.read_text(), re.MULTILINE)
    assert fields == ["Paper", "Code", "Differs", "Cost"]
