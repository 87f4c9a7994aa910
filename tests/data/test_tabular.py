import lzma
from pathlib import Path

import numpy as np
import pytest
import torch
from wording import says

from vicinal.data.tabular import Tabular
from vicinal.errors import RunError
from vicinal.vicinities.identity import Identity

UCI = Path(__file__).parents[3] / "shared" / "data" / "uci"


def table(path: Path, lines: list[str], **options) -> Tabular:
    path.write_text("\n".join(lines) + "\n\n")
    return Tabular(table=str(path), **options)


def rows(count: int) -> list[str]:
    """A number, a word, a constant, a label."""
    return [f"{k},{'xyz'[k % 3]},7,{'ab'[k % 2]}" for k in range(count)]


def test_numbers_stay_and_words_become_one_column_each(tmp_path):
    data = table(tmp_path / "t.csv", rows(30), standardize=False).load()
    whole = torch.cat([data.train.x, data.test.x])
    whole = whole[whole[:, 0].argsort()]
    assert whole[:, 0].tolist() == list(range(30))
    assert torch.equal(whole[:, 1:4], torch.eye(3).repeat(10, 1))
    assert whole[:, 4].tolist() == [7.0] * 30
    assert data.num_classes == 2
    assert (data.mean, data.std) == ((0.0,) * 5, (1.0,) * 5)


def test_the_split_is_stratified_seeded_and_of_the_asked_size(tmp_path):
    lines = [f"{k},{int(k >= 40)}" for k in range(50)]
    first, again, other = (
        table(tmp_path / "t.csv", lines, split_seed=seed).load() for seed in (0, 0, 1)
    )
    assert first.test.y.bincount().tolist() == [8, 2]
    assert torch.equal(first.test.x, again.test.x)
    assert not torch.equal(first.test.x, other.test.x)
    assert first.fingerprint == other.fingerprint


def test_statistics_and_medians_come_from_the_training_rows_alone(tmp_path):
    lines = [f"{k},{'?' if k % 5 == 0 else k * k},{k % 2}" for k in range(60)]
    data = table(tmp_path / "t.csv", lines).load()
    trained = data.train.x[:, 0].int().tolist()
    median = np.median([k * k for k in trained if k % 5])
    assert median != np.median([k * k for k in range(60) if k % 5])
    for split in (data.train, data.test):
        for k, value in split.x.tolist():
            assert value == (k * k if k % 5 else median)
    filled = [k * k if k % 5 else median for k in trained]
    assert data.mean[1] == pytest.approx(np.mean(filled))
    assert data.std[1] == pytest.approx(np.std(filled))


def test_changing_test_rows_changes_no_statistic(tmp_path):
    lines = [f"{k},{k % 2}" for k in range(50)]
    first = table(tmp_path / "t.csv", lines).load()
    for k in first.test.x.flatten().int().tolist():
        lines[k] = f"{1000 + k},{k % 2}"
    second = table(tmp_path / "t.csv", lines).load()
    assert (second.mean, second.std) == (first.mean, first.std)
    assert int(second.test.x.min()) >= 1000


def test_constant_and_empty_columns_are_divided_by_one(tmp_path):
    data = table(tmp_path / "t.csv", [f"{k},3,?,{k % 2}" for k in range(20)]).load()
    assert data.mean[1:] == (3.0, 0.0)
    assert data.std[1:] == (1.0, 1.0)
    assert not torch.cat([data.train.x, data.test.x]).isnan().any()


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        (["-1", "1", "1", "-1"], [0, 1, 1, 0]),
        (["10", "9", "2", "9"], [2, 1, 0, 1]),
        (["setosa", "iris", "virginica", "iris"], [1, 0, 2, 0]),
    ],
)
def test_labels_are_numbered_in_their_natural_order(tmp_path, words, numbers):
    lines = [f"{k},{words[k % 4]}" for k in range(40)]
    data = table(tmp_path / "t.csv", lines, standardize=False).load()
    for x, y in zip(data.train.x.flatten().int().tolist(), data.train.y.tolist(), strict=True):
        assert y == numbers[x % 4]


def test_other_separators_a_header_and_a_first_label_column(tmp_path):
    blank = ["class  f1\tf2"] + [f"{'ab'[k % 2]}   {k}\t{2 * k}" for k in range(10)]
    data = table(
        tmp_path / "t.txt", blank, separator="blank", header=True, label_column=0, standardize=False
    ).load()
    assert torch.equal(data.train.x[:, 1], 2 * data.train.x[:, 0])
    assert data.num_classes == 2


def test_labels_may_lie_in_a_second_file_and_tables_be_compressed(tmp_path):
    with lzma.open(tmp_path / "t.data.xz", "wt") as file:
        file.write("".join(f"{k} {k}\n" for k in range(10)))
    (tmp_path / "t.labels").write_text("".join(f"{(-1) ** k}\n" for k in range(10)))
    made = Tabular(
        table=str(tmp_path / "t.data.xz"), labels=str(tmp_path / "t.labels"), separator="blank"
    )
    data = made.load()
    assert made.name == "t"
    assert data.train.x.shape == (8, 2)
    (tmp_path / "t.labels").write_text("1\n-1\n")
    with pytest.raises(RunError, match=says("2 labels ... 10 samples")):
        made.load()


def test_an_npz_of_vectors_is_taken_as_it_is_split(tmp_path):
    x = np.random.default_rng(0).normal(size=(10, 3))
    path = tmp_path / "v.npz"
    np.savez(path, x_train=x, y_train=np.arange(10) % 2, x_test=x[:4], y_test=np.arange(4) % 2)
    data = Tabular(table=str(path)).load()
    assert torch.equal(data.train.x, torch.from_numpy(x).float())
    np.testing.assert_allclose(data.mean, x.mean(0), rtol=1e-6)
    assert set(data.fingerprint) == {"train", "test"}


def test_words_may_look_like_numbers_where_not_most_do(tmp_path):
    lines = [f"{'1 2 a'.split()[k % 3]},{k % 2}" for k in range(30)]
    assert table(tmp_path / "t.csv", lines).load().train.x.shape == (24, 3)


def test_quoted_cells_and_a_byte_order_mark_are_read_as_they_were_meant(tmp_path):
    lines = [f'"{k}", "{"xy"[k % 2]}, z",{k % 2}' for k in range(20)]
    lines[0] = f"\ufeff{lines[0]}"
    data = table(tmp_path / "t.csv", lines, standardize=False).load()
    assert data.train.x.shape == (16, 3)
    assert sorted(torch.cat([data.train.x, data.test.x])[:, 0].tolist()) == list(range(20))


@pytest.mark.parametrize("part", ["x_train", "x_test"])
def test_infinity_is_the_datas_fault(tmp_path, part):
    x = np.random.default_rng(0).normal(size=(10, 3))
    arrays = {"x_train": x, "y_train": np.arange(10) % 2, "x_test": x, "y_test": np.arange(10) % 2}
    arrays[part] = np.where(np.arange(10)[:, None] == 4, -np.inf, x)
    np.savez(tmp_path / "v.npz", **arrays)
    with pytest.raises(RunError, match=says("samples ... float32 ... infinity ... 1 of 10 ... 4")):
        Tabular(table=str(tmp_path / "v.npz")).load()


def test_vectors_of_no_number_are_refused(tmp_path):
    x, y = np.zeros((10, 0)), np.arange(10) % 2
    np.savez(tmp_path / "v.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    with pytest.raises(RunError, match=says("training ... 10 x 0")):
        Tabular(table=str(tmp_path / "v.npz")).load()


def test_vectors_are_not_augmented(tmp_path):
    assert table(tmp_path / "t.csv", rows(4)).load().augment == Identity()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"table": "nowhere.csv"}, "table ... 'nowhere.csv'"),
        ({"name": "a/b"}, "name ... 'a/b'"),
        ({"labels": "nowhere"}, "labels ... 'nowhere'"),
        ({"test_share": 1.0}, "test_share ... 0 ... 1 ... 1.0"),
    ],
)
def test_settings_are_checked_before_anything_is_read(tmp_path, options, said):
    (tmp_path / "t.csv").write_text("1,a\n")
    with pytest.raises(ValueError, match=says(f"^{said}")):
        Tabular(**({"table": str(tmp_path / "t.csv")} | options))


@pytest.mark.parametrize(
    ("lines", "options", "said"),
    [
        (["1,2,a", "1,b"], {}, "t.csv ... 3 columns ... 2 ... line 2"),
        (["1,a", "2,?"], {}, "labels ... missing ... 1"),
        (["1,a", "2,b"], {"label_column": 2}, "label_column ... 2"),
        ([""], {}, "t.csv ... no line"),
        (["1;2;a", "1;3;b"], {}, "t.csv ... column ... 1 ... dataset.separator ... comma"),
        ([f"{k},{k}" for k in range(20)], {}, "dataset.test_share ... 20 samples ... 20 classes"),
        (
            [f"row{k},{k % 2}" for k in range(20)],
            {},
            "feature 0 ... 20 words ... 'row0'",
        ),
        (['1,"a', "2,b"], {}, "t.csv ... quotes"),
        (["1,1", "2,nan"], {}, "labels ... missing ... 1"),
        (["f,y", "1,a", "2,b"], {}, "feature 0 ... 1 ... 'f' ... header=true"),
        (["7,-1,a"] + [f"{k},{k},a" for k in range(20)] + ["7,NA,b"], {}, "feature 1 ... 'NA'"),
        ([f"{k},a" for k in range(20)] + ["inf,a"], {}, "feature 0 ... 'inf'"),
        (["1,a", "2,a", "1e39,a", "4,a"], {}, "training ... infinity ... 1 of 3"),
    ],
)
def test_a_broken_table_is_one_line(tmp_path, lines, options, said):
    with pytest.raises(RunError, match=says(said)):
        table(tmp_path / "t.csv", lines, **options).load()


BLANK = {"separator": "blank", "labels": str(UCI / "arcene_train.labels")}


@pytest.mark.skipif(not UCI.is_dir(), reason="needs ../shared/data")
@pytest.mark.parametrize(
    ("file", "options", "samples", "features", "classes"),
    [
        ("abalone.data", {}, 4177, 10, 28),
        ("arcene_train.data.xz", BLANK, 100, 10_000, 2),
        ("arrhythmia.data", {}, 452, 279, 13),
        ("HTRU_2.csv", {}, 17_898, 8, 2),
        ("iris.data", {}, 150, 4, 3),
        ("phishing.csv", {}, 11_055, 30, 2),
    ],
)
def test_mixups_uci_sets_are_read_whole(file, options, samples, features, classes):
    data = Tabular(table=str(UCI / file), **options).load()
    assert len(data.train) + len(data.test) == samples
    assert data.train.x.shape[1] == len(data.mean) == features
    assert data.num_classes == classes
    assert data.train.x.isfinite().all()
    assert data.test.x.isfinite().all()
