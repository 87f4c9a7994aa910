"""A streamed split: every decoder gives the same pixels, and bad files are handled."""

import os
import platform
import re
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import photos
import pytest
import torch
from PIL import Image
from torch import Tensor
from wording import says

from vicinal.data.batches import Batches
from vicinal.data.decode.crops import Crop
from vicinal.data.decode.pool import Decoder, DecodeTask, InProcessDecoder, WorkerPool
from vicinal.data.stream import StreamedSplit
from vicinal.data.streamed_images import StreamedImages
from vicinal.draws import Rng, derived_seed
from vicinal.errors import RunError
from vicinal.evaluation.clean import Clean
from vicinal.machine import ranks
from vicinal.vicinities.identity import Identity

MOMENTS: dict[str, Any] = {"mean": [0.5] * 3, "std": [0.2] * 3}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos.folder(tmp_path_factory.mktemp("photos") / "set")


@pytest.fixture(scope="module")
def three() -> WorkerPool:
    return WorkerPool(3)


def split(root: Path, decoder: Decoder | None = None, **settings: Any) -> StreamedSplit:
    dataset = StreamedImages(root=str(root), size=16, resize=20, **MOMENTS, **settings)
    train = dataset.load().train
    assert isinstance(train, StreamedSplit)
    return train.to("cpu", decoder)


def seen(of: StreamedSplit, epoch: int, first: int = 0) -> list[Tensor]:
    batches = Batches(of, 3, 5, Identity(), seed=7)
    return [(255 * x).byte() for x, _, _ in batches.epoch(epoch, first, Rng.seeded(0))]


def equal(first: Sequence[Tensor], second: Sequence[Tensor]) -> bool:
    return len(first) == len(second) and all(map(torch.equal, first, second))


def test_a_sample_is_its_file_cropped_by_a_draw_of_its_seed_epoch_and_place(root: Path) -> None:
    of = split(root)
    rows = torch.tensor([11, 2])
    ((x, y, places),) = of.batches([rows], (7, 3))
    assert y.tolist() == [1, 0]
    assert torch.equal(places, rows)
    for image, row in zip(x, rows.tolist(), strict=True):
        path = root / "train" / f"class{row // 6}" / f"{row % 6:02}.JPEG"
        with Image.open(path) as opened:
            expected = Crop(16, 20)(opened, derived_seed(7, "crop", 3, row))
        assert np.array_equal(image.permute(1, 2, 0).numpy(), np.asarray(expected))


@pytest.mark.parametrize(
    ("device", "layout"), [("cpu", torch.contiguous_format), ("meta", torch.channels_last)]
)
def test_batches_come_as_they_were_decoded_but_on_a_cpu(
    root: Path, device: str, layout: torch.memory_format
) -> None:
    """That is channel by channel within a pixel, as networks on a GPU want them."""
    ((x, _, _),) = split(root).to(device).batches([torch.tensor([11, 2])], (7, 3))
    assert x.is_contiguous(memory_format=layout)


def test_crops_differ_by_epoch_and_seed_and_not_in_evaluation(root: Path) -> None:
    of, rows = split(root), [torch.arange(18)]

    def images(key: tuple[int, int] | None) -> Tensor:
        return next(iter(of.batches(rows, key)))[0]

    assert torch.equal(images((0, 1)), images((0, 1)))
    assert torch.equal(images(None), images(None))
    distinct = [images(key) for key in ((0, 1), (0, 2), (1, 1), None)]
    for number, one in enumerate(distinct):
        for other in distinct[:number]:
            assert (one != other).flatten(1).any(1).all()


@pytest.mark.parametrize("count", [1, 3])
def test_batches_do_not_depend_on_the_number_of_workers(
    root: Path, three: WorkerPool, count: int
) -> None:
    expected = seen(split(root), epoch=2)
    assert [len(x) for x in expected] == [5, 5, 5, 3]
    other = split(root, three if count == 3 else WorkerPool(count))
    assert equal(seen(other, epoch=2), expected)
    assert equal(seen(other, epoch=3), seen(split(root), epoch=3))  # the same processes again


def test_an_epoch_resumed_in_its_middle_goes_on_as_it_was(root: Path, three: WorkerPool) -> None:
    expected = seen(split(root), epoch=2)
    assert equal(seen(split(root, three), epoch=2, first=2), expected[2:])
    assert seen(split(root, three), epoch=2, first=4) == []


def test_ranks_share_the_images_of_one_process(
    root: Path, three: WorkerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = seen(split(root), epoch=2)
    shares = []
    for rank in range(2):
        monkeypatch.setattr(ranks, "shard", lambda rows, rank=rank: rows.tensor_split(2)[rank])
        shares.append(seen(split(root, three), epoch=2))
    together = [torch.cat(pair) for pair in zip(*shares, strict=True)]
    assert equal(together, expected)


def test_who_stops_in_the_middle_leaves_workers_that_serve_the_next(
    root: Path, three: WorkerPool
) -> None:
    abandoned = split(root, three).batches(list(torch.arange(18).split(2)), (7, 0))
    next(abandoned)
    abandoned.close()
    assert equal(seen(split(root, three), epoch=1), seen(split(root), epoch=1))


class Places(torch.nn.Module):
    """Remembers how many samples it saw; knows nothing."""

    count = 0

    def forward(self, x: Tensor) -> Tensor:
        self.count += len(x)
        return x.mean((2, 3))


def test_an_evaluation_sees_each_image_once(root: Path, three: WorkerPool) -> None:
    model, of = Places(), split(root)
    found = Clean(batch_size=4)(model, of.to("cpu", three))
    assert model.count == len(of) == 18
    assert found == Clean(batch_size=18)(Places(), of)


def test_workers_end_with_their_pool(root: Path) -> None:
    workers = WorkerPool(2)
    seen(split(root, workers), epoch=0)
    processes = [workers._processes.idle.get().process for _ in range(2)]
    assert [process.poll() for process in processes] == [None, None]
    workers._processes.close()
    assert None not in [process.poll() for process in processes]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the settings are of glibc")
def test_workers_reuse_the_memory_of_images(tmp_path: Path) -> None:
    """A photograph of ImageNet's size has 183 pages as it is decoded."""
    path, workers = tmp_path / "photo.jpg", WorkerPool(1)
    photos.originals()[0].resize((500, 375)).save(path)
    tasks = [DecodeTask(0, str(path), seed) for seed in range(16)]
    batches = workers(Crop(224, 256), [tasks] * 8, lambda task, _: task)

    def faults() -> int:
        worker = workers._processes.idle.get(timeout=60)
        workers._processes.idle.put(worker)
        return int(Path(f"/proc/{worker.process.pid}/stat").read_text().split()[9])

    for _ in range(2):
        next(batches)
    before = faults()
    decoded = sum(len(batch) for batch in batches)
    assert faults() - before < 20 * decoded


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A folder whose second image and whose last of a class are cut."""
    root = photos.folder(tmp_path / "set")
    photos.damage(root / "train" / "class1" / "01.JPEG")
    photos.damage(root / "train" / "class2" / "05.JPEG")
    return root


@pytest.mark.parametrize("workers", [0, 3])
def test_a_corrupt_image_stops_the_run_by_name(
    damaged: Path, three: WorkerPool, workers: int
) -> None:
    of = split(damaged, three if workers else InProcessDecoder())
    with pytest.raises(RunError) as found:
        list(of.batches([torch.tensor([5, 6, 7])]))
    assert re.search(says(f"^{damaged}/train/class1/01.JPEG ... image"), str(found.value))
    assert "truncated" in str(found.value).lower()
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("workers", [0, 3])
def test_a_corrupt_image_is_replaced_by_the_next_of_its_folder(
    damaged: Path, three: WorkerPool, workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    of = split(damaged, three if workers else InProcessDecoder(), corrupt="replace")
    for _ in range(2):
        ((x, y, _),) = of.batches([torch.tensor([7, 8, 17, 12])])
        assert torch.equal(x[0], x[1])
        assert torch.equal(x[2], x[3])
        assert y.tolist() == [1, 1, 2, 2]
    said = capsys.readouterr().err.splitlines()
    assert len(said) == len(of.replaced) == 2
    replaced = says(f"{damaged}/train/class1/01.JPEG ... 02.JPEG")
    assert any(re.search(replaced, line) for line in said)


def test_the_next_of_a_cut_training_set_is_another_of_that_set(damaged: Path) -> None:
    photos.damage(damaged / "train" / "class1" / "02.JPEG")
    of = split(damaged, corrupt="replace")[torch.tensor([0, 6, 7, 8])]
    ((x, _, _),) = of.batches([torch.arange(4)])
    assert torch.equal(x[1], x[2])
    assert torch.equal(x[1], x[3])


def test_a_folder_of_nothing_but_corrupt_images_stops_the_run(damaged: Path) -> None:
    for path in (damaged / "train" / "class0").iterdir():
        path.write_bytes(b"")
    of = split(damaged, corrupt="replace")
    with pytest.raises(RunError, match=says("train/class0 ... image ... none")):
        list(of.batches([torch.tensor([3])]))


@pytest.mark.parametrize("workers", [0, 3])
def test_a_file_that_vanished_is_never_replaced(
    root: Path, three: WorkerPool, workers: int
) -> None:
    of = split(root, three if workers else InProcessDecoder(), corrupt="replace")
    of = replace(of, names=np.array([b"class0/gone.JPEG", *of.names[1:]]))
    with pytest.raises(RunError, match=says("class0/gone.JPEG ... No such file")):
        list(of.batches([torch.arange(18)]))


def test_a_dead_worker_is_named(root: Path) -> None:
    workers = WorkerPool(2)
    batches = split(root, workers).batches([torch.arange(18)] * 200, (0, 0))
    next(batches)
    process = workers._processes.idle.get(timeout=60)
    workers._processes.idle.put(process)
    os.kill(process.process.pid, signal.SIGKILL)
    with pytest.raises(RunError) as found:
        list(batches)
    expected = says(f"worker {process.process.pid} ... SIGKILL ... resumes")
    assert re.search(expected, str(found.value))
