"""Google's spoken commands, version 0.01: 64,721 clips of at most a second, 30 words.

Warden, "Launching the Speech Commands Dataset", 2017 (CC BY 4.0). The archive is read in place; a
folder that was extracted from it is read as well. Its two lists name the clips for validation and
for testing. The background noise is left out.
"""

import hashlib
import sys
import tarfile
import wave
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from jaxtyping import Int16

from vicinal.data import npz
from vicinal.data.dataset import Data
from vicinal.data.download import RemoteFile, fetch
from vicinal.data.spectrograms import FRAMES, FREQUENCIES, RATE, SHORTEST, spectrogram
from vicinal.data.split import Split
from vicinal.data.subsets import check_name
from vicinal.errors import RunError

SPEECH_COMMANDS = RemoteFile(
    name="speech_commands_v0.01.tar.gz",
    urls=("http://download.tensorflow.org/data/speech_commands_v0.01.tar.gz",),
    checksum="sha256:743935421bb51cccdb6bdd152e04c5c70274e935c82119ad7faeec31780d811d",
    size=1_489_096_277,
)
FOLDER = "speech_commands_v0.01"
KEY = SPEECH_COMMANDS.checksum.removeprefix("sha256:")  # of the packed copy of the archive
LISTS = {"valid": "validation_list.txt", "test": "testing_list.txt"}
NOISE = "_background_noise_"

Read = Callable[[str], bytes]  # the content of a file, by its name in the folder


@dataclass(frozen=True, kw_only=True)
class SpeechCommands:
    """Normalised spectrograms, 1 x 161 x 101; the classes are the words in alphabetical order.

    They are packed once, beside the archive, in half precision. The fingerprints are those of the
    clips, because spectrograms differ in their last bits from machine to machine.
    """

    name: str = "speech_commands"
    root: str = "data"
    known_size: dict[str, int | list[int]] | None = None  # of the original

    def __post_init__(self) -> None:
        check_name(self.name)

    def load(self) -> Data:
        """Read the packed copy; make it first where there is none, or one of other clips."""
        splits, marks = npz.maps(packed(Path(self.root).expanduser()))
        return Data(
            train=splits["train"],
            test=splits["test"],
            valid=splits["valid"],
            num_classes=int(splits["train"].y.max()) + 1,
            mean=(0.0,),
            std=(1.0,),
            fingerprint=marks,
            canonical=None,
        )


def packed(root: Path) -> Path:
    """The packed copy of the archive, or of the folder where there is no archive."""
    path, folder = root / f"{FOLDER}.npz", root / FOLDER
    extracted = folder.is_dir() and not (root / SPEECH_COMMANDS.name).exists()
    key = _key(folder) if extracted else KEY
    if npz.key(path) != key:
        source = folder if extracted else fetch(SPEECH_COMMANDS, root)
        print(f"packing the spectrograms of {source} into {path}, once", file=sys.stderr)
        names, read = _extracted(folder) if extracted else _archived(source)
        clips = _parts(source, names, read)
        words = sorted({_word(clip) for clip in clips["train"]})
        splits = {part: _split(chosen, words, read) for part, chosen in clips.items()}
        train, valid, test = (split for split, _ in splits.values())
        marks = {part: mark for part, (_, mark) in splits.items()}
        npz.write(path, train, test, valid, key=key, marks=marks)
    return path


def _archived(path: Path) -> tuple[Collection[str], Read]:
    """The files of the archive; nothing is extracted, and each clip is given away once."""
    files: dict[str, bytes] = {}
    with tarfile.open(path) as archive:
        for member in archive:
            name = str(PurePosixPath(member.name))  # without "./"
            if member.isfile() and _word(name) != NOISE:
                content = archive.extractfile(member)
                assert content is not None
                files[name] = content.read()
    return tuple(files), files.pop


def _extracted(folder: Path) -> tuple[Collection[str], Read]:
    found = [*folder.glob("*.txt"), *folder.glob("*/*.wav")]
    names = sorted(path.relative_to(folder).as_posix() for path in found)
    return names, lambda name: (folder / name).read_bytes()


def _key(folder: Path) -> str:
    """Of another value when any file's name, size in bytes or mtime changes."""
    digest = hashlib.sha256()
    for name in _extracted(folder)[0]:
        stat = (folder / name).stat()
        digest.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _parts(source: Path, names: Collection[str], read: Read) -> dict[str, list[str]]:
    """The names of the training, validation and test clips, in alphabetical order."""
    clips = sorted(name for name in names if name.endswith(".wav") and _word(name) != NOISE)
    part_of = dict.fromkeys(clips, "train")
    for part, file in LISTS.items():
        if file not in names:
            raise RunError(f"{source} must hold {file}, got no such file")
        for clip in read(file).decode().split():
            if clip not in part_of:
                raise RunError(f"{file} of {source} must name clips that are there, got {clip}")
            part_of[clip] = part
    found = {part: [clip for clip in clips if part_of[clip] == part] for part in npz.PARTS}
    for part, file in LISTS.items():
        if not found[part]:
            raise RunError(f"{file} of {source} must name clips, got none of its own")
    lacking = sorted({_word(clip) for clip in clips} - {_word(clip) for clip in found["train"]})
    if lacking:
        raise RunError(
            f"{source} must hold clips of each word that no list names, got none of "
            f"{', '.join(lacking)} (nothing to train on)"
        )
    return found


def _word(clip: str) -> str:
    return PurePosixPath(clip).parent.name


def _split(clips: list[str], words: list[str], read: Read) -> tuple[Split, str]:
    """The spectrograms in half precision; and the clips' fingerprint, whatever their order."""
    x = torch.empty(len(clips), 1, FREQUENCIES, FRAMES, dtype=torch.float16)

    def fill(index: int) -> bytes:
        clip = samples(clips[index], read(clips[index]))
        x[index] = spectrogram(torch.from_numpy(clip.astype(np.float32) / 2**15))
        word = _word(clips[index]).encode()
        return hashlib.blake2b(word + b"\0" + clip.tobytes(), digest_size=16).digest()

    with ThreadPoolExecutor(4) as pool:
        digests = sorted(pool.map(fill, range(len(clips))))
    mark = hashlib.blake2b(b"".join(digests), digest_size=16).hexdigest()
    places = {word: label for label, word in enumerate(words)}
    return Split(x, torch.tensor([places[_word(clip)] for clip in clips])), mark


def samples(name: str, data: bytes) -> Int16[np.ndarray, " t"]:
    """The samples of a wav file; `name` is for messages."""
    try:
        with wave.open(BytesIO(data)) as clip:
            kind = clip.getframerate(), clip.getnchannels(), 8 * clip.getsampwidth()
            count = clip.getnframes()
            frames = clip.readframes(count)
    except (wave.Error, EOFError) as error:
        raise RunError(f"{name} must be a wav file, got: {error or 'its end'}") from error
    if kind != (RATE, 1, 16):
        rate, channels, bits = kind
        raise RunError(
            f"{name} must have {RATE} Hz, 1 channel and 16 bits, got {rate} Hz, {channels} "
            f"and {bits}"
        )
    if len(frames) != 2 * count:
        raise RunError(f"{name} must hold {count} samples, got {len(frames) // 2} (cut off)")
    if count < SHORTEST:
        raise RunError(
            f"{name} must have at least {SHORTEST} samples, got {count} (its ends are reflected)"
        )
    return np.frombuffer(frames, "<i2").astype(np.int16)
