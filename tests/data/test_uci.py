"""Files as UCI publishes them, but small: read in every form, proved, split, downloaded."""

import hashlib
import io
import lzma
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from sklearn.datasets import load_iris
from wording import says

from vicinal.data import uci
from vicinal.data.download import DownloadError, RemoteFile
from vicinal.data.iris import iris
from vicinal.data.split import Split
from vicinal.data.tabular import divided
from vicinal.data.uci import Uci
from vicinal.errors import RunError
from vicinal.vicinities.identity import Identity

CONFIGS = Path(__file__).parents[2] / "configs" / "dataset"
HEAD = ("@relation phishing", "", "@attribute SFH  { -1,1,0 }", "@attribute Result  { -1,1 }", "")


def table(source: Callable[[Path], Split], root: Path, **options) -> Uci:
    return Uci(name="small", source=source, root=str(root), **options)


def published(content: bytes, file: RemoteFile, url: str) -> RemoteFile:
    return RemoteFile(
        file.name, (url,), f"sha256:{hashlib.sha256(content).hexdigest()}", len(content)
    )


def htru2_lines(count: int = 10) -> list[str]:
    return [f"{k}.5,-{k}e-1,{k % 2}" for k in range(count)]


def htru2_zip() -> bytes:
    """As published: the lines end as on an old Macintosh, the last one not at all."""
    content = io.BytesIO()
    with ZipFile(content, "w") as archive:
        archive.writestr("HTRU_2.arff", "@data")
        archive.writestr("HTRU_2.csv", "\r".join(htru2_lines()))
    return content.getvalue()


def write_arcene(root: Path, *, packed: bool) -> None:
    for part, rows in (("train", range(6)), ("valid", range(6, 10))):
        data = "".join(f"{k} 0 {k * k} \n" for k in rows)  # lines end in a blank
        if packed:
            (root / f"arcene_{part}.data.xz").write_bytes(lzma.compress(f"\n{data}".encode()))
        else:
            (root / f"arcene_{part}.data").write_text(data)
        labels = "\n".join(f"{1 - 2 * (k % 2)}" for k in rows)
        (root / f"arcene_{part}.labels").write_text(labels + "\n" * packed)


def test_iris_is_scikit_learns_but_for_the_two_flowers_in_which_ucis_file_differs(tmp_path):
    whole = iris(tmp_path)
    corrected = torch.from_numpy(load_iris().data).float()
    assert torch.argwhere(whole.x != corrected).tolist() == [[34, 3], [37, 1], [37, 2]]
    assert whole.x[34].tolist() == whole.x[37].tolist() == pytest.approx([4.9, 3.1, 1.5, 0.1])
    assert whole.y.bincount().tolist() == [50, 50, 50]
    with initialize_config_dir(str(CONFIGS), version_base=None):
        data = instantiate(compose("uci_iris"), _convert_="all").load()
    assert data.canonical is True
    assert (len(data.train), len(data.test), data.num_classes) == (120, 30, 3)
    assert data.test.y.bincount().tolist() == [10, 10, 10]


def test_abalones_sex_is_three_columns_and_its_rings_are_the_class(tmp_path, monkeypatch):
    rings = [15, 9, 7, 15] + [9, 7, 15] * 8 + [29]
    lines = [f"{'MFI'[k % 3]},0.{k:03},0.5,{ring}" for k, ring in enumerate(rings)]
    content = "\n".join(lines).encode()
    (tmp_path / "abalone.data").write_bytes(content)
    monkeypatch.setattr(uci, "ABALONE", published(content, uci.ABALONE, "http://nowhere.invalid"))
    data = table(uci.abalone, tmp_path, standardize=False).load()
    assert data.train.x.shape[1] == 5
    assert data.num_classes == 4
    for x, y in zip(data.train.x, data.train.y, strict=True):
        k = round(1000 * x[3].item())
        assert x[:3].tolist() == [float(word == "MFI"[k % 3]) for word in "FIM"]
        assert [7, 9, 15, 29][y] == rings[k]
    # A sample that is alone in its class is trained on.
    assert data.train.y.bincount().tolist()[3] == 1
    assert data.test.y.unique().tolist() == [0, 1, 2]


@pytest.mark.parametrize("packed", [False, True])
def test_arcene_is_the_challenges_training_and_validation_set(tmp_path, packed):
    write_arcene(tmp_path, packed=packed)
    whole = uci.arcene(tmp_path)
    assert whole.x.tolist() == [[k, 0, k * k] for k in range(10)]
    assert whole.y.tolist() == [1 - k % 2 for k in range(10)]


def test_arcenes_labels_must_be_as_many_as_its_samples(tmp_path):
    write_arcene(tmp_path, packed=True)
    (tmp_path / "arcene_valid.labels").write_text("1\n-1\n")
    with pytest.raises(RunError, match=says("8 labels ... 10 samples")):
        uci.arcene(tmp_path)


def test_arrhythmias_question_marks_are_medians_of_training_rows(tmp_path, monkeypatch):
    lines = [f"{k},{'?' if k % 4 == 0 else k * k},?,{1 + k % 3 * 7}" for k in range(60)]
    content = "\n".join(lines).encode()
    (tmp_path / "arrhythmia.data").write_bytes(content)
    file = published(content, uci.ARRHYTHMIA, "http://nowhere.invalid")
    monkeypatch.setattr(uci, "ARRHYTHMIA", file)
    assert int(uci.arrhythmia(tmp_path).x.isnan().sum()) == 15 + 60
    data = table(uci.arrhythmia, tmp_path, standardize=False).load()
    median = np.median([k * k for k in data.train.x[:, 0].int().tolist() if k % 4])
    for k, value, nothing in torch.cat([data.train.x, data.test.x]).tolist():
        assert value == (k * k if k % 4 else median)
        assert nothing == 0
    assert data.num_classes == 3


def test_htru2_is_one_table_in_ucis_zip_and_beside_it(tmp_path, monkeypatch):
    archive = htru2_zip()
    monkeypatch.setattr(uci, "HTRU2", published(archive, uci.HTRU2, "http://nowhere.invalid"))
    zipped, plain = tmp_path / "zipped", tmp_path / "plain"
    zipped.mkdir()
    plain.mkdir()
    (zipped / "HTRU2.zip").write_bytes(archive)
    (plain / "HTRU_2.csv").write_text("".join(f"{line}\r\n" for line in htru2_lines()))
    first, second = (table(uci.htru2, root).load() for root in (zipped, plain))
    assert first.fingerprint == second.fingerprint
    assert torch.equal(first.train.x, second.train.x)
    assert (first.train.x[:, 0] - 0.5).div(-10).tolist() == pytest.approx(
        first.train.x[:, 1].tolist()
    )


def test_phishings_features_are_numbers_with_and_without_the_head(tmp_path, monkeypatch):
    lines = [f"{k % 3 - 1},{1 - 2 * (k % 2)}" for k in range(12)]
    content = "\r\n".join([*HEAD, "@data", *lines]).encode()
    monkeypatch.setattr(uci, "PHISHING", published(content, uci.PHISHING, "http://nowhere.invalid"))
    headed, plain = tmp_path / "headed", tmp_path / "plain"
    headed.mkdir()
    plain.mkdir()
    (headed / "phishing.arff").write_bytes(content)
    (plain / "phishing.csv").write_text("\n".join(lines))
    first, second = (uci.phishing(root) for root in (headed, plain))
    assert torch.equal(first.x, second.x)
    assert first.x.flatten().tolist() == [k % 3 - 1 for k in range(12)]
    assert first.y.tolist() == second.y.tolist() == [1 - k % 2 for k in range(12)]


def test_a_table_that_is_missing_is_downloaded_once(web, tmp_path, monkeypatch):
    web.files["/HTRU2.zip"] = htru2_zip()
    file = published(htru2_zip(), uci.HTRU2, f"{web.url}/HTRU2.zip")
    monkeypatch.setattr(uci, "HTRU2", file)
    root = tmp_path / "new"
    first = table(uci.htru2, root).load()
    uci.htru2.cache_clear()
    assert table(uci.htru2, root).load().fingerprint == first.fingerprint
    assert [path.name for path in root.iterdir()] == ["HTRU2.zip"]
    assert web.asked == [("/HTRU2.zip", None)]


def test_a_download_that_is_another_file_is_not_opened(web, tmp_path, monkeypatch):
    web.files["/abalone.data"] = b"M,0.1,1\n"
    file = published(b"F,0.1,1\n", uci.ABALONE, f"{web.url}/abalone.data")
    monkeypatch.setattr(uci, "ABALONE", file)
    with pytest.raises(DownloadError, match=says("sha256")):
        uci.abalone(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_arcenes_four_files_are_fetched_from_the_source_that_has_them(web, tmp_path, monkeypatch):
    write_arcene(tmp_path, packed=False)
    files = []
    for file in uci.ARCENE:
        content = (tmp_path / file.name).read_bytes()
        web.files[f"/second/{file.name}"] = content
        here = published(content, file, f"{web.url}/second/{file.name}")
        urls = (f"{web.url}/first/{file.name}", *here.urls)
        files.append(RemoteFile(here.name, urls, here.checksum, here.size))
    monkeypatch.setattr(uci, "ARCENE", tuple(files))
    assert torch.equal(uci.arcene(tmp_path / "new").x, uci.arcene(tmp_path).x)


def test_what_has_another_fingerprint_is_refused_in_one_line(tmp_path):
    (tmp_path / "HTRU_2.csv").write_text("\n".join(htru2_lines()))
    mark = table(uci.htru2, tmp_path).load().fingerprint
    assert table(uci.htru2, tmp_path, canonical=mark).load().canonical is True
    with pytest.raises(RunError, match=says("^small ... fingerprint ... dataset=tabular")) as error:
        table(uci.htru2, tmp_path, canonical={"table": "0" * 32}).load()
    assert mark["table"] in str(error.value)
    assert "\n" not in str(error.value)


def test_a_packed_file_that_is_cut_off_is_named(tmp_path):
    write_arcene(tmp_path, packed=True)
    whole = (tmp_path / "arcene_train.data.xz").read_bytes()
    (tmp_path / "arcene_train.data.xz").write_bytes(whole[:-20])
    with pytest.raises(RunError, match=says("arcene_train.data.xz")):
        uci.arcene(tmp_path)


CLASSES = {  # members of each class, in the published files
    "abalone": (
        *(1, 1, 15, 57, 115, 259, 391, 568, 689, 634, 487, 267, 203, 126, 103, 67, 58, 42, 32, 26),
        *(14, 6, 9, 2, 1, 1, 2, 1),
    ),
    "arcene": (112, 88),
    "arrhythmia": (245, 44, 15, 15, 13, 25, 3, 2, 9, 50, 4, 5, 22),
    "htru2": (16_259, 1_639),
    "phishing": (4_898, 6_157),
}


@pytest.mark.parametrize(
    ("name", "tested", "untested_classes"),
    [
        ("abalone", 836, [0, 1, 23, 24, 25, 26, 27]),
        ("arcene", 40, []),
        ("arrhythmia", 91, [7]),
        ("htru2", 3_580, []),
        ("phishing", 2_211, []),
    ],
)
def test_a_fifth_of_the_published_classes_is_tested(name, tested, untested_classes):
    y = torch.repeat_interleave(torch.tensor(CLASSES[name]))
    train, test = divided(Split(torch.zeros(len(y), 1), y), 0.2, 0)
    assert (len(train), len(test)) == (len(y) - tested, tested)
    assert train.y.unique().tolist() == list(range(len(CLASSES[name])))
    counts = test.y.bincount(minlength=len(CLASSES[name]))
    assert torch.nonzero(counts == 0).flatten().tolist() == untested_classes
    assert ((counts - 0.2 * torch.tensor(CLASSES[name])).abs() <= 1).all()


def test_the_share_is_checked_and_nothing_is_augmented(tmp_path):
    with pytest.raises(ValueError, match=says("^test_share ... between ... 0 ... 1")):
        table(iris, tmp_path, test_share=0)
    assert table(iris, tmp_path).load().augment == Identity()
