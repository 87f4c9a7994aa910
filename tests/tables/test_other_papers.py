"""Rows that papers quote from others: their runs, counts, and why some cannot be run."""

import pytest

from vicinal.tables import table
from vicinal.tables.cell import Cell
from vicinal.tables.plan import plan_evaluation, plan_run
from vicinal.tables.results import RecordIndex

SALMAN, MOS, FRAGE = "Salman et al. (2019)", "Yang et al., 2018", "Gong et al., 2018"
PROXYLESS = {  # the count of the network, printed in the row
    "ProxylessNet-CPU": ("proxyless_cpu", 4.361648, 7.12),
    "ProxylessNet-GPU": ("proxyless_gpu", 7.119848, 4.36),
    "ProxylessNet-Mobile\u00d71.4": ("proxyless_mobile14", 6.857568, 6.86),
}


def row(name: str, label: str) -> list[Cell]:
    return [cell for cell in table.load(name).cells if label in " ".join(cell.row)]


@pytest.mark.parametrize(
    ("name", "dataset", "rate", "batch", "widths", "dropouts"),
    [
        ("maxup/table6", "ptb", 20, 12, (280, 960, 620), (0.4, 0.225)),
        ("maxup/table7", "wikitext2", 15, 15, (300, 1150, 650), (0.55, 0.2)),
    ],
)
def test_mixtures_of_softmaxes_are_trained_as_their_readme_says(
    name: str,
    dataset: str,
    rate: float,
    batch: int,
    widths: tuple[int, ...],
    dropouts: tuple[float, ...],
) -> None:
    found, *trained = row(name, MOS)
    outcome = RecordIndex([]).outcome(found)
    assert (outcome.counted, outcome.verdict) == (pytest.approx(found.value, abs=0.5), "equal")
    for cell in trained:
        run = plan_run(cell.overrides)
        config = run.config
        assert run.name.split("/")[:3] == [dataset, "mos_awd_lstm", "next_word"]
        model, schedule, optimizer = (config[key] for key in ("model", "schedule", "optimizer"))
        assert tuple(model[key] for key in ("embedding", "hidden", "last_hidden")) == widths
        assert (model["layers"], model["experts"]) == (3, 15)
        assert (model["input_dropout"], model["hidden_dropout"]) == dropouts
        rest = [model[f"{key}_dropout"] for key in ("output", "latent", "weight")]
        assert rest == [0.4, 0.29, 0.5]
        assert (schedule["batch_size"], schedule["epochs"], schedule["restarts"]) == (
            batch,
            1000,
            1,
        )
        assert (optimizer["lr"], optimizer["mean_from"]) == (rate, 0.2)
        assert (optimizer["clip_norm"], optimizer["weight_decay"]) == (0.25, 1.2e-6)
        assert config["method"]["word_dropout"]["p"] == 0.1


@pytest.mark.parametrize(
    ("name", "count"), [("maxup/table6", 24.2216), ("maxup/table7", 33.556078)]
)
def test_frage_is_counted_as_the_network_that_it_trains(name: str, count: float) -> None:
    counted, *rest = row(name, FRAGE)
    assert RecordIndex([]).outcome(counted).counted == count
    assert [cell.runnable for cell in rest] == [False, False]


def test_smoothadvs_models_are_those_of_its_authors_grid() -> None:
    cells = row("maxup/table8", SALMAN)
    assert [cell.part for cell in cells[:3]] == ["0.25", "0.5", "0.75"]
    assert len({cell.runs[0] for cell in cells}) == 1
    runs = [plan_run(lines) for lines in cells[0].runs]
    assert len({run.name for run in runs}) == 192
    for run in runs:
        method, schedule = run.config["method"], run.config["schedule"]
        assert method["_target_"].endswith("SmoothAdv")
        assert method["copies"] * schedule["batch_size"] == 256
        assert method["epsilon"] * 256 in (64, 127, 255, 512)
        assert method["warmup"] * schedule["epochs"] == pytest.approx(10)
    best = {  # of their list of June 2019, at some printed radii: σ, ε, T and m
        ("0.12", "0.25", "10", "4"),
        ("0.25", "0.99609375", "10", "8"),
        ("0.5", "2.0", "2", "8"),
        ("0.5", "2.0", "4", "1"),
        ("1.0", "2.0", "10", "2"),
    }
    keys = ("method.vicinity.sigma", "method.epsilon", "method.steps", "method.copies")
    lines = [dict(line.split("=", 1) for line in each) for each in cells[0].runs]
    assert best <= {tuple(line[key] for key in keys) for line in lines}


def test_a_smoothed_network_is_certified_with_the_noise_that_it_was_trained_with() -> None:
    for cell in row("maxup/table8", SALMAN)[:1]:
        for lines in cell.runs:
            config = plan_run(lines).config
            sigma = plan_evaluation("certified", config)["sigma"]
            assert f"method.vicinity.sigma={sigma}" in lines


@pytest.mark.parametrize("label", PROXYLESS)
def test_proxyless_networks_are_fine_tuned_from_a_file(label: str) -> None:
    size, adds, *trained = row("maxup/table2", label)
    model, count, printed = PROXYLESS[label]
    assert RecordIndex([]).outcome(size).counted == pytest.approx(count)
    assert size.value == printed
    assert 0.9 < RecordIndex([]).outcome(adds).counted / adds.value < 1
    methods = []
    for cell in trained:
        run = plan_run(cell.overrides)
        config = run.config
        methods.append(run.name.split("/")[2])
        assert run.name.split("/")[:2] == ["imagenet", model]
        assert config["init"]["path"] == f"data/{model}.pth"
        elsewhere = (*cell.overrides, "init.path=/tmp/other.pth")
        assert plan_run(elsewhere).name == run.name
        schedule, optimizer = config["schedule"], config["optimizer"]
        assert (schedule["epochs"], schedule["batch_size"], optimizer["lr"]) == (20, 256, 1e-5)
    assert methods == ["cutmix", "maxup_cutmix"]


def test_what_cannot_be_run_says_so_in_one_sentence() -> None:
    rows = [
        *(("maxup/table6", "NAS-RNN"), ("maxup/table6", FRAGE), ("maxup/table7", FRAGE)),
        ("augmax/table6", "ANT"),
    ]
    for name, label in rows:
        said = {cell.unavailable for cell in row(name, label)} - {None}
        (sentence,) = said
        assert sentence is not None
        assert sentence.endswith(".")
        assert ". " not in sentence
