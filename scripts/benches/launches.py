"""Count the operations of a training step of every method, and those outside its passes.

An operation that only makes a view, allocates or asks for metadata is not counted; a fused one (of
all parameters) is one. On a GPU each is a kernel, or more, that Python launches. Compiled passes of
the network are one launch per kernel of the compiler's, or one in all with CUDA graphs, so what is
left for Python are the operations outside. Draws on the CPU are counted, too: they take its time.
A small network does, since the passes of a deep one are as many calls. Writes launches.json.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch._dynamo.backends.common import aot_autograd
from torch._functorch._aot_autograd.utils import make_boxed_func
from torch.utils._python_dispatch import TorchDispatchMode

from benches.drawn import composed, drawn_data, methods
from benches.racing import Row, one_line
from benches.writing import write
from vicinal.loop import Loop
from vicinal.storage.provenance import provenance

WARM = 3  # steps that compile
FREE = ("empty", "detach", "alias", "_unsafe_view", "new_empty", "is_", "lift", "_local_scalar")


class Launches(TorchDispatchMode):
    """Counts operations while it is active and not paused."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.paused = False

    def __torch_dispatch__(
        self, func: Any, types: object, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        if not (self.paused or func.is_view or name.startswith(FREE)):
            self.counts[name] += 1
        return func(*args, **kwargs or {})

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        """Whether what is compiled stays compiled while this is active."""
        return True

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Count nothing."""
        before, self.paused = self.paused, True
        try:
            yield
        finally:
            self.paused = before


def add_options(parser: argparse.ArgumentParser) -> None:
    """Define the command line."""
    parser.add_argument("overrides", nargs="*", help="for every run, e.g. optimizer.ema_decay=0.9")
    parser.add_argument("--model", default="wrn10_2")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--methods", nargs="*", help="default: all")


def bench(arguments: argparse.Namespace) -> None:
    """Count, print a table, write the JSON."""
    rows: dict[str, Row] = {}
    print(f"{'operations per step':32} {'all':>8} {'outside':>8}  the most frequent outside")
    for method in arguments.methods or methods():
        try:
            rows[method] = counted(arguments, method)
        except Exception as error:
            rows[method] = {"error": one_line(error)}
        print(told(method, rows[method]), flush=True)
    settings = {"model": arguments.model, "batch": arguments.batch}
    write(arguments.out, "launches", provenance("cpu") | settings | {"methods": rows})


def counted(arguments: argparse.Namespace, method: str) -> Row:
    """The operations of one step by a method, with its passes and without."""
    launches = Launches()
    everything = step(arguments, method, launches, None)
    outside = step(arguments, method, launches, unseen(launches))
    return {
        "all": everything.total(),
        "outside": outside.total(),
        "outside_by_name": dict(outside.most_common()),
    }


def unseen(launches: Launches) -> Callable[..., Any]:
    """A compiler whose code is run as it stands, and not counted, forward and backward."""

    def compiler(graph: torch.fx.GraphModule, _inputs: Any) -> Callable[..., Any]:
        return make_boxed_func(partial(_paused, launches, graph.forward))

    return aot_autograd(
        fw_compiler=compiler, bw_compiler=compiler, keep_inference_input_mutations=True
    )


def _paused(launches: Launches, call: Callable[..., Any], *args: Any) -> Any:
    with launches.pause():
        return call(*args)


def step(
    arguments: argparse.Namespace, method: str, launches: Launches, backend: Any
) -> Counter[str]:
    """What a step dispatches once everything is compiled; without a backend nothing is."""
    torch.compiler.reset()
    batch = f"schedule.batch_size={arguments.batch}"
    form = ("runtime=cpu", f"model={arguments.model}", batch, *arguments.overrides)
    run = composed(*f"method={method}".split(), "runtime.compile=false", *form)
    loop: Loop = run.loop(drawn_data((WARM + 2) * arguments.batch, "cpu"))
    if backend is not None:
        loop.model.compile(backend=backend)
    steps = loop.steps()
    for _ in islice(steps, WARM):
        pass
    launches.counts = Counter()
    with launches:
        next(steps)
    return launches.counts


def told(method: str, row: Row) -> str:
    """A line of the table."""
    if "error" in row:
        return f"{method:32} {row['error']}"
    most = list(row["outside_by_name"].items())[:5]
    names = ", ".join(f"{count} {name}" for name, count in most)
    return f"{method:32} {row['all']:8} {row['outside']:8}  {names}"
