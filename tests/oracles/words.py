"""Words of a text and their numbers, line by line."""

from pathlib import Path


def numbered(paths: list[Path]) -> tuple[list[list[int]], list[str]]:
    """The number of each word of each file, and the words in the order of their numbers."""
    words: list[str] = []
    number: dict[str, int] = {}
    texts = []
    for path in paths:
        text = []
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                for word in [*line.split(), "<eos>"]:
                    if word not in number:
                        number[word] = len(words)
                        words.append(word)
                    text.append(number[word])
        texts.append(text)
    return texts, words
