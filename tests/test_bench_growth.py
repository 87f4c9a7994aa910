"""The bench of how costs grow: its fits, and all that needs one process, at few small sizes."""

import argparse
import io
import json
from contextlib import redirect_stdout
from math import inf
from pathlib import Path
from typing import Any

import pytest
import torch
from benches import growth, growth_steps, growth_tables
from benches.fits import fit

SIZES = (1.0, 2.0, 4.0, 8.0)
QUICK = ("copies", "memory", "runs", "seeds")


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out, said = tmp_path_factory.mktemp("bench"), io.StringIO()
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path)
    growth.add_options(parser)
    with redirect_stdout(said):
        growth.bench(parser.parse_args(["--out", str(out), "--quick", "--only", *QUICK]))
    return json.loads((out / "growth.json").read_text()) | {"printed": said.getvalue()}


def test_a_power_is_found_and_preferred() -> None:
    found = fit(SIZES, [3 * size**1.7 for size in SIZES])
    assert found.exponent == pytest.approx(1.7)
    assert found.residual == pytest.approx(0, abs=1e-12)
    assert not found.is_line


def test_a_fixed_part_is_found_and_preferred() -> None:
    found = fit(SIZES, [10 + 3 * size for size in SIZES])
    assert (found.fixed, found.per_unit) == pytest.approx((10, 3))
    assert found.line_residual == pytest.approx(0, abs=1e-12)
    assert found.is_line
    assert 0 < found.exponent < 1


def test_the_residual_is_the_spread_of_relative_errors() -> None:
    """Of costs that are 10 % too high and too low by turns, which leaves the slope as it is."""
    sizes = [1, 1, 4, 4]
    found = fit(sizes, [1.1, 1 / 1.1, 4.4, 4 / 1.1])
    assert found.exponent == pytest.approx(1)
    assert found.residual == pytest.approx(torch.tensor(1.1).log().item())


def test_two_sizes_have_no_residual_and_no_better_fit() -> None:
    found = fit([1, 2], [5, 7])
    assert (found.residual, found.line_residual, found.is_line) == (None, None, False)


def test_a_line_that_falls_below_zero_does_not_fit() -> None:
    found = fit([2, 4, 9, 10], [64, 2, 64, 16])
    assert found.line_residual == inf
    assert not found.is_line


def test_more_ranks_than_cores_are_measured_and_not_fitted() -> None:
    row = growth.COSTS["ranks"].row((1, 2, 64), {1: 8.0, 2: 4.0, 64: 100.0}, most=2)
    assert row["points"] == [[1, 8.0], [2, 4.0], [64, 100.0]]
    assert row["not_fitted"] == [64]
    assert row["power"]["exponent"] == pytest.approx(row["theory"]) == pytest.approx(-1)
    assert "more than the machine's cores: 64" in "\n".join(growth.table({"ranks": row}))


def test_a_surprise_is_marked() -> None:
    cost = growth.COSTS["tables"]
    plain = cost.row((1, 2, 4), {1: 1.0, 2: 2.0, 4: 4.0}, None)
    squared = cost.row((1, 2, 4), {1: 1.0, 2: 4.0, 4: 16.0}, None)
    _, first, second = growth.table({"plain": plain, "squared": squared})
    assert "!" not in first
    assert "2.00!" in second


def test_the_work_of_maxup_is_that_of_its_passes() -> None:
    """One step is a forward and a backward, which is worth two; each copy is one more forward."""
    assert [growth_steps.maxup_work(m) for m in (1, 3, 6)] == [1, 2, 3]


def test_held_bytes_are_those_of_the_tensors_that_live() -> None:
    before = torch.zeros(500)
    with growth_steps.Held() as held:
        before.add_(1)
        first = torch.zeros(1000)
        second = first.view(10, 100).add_(1)
        assert held.bytes == 4000
        third = first + 1
        assert held.bytes == 8000
        del first, second, third
    assert (held.bytes, held.most) == (0, 8000)


def test_every_cost_has_its_fits(printed: dict[str, Any]) -> None:
    assert tuple(printed["costs"]) == QUICK
    for name in QUICK:
        row = printed["costs"][name]
        assert [size for size, _ in row["points"]] == list(growth.COSTS[name].few)
        assert f"{row['power']['exponent']:.2f}" in printed["printed"]


def test_sub_networks_need_no_memory(printed: dict[str, Any]) -> None:
    row = printed["costs"]["memory"]
    assert row["theory"] == pytest.approx(0)
    assert row["power"]["exponent"] == pytest.approx(0, abs=0.05)


def test_copied_records_are_runs_of_their_own(tmp_path: Path) -> None:
    found = growth_tables.originals()
    growth_tables.fill(len(found) + 2, tmp_path)
    copied = growth_tables.records.load(tmp_path / "runs")
    assert len(copied) == len(found) + 2
    assert {each["name"] for each in copied} == {each["name"] for each in found}


@pytest.mark.slow
def test_ranks_share_a_batch() -> None:
    seconds = growth_steps.by_ranks((1, 2), 1, ())
    assert seconds.keys() == {1, 2}
    assert min(seconds.values()) > 0


@pytest.mark.slow
def test_records_do_not_multiply_the_time_of_tables() -> None:
    few, many = growth_tables.by_records((10, 40), 1, ()).values()
    assert many < 4 * few
