"""A tiny set of spoken commands, as its archive would hold it."""

import hashlib
import io
import tarfile
import wave
from pathlib import Path

import numpy as np

from vicinal.data.download import RemoteFile
from vicinal.data.speech_commands import FOLDER

WORDS = ("cat", "bed", "zero")  # in no order


def tone(pitch: float, count: int = 16_000, amplitude: float = 8_000) -> np.ndarray:
    return np.rint(amplitude * np.sin(pitch * np.arange(count))).astype(np.int16)


def wav(samples: np.ndarray, rate: int = 16_000, channels: int = 1, width: int = 2) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setframerate(rate)
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.writeframes(samples.astype("<i2").tobytes())
    return buffer.getvalue()


def files(each: int = 4) -> dict[str, bytes]:
    """Of each word, clip 0 is for validation and clip 1 for testing."""
    found: dict[str, bytes] = {"LICENSE": b"", "README.md": b""}
    for number, word in enumerate(WORDS):
        for k in range(each):
            found[f"{word}/a{k}_nohash_0.wav"] = wav(tone(0.1 + 0.3 * number + 0.01 * k))
    found["_background_noise_/pink_noise.wav"] = wav(tone(0.5, 40_000))
    lists = [[f"{word}/a{k}_nohash_0.wav\n" for word in WORDS] for k in (0, 1)]
    found |= {"validation_list.txt": "".join(lists[0]).encode()}
    return found | {"testing_list.txt": "".join(lists[1]).encode()}


def folder(root: Path, content: dict[str, bytes]) -> Path:
    for name, data in content.items():
        path = root / FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def archive(path: Path, content: dict[str, bytes]) -> RemoteFile:
    """As published: names begin with ./, and folders have entries of their own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as file:
        file.add(path.parent, "./cat", recursive=False)
        for name, data in content.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
    data = path.read_bytes()
    checksum = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return RemoteFile(path.name, ("http://nowhere.invalid/",), checksum, len(data))
