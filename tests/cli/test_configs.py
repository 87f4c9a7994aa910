"""Every config that we ship passes its own checks."""

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from vicinal.cli.configs import CONFIGS, SEVERAL, check, settings
from vicinal.cli.configs import compose as uncached
from vicinal.tables.plan import compose_cached


def groups() -> list[tuple[str, str]]:
    found = (path.relative_to(CONFIGS).with_suffix("") for path in CONFIGS.glob("*/*.yaml"))
    return sorted((path.parent.as_posix(), path.name) for path in found)


# Everything else is written out, so that `key=value` works without a + and --cfg job shows it.
UNWRITTEN = {
    "model": {"num_classes", "shape"},  # the data's
    "schedule": {"warmup_method"},  # chosen with method@schedule.warmup_method=NAME
    "method/patchup_hard": {"alpha"},  # soft PatchUp's
    **{f"vicinity/{option}": {"among"} for option in ("mixup", "mixup_manifold")},
    **{
        f"method/maxup_{vicinity}": {"selection"}
        for vicinity in ("cutmix", "cutout", "gauss", "mixup")
    },
}


BESIDE = {"certified": ["method=gauss"]}  # whose noise it copies
PLACES = {
    "vicinity": "vicinity@method.vicinity",
    "sets": "sets@evaluation.corrupted.sets",
    "attack": "attack@evaluation.attacked.attacks.pgd",
}


@pytest.mark.parametrize(("group", "option"), groups())
def test_every_config_that_we_ship_passes_and_writes_out_its_settings(
    group: str, option: str
) -> None:
    place = PLACES.get(group, group)
    config, choices = compose_cached(
        ["evaluation=[corrupted,attacked]", f"{place}={option}", *BESIDE.get(option, ())]
    )
    assert choices[place] == option
    for key in OmegaConf.missing_keys(config[group]) if group in config else ():
        OmegaConf.update(config, key, "given")
    node = OmegaConf.select(config, place.rpartition("@")[2])
    node = node[option] if group in SEVERAL else node
    unwritten = UNWRITTEN.get(group) or UNWRITTEN.get(f"{group}/{option}", set())
    assert set(settings(node["_target_"]) or ()) - set(node) == unwritten
    check(config, choices)


def test_a_config_is_composed_while_hydra_runs_another() -> None:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        running = GlobalHydra.instance().hydra
        assert running is not None
        assert uncached("seed=3").seed == 3
        assert GlobalHydra.instance().hydra is running
