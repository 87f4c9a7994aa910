"""Texts in files of any form: their words, their checksums, their download."""

import gzip
import hashlib
import lzma
from pathlib import Path

import pytest
from hydra.utils import instantiate
from oracles.words import numbered
from wording import says

from vicinal.cli.configs import compose
from vicinal.data import language
from vicinal.data.dataset import Dataset
from vicinal.data.download import DownloadError, RemoteFile
from vicinal.data.language import Language, own_text
from vicinal.errors import RunError

PARTS = ("train", "valid", "test")
TEXTS = {
    "train": " no it was n't black monday \n\n but <unk> N =\t= \u65e5\u672c \n",
    "valid": "\n was it\u00a0black ? \n",
    "test": " never monday",
}


def write(root: Path, texts: dict[str, str] = TEXTS, name: str = "{}.txt") -> list[Path]:
    root.mkdir(exist_ok=True)
    paths = [root / name.format(part) for part in PARTS]
    for path, part in zip(paths, PARTS, strict=True):
        path.write_text(texts[part], encoding="utf-8", newline="")
    return paths


def published(root: Path, url: str = "http://nowhere.invalid") -> tuple[RemoteFile, ...]:
    """The texts as the files of Penn Treebank."""
    files = []
    for file, path in zip(language.PTB, write(root), strict=True):
        content = path.read_bytes()
        checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
        files.append(RemoteFile(file.name, (f"{url}/{path.name}",), checksum, len(content)))
    return tuple(files)


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_words_and_their_numbers_equal_the_literal_reader(tmp_path, ends):
    paths = write(tmp_path, {part: text.replace("\n", ends) for part, text in TEXTS.items()})
    texts, words = numbered(paths)
    found = own_text(tmp_path)
    assert [found.texts[part].ids.tolist() for part in PARTS] == texts
    assert found.words == tuple(words)
    assert texts[2][-1] == words.index("<eos>")  # also where the last line has no end


def test_every_line_ends_also_an_empty_one(tmp_path):
    write(tmp_path, {"train": "a b\n\n\nc\n", "valid": "\n", "test": "a"})
    found = own_text(tmp_path)
    assert found.words == ("a", "b", "<eos>", "c")
    assert found.texts["train"].ids.tolist() == [0, 1, 2, 2, 2, 3, 2]
    assert found.texts["valid"].ids.tolist() == [2]


def test_packed_files_hold_the_same_text(tmp_path):
    write(tmp_path)
    plain = own_text(tmp_path)
    for pack, form in ((lzma.compress, ".xz"), (gzip.compress, ".gz")):
        folder = tmp_path / form
        for path in write(folder):
            path.with_name(f"{path.name}{form}").write_bytes(pack(path.read_bytes()))
            path.unlink()
        packed = own_text(folder)
        assert packed.fingerprint == plain.fingerprint
        assert packed.words == plain.words
        assert packed.texts["train"].ids.tolist() == plain.texts["train"].ids.tolist()


def test_a_fingerprint_is_of_the_words_of_each_split(tmp_path):
    spaced = {part: text.replace(" ", "  ") for part, text in TEXTS.items()}
    write(tmp_path / "a", spaced)
    write(tmp_path / "b", TEXTS | {"valid": "\n was it black . \n"})
    write(tmp_path / "c")
    first, second, third = (own_text(tmp_path / name).fingerprint for name in "abc")
    assert first == third
    assert {part for part in PARTS if second[part] != third[part]} == {"valid"}


def test_ones_own_text_is_read_by_its_config(tmp_path):
    write(tmp_path / "novels")
    config = compose("dataset=text", f"dataset.root={tmp_path}/novels", "dataset.bptt=35").dataset
    dataset = instantiate(config, _convert_="all")
    assert isinstance(dataset, Dataset)
    assert dataset.name == "novels"
    data = dataset.load()
    assert (len(data.train), data.num_classes, data.bptt) == (15, 14, 35)
    assert data.canonical is None
    assert data.batches(1, 0).bptt == 35


def test_files_that_are_missing_are_named(tmp_path):
    write(tmp_path)
    (tmp_path / "valid.txt").unlink()
    with pytest.raises(RunError, match=says("dataset.root ... without valid.txt")):
        own_text(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"\xff\xfe", "UTF-8"), (b"", "words ... valid")],
)
def test_a_text_without_words_is_refused(tmp_path, content, said):
    write(tmp_path)
    (tmp_path / "valid.txt").write_bytes(content)
    with pytest.raises(RunError, match=says(said)):
        own_text(tmp_path)


@pytest.mark.parametrize("form", [".xz", ".gz"])
def test_a_packed_file_that_is_damaged_is_named(tmp_path, form):
    write(tmp_path)
    (tmp_path / "valid.txt").rename(tmp_path / f"valid.txt{form}")
    with pytest.raises(RunError, match=says(f"valid.txt{form} ... readable")):
        own_text(tmp_path)


@pytest.fixture
def ptb(tmp_path, monkeypatch, web):
    files = published(tmp_path / "published", web.url)
    for path in (tmp_path / "published").iterdir():
        web.files[f"/{path.name}"] = path.read_bytes()
    monkeypatch.setattr(language, "PTB", files)
    language.ptb.cache_clear()
    yield
    language.ptb.cache_clear()


def test_the_original_is_downloaded_once_and_known_for_it(tmp_path, ptb, web):
    root = tmp_path / "data"
    size = {"classes": 14, "train": 15, "valid": 6, "test": 3, "shape": []}
    dataset = Language(name="ptb", source=language.ptb, root=str(root), known_size=size)
    data = dataset.load()
    assert data.canonical is True
    assert data.fingerprint == own_text(tmp_path / "published").fingerprint
    language.ptb.cache_clear()
    dataset.load()
    assert sorted(path for path, _ in web.asked) == ["/test.txt", "/train.txt", "/valid.txt"]
    assert sorted(path.name for path in (root / "ptb").iterdir()) == [
        "ptb.test.txt",
        "ptb.train.txt",
        "ptb.valid.txt",
    ]


def test_packed_originals_are_proved_by_the_checksum_of_what_they_hold(tmp_path, ptb, web):
    for path in write(tmp_path / "ptb", name="ptb.{}.txt"):
        path.with_name(f"{path.name}.xz").write_bytes(lzma.compress(path.read_bytes()))
        path.unlink()
    assert language.ptb(tmp_path).canonical is True
    assert web.asked == []
    language.ptb.cache_clear()
    other = tmp_path / "ptb" / "ptb.valid.txt.xz"
    other.write_bytes(lzma.compress(b"another text"))
    with pytest.raises(RunError, match=says("ptb.valid.txt.xz ... checksum")) as error:
        language.ptb(tmp_path)
    assert "\n" not in str(error.value)


def test_another_file_under_an_originals_name_is_refused(tmp_path, ptb):
    write(tmp_path / "ptb", TEXTS | {"test": "another text"}, name="ptb.{}.txt")
    with pytest.raises(DownloadError, match=says("ptb.test.txt ... checksum")):
        language.ptb(tmp_path)


def test_the_size_that_is_known_must_be_found(tmp_path):
    write(tmp_path)
    size = {"classes": 14, "train": 14, "valid": 6, "test": 3, "shape": []}
    with pytest.raises(RunError, match=says("^dataset.known_size ... 15 ... 14")):
        Language(name="a", source=own_text, root=str(tmp_path), known_size=size).load()
    with pytest.raises(ValueError, match=says("^known_size ... classes, train, valid, test")):
        Language(name="a", source=own_text, known_size={"classes": 3})


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(ValueError, match=says("^bptt ... at least 5 ... 4")):
        Language(name="a", source=own_text, bptt=4)
    with pytest.raises(ValueError, match=says("^name ... a/b")):
        Language(name="a/b", source=own_text)


@pytest.mark.parametrize("name", ["ptb", "wikitext2"])
def test_a_text_brings_its_measure_its_optimizer_and_its_schedule(name):
    config = compose(f"dataset={name}")
    assert config.clean["_target_"].endswith("Perplexity")
    assert (config.optimizer.mean_from, config.optimizer.lr) == (0.05, 30)
    assert (config.schedule.epochs, config.schedule.restarts) == (4000, 2)
    assert compose(f"dataset={name}", "schedule=cosine").schedule.restarts == 0
