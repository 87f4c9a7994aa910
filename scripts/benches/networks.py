"""The networks that the GPU bench times, and small ones for its rehearsal."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from benches.drawn import CIFAR, composed, drawn_data
from benches.floors import Work, work
from vicinal.data.dataset import Data
from vicinal.models.init import without_weights
from vicinal.run import Run

SAFE = "optimizer.lr=1e-3"  # labels are random; a larger rate could make the loss infinite


@dataclass(frozen=True, kw_only=True)
class Network:
    """One network, at the size of its dataset and of a usual batch."""

    name: str
    model: str  # overrides
    shape: tuple[int, int, int] = CIFAR
    classes: int = 100
    batch: int = 128
    images: int = 50_000  # of the dataset
    resident: int = 50_000  # of those, on the device
    tested: int = 10_000
    # Epochs, and the seconds that they may take with an evaluation each.
    target: tuple[int, float] | None = None

    @property
    def timm_name(self) -> str | None:
        """timm's name for it; None if timm does not have it."""
        words = dict(word.split("=") for word in self.model.split())
        return words.get("model.name")

    def run(self, further: Sequence[str], method: str = "erm") -> Run:
        """The run of a method, with further overrides from the command line."""
        batch = f"schedule.batch_size={self.batch}"
        words = (*self.model.split(), batch, SAFE, *f"method={method}".split())
        return composed(*words, *further)

    def data(self, device: str) -> Data:
        """The resident images."""
        data = drawn_data(self.resident, device, self.shape, self.classes)
        return replace(data, test=data.train[torch.arange(min(self.tested, self.resident))])

    def whole_batches(self, data: Data) -> Data:
        """The same without the smaller batch that ends an epoch."""
        count = self.resident // self.batch * self.batch
        return replace(data, train=data.train[torch.arange(count)])

    def work(self, run: Run) -> Work:
        """What a plain training step must compute."""
        with without_weights():
            network = run.model(num_classes=self.classes, shape=self.shape)
        return work(network, self.shape)


NETWORKS = (
    Network(name="preact_resnet18", model="model=preact_resnet18", target=(200, 360.0)),
    Network(name="wrn28_10", model="model=wrn28_10", target=(1, 6.0)),
    Network(name="resnet110", model="model=resnet110"),
    Network(
        name="timm_resnet50",
        model="model=timm model.name=resnet50",
        shape=(3, 224, 224),
        classes=1000,
        batch=256,
        images=1_281_167,
        resident=4096,
    ),
)
REHEARSED = (
    Network(
        name="wrn10_2",
        model="model=wrn10_2",
        batch=4,
        images=16,
        resident=14,
        tested=8,
        target=(1, 6.0),
    ),
    Network(
        name="timm_test_resnet",
        model="model=timm model.name=test_resnet",
        shape=(3, 96, 96),
        classes=1000,
        batch=4,
        images=16,
        resident=16,
    ),
)


def known_networks(rehearse: bool) -> tuple[Network, ...]:
    """The networks to time."""
    return REHEARSED if rehearse else NETWORKS
