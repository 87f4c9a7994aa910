"""Spoken commands become the spectrograms of the public code, in the splits of the two lists."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from oracles import speech as oracle
from speech_samples import archive, files, folder, tone, wav
from wording import says

from vicinal.data import npz, speech_commands
from vicinal.data.batches import as_inputs
from vicinal.data.dataset import Data
from vicinal.data.spectrograms import spectrogram
from vicinal.data.speech_commands import FOLDER, SPEECH_COMMANDS, SpeechCommands
from vicinal.errors import RunError

SHARED = Path(__file__).parents[3] / "shared" / "data" / "speech-commands-v0.01-sample"
RNG = np.random.default_rng(0)


def loaded(root: Path) -> Data:
    return SpeechCommands(root=str(root)).load()


def as_expected(samples: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(oracle.spectrogram((samples / 2**15).tolist()))[None]


@pytest.mark.parametrize("count", [161, 1000, 15_999, 16_000, 16_500])
def test_a_spectrogram_equals_the_definition(count: int) -> None:
    clip = RNG.uniform(-0.3, 0.3, count)
    expected = torch.from_numpy(oracle.spectrogram(clip.tolist()))[None]
    torch.testing.assert_close(spectrogram(torch.from_numpy(clip)), expected, rtol=0, atol=1e-9)


def test_a_clip_is_normalised_by_its_own_mean_and_unbiased_deviation() -> None:
    """With the zeros that fill it up to 101 frames."""
    found = spectrogram(torch.from_numpy(RNG.normal(size=8_000)))
    assert found.shape == (1, 161, 101)
    assert found.mean().item() == pytest.approx(0, abs=1e-12)
    assert found.std().item() == pytest.approx(1, abs=1e-12)
    blank = found[:, :, 51:]
    assert bool((blank == blank[0, 0, 0]).all())
    assert blank[0, 0, 0] < 0


def test_silence_is_not_divided_by_its_deviation() -> None:
    assert bool((spectrogram(torch.zeros(16_000)) == 0).all())


def test_the_lists_say_what_is_trained_on(tmp_path: Path) -> None:
    data = loaded(folder(tmp_path, files()))
    assert isinstance(data.train.x, torch.Tensor)
    assert data.num_classes == 3
    assert data.train.y.tolist() == [0, 0, 1, 1, 2, 2]  # bed, cat, zero
    assert data.valid is not None
    assert data.valid.y.tolist() == data.test.y.tolist() == [0, 1, 2]
    pitches = {"train": (0.42, 0.43, 0.12, 0.13, 0.72, 0.73)}
    pitches |= {"valid": (0.4, 0.1, 0.7), "test": (0.41, 0.11, 0.71)}
    for part, each in pitches.items():
        for found, pitch in zip(getattr(data, part).x, each, strict=True):
            expected = as_expected(tone(pitch))
            torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-3)


def test_the_archive_gives_what_its_folder_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = archive(tmp_path / "a" / SPEECH_COMMANDS.name, files())
    monkeypatch.setattr(speech_commands, "SPEECH_COMMANDS", file)
    one, other = loaded(tmp_path / "a"), loaded(folder(tmp_path / "b", files()))
    for part in npz.PARTS:
        assert torch.equal(getattr(one, part).x, getattr(other, part).x)
        assert torch.equal(getattr(one, part).y, getattr(other, part).y)
    assert one.fingerprint == other.fingerprint
    assert len(set(one.fingerprint.values())) == 3
    (tmp_path / "a" / SPEECH_COMMANDS.name).unlink()
    assert loaded(tmp_path / "a").fingerprint == one.fingerprint  # of the packed copy
    assert capsys.readouterr().err.count("packing") == 2


def test_a_folder_is_packed_again_when_a_clip_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder(tmp_path, files())
    before = loaded(root)
    assert loaded(root).fingerprint == before.fingerprint
    assert capsys.readouterr().err.count("packing") == 1
    (root / FOLDER / "cat" / "a2_nohash_0.wav").write_bytes(wav(tone(0.9, 15_000)))
    after = loaded(root)
    changed = {part for part in npz.PARTS if before.fingerprint[part] != after.fingerprint[part]}
    assert changed == {"train"}


def test_a_clip_with_another_label_has_another_fingerprint(tmp_path: Path) -> None:
    content = files()
    one = loaded(folder(tmp_path / "a", content))
    names = [f"{word}/a2_nohash_0.wav" for word in ("cat", "bed")]
    exchanged = dict(zip(names, [content[name] for name in reversed(names)], strict=True))
    other = loaded(folder(tmp_path / "b", content | exchanged))
    assert one.fingerprint["train"] != other.fingerprint["train"]
    assert one.fingerprint["test"] == other.fingerprint["test"]


def test_batches_are_float32_and_no_pixels(tmp_path: Path) -> None:
    data = loaded(folder(tmp_path, files()))
    assert not data.pixels
    x = next(data.train.batches([torch.arange(4)]))[0]
    assert x.dtype == torch.float16
    assert as_inputs(x).dtype == torch.float32
    assert torch.equal(as_inputs(x), x.float())
    assert (data.mean, data.std) == ((0.0,), (1.0,))


CLIP = "cat/a2_nohash_0.wav"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({CLIP: wav(tone(0.1), rate=8_000)}, f"{CLIP} ... 16000 Hz ... 8000 Hz"),
        ({CLIP: wav(tone(0.1), channels=2)}, f"{CLIP} ... 1 channel ... 2"),
        ({CLIP: wav(tone(0.1), width=1)}, f"{CLIP} ... 16 bits ... 8"),
        ({CLIP: wav(tone(0.1))[:9_000]}, f"{CLIP} ... 16000 ... 4478 ... cut off"),
        ({CLIP: wav(tone(0.1))[:30]}, f"{CLIP} ... wav"),
        ({CLIP: b""}, f"{CLIP} ... wav"),
        ({CLIP: b"not a wav file" * 9}, f"{CLIP} ... wav"),
        ({CLIP: wav(tone(0.1, 160))}, f"{CLIP} ... 161 ... 160"),
        ({"testing_list.txt": b"cat/none.wav\n"}, "testing_list.txt ... cat/none.wav"),
        ({"testing_list.txt": b""}, "testing_list.txt ... none"),
        (
            {"owl/a_nohash_0.wav": wav(tone(0.1)), "validation_list.txt": b"owl/a_nohash_0.wav"},
            "owl",
        ),
        ({"validation_list.txt": None}, f"{FOLDER} ... validation_list.txt"),
    ],
)
def test_what_is_damaged_or_missing_is_named(
    tmp_path: Path, changed: dict[str, bytes | None], said: str
) -> None:
    content = {k: data for k, data in (files() | changed).items() if data is not None}
    with pytest.raises(RunError, match=says(said)) as caught:
        loaded(folder(tmp_path, content))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / f"{FOLDER}.npz").exists()


def test_a_name_must_be_that_of_a_folder() -> None:
    with pytest.raises(ValueError, match=says("name ... a/b")):
        SpeechCommands(name="a/b")


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data")
def test_three_hundred_real_clips_equal_the_definition(tmp_path: Path) -> None:
    place = tmp_path / FOLDER
    place.mkdir()
    subprocess.run(["tar", "-xJf", str(SHARED / "wav.tar.xz"), "-C", str(place)], check=True)
    lines = [line.split() for line in (SHARED / "split.txt").read_text().splitlines()]
    for part, file in speech_commands.LISTS.items():
        names = [name for kind, name in lines if kind == part]
        (place / file).write_text("\n".join(names))
    data = loaded(tmp_path)
    assert data.summary()["samples"] == {"train": 205, "test": 51, "valid": 44}
    assert data.num_classes == 30
    names = sorted(name for kind, name in lines if kind == "train")
    for row in range(0, len(names), 20):
        clip = speech_commands.samples(names[row], (place / names[row]).read_bytes())
        found = as_inputs(data.train.x[row])
        torch.testing.assert_close(found.double(), as_expected(clip), rtol=1e-3, atol=1e-3)
