"""Text cut into columns and segments, one word at a time."""

from collections.abc import Sequence


def columns(text: Sequence[int], count: int) -> list[list[int]]:
    """Column c holds the words c·L, c·L + 1, … of the text; what is left over is dropped."""
    length = len(text) // count
    table: list[list[int]] = []
    for c in range(count):
        column = []
        for k in range(length):
            column.append(text[c * length + k])
        table.append(column)
    return table


def segments(
    text: Sequence[int], count: int, lengths: Sequence[int]
) -> list[tuple[list[list[int]], list[list[int]]]]:
    """(words, next words) of every column, for segments of these lengths, until a text ends."""
    table, found, i = columns(text, count), [], 0
    length = len(table[0])
    for drawn in lengths:
        if i >= length - 2:
            break
        x: list[list[int]] = [[] for _ in table]
        y: list[list[int]] = [[] for _ in table]
        for c, column in enumerate(table):
            for k in range(i, min(i + drawn, length - 1)):
                x[c].append(column[k])
                y[c].append(column[k + 1])
        found.append((x, y))
        i += drawn
    return found
