"""Lightning's Trainer makes the steps of a loop of one's own, to the last bit."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import torch
from own_steps import CLASSES, METHODS, batches, network, same, sgd, shares_told, trained
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR
from torch.utils.data import DataLoader
from wording import says

from vicinal.adapters.loop import OwnLoop
from vicinal.methods.erm import Erm
from vicinal.methods.scheduled_dropblock import ScheduledDropBlock
from vicinal.vicinities.identity import Identity
from vicinal.vicinities.mixup import Mixup

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from vicinal.adapters.lightning import MethodModule

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:You defined a `validation_step`"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated"),
]


def trainer(folder: Path, epochs: int = 1, **more: Any) -> "Trainer":
    lightning = pytest.importorskip("lightning.pytorch")
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    quiet |= {"enable_checkpointing": False, "max_epochs": epochs}
    return lightning.Trainer(accelerator="cpu", default_root_dir=folder, **quiet | more)


def module(
    steps: OwnLoop, optimizers: Callable[[nn.Module], Any] = sgd, **more: Any
) -> "MethodModule":
    adapter = pytest.importorskip("vicinal.adapters.lightning")
    return adapter.MethodModule(network(), steps, optimizers, **more)


def loader(given: Sequence[tuple[Tensor, Tensor]]) -> DataLoader[Any]:
    return DataLoader(cast(Any, given), batch_size=None)


@pytest.mark.parametrize("name", METHODS)
def test_weights_are_those_of_ones_own_loop(name: str, tmp_path: Path) -> None:
    ours = module(OwnLoop(METHODS[name](), CLASSES, seed=3))
    trainer(tmp_path).fit(ours, loader(batches()))
    assert same(
        ours.network.state_dict(), trained(OwnLoop(METHODS[name](), CLASSES, seed=3), batches())
    )


def test_a_resumed_training_equals_one_that_never_stopped(tmp_path: Path) -> None:
    undisturbed = module(OwnLoop(Erm(Mixup()), CLASSES))
    trainer(tmp_path, 2).fit(undisturbed, loader(batches()))
    first = trainer(tmp_path)
    first.fit(module(OwnLoop(Erm(Mixup()), CLASSES)), loader(batches()))
    first.save_checkpoint(tmp_path / "first.ckpt")
    resumed = module(OwnLoop(Erm(Mixup()), CLASSES, seed=9))
    trainer(tmp_path, 2).fit(resumed, loader(batches()), ckpt_path=tmp_path / "first.ckpt")
    assert same(resumed.network.state_dict(), undisturbed.network.state_dict())


def test_the_loss_and_accuracies_are_logged(tmp_path: Path) -> None:
    ours = module(OwnLoop(METHODS["gradaug"](), CLASSES))
    run, given = trainer(tmp_path), batches(2)
    run.fit(ours, loader(given), loader(given[:1]))
    logged = dict(run.callback_metrics)
    right = (ours.eval()(given[0][0]).argmax(dim=1) == given[0][1]).float().mean()
    assert logged["val_accuracy"] == right
    run.test(ours, loader(given[:1]), verbose=False)
    assert run.callback_metrics["test_accuracy"] == right
    steps = OwnLoop(METHODS["gradaug"](), CLASSES)
    model = steps.prepare(network())
    model.load_state_dict(trained(steps, given[:1]))
    assert logged["train_loss"] == pytest.approx(
        sum(term.item() for term in steps.terms(model, *given[1]))
    )


def test_gradients_are_clipped_to_the_norm(tmp_path: Path) -> None:
    rate, norm = 0.5, 0.01
    before = nn.utils.parameters_to_vector(network().parameters())
    ours = module(
        OwnLoop(METHODS["gradaug"](), CLASSES),
        lambda model: torch.optim.SGD(model.parameters(), lr=rate),
        clip_norm=norm,
    )
    trainer(tmp_path).fit(ours, loader(batches(1)))
    after = nn.utils.parameters_to_vector(ours.network.parameters())
    assert (after - before).norm().item() == pytest.approx(rate * norm, rel=1e-3)


def scheduled(
    kind: Callable[[torch.optim.Optimizer], Any], **how: Any
) -> Callable[[nn.Module], Any]:
    def made(model: nn.Module) -> Any:
        optimizer = sgd(model)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": kind(optimizer), **how}}

    return made


@pytest.mark.parametrize(
    ("how", "rate"),
    [
        ({"interval": "epoch"}, 0.1 / 2**2),
        ({"interval": "epoch", "frequency": 2}, 0.1 / 2),
        ({"interval": "step"}, 0.1 / 2**6),
        ({"interval": "step", "frequency": 3}, 0.1 / 2**2),
    ],
)
def test_schedulers_are_stepped_at_their_interval(
    how: dict[str, Any], rate: float, tmp_path: Path
) -> None:
    factory = scheduled(lambda optimizer: StepLR(optimizer, 1, gamma=0.5), **how)
    ours = module(OwnLoop(Erm(Identity()), CLASSES), factory)
    run = trainer(tmp_path, 2)
    run.fit(ours, loader(batches()))
    assert run.optimizers[0].param_groups[0]["lr"] == pytest.approx(rate)


def test_a_plateau_follows_what_it_monitors(tmp_path: Path) -> None:
    """The rate is halved after each epoch but the first, as the accuracy stays 0."""

    def plateau(optimizer: torch.optim.Optimizer) -> ReduceLROnPlateau:
        return ReduceLROnPlateau(optimizer, mode="min", factor=0.5, patience=0)

    never = loader([(x, torch.full_like(labels, CLASSES)) for x, labels in batches(1)])
    for monitor in ("val_accuracy", None):
        steps = OwnLoop(Erm(Identity()), CLASSES)
        ours, run = module(steps, scheduled(plateau), monitor=monitor), trainer(tmp_path, 3)
        if monitor:
            run.fit(ours, loader(batches(1)), never)
            assert run.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.1 / 2**2)
        else:
            with pytest.raises(ValueError, match=says("^monitor ... None ... val_accuracy")):
                run.fit(ours, loader(batches(1)), never)


def test_methods_are_told_the_share_of_the_training_that_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = shares_told(monkeypatch)
    ours = module(OwnLoop(ScheduledDropBlock(Identity(), block_size=1), CLASSES))
    trainer(tmp_path, 2).fit(ours, loader(batches(2)))
    assert shares == [0, 0.25, 0.5, 0.75]
    with pytest.raises(ValueError, match="progress must be given"):
        trainer(tmp_path, -1).fit(ours, loader(batches(2)))


@pytest.mark.parametrize(
    ("run", "more", "message"),
    [
        ({"gradient_clip_val": 1.0}, {}, "gradient_clip_val"),
        ({"accumulate_grad_batches": 2}, {}, "accumulate_grad_batches"),
    ],
)
def test_what_would_train_otherwise_than_it_seems_is_refused(
    run: dict[str, Any], more: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(Exception, match=says(message)):
        trainer(tmp_path, **run).fit(
            module(OwnLoop(Erm(Mixup()), CLASSES), **more), loader(batches())
        )


@pytest.mark.parametrize(
    ("world_size", "precision", "message"),
    [
        (2, "32-true", "^Trainer ... devices=1 ... 2"),
        (1, "16-mixed", "^clip_norm ... 16-mixed"),  # on a CPU there is no such precision
    ],
)
def test_what_a_gpu_would_train_otherwise_is_refused(
    world_size: int, precision: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = module(OwnLoop(Erm(Mixup()), CLASSES), clip_norm=1.0)
    run = SimpleNamespace(world_size=world_size, precision=precision)
    monkeypatch.setattr(type(ours), "trainer", run)
    with pytest.raises(ValueError, match=says(message)):
        ours.on_fit_start()


def test_one_optimizer_and_a_positive_norm_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=says("^clip_norm ... 0")):
        module(OwnLoop(Erm(Mixup()), CLASSES), clip_norm=0.0)
    ours = module(OwnLoop(Erm(Mixup()), CLASSES), lambda model: [sgd(model), sgd(model)])
    with pytest.raises(ValueError, match=says("^optimizers ... one ... 2")):
        trainer(tmp_path).fit(ours, loader(batches()))
