"""Penn Treebank and WikiText-2 in ../shared/data are the original, of the known sizes."""

from pathlib import Path

import pytest
from hydra.utils import instantiate

from vicinal.cli.configs import compose

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data")
@pytest.mark.parametrize(
    ("name", "words", "different"),
    [
        ("ptb", (929_589, 73_760, 82_430), 10_000),
        ("wikitext2", (2_088_628, 217_646, 245_569), 33_278),
    ],
)
def test_a_text_has_as_many_words_as_its_papers_say(name, words, different):
    config = compose(f"dataset={name}", f"dataset.root={SHARED}").dataset
    data = instantiate(config, _convert_="all").load()
    assert (len(data.train), len(data.valid), len(data.test)) == words
    assert data.num_classes == different
    assert data.canonical is True
    assert int(data.train.ids.max()) == different - 1  # no word is in the other splits alone
