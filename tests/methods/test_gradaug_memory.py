"""GradAug holds the activations of one network at a time, as ERM does."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from residual_samples import FIXED, batch, network, stepped
from torch import Tensor, nn

from vicinal.draws import Rng
from vicinal.methods.erm import Erm
from vicinal.methods.gradaug import GradAug
from vicinal.models.wide_resnet import WideResNet
from vicinal.vicinities.identity import Identity
from vicinal.vicinities.scale_rotate import ScaleRotate


class Held:
    """Bytes that autograd holds for backward passes, and the most it has held."""

    def __init__(self) -> None:
        self.storages: dict[int, int] = {}
        self.now = self.peak = 0

    @contextmanager
    def counted(self, model: nn.Module) -> Iterator[None]:
        own = {p.untyped_storage().data_ptr() for p in model.parameters()}
        held = self

        class Saved:
            def __init__(self, tensor: Tensor) -> None:
                self.tensor, self.key = tensor, tensor.untyped_storage().data_ptr()
                if self.key not in own:
                    if held.storages.setdefault(self.key, 0) == 0:
                        held.now += tensor.untyped_storage().nbytes()
                        held.peak = max(held.peak, held.now)
                    held.storages[self.key] += 1

            def __del__(self) -> None:
                if self.key not in own:
                    held.storages[self.key] -= 1
                    if held.storages[self.key] == 0:
                        held.now -= self.tensor.untyped_storage().nbytes()

        with torch.autograd.graph.saved_tensors_hooks(Saved, lambda saved: saved.tensor):
            yield


def test_one_networks_activations_are_held_at_a_time() -> None:
    """The paper's Table 2: 7145 MB to 6973. Here what autograd saves, exactly."""
    x, y = batch(8, side=16)
    peaks = {}
    for name, method in {"erm": Erm(Identity()), "ours": GradAug(Identity(), FIXED)}.items():
        model, held = network(2, side=16), Held()
        with held.counted(model):
            stepped(method, model, x, y)
        gc.collect()
        assert held.now == 0
        peaks[name] = held.peak
    assert peaks["ours"] <= 1.05 * peaks["erm"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_peak_memory_is_that_of_erm_on_a_gpu() -> None:
    x, y = (t.float().cuda() for t in batch(128, side=32))
    peaks = []
    for method in (Erm(Identity()), GradAug(Identity(), ScaleRotate())):
        model = WideResNet(16, 4, num_classes=4, shape=(3, 32, 32)).cuda()
        for _ in range(3):
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            model.zero_grad()
            for term in method(model, x, y, Rng.seeded(0, device="cuda")):
                term.backward()
        peaks.append(torch.cuda.max_memory_allocated())
    assert peaks[1] <= 1.05 * peaks[0]
