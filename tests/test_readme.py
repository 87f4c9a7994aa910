"""What the README shows works as it stands there."""

import re
from pathlib import Path

import torch
from torch import nn

from vicinal.storage import records
from vicinal.tables import runs, table
from vicinal.tables.counts import coverage, overview
from vicinal.tables.markdown import page
from vicinal.tables.results import RecordIndex, TableResults
from vicinal.tables.spreads import Spreads

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_example_trains_in_somebody_elses_loop() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 10))
    before = network[1].weight.detach().clone()
    loader = [(torch.rand(4, 3, 8, 8), torch.arange(4)) for _ in range(2)]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    exec(example, {"loader": loader, "network": network, "optimizer": optimizer})
    assert not torch.equal(network[1].weight, before)


def test_the_results_are_those_of_the_records() -> None:
    found = records.load(ROOT / "results" / "runs")
    tables = table.load_all()
    by_run, by_cell = runs.by_run(found), RecordIndex(found, Spreads(tables))
    every = [TableResults.of(each, by_cell) for each in tables]
    assert f"\n{runs.by_run(runs.unlisted_runs(every, found))}\n" in README
    assert by_run in (ROOT / "results" / "tables" / "runs.md").read_text()
    assert f"\n{overview(every)}\n" in README
    for joined in every:
        assert page(joined) == (ROOT / f"results/tables/{joined.table.name}.md").read_text()


def test_the_coverage_is_that_of_the_tables() -> None:
    assert f"\n{coverage(table.load_all())}\n" in README
