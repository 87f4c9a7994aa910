"""Configs as plain containers are those that Hydra and OmegaConf make."""

import pytest
from omegaconf import DictConfig, OmegaConf

from vicinal.cli import configs
from vicinal.cli.nodes import compose_node
from vicinal.cli.overrides import parse
from vicinal.tables import plain, table
from vicinal.tables.plain import NotSimpleError
from vicinal.tables.plan import compose_cached, compose_plain, plan_run

GROUPS = ("dataset", "model", "method", "optimizer", "schedule", "evaluation", "init", "clean")
# Each of them refers to something, is odd, or is wrong.
LINES = (
    "seed=3",
    "+method.chunk=8",
    "method.vicinity.alpha=0.5",
    "method.vicinity={alpha: 0.25}",
    "method.vicinity={alhpa: 0.25}",
    "method.vicinity=null",
    "+method.vicinity={alpha: 0.25}",
    "+method.vicinity={beta: {gamma: [1, 2]}}",
    "method.vicinity=[1,2]",
    "method.vicinity.alpha={a: 1}",
    "optimizer.lr=null",
    "+optimizer.lr=0.3",
    "optimizer.rl=0.3",
    "optimizer.lr=???",
    "optimizer.lr=${seed}",
    "results=${out}/elsewhere",
    "results='${out}'",
    "results='${oc.env:HOME}'",
    "results='\\${out}'",
    "dataset.mean=[0.1,0.2,0.3]",
    "dataset.mean[0]=0.1",
    "dataset.mean.0=0.1",
    "+dataset.canonical.more=x",
    "+new.deep.key=1",
    "schedule.curve.milestones=[0.25]",
)


def outcome(lines: tuple[str, ...], quick: bool) -> object:
    """The config that is recorded, or what is wrong with it."""
    try:
        if quick:
            return plain.recorded(compose_plain(lines)[0])
        return configs.recorded(by_omegaconf(lines))
    except NotSimpleError:
        return NotSimpleError
    except Exception as error:
        return type(error), str(error).splitlines()[0]


def by_omegaconf(lines: tuple[str, ...]) -> DictConfig:
    groups = [line for line in lines if "/" not in line and line.partition("=")[0] in GROUPS]
    config = OmegaConf.create(compose_plain(tuple(groups))[0], flags={"struct": True})
    for line in lines:
        if line not in groups:
            each = parse(line)
            OmegaConf.update(config, each.key_or_group, each.value(), force_add=each.is_add())
    return config


@pytest.mark.parametrize("line", LINES)
def test_what_plain_containers_do_is_what_omegaconf_does(line: str) -> None:
    lines = ("method=mixup", line)
    quick = outcome(lines, quick=True)
    if quick is not NotSimpleError:
        assert quick == outcome(lines, quick=False)


def test_what_is_odd_or_wrong_is_left_to_omegaconf() -> None:
    refused = [line for line in LINES if outcome(("method=mixup", line), True) is NotSimpleError]
    simple = {0, 1, 2, 3, 10, 14, 16, 19, 20, 24}
    assert refused == [line for number, line in enumerate(LINES) if number not in simple]


@pytest.mark.parametrize("name", table.names())
def test_a_cell_is_planned_without_omegaconf_and_alike(name: str) -> None:
    """Of one run of each table."""
    lines = next(cell.overrides for cell in table.load(name).cells if cell.overrides)
    tree, choices = compose_plain(lines)
    config, chosen = compose_cached(lines)
    assert (tree, choices) == (OmegaConf.to_container(config), chosen)
    for key, value in tree["dataset"].items():
        if value == "???":
            config.dataset[key] = ""
    assert plan_run(lines).config == configs.recorded(config)


def test_what_is_planned_is_not_shared() -> None:
    tree, choices = compose_plain(("method=mixup",))
    tree["method"]["vicinity"]["alpha"], choices["method"] = "changed", "changed"
    tree["dataset"]["mean"].append(0.0)
    again, chosen = compose_plain(("method=mixup",))
    assert again["method"]["vicinity"]["alpha"] == 1.0
    assert chosen["method"] == "mixup"
    assert len(again["dataset"]["mean"]) == 3


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
def test_a_node_by_itself_is_that_of_the_whole(group: str) -> None:
    for option in sorted(configs.options(group)):
        if group == "dataset" and option in ("coco", "detection", "ptb", "text", "wikitext2"):
            continue  # they choose networks and methods of their own
        node, choices = compose_node(group, option, ())
        whole = configs.compose(f"{group}={option}", with_hydra=True)
        assert node == OmegaConf.to_container(whole[group])
        assert choices.items() <= dict(whole.hydra.runtime.choices).items()
