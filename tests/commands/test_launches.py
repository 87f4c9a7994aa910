"""The bench of launches: what it counts, and what it leaves to the compiler."""

import argparse

import jaxtyping
import pytest
from benches import launches


def test_compiled_passes_are_not_counted_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The products of the layers are in them, the optimizer's only operation is not."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    settings = ["model.width=4", "model.hidden_layers=3"]
    arguments = argparse.Namespace(overrides=settings, model="mlp", batch=4)
    row = launches.counted(arguments, "erm")
    outside = row["outside_by_name"]
    assert outside["_fused_sgd_"] == 1
    assert not {"addmm", "mm", "relu", "view", "t"} & {*outside}
    # Four layers: a product each forwards, two each backwards but for the first, and three ReLUs.
    assert row["all"] - row["outside"] >= 4 + 7 + 2 * 3
