"""A few steps of every method, network and model in every form: do they run, with equal losses?

Items are KIND=NAME.FORM. Methods train wrn10_2 on whole batches, those for text AWD-LSTM. The
networks of the benches also go through an epoch's smaller last batch and an evaluation, so that
what their runs need is compiled before they are timed. The other models take a few images.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

from benches.drawn import composed, drawn_data, drawn_text, methods, names
from benches.networks import SAFE, known_networks
from benches.racing import Row, now

from gpu_session.forms import EAGER, forms
from vicinal.cli.configs import build, compose
from vicinal.data.dataset import RunData
from vicinal.loop import Loop
from vicinal.run import Run

Evaluate = Callable[[], Row]

STEPS = 4  # graphs are warmed up, recorded, replayed, and replayed again
METHODS_ON = "wrn10_2"
ODD = 80  # images of the last batch: what 50,000 leave after whole batches of 128
EVALUATED = 1000  # images: one batch of an evaluation
REHEARSED = 6  # one in so many methods in all forms, the others in one form
ELSEWHERE = (  # families, what needs a download, and what is not for images or not a classifier
    *("timm", "resnet152d_gluon", "mlp"),
    *("awd_lstm", "mos_awd_lstm", "mask_rcnn"),
)


def items(rehearse: bool) -> list[str]:
    """In order: networks, which take long to compile and are timed later; methods; other models."""
    kinds, known = forms(rehearse), known_networks(rehearse)
    found = [f"network={n.name}.{form}" for form in reversed(kinds) for n in known]
    for number, name in enumerate(methods()):
        some = kinds if not rehearse or number % REHEARSED == 0 else EAGER[:1]
        found += [f"method={name}.{form}" for form in some]
    for name in methods(text=True):
        found += [f"words={name}.{form}" for form in kinds if form != "channels_last"]
    models = [name for name in names("model") if name not in ELSEWHERE]
    models = models[-1 if rehearse else 0 :]
    return found + [f"model={name}.{form}" for name in models for form in EAGER]


def measure(item: str, folder: Path, rehearse: bool) -> Row:
    """The losses and seconds of each step."""
    subject, _, form = item.rpartition(".")
    kind, _, name = subject.partition("=")
    words = forms(rehearse)[form].split()
    build = {"method": method, "words": words_method, "network": network, "model": model}[kind]
    began = now()
    loop, evaluate = build(name, words, rehearse)
    seconds, losses = [now() - began], []
    for _ in islice(loop.steps(), STEPS):
        losses.append(loop.losses[-1][0].item())
        seconds.append(now() - began - sum(seconds))
    loop.check()
    return {"losses": losses, "seconds": seconds} | evaluate()


def method(name: str, words: list[str], rehearse: bool) -> tuple[Loop, Evaluate]:
    """A method, on a small network."""
    batch = 8 if rehearse else 64
    settings = f"schedule.batch_size={batch}", f"model={METHODS_ON}", f"method={name}", SAFE
    run = composed(*settings, *words)
    run.runtime.start()
    return run.loop(drawn_data(STEPS * batch, run.runtime.target)), dict


def words_method(name: str, words: list[str], rehearse: bool) -> tuple[Loop, Evaluate]:
    """A method for text, on Penn Treebank's sizes or small ones."""
    small = "model.embedding=16 model.hidden=24".split() if rehearse else []
    run = build(compose("dataset=ptb", f"method={name}", *small, *words))
    run.runtime.start()
    columns = run.schedule.batch_size
    data = drawn_text(columns * 100 * STEPS, run.runtime.target, 50 if rehearse else 10_000)
    loop = run.loop(data)
    return loop, partial(evaluated, run, loop, data)


def model(name: str, words: list[str], rehearse: bool) -> tuple[Loop, Evaluate]:
    """A model, on few images."""
    run = composed("schedule.batch_size=4", f"model={name}", SAFE, *words)
    run.runtime.start()
    return run.loop(drawn_data(4 * STEPS, run.runtime.target)), dict


def network(name: str, words: list[str], rehearse: bool) -> tuple[Loop, Evaluate]:
    """A network of the benches, to the end of a short epoch."""
    (found,) = [each for each in known_networks(rehearse) if each.name == name]
    run = found.run(words)
    run.runtime.start()
    images = found.batch * (STEPS - 1) + min(ODD, found.batch // 2)
    drawn = partial(drawn_data, device=run.runtime.target, shape=found.shape, classes=found.classes)
    data = replace(drawn(images), test=drawn(16 if rehearse else EVALUATED).test)
    loop = run.loop(data)
    return loop, partial(evaluated, run, loop, data)


def evaluated(run: Run, loop: Loop, data: RunData) -> Row:
    """What an evaluation after the steps finds, and its seconds."""
    began = now()
    measured = run.measure(loop.network, data)
    return {"test_nll": measured["test_nll"], "evaluate_seconds": now() - began}
