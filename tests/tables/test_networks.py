"""Parameters and multiply-adds, counted without a run."""

import pytest
from table_samples import TABLE

from vicinal.cli.configs import compose, recorded
from vicinal.data.size import Size
from vicinal.tables.counts import coverage
from vicinal.tables.networks import counts
from vicinal.tables.results import RecordIndex, TableResults
from vicinal.tables.table import Table

# Multiply-adds of WRN-28-10's convolutions and classifier on 32 x 32 pixels, layer by layer.
WIDTHS = ((16, 160, 1024), (160, 320, 256), (320, 640, 64))
WRN = 27 * 16 * 1024 + 640 * 10
WRN += sum(pixels * (9 * a * b + 7 * 9 * b * b + a * b) for a, b, pixels in WIDTHS)


@pytest.mark.parametrize(
    ("measures", "unit", "printed", "ours", "verdict"),
    [
        ("parameters", "M", "36.5", 36.479194, "equal"),
        ("parameters", "M", "36.47", 36.479194, "unequal"),
        ("multiply_adds", "G", "5.2", WRN / 1e9, "equal"),
    ],
)
def test_what_a_network_costs_is_counted_without_a_run(
    measures: str, unit: str, printed: str, ours: float, verdict: str
) -> None:
    """WRN-28-10 at 32 pixels has 36.5 M parameters (Zagoruyko and Komodakis)."""
    rows = [{"label": "CIFAR-10", "printed": [printed, None, None]}]
    tree = {**TABLE.tree, "measures": measures, "unit": unit, "rows": rows, "claims": []}
    made = Table("paper/size", tree)
    found = RecordIndex([]).outcome(made.cells[0])
    assert (found.mean, found.verdict) == (pytest.approx(ours, abs=1e-9), verdict)
    assert "| paper | 1 | 1 | 0 | 0 | 1 | 0 | 0 |" in coverage([made])


def test_multiply_adds_are_those_of_the_size_that_is_trained_on() -> None:
    run = ["dataset=imagenet", "model=wrn10_2"]
    counts = []
    for size in (64, 128):
        rows = [{"label": "x", "printed": ["1", None, None], "run": [f"dataset.size={size}"]}]
        more = {"measures": "multiply_adds", "unit": "M", "run": run, "rows": rows, "claims": []}
        made = Table("paper/size", {**TABLE.tree, **more})
        counts.append(RecordIndex([]).outcome(made.cells[0]).counted)
    classifier = 128 * 1000 / 1e6  # which sees one pixel at any size
    assert counts[1] - classifier == pytest.approx(4 * (counts[0] - classifier))


@pytest.mark.parametrize(("vocabulary", "parameters"), [(10_000, 24_221_600), (33_278, 33_556_078)])
def test_a_language_model_is_counted_word_by_word(vocabulary: int, parameters: int) -> None:
    """Each LSTM has four gates, which see its input and what it said of the word before."""
    size = Size(train=1000, test=100, shape=(), classes=vocabulary)
    found = counts(recorded(compose("model=awd_lstm"))["model"], size)
    widths = ((400, 1150), (1150, 1150), (1150, 400))
    gates = sum(4 * out * (into + out) for into, out in widths)
    assert found.parameters == parameters
    assert found.multiply_adds == gates + 400 * vocabulary
    assert found.layers == 3


def test_orderings_of_what_is_counted_are_counted_apart() -> None:
    small = {"label": "small", "run": ["dataset=cifar10", "model=wrn10_2"]}
    large = {"label": "large", "run": ["dataset=cifar10", "model=wrn16_4"]}
    size = {"measures": "parameters", "unit": "M", "run": [], "stub": [""]}
    rows = [{"label": "x", "printed": ["1", "2"]}]
    claims = [{"says": "small is smaller", "better": "small", "than": ["large"]}]
    tree = {"caption": "Sizes", "columns": [small, large], "rows": rows, "claims": claims} | size
    joined = TableResults.of(Table("paper/sizes", tree), RecordIndex([]))
    assert joined.exact_verdicts["ordering holds"] == 1
    assert joined.ordering_verdicts == {}


def test_a_detector_is_counted_photo_by_photo() -> None:
    """Its trunk's arithmetic follows the photo's area; that of the heads does not."""
    model = recorded(compose("dataset=coco"))["model"]
    at = {
        side: counts(model, Size(train=1000, test=100, shape=(3, side, side), classes=80))
        for side in (224, 448)
    }
    heads = 512 * (256 * 49 * 1024 + 1024**2 + 1024 * 81 * 5)
    heads += 128 * (4 * 256 * 256 * 9 * 196 + 256 * 256 * 4 * 196 + 256 * 81 * 784)
    trunk, larger = (each.multiply_adds - heads for each in at.values())
    assert larger == pytest.approx(4 * trunk, rel=0.01)
    assert trunk > 4.08e9  # ResNet-50's, without its classifier
    assert at[224].parameters == at[448].parameters == pytest.approx(44.4e6, rel=0.005)
