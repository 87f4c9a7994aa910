"""GradAug on depth: the full network and three draws of branches, and how it is tested."""

from functools import partial

import torch
from residual_samples import batch, resnet

from vicinal.draws import Rng
from vicinal.losses import cross_entropy
from vicinal.methods.gradaug_depth import GradAugDepth
from vicinal.surgery.gates import gating
from vicinal.vicinities.identity import Identity
from vicinal.vicinities.scale_rotate import ScaleRotate


def test_gradaug_on_depth_is_the_full_network_and_three_draws() -> None:
    (x, y), transform = batch(), ScaleRotate([1.0, 0.5])
    method = GradAugDepth(Identity(), transform)
    model, twin = method.prepare(resnet()), method.prepare(resnet())
    terms = list(method(model, x, y, Rng.seeded(0)))
    logits, rng = twin(x), Rng.seeded(0)
    expected = [cross_entropy(logits, y).mean()]
    statistics = [buffer.clone() for buffer in twin.buffers()]
    q = logits.detach().softmax(1)
    for _ in range(3):
        small, _ = transform(x, q, rng)
        draws = torch.cat([torch.rand(1, generator=rng.shared) for _ in range(9)])
        kept = (draws < 1 - torch.arange(1, 10) / 9 * 0.5).double()
        factors = [partial(torch.mul, keep) for keep in kept]
        queue = iter(factors)
        with gating(twin, lambda _, queue=queue: next(queue)):
            z = twin(small)
        expected.append((q * (q.log() - z.log_softmax(1))).sum(1).mean())
    torch.testing.assert_close(torch.stack(terms), torch.stack(expected), rtol=1e-9, atol=1e-9)
    ours = torch.autograd.grad(sum(terms), list(model.parameters()))
    theirs = torch.autograd.grad(sum(expected), list(twin.parameters()))
    for mine, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-7, atol=1e-8)
    for mine, reference in zip(model.buffers(), statistics, strict=True):
        assert torch.equal(mine, reference)


def test_gradaug_on_depth_is_tested_as_its_full_network_was_trained() -> None:
    (x, _), plain = batch(), resnet().eval()
    method = GradAugDepth(Identity(), ScaleRotate())
    torch.testing.assert_close(method.prepare(resnet()).eval()(x), plain(x))
    scaled = GradAugDepth(Identity(), ScaleRotate(), scaled=True).prepare(resnet()).eval()
    assert not torch.allclose(scaled(x), plain(x))
