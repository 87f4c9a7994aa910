"""Hugging Face's Trainer makes the steps of a loop of one's own, to the last bit."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from own_steps import CLASSES, METHODS, batches, network, same, sgd, shares_told, trained
from torch import Tensor, nn
from torch.nn import functional as F
from wording import says

from vicinal.adapters.loop import OwnLoop
from vicinal.methods.erm import Erm
from vicinal.methods.scheduled_dropblock import ScheduledDropBlock
from vicinal.models.normalized import Normalized
from vicinal.vicinities.identity import Identity
from vicinal.vicinities.mixup import Mixup

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from vicinal.adapters.transformers import MethodTrainer


def arguments(folder: Path, **more: Any) -> "TrainingArguments":
    transformers = pytest.importorskip("transformers")
    quiet = {"report_to": "none", "save_strategy": "no", "disable_tqdm": True, "seed": 0}
    quiet |= {"max_grad_norm": 0.0, "per_device_train_batch_size": 4, "max_steps": 3}
    quiet |= {"lr_scheduler_type": "constant", "use_cpu": True, "logging_strategy": "no"}
    return transformers.TrainingArguments(output_dir=str(folder), **quiet | more)


def samples(given: Sequence[tuple[Tensor, Tensor]]) -> Any:
    """In the order of the batches."""
    return [
        {"pixel_values": x, "labels": y} for xs, ys in given for x, y in zip(xs, ys, strict=True)
    ]


def trainer(args: "TrainingArguments", steps: OwnLoop, **more: Any) -> "MethodTrainer":
    adapter = pytest.importorskip("vicinal.adapters.transformers")

    class InOrder(adapter.MethodTrainer):
        """With the optimizer and the order of the loop of one's own."""

        def create_optimizer(self, *_: Any) -> torch.optim.Optimizer:
            self.optimizer = sgd(self.model)
            return self.optimizer

        def _get_train_sampler(self, *_: Any) -> None:
            return None

    more = {"model": network(), "train_dataset": samples(batches())} | more
    return InOrder(args=args, steps=steps, **more)


def weights(of: "MethodTrainer") -> dict[str, Tensor]:
    assert of.model is not None
    return of.model.state_dict()


@pytest.mark.parametrize("name", METHODS)
def test_weights_are_those_of_ones_own_loop(name: str, tmp_path: Path) -> None:
    ours = trainer(arguments(tmp_path), OwnLoop(METHODS[name](), CLASSES, seed=3))
    ours.train()
    theirs = trained(OwnLoop(METHODS[name](), CLASSES, seed=3), batches())
    assert same(weights(ours), theirs)


@pytest.mark.parametrize("name", ["mixup", "patchup"])
def test_a_classifier_of_theirs_is_a_plain_network(name: str, tmp_path: Path) -> None:
    ours = trainer(arguments(tmp_path), OwnLoop(METHODS[name](), CLASSES), model=resnet())
    ours.train()
    assert same(weights(ours), trained(OwnLoop(METHODS[name](), CLASSES), batches(), resnet()))


def resnet() -> nn.Module:
    transformers = pytest.importorskip("transformers")
    adapter = pytest.importorskip("vicinal.adapters.transformers")
    torch.manual_seed(0)
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], layer_type="basic", num_labels=CLASSES
    )
    model = transformers.ResNetForImageClassification(config)
    stages = ("resnet.embedder", "resnet.encoder.stages.0", "resnet.encoder.stages.1")
    return Normalized(adapter.Classifier(model, stages), (0.5,) * 3, (0.2,) * 3)


def test_accumulated_batches_weigh_as_much_as_they_have_samples(tmp_path: Path) -> None:
    """Two and one samples in one update have the gradient of three."""
    x, labels = batches()[0]
    args = arguments(
        tmp_path, max_steps=1, gradient_accumulation_steps=2, per_device_train_batch_size=2
    )
    given = samples([(x[:3], labels[:3])])
    ours = trainer(args, OwnLoop(METHODS["erm"](), CLASSES), model=linear(), train_dataset=given)
    ours.train()
    theirs = trained(OwnLoop(METHODS["erm"](), CLASSES), [(x[:3], labels[:3])], linear())
    for key, value in weights(ours).items():
        torch.testing.assert_close(value, theirs[key])


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, CLASSES))


def test_a_resumed_training_equals_one_that_never_stopped(tmp_path: Path) -> None:
    undisturbed = trainer(
        arguments(tmp_path, save_strategy="steps", save_steps=2), OwnLoop(Erm(Mixup()), CLASSES)
    )
    undisturbed.train()
    resumed = trainer(arguments(tmp_path), OwnLoop(Erm(Mixup()), CLASSES, seed=9))
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert same(weights(resumed), weights(undisturbed))


def test_evaluations_are_of_the_plain_network(tmp_path: Path) -> None:
    (x, labels), model = batches()[0], network()
    ours = trainer(
        arguments(tmp_path),
        OwnLoop(METHODS["maxup"](), CLASSES),
        model=model,
        eval_dataset=samples([(x, labels)]),
        compute_metrics=lambda found: {
            "accuracy": float(np.mean(found.predictions.argmax(1) == found.label_ids))
        },
    )
    measured = ours.evaluate()
    logits = model.eval()(x)
    assert measured["eval_accuracy"] == (logits.argmax(1) == labels).float().mean().item()
    assert measured["eval_loss"] == pytest.approx(F.cross_entropy(logits, labels).item())
    predicted = ours.predict(samples([(x, labels)])).predictions
    torch.testing.assert_close(torch.from_numpy(predicted), logits)


def test_the_loss_is_the_sum_of_the_terms(tmp_path: Path) -> None:
    first = batches(1)
    ours = trainer(arguments(tmp_path, max_steps=1), OwnLoop(METHODS["gradaug"](), CLASSES))
    loss = ours.train().training_loss
    steps = OwnLoop(METHODS["gradaug"](), CLASSES)
    terms = list(steps.terms(steps.prepare(network()).train(), *first[0]))
    assert len(terms) == 4
    assert loss == pytest.approx(sum(term.item() for term in terms))


def test_methods_are_told_the_share_of_the_training_that_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = shares_told(monkeypatch)
    steps = OwnLoop(ScheduledDropBlock(Identity(), block_size=1), CLASSES)
    trainer(arguments(tmp_path), steps).train()
    assert shares == [0, 1 / 3, 2 / 3]


def test_columns_of_a_data_set_are_those_of_images_and_labels(tmp_path: Path) -> None:
    """By default a Trainer drops what forward does not name, which here would be the images."""
    ours = trainer(arguments(tmp_path), OwnLoop(Erm(Mixup()), CLASSES))
    ours._set_signature_columns_if_needed()
    assert {"pixel_values", "labels"} <= set(ours._signature_columns or ())


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"label_smoothing_factor": 0.1}, "^args.label_smoothing_factor ... 0.1"),
        ({"torch_empty_cache_steps": 4}, "^args.torch_empty_cache_steps ... 4"),
    ],
)
def test_what_a_step_would_leave_out_is_refused(
    setting: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=says(message)):
        trainer(arguments(tmp_path, **setting), OwnLoop(Erm(Mixup()), CLASSES))


def test_several_devices_are_refused(tmp_path: Path) -> None:
    args = arguments(tmp_path)
    args._n_gpu = 2
    with pytest.raises(ValueError, match=says("^args ... one device ... 2")):
        trainer(args, OwnLoop(Erm(Mixup()), CLASSES))
