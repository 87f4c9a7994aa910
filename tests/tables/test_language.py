"""The runs of MaxUp's Tables 6 and 7: language models by the settings of its base code."""

from typing import Any

import pytest

from vicinal.storage.evaluations import key
from vicinal.tables import table
from vicinal.tables.cell import Cell
from vicinal.tables.plan import plan_evaluation, plan_run
from vicinal.tables.results import RecordIndex

TABLES = {"maxup/table6": "ptb", "maxup/table7": "wikitext2"}
QUOTED = "AWD-LSTM (Merity et al., 2018)"
OURS = "ADV-AWD-LSTM + MaxUp"
METHODS = {
    QUOTED: "next_word",
    "ADV-AWD-LSTM (Wang et al., 2019)": "adversarial_softmax",
    OURS: "maxup_words",
}
DROPOUTS = {"maxup/table6": (0.3, 0.25, 0.4, 0.4), "maxup/table7": (0.5, 0.2, 0.4, 0.65)}
BATCH, NOISE = {"ptb": 20, "wikitext2": 80}, {"ptb": 0.15, "wikitext2": 0.175}
EPOCHS = {"ptb": 500, "wikitext2": 750}  # of the quoted row


def cells(name: str, measures: str = "perplexity") -> list[Cell]:
    """Those of one softmax that can be run, or counted."""
    found = [cell for cell in table.load(name).cells if cell.runnable]
    found = [cell for cell in found if "model=awd_lstm" in cell.overrides]
    return [cell for cell in found if cell.measures == measures]


def method(cell: Cell) -> str:
    return METHODS[cell.row[-1]]


@pytest.mark.parametrize("name", TABLES)
def test_each_row_trains_by_its_method_on_its_text(name: str) -> None:
    assert len(cells(name)) == 10
    for cell in cells(name):
        run = plan_run(cell.overrides)
        assert run.name.split("/")[:3] == [TABLES[name], "awd_lstm", method(cell)]
        assert (cell.report, cell.better, cell.unit) == ("best_valid", "lower", "")


@pytest.mark.parametrize("name", TABLES)
def test_the_settings_are_those_of_the_base_code(name: str) -> None:
    given, between, last, quoted = DROPOUTS[name]
    for cell in cells(name):
        config = plan_run(cell.overrides).config
        model, dataset = config["model"], TABLES[name]
        assert model["input_dropout"] == (quoted if cell.row[-1] == QUOTED else given)
        assert (model["hidden_dropout"], model["output_dropout"]) == (between, last)
        assert (model["embedding"], model["hidden"], model["layers"]) == (400, 1150, 3)
        assert config["schedule"]["batch_size"] == BATCH[dataset]
        optimizer = {key: config["optimizer"][key] for key in ("lr", "clip_norm", "weight_decay")}
        assert optimizer == {"lr": 30, "clip_norm": 0.25, "weight_decay": 1.2e-6}


@pytest.mark.parametrize("name", TABLES)
def test_maxup_alone_has_two_copies_and_the_quoted_recipe_no_noise(name: str) -> None:
    for cell in cells(name):
        found = plan_run(cell.overrides).config["method"]
        assert found["copies"] == (2 if cell.row[-1] == OURS else 1)
        assert found["epsilon"] == (0.0 if cell.row[-1] == QUOTED else 0.005)
        noise = None if cell.row[-1] == QUOTED else NOISE[TABLES[name]]
        assert found["features"].get("sigma") == noise
        assert (found["word_dropout"]["p"], found["alpha"], found["beta"]) == (0.1, 2.0, 1.0)


@pytest.mark.parametrize("name", TABLES)
def test_averaging_begins_after_200_epochs_of_every_run(name: str) -> None:
    for cell in cells(name):
        config, dataset = plan_run(cell.overrides).config, TABLES[name]
        schedule, own = config["schedule"], cell.row[-1] != QUOTED
        assert schedule["epochs"] == (4000 if own else EPOCHS[dataset])
        assert schedule["restarts"] == (2 if own else 1)
        assert round(config["optimizer"]["mean_from"] * schedule["epochs"]) == 200


@pytest.mark.parametrize("name", TABLES)
def test_the_numbers_are_measured_as_the_base_code_does(name: str) -> None:
    """Rows with dynamic evaluation measure the networks of those without."""
    kinds = {(cell.row[0], cell.evaluation) for cell in cells(name)}
    assert {kind for kind in kinds if kind[1] == "dynamic"} == {
        ("+ dynamic evaluation (Krause et al., 2018)", "dynamic")
    }
    assert len(kinds) == 3
    for cell in cells(name):
        assert cell.metric == f"{cell.column[0].lower()}_perplexity"
    runs = {plan_run(cell.overrides).name for cell in cells(name)}
    assert len(runs) == 3


@pytest.mark.parametrize(
    ("name", "count", "verdict"),
    [("maxup/table6", 24.2216, "equal"), ("maxup/table7", 33.556078, "unequal")],
)
def test_parameters_are_counted_without_a_run(name: str, count: float, verdict: str) -> None:
    """33.56 rounds to 34: the paper cuts the decimals off."""
    found = [RecordIndex([]).outcome(cell) for cell in cells(name, "parameters")]
    assert {each.counted for each in found} == {count}
    assert {each.verdict for each in found} == {verdict}
    assert {int(count) == each.cell.value for each in found} == {True}
    assert len(found) == 6


def test_a_number_is_that_of_its_evaluation_and_text() -> None:
    numbers = {"perplexity": (56.0, 54.0), "dynamic": (51.0, 50.0)}
    own = [cell for cell in cells("maxup/table6") if cell.row[-1] == OURS]
    run, entries = plan_run(own[0].overrides), dict[str, Any]()
    for name, (valid, test) in numbers.items():
        config = plan_evaluation(name, run.config)
        metrics = {"valid_perplexity": valid, "test_perplexity": test}
        entry = {"name": name, "config": config, "report": "best_valid", "metrics": metrics}
        entries[key(name, "best_valid", config)] = entry
    record = {"name": run.name, "seed": 0, "config": run.config | {"reduced": []}}
    record |= {"data": {"canonical": True}, "evaluations": entries}
    found = [RecordIndex([record]).outcome(cell).values for cell in own]
    assert found == [{0: 56.0}, {0: 54.0}, {0: 51.0}, {0: 50.0}]
