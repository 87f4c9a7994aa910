import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import IO

import numpy as np
import pytest
import torch
from corrupted_samples import extract, jpegs, md5, pixels, remote, tar
from wording import says

from vicinal.data.decode.crops import Crop
from vicinal.data.decode.pool import WorkerPool
from vicinal.data.shifted import folder_c, tar_index
from vicinal.data.shifted.folder_c import ARCHIVES, ImageNetC, TinyImageNetC
from vicinal.data.shifted.sets import ShiftedSets
from vicinal.data.split import Split
from vicinal.data.stream import StreamedSplit
from vicinal.draws import Rng
from vicinal.errors import RunError
from vicinal.images.corruptions.corrupt import COMMON, EXTRA

WNIDS = ("n01440764", "n02099601", "n04019541")
TINY = jpegs("fog", 64, WNIDS) | jpegs("frost", 64, WNIDS)
LARGE = jpegs("fog", 224, WNIDS)
RNG = Rng.seeded(0)
CROP = Crop(224, 256)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(folder_c, "PER_CLASS", 2)
    monkeypatch.setattr(folder_c, "TINY_CLASSES", 3)
    for family, name in (("Tiny-ImageNet-C", "Tiny.tar"), ("ImageNet-C", "ImageNet-C/weather.tar")):
        archives = dict.fromkeys(COMMON, remote(name, b""))
        monkeypatch.setitem(folder_c.ARCHIVES, family, archives)


@pytest.fixture(params=["archive", "folder"])
def root(request, tmp_path, monkeypatch):
    if request.param == "archive":
        put(monkeypatch, tmp_path, "Tiny-ImageNet-C", "Tiny.tar", under("Tiny-ImageNet-C/", TINY))
        put(monkeypatch, tmp_path, "ImageNet-C", "ImageNet-C/weather.tar", LARGE)
    else:
        extract(tmp_path / "Tiny-ImageNet-C", TINY)
        extract(tmp_path / "ImageNet-C", LARGE)
    return tmp_path


def put(monkeypatch, root, family: str, name: str, files: dict[str, bytes]) -> None:
    """An archive, and its checksum."""
    archives = dict.fromkeys(COMMON, remote(name, tar(root / name, files)))
    monkeypatch.setitem(folder_c.ARCHIVES, family, archives)


def under(folder: str, files: dict[str, bytes]) -> dict[str, bytes]:
    return {folder + name: content for name, content in files.items()}


def expected(files: dict[str, bytes], folder: str) -> np.ndarray:
    return np.stack([pixels(files[name]) for name in sorted(files) if name.startswith(folder)])


def own(classes: int = 3, side: int = 64) -> Split:
    y = torch.arange(classes).repeat(2)
    return Split(torch.zeros(len(y), 3, side, side, dtype=torch.uint8), y)


def streamed(crop: Crop = CROP, wnids=WNIDS) -> StreamedSplit:
    names = np.array([f"{wnid}/{number}.JPEG".encode() for wnid in wnids for number in range(2)])
    return StreamedSplit("val", names, torch.arange(len(wnids)).repeat_interleave(2), crop)


def tiny(root, name="fog_2") -> Split:
    return TinyImageNetC(str(root)).load(name, own(), RNG)


def large(root, resize=None, test=None, name="fog_2") -> StreamedSplit:
    return ImageNetC(str(root), resize=resize).load(name, test or streamed(), RNG)


def read(part: StreamedSplit) -> torch.Tensor:
    return torch.cat([x for x, _, _ in part.batches(torch.arange(len(part)).split(4))])


def test_tiny_images_are_those_of_the_set_decoded_with_sorted_classes(root):
    for name in ("fog", "frost"):
        found = tiny(root, f"{name}_2")
        np.testing.assert_array_equal(found.x, expected(TINY, f"{name}/2"))
        assert found.y.tolist() == [0, 0, 1, 1, 2, 2]


def test_large_images_are_streamed_uncropped_by_the_decoder_of_the_test_set(root):
    found = large(root)
    np.testing.assert_array_equal(read(found), expected(LARGE, "fog/2"))
    assert found.y.tolist() == [0, 0, 1, 1, 2, 2]
    decoder = WorkerPool(1)
    test = streamed().to("cpu", decoder)
    assert large(root, test=test).decoder is decoder
    assert large(root, test=test).replaced is not test.replaced  # which a record counts


def test_worker_processes_and_this_one_read_the_same(root):
    part = large(root)
    assert torch.equal(read(part.to("cpu", WorkerPool(2))), read(part))


def test_less_than_224_pixels_are_their_centre(root):
    part = large(root, test=streamed(Crop(160, 183)))
    whole = expected(LARGE, "fog/2")
    np.testing.assert_array_equal(read(part), whole[..., 32:192, 32:192])


def test_resized_again_they_are_cropped_as_clean_images_are(root):
    part = large(root, resize=256)
    assert torch.equal(read(part), read(replace(large(root), crop=CROP)))
    assert not torch.equal(read(part), read(large(root)))


@pytest.mark.parametrize(("resize", "limit"), [(None, 224), (256, 256)])
def test_more_pixels_than_there_are_need_a_resize(root, resize, limit):
    with pytest.raises(RunError, match=says(f"dataset.size ... {limit} ... 288")):
        large(root, resize=resize, test=streamed(Crop(288, 330)))
    assert large(root, resize=330, test=streamed(Crop(288, 330))).shape == (3, 288, 288)


def test_large_images_need_a_streamed_test_set(root):
    with pytest.raises(RunError, match=says("dataset=imagenet ... Split")):
        large(root, test=own(side=224))


def test_the_classes_must_be_those_of_the_run(root):
    with pytest.raises(RunError, match=says("n02099601 ... n09999999")):
        large(root, test=streamed(wnids=("n01440764", "n04019541", "n09999999")))
    with pytest.raises(RunError, match=says("3 x 64 x 64 ... 3 x 32 x 32")):
        TinyImageNetC(str(root)).load("fog_1", own(side=32), RNG)
    with pytest.raises(RunError, match=says("classes ... 3 ... 5")):
        TinyImageNetC(str(root)).load("fog_1", own(classes=5), RNG)


def test_an_archive_with_images_of_more_classes_is_refused(root, monkeypatch):
    monkeypatch.setattr(folder_c, "TINY_CLASSES", 2)
    with pytest.raises(RunError, match=says("2 ... 3 ... 8206060 ... frost_1")):
        tiny(root, "frost_1")


@pytest.mark.parametrize("change", ["missing", "more"])
def test_each_class_must_have_its_fifty_images(tmp_path, monkeypatch, change):
    monkeypatch.setattr(folder_c, "PER_CLASS", 3)
    files = jpegs("fog", 64, WNIDS, count=3)
    name = f"fog/2/{WNIDS[1]}/ILSVRC2012_val_00000001.JPEG"
    content = files.pop(name) if change == "missing" else files[name]
    extract(tmp_path / "Tiny-ImageNet-C", files)
    if change == "more":
        extract(tmp_path / "Tiny-ImageNet-C", {name.replace("1.J", "9.J"): content})
    count = {"missing": 2, "more": 4}[change]
    with pytest.raises(RunError, match=says(f"3 images ... {count} ... {WNIDS[1]} ... fog_2")):
        tiny(tmp_path)
    assert len(tiny(tmp_path, "fog_1")) == 9


def test_an_image_that_an_archive_holds_twice_counts_once(tmp_path, monkeypatch):
    name = f"fog/2/{WNIDS[1]}/ILSVRC2012_val_00000001.JPEG"
    twice = {f"older/{name}": TINY[f"fog/3/{WNIDS[0]}/ILSVRC2012_val_00000000.JPEG"]} | TINY
    put(monkeypatch, tmp_path, "Tiny-ImageNet-C", "Tiny.tar", twice)
    np.testing.assert_array_equal(tiny(tmp_path).x, expected(TINY, "fog/2"))


def test_an_archive_is_verified_and_listed_once(tmp_path, monkeypatch, capsys):
    put(monkeypatch, tmp_path, "Tiny-ImageNet-C", "Tiny.tar", TINY)
    tiny(tmp_path)
    monkeypatch.setattr("vicinal.data.shifted.tar_index.fetch", None)
    monkeypatch.setattr("vicinal.data.shifted.tar_index._listed", None)
    np.testing.assert_array_equal(tiny(tmp_path).x, expected(TINY, "fog/2"))
    assert capsys.readouterr().err.count("listing") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"Tiny.tar", "Tiny.index.npz"}


def test_who_waits_for_another_to_list_an_archive_uses_its_index(tmp_path, monkeypatch, capsys):
    put(monkeypatch, tmp_path, "Tiny-ImageNet-C", "Tiny.tar", TINY)
    archive, kept = ARCHIVES["Tiny-ImageNet-C"]["fog"], tmp_path / "Tiny.index.npz"
    waiting, lock = threading.Event(), tar_index.lock

    def noted(file: IO[bytes], *, wait: bool) -> None:
        waiting.set()
        lock(file, wait=wait)

    monkeypatch.setattr(tar_index, "lock", noted)
    with kept.open("a+b") as mine, ThreadPoolExecutor(1) as pool:
        lock(mine, wait=True)
        other = pool.submit(tar_index.tar_index, archive, tmp_path)
        assert waiting.wait(10)
        tar_index._write(kept, tmp_path / "Tiny.tar", tar_index._listed(tmp_path / "Tiny.tar"))
        mine.close()
        assert other.result().names.tolist() == sorted(name.encode() for name in TINY)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("change", ["archive", "index", "empty index"])
def test_another_archive_or_a_damaged_index_is_listed_again(tmp_path, monkeypatch, capsys, change):
    put(monkeypatch, tmp_path, "Tiny-ImageNet-C", "Tiny.tar", TINY)
    tiny(tmp_path)
    index = tmp_path / "Tiny.index.npz"
    if change == "archive":
        files = {"first.txt": b"moves all the others"} | TINY
        put(monkeypatch, tmp_path, "Tiny-ImageNet-C", "Tiny.tar", files)
    else:
        index.write_bytes(index.read_bytes()[:-50] if change == "index" else b"")
    np.testing.assert_array_equal(tiny(tmp_path).x, expected(TINY, "fog/2"))
    assert capsys.readouterr().err.count("listing") == 2


def test_a_damaged_archive_is_refused_by_its_checksum(tmp_path, monkeypatch):
    put(monkeypatch, tmp_path, "Tiny-ImageNet-C", "Tiny.tar", TINY)
    path = tmp_path / "Tiny.tar"
    damaged = path.read_bytes()[:-1] + b"!"
    path.write_bytes(damaged)
    with pytest.raises(RunError, match=says(md5(damaged))):
        tiny(tmp_path)


def test_only_the_archive_that_has_the_corruption_is_downloaded(web, tmp_path, monkeypatch):
    web.files["/weather"] = tar(tmp_path / "made", LARGE)
    weather = remote("ImageNet-C/weather.tar", web.files["/weather"], f"{web.url}/weather")
    monkeypatch.setitem(folder_c.ARCHIVES["ImageNet-C"], "fog", weather)
    np.testing.assert_array_equal(read(large(tmp_path)), expected(LARGE, "fog/2"))
    assert web.asked == [("/weather", None)]


def test_what_is_not_there_is_named(root):
    with pytest.raises(RunError, match=says("snow/1") if (root / "Tiny.tar").exists() else "Tiny"):
        tiny(root, "snow_1")
    with pytest.raises(RunError, match=says("Tiny-ImageNet-C/spatter/1")):
        TinyImageNetC(str(root), ("spatter",)).load("spatter_1", own(), RNG)


def test_the_archives_together_have_all_corruptions(monkeypatch):
    monkeypatch.undo()
    assert tuple(ARCHIVES["ImageNet-C"]) == COMMON + EXTRA
    names = [ARCHIVES["ImageNet-C"][each].name for each in ("impulse_noise", "zoom_blur", "fog")]
    assert names == [f"ImageNet-C/{each}.tar" for each in ("noise", "blur", "weather")]
    names = [ARCHIVES["ImageNet-C"][each].name for each in ("brightness", "contrast", "saturate")]
    assert names == [f"ImageNet-C/{each}.tar" for each in ("weather", "digital", "extra")]


@pytest.mark.parametrize("kind", [TinyImageNetC, ImageNetC])
def test_they_are_families_of_sets_by_corruption_and_severity(kind):
    assert isinstance(kind(), ShiftedSets)
    assert kind(corruptions=["fog", "snow"]).names[4:6] == ("fog_5", "snow_1")
    with pytest.raises(ValueError, match=says("^corruptions ... mist")):
        kind(corruptions=("mist",))
    with pytest.raises(ValueError, match=says("^resize ... 1 ... 0")):
        ImageNetC(resize=0)
