"""Two ranks whose network is compiled around its synchronised BatchNorms, in one graph.

python tests/compiled_ranks.py BACKEND

They train as one uncompiled process does on whole batches. This is a script because shapes are
checked while tests run, and those checks cannot be traced.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch._inductor.compile_fx  # once, not in each fork
from two_ranks import data, loop, on_two, trained

from vicinal.methods.erm import Erm
from vicinal.vicinities.identity import Identity


def main(backend: str) -> None:
    """Shards of 4, then of 3 and 2, for which each rank compiles code of its own."""
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    method, samples = Erm(Identity()), data(13)

    def compiled() -> dict[str, Any]:
        of = loop(method, samples, norms=True, synced=True)
        of.model.compile(backend=backend, fullgraph=True)
        found = trained(of)
        graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
        assert graphs == 2, f"got {graphs} graphs"
        return found

    expected = trained(loop(method, samples, norms=True))
    with tempfile.TemporaryDirectory() as folder:
        ranks = on_two(compiled, Path(folder))
    for found in ranks:
        for part in ("state", "average"):
            for key, value in expected[part].items():
                torch.testing.assert_close(found[part][key], value, rtol=1e-7, atol=1e-9)
    print("equal")


if __name__ == "__main__":
    main(sys.argv[1])
