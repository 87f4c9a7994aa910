"""Time training on a GPU: images per second, share of the floor, memory; against other loops.

For PreActResNet-18, WRN-28-10 and ResNet-110 at CIFAR's size and timm's ResNet-50 at 224 pixels:
ERM through Run.loop against a bare PyTorch loop like that of the papers' scripts and against timm's
(benches/contenders.py says how they are built); each method's step over ERM's; and whole epochs.
The targets: PreActResNet-18 through 200 epochs in 6 minutes, WRN-28-10 through one in 6 s, each
with its evaluation, and 8 times the bare loop's pace. benches/floors.py defines the floor.

Contenders take turns in windows of many steps; warm-up and compilation are timed separately. The
figures are medians over windows, ratios are medians over rounds. Failures are listed with their
error, and what the budget does not reach as not measured: comparisons come first, then a method of
each paper.

    python scripts/bench.py gpu                     on a GPU; starts nothing after 8 minutes
    python scripts/bench.py gpu runtime.precision=fp32 --budget 3000 --variants runtime.compile=true
    python scripts/bench.py gpu --timm-train CHECKOUT/train.py    timm's own script, too
    python scripts/bench.py gpu --rehearse --out /tmp/bench  all of it on a CPU, small

gpu-DEVICE.json is rewritten after each network. Without `make`: PYTHONPATH=src, and torch,
torchvision, timm, pillow, numpy, scikit-learn, hydra-core, omegaconf, antlr4-python3-runtime, rich,
jaxtyping.
"""

import argparse
import gc
import re
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from benches import contenders, nvidia, timm_script
from benches.drawn import methods
from benches.floors import peaks
from benches.judging import compared, described, not_measured, shared, table, targets
from benches.networks import Network, known_networks
from benches.racing import NOT_REACHED, Contender, Effort, Row, one_line, prepared, race, release
from vicinal.cli.configs import CONFIGS
from vicinal.data.dataset import Data
from vicinal.run import Run
from vicinal.storage.files import write_json_atomically
from vicinal.storage.provenance import provenance

# These methods draw many widths, and for each new one the libraries search how to compute it.
SETTLING = ("gradaug",)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Define the command line."""
    parser.add_argument("overrides", nargs="*", help="for every run of ours")
    parser.add_argument("--networks", nargs="*", help="default: all")
    parser.add_argument("--methods", nargs="*", help="default: all; a bare --methods: none")
    parser.add_argument("--variants", nargs="*", default=[], help="settings: ERM with each, too")
    parser.add_argument("--exact", action="store_true", help="the bare loop without TF32, too")
    parser.add_argument("--budget", type=float, default=480, help="start nothing after so many s")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--window", type=float, default=0.5, help="seconds of a round")
    parser.add_argument("--warmup", type=int, default=20, help="steps")
    parser.add_argument("--settling", type=int, default=200, help="warm-up steps of GradAug")
    parser.add_argument("--workers", type=int, default=8, help="of the other loops' loaders")
    parser.add_argument("--timm-train", type=Path, help="train.py in a checkout of timm")
    parser.add_argument("--rehearse", action="store_true", help="on a CPU, with small networks")


def bench(settings: argparse.Namespace) -> None:
    """Measure, print the table, write the JSON."""
    if settings.rehearse:
        settings.rounds, settings.window, settings.warmup, settings.workers = 2, 0.0, 2, 1
        settings.settling = 4
        if settings.methods is None:
            settings.methods = one_of_each_paper(methods())
    known = {network.name: network for network in known_networks(settings.rehearse)}
    if unknown := set(settings.networks or ()) - known.keys():
        sys.exit(f"unknown network {', '.join(unknown)}; known: {', '.join(known)}")
    if not any(word.startswith("runtime=") for word in settings.overrides):
        settings.overrides.append("runtime=cpu" if settings.rehearse else "runtime=cuda")
    chosen = [known[name] for name in settings.networks or known]
    try:
        device = chosen[0].run(settings.overrides).runtime.target
    except ValueError as error:
        sys.exit(one_line(error))
    measured = Bench(settings, chosen, device)
    gc.freeze()  # so that releasing memory does not look through all imported modules
    measured.measure()
    gc.unfreeze()
    print(table(measured.result))
    print(f"written: {measured.target}")


def one_of_each_paper(methods: list[str]) -> list[str]:
    """The first method that has the name of a paper with tables."""
    papers = sorted(path.name for path in (CONFIGS / "table").iterdir() if path.is_dir())
    own = {paper: [name for name in methods if name.startswith(paper)] for paper in papers}
    return [found[0] for found in own.values() if found]


class Bench:
    """What has been measured so far, and the effort for the rest."""

    def __init__(self, settings: argparse.Namespace, networks: list[Network], device: str) -> None:
        self.settings, self.networks, self.device = settings, networks, device
        self.deadline = perf_counter() + settings.budget
        self.effort = Effort(settings.rounds, settings.window, settings.warmup, self.deadline)
        words = {k: str(v) if isinstance(v, Path) else v for k, v in vars(settings).items()}
        self.result: dict[str, Any] = {
            **provenance(self.device),
            "driver": nvidia.query("driver_version"),
            "settings": words,
            "peaks": peaks(self.device),
            "networks": {
                network.name: asdict(network) | {"contenders": {}, "epoch": {}}
                for network in networks
            },
        }
        name = re.sub(r"[^a-z0-9]+", "-", self.result["device"]["name"].lower()).strip("-")
        self.target = settings.out / f"{'rehearsal' if settings.rehearse else 'gpu'}-{name}.json"

    def measure(self) -> None:
        """Comparisons first, then methods; the file is written after each network."""
        for network in self.networks:
            self.guarded(network, self.compare)
        wanted = methods() if self.settings.methods is None else self.settings.methods
        early = one_of_each_paper(wanted)
        late = [name for name in wanted if name not in (*early, "erm")]
        for group in filter(None, (early, late)):
            for network in self.networks:
                self.guarded(network, partial(self.methods, group))

    def guarded(self, network: Network, part: Callable[[Network], None]) -> None:
        """Do one part for one network; if it fails, the others go on."""
        try:
            part(network)
        except Exception as error:
            rows = self.result["networks"][network.name]["contenders"]
            rows["all"] = {"error": one_line(error)}
        torch.compiler.reset()
        release()
        self.write()

    def compare(self, network: Network) -> None:
        """ERM against other loops, and through whole epochs."""
        found = self.result["networks"][network.name]
        run, data = network.run(self.settings.overrides), network.data(self.device)
        work = network.work(run)
        found["work"] = asdict(work)
        whole, workers = network.whole_batches(data), self.settings.workers
        makers: dict[str, Callable[[], Contender]] = {
            "erm": partial(contenders.ours, run, whole),
            "bare loop": partial(contenders.bare, run, whole, network.images, workers),
        }
        if self.settings.exact:
            exact = partial(contenders.bare, run, whole, network.images, workers, exact=True)
            makers["bare loop in full fp32"] = exact
        for variant in self.settings.variants:
            makers[f"erm {variant}"] = partial(self.method, network, f"erm {variant}", whole)
        if name := network.timm_name:
            makers["timm's loop"] = partial(contenders.timm_resident, name, run, whole)
            loaded = partial(contenders.timm_loaded, name, run, whole, network.images, workers)
            makers["timm's loop and loader"] = loaded
        rows = race(makers, self.effort)
        if name and self.settings.timm_train:
            rows["timm's train.py"] = self.script(network, name)
        if not name:
            rows["timm's loop"] = {"not_measured": "timm has no such network"}
        for name, row in rows.items():
            judged = compared(row, rows["erm"])
            peaks = self.result["peaks"]
            self.note(network, name, shared(judged, work, network.batch, peaks))
        if network.target is not None:
            found["epoch"] = self.epochs(run, data)

    def script(self, network: Network, name: str) -> Row:
        """timm's own script, which needs the memory that the others have finished with."""
        release()
        left = self.deadline - perf_counter()
        if left < 0:
            return dict(NOT_REACHED)
        setting = {
            "--batch-size": str(network.batch),
            "--num-classes": str(network.classes),
            "--img-size": str(network.shape[1]),
            "--workers": str(self.settings.workers),
            "--device": self.device,
        }
        return timm_script.measured(self.settings.timm_train, name, setting, left)

    def epochs(self, run: Run, data: Data) -> Row:
        """Whole epochs, including the smaller last batch."""
        if self.effort.spent:
            return dict(NOT_REACHED)
        try:
            return contenders.whole_epochs(run, data, count=2)
        except Exception as error:
            return {"error": one_line(error)}

    def methods(self, group: list[str], network: Network) -> None:
        """Each method against ERM, in a race of the two."""
        rows = self.result["networks"][network.name]["contenders"]
        rows |= {name: dict(NOT_REACHED) for name in group}
        if self.effort.spent:
            return
        data = network.whole_batches(network.data(self.device))
        try:
            erm = prepared(partial(self.method, network, "erm", data), self.effort)
        except Exception as error:
            rows |= {name: {"error": f"ERM's loop: {one_line(error)}"} for name in group}
            return
        for name in group:
            if self.effort.spent:
                break
            make = partial(self.method, network, name, data)
            raced = race({name: make}, self.effort, {"erm": erm})
            self.note(network, name, compared(raced[name], raced.get("erm", {})))
            self.write()

    def method(self, network: Network, name: str, data: Data) -> Contender:
        """One method, built when its turn comes."""
        settling = self.settings.settling if name.startswith(SETTLING) else 0
        return contenders.ours(network.run(self.settings.overrides, name), data, settling)

    def note(self, network: Network, name: str, row: Row) -> None:
        """Keep a row and print it."""
        self.result["networks"][network.name]["contenders"][name] = row
        print(f"{network.name}: {described(name, row)}", flush=True)

    def write(self) -> None:
        """Write the JSON with what is known so far."""
        found = self.result["networks"]
        self.result |= {"targets": targets(found), "not_measured": not_measured(found)}
        self.settings.out.mkdir(parents=True, exist_ok=True)
        write_json_atomically(self.target, self.result)
