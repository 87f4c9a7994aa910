"""The contenders: the suite's own loop, a bare loop like that of the papers' scripts, and timm's.

The bare loop is that of github.com/facebookresearch/mixup-cifar10's train.py: the network in fp32
with torch's defaults (convolutions in TF32), contiguous, with cuDNN's benchmark; a DataLoader,
whose 8 workers are restarted in every epoch, over PIL images and torchvision's transforms; the
loss and the hits are read in every step. At 224 pixels it decodes JPEGs and crops at random scales.

timm's loop is that of its train.py with --amp --amp-dtype bfloat16 --channels-last, assembled
from the installed package: once behind timm's own loader of JPEGs with its defaults, once over
images on the device, as in the suite.
"""

from collections.abc import Callable, Iterable, Iterator
from statistics import median

import torch
from timm.data.loader import create_loader
from timm.loss.cross_entropy import LabelSmoothingCrossEntropy
from timm.models import create_model
from timm.optim import create_optimizer_v2  # pyright: ignore[reportPrivateImportUsage]
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision import transforms

from benches.drawn import endless
from benches.pictures import Pictures
from benches.racing import Contender, Row, now
from vicinal.data.dataset import Data
from vicinal.run import Run

Batches = Iterable[tuple[Tensor, Tensor]]
MEAN, STD, RATE = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010), 1e-3


def ours(run: Run, data: Data, settling: int = 0) -> Contender:
    """A run's own loop; its epochs continue from window to window."""
    run.runtime.start()
    trained = endless(run.loop(data))

    def steps() -> Iterator[int]:
        run.runtime.start()  # the process was set up for another in between
        return trained

    return Contender(steps, run.runtime.summary()["precision"], settling=settling)


def torch_defaults(device: str, exact: bool = False) -> None:
    """Set torch's default fp32, or exact fp32 without TF32; and cuDNN's benchmark mode."""
    if device == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = not exact
        torch.set_float32_matmul_precision("highest")


def queue(workers: int) -> int:
    """Batches that a DataLoader's workers read ahead: two each."""
    return max(1, 2 * workers)


def bare(run: Run, data: Data, count: int, workers: int, exact: bool = False) -> Contender:
    """The loop of the papers' scripts, over a dataset of `count` images; `exact`: without TF32."""
    shape, device = data.train.shape, run.runtime.target
    size, pictures = shape[1], Pictures(count, shape[1], data.num_classes)
    crop = (
        transforms.RandomCrop(size, padding=4)
        if pictures.arrays is not None
        else transforms.RandomResizedCrop(size)
    )
    as_tensor = (transforms.ToTensor(), transforms.Normalize(MEAN, STD))
    pictures.transform = transforms.Compose([crop, transforms.RandomHorizontalFlip(), *as_tensor])
    loader = DataLoader(pictures, run.schedule.batch_size, shuffle=True, num_workers=workers)
    network = run.model(num_classes=data.num_classes, shape=shape).to(device).train()
    weights = network.parameters()
    optimizer = torch.optim.SGD(weights, lr=RATE, momentum=0.9, weight_decay=1e-4)

    def steps() -> Iterator[int]:
        torch_defaults(device, exact)
        loss_sum = hits = 0.0
        while True:
            for images, labels in loader:
                x, y = images.to(device), labels.to(device)
                logits = network(x)
                loss = F.cross_entropy(logits, y)
                loss_sum += loss.item()
                hits += logits.detach().argmax(1).eq(y).cpu().sum().item()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                yield len(y)

    precision = "fp32" if exact or device == "cpu" else "tf32"
    return Contender(steps, precision, lead=queue(workers))


def timm_resident(name: str, run: Run, data: Data) -> Contender:
    """timm's loop over images on the device, normalised as its loader does."""
    device = run.runtime.target
    mean, std = (255 * torch.tensor(each, device=device).view(-1, 1, 1) for each in (MEAN, STD))

    def epoch() -> Batches:
        batches = torch.randperm(len(data.train)).split(run.schedule.batch_size)
        for x, y, _ in data.train.batches(batches):
            yield x.float().sub_(mean).div_(std), y

    return timm_loop(name, device, data.num_classes, epoch)


def timm_loaded(name: str, run: Run, data: Data, count: int, workers: int) -> Contender:
    """timm's loop behind its loader, over a dataset of `count` images."""
    size, device = data.train.shape[1], run.runtime.target
    pictures = Pictures(count, size, data.num_classes)

    def epoch() -> Batches:
        return create_loader(
            pictures,  # pyright: ignore[reportArgumentType]
            size,
            run.schedule.batch_size,
            is_training=True,
            interpolation="random",
            num_workers=workers,
            device=torch.device(device),
            persistent_workers=False,  # or they would work while others are timed
        )

    return timm_loop(name, device, data.num_classes, epoch, queue(workers))


def timm_loop(
    name: str, device: str, classes: int, epoch: Callable[[], Batches], lead: int = 1
) -> Contender:
    """The loop itself."""
    network = create_model(name, num_classes=classes).to(device).train()
    network = network.to(memory_format=torch.channels_last)
    optimizer = create_optimizer_v2(network, "sgd", lr=RATE, momentum=0.9, weight_decay=2e-5)
    criterion = LabelSmoothingCrossEntropy(0.1)

    def steps() -> Iterator[int]:
        torch_defaults(device)
        optimizer.zero_grad()
        while True:
            for x, y in epoch():
                images = x.contiguous(memory_format=torch.channels_last)
                with torch.autocast(device, torch.bfloat16):
                    loss = criterion(network(images), y)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                yield len(y)

    return Contender(steps, "bf16", lead)


def whole_epochs(run: Run, data: Data, count: int) -> Row:
    """Time epochs with their end and an evaluation, after one that warms up."""
    run.runtime.start()
    began = now()
    loop, seconds = run.loop(data), []
    for _ in range(1 + count):
        for _ in loop.steps():
            pass
        loop.close_epoch()
        trained = now()
        run.measure(loop.network, data)
        ended = now()
        seconds.append((trained - began, ended - trained))
        began = ended
    first, *rest = seconds
    return {
        "first_seconds": sum(first),  # includes building and compiling
        "train_seconds": median(train for train, _ in rest),
        "evaluate_seconds": median(evaluate for _, evaluate in rest),
        "seconds": median(map(sum, rest)),
    }
