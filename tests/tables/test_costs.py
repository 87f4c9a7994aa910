"""What a run will take, estimated before anything of it is at hand."""

import pytest

from vicinal.configs import compose, resolved
from vicinal.tables.costs import ASSUMED, Costs


def test_an_epoch_of_imagenet_is_estimated_from_the_networks_arithmetic() -> None:
    """ResNet-50 has 4.09 G multiply-adds at 224 x 224 (GradAug Table 1: 4.1)."""
    options = ["model.name=resnet50", "+model.options.zero_init_last=false", "schedule.epochs=1"]
    config = resolved(compose("dataset=imagenet", "model=timm", *options))
    cost = Costs({}, {}).of("imagenet/timm/erm/some", config)
    assert cost is not None
    assert not cost.measured
    operations = 1_281_167 * 3 * 2 * 4.09e9
    assert cost.hours == pytest.approx(operations / ASSUMED / 3600, rel=0.01)
