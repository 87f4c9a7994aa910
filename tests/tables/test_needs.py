"""What methods need of a network is found by trying, and agrees with what is known of some."""

from collections.abc import Iterator

import pytest
import torch
from composing import DETECTION, EVERY, TEXT, brief

from vicinal.tables import needs
from vicinal.tables.needs import Needs, built, needs_of

DUBIN = ("named stages", "BatchNorm", "residual blocks", "ViT")
KNOWN = {
    "erm": Needs(),
    "maxup_cutmix": Needs(),
    "pgdat": Needs(pixels=True),
    "augmix": Needs(pixels=True),
    "augmax": Needs(DUBIN, pixels=True, changes=True),
    "gradaug": Needs(("BatchNorm", "ViT"), pixels=True),  # LayerNorm has no first channels
    "patchup_soft": Needs(("named stages", "ViT")),  # a ViT has no maps
    "manifold_mixup": Needs(("named stages",)),  # vectors can be mixed, too
    "stochastic_depth": Needs(("residual blocks", "ViT"), changes=True),
    "scheduled_dropblock": Needs(("named stages", "residual blocks", "ViT"), beyond="`progress`"),
    "knn_mixup": Needs(beyond="the data (`attach`), `rows`"),
    "mean_teacher": Needs(changes=True, beyond="`unlabelled`"),
    "next_word": Needs(beyond="text", classifies=False),
}


@pytest.fixture(autouse=True)
def own_draws() -> Iterator[None]:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("name", KNOWN)
def test_needs_are_those_that_are_known(name: str) -> None:
    method = built(name)
    assert needs_of(method if name == "next_word" else brief(method)) == KNOWN[name]


def lines() -> list[list[str]]:
    return [[cell.strip() for cell in each.split("|")[1:-1]] for each in needs.needs().splitlines()]


def test_every_method_has_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "built", lambda name: name)
    monkeypatch.setattr(needs, "needs_of", lambda _: Needs())
    assert [line[0] for line in lines()[2:]] == [f"`{name}`" for name in EVERY]


def test_a_line_says_what_a_network_must_have(monkeypatch: pytest.MonkeyPatch) -> None:
    methods = {name: built(name) for name in ("augmax", "gradaug", "erm", "next_word")}
    found = {id(method): KNOWN[name] for name, method in methods.items()}
    monkeypatch.setattr(needs, "built", methods.get)
    monkeypatch.setattr(needs, "needs_of", lambda each: found.get(id(each), Needs(pixels=True)))
    head, _, *others = lines()
    told = {
        line[0]: {k: v for k, v in zip(head[1:], line[1:], strict=True) if v} for line in others
    }
    every = dict.fromkeys(
        ("named stages", "BatchNorm", "residual blocks", "pixels in [0, 1]"), "yes"
    )
    assert told["`augmax`"] == {**every, "ViT": "no", "changes the network": "yes"}
    anywhere = {"any network": "yes", "ViT": "yes"}
    assert told["`augmax` with `norm=bn`"] == {**anywhere, "pixels in [0, 1]": "yes"}
    assert told["`erm`"] == anywhere
    assert told["`gradaug`"] == {"BatchNorm": "yes", "ViT": "no", "pixels in [0, 1]": "yes"}
    assert told["`next_word`"] == {"beyond images and labels": "text"}


@pytest.mark.slow
def test_the_table_is_made_of_all_methods() -> None:
    table = needs.needs()
    assert "| `augmax` with `norm=bn` | yes |  |  |  | yes | yes |  |  |" in table
    assert table.count("`unlabelled`") == 2
    assert table.count(" text |") == len(TEXT)
    assert table.count(" objects in photos |") == len(DETECTION)
