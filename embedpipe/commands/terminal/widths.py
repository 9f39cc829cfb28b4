"""Text that fits the columns of a terminal: Chinese, Japanese and Korean characters take two, accents none."""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence

_MARK = "…"
LEAST = 16
"""Columns that a shortened cell has at least, where the terminal is not narrower than the rest of its table."""


def width_of(text: str) -> int:
    """Columns that a text takes in a terminal."""
    from rich.cells import cell_len

    return cell_len(text)


def shortened(text: str, most: int) -> str:
    """A text that takes so many columns at most: what is too much goes from its middle, and the end is kept longer.

    Of a path the name of the file stands at its end, so it is the folders above that are left out first.
    """
    if width_of(text) <= most:
        return text
    if most <= width_of(_MARK):
        return _MARK if most == 1 else ""
    room = most - width_of(_MARK)
    end = _last(text, room - room // 3)
    return f"{_first(text, room - width_of(end))}{_MARK}{end}"


def relative(paths: Sequence[str]) -> list[str]:
    """Absolute paths from the nearest folder above all of them, which need not be said with each."""
    with contextlib.suppress(ValueError):  # two drives
        folder = os.path.commonpath([os.path.dirname(path) for path in paths]) if paths else ""
        return [os.path.relpath(path, folder) for path in paths]
    return list(paths)


def cut(text: str, most: int) -> str:
    """The begin of a text that takes so many columns at most, for sentences."""
    return text if width_of(text) <= most else f"{_first(text, most - width_of(_MARK)).rstrip()}{_MARK}"


def _first(text: str, most: int) -> str:
    """The longest begin of a text that takes so many columns at most."""
    taken = 0
    for number, character in enumerate(text):
        taken += width_of(character)
        if taken > most:
            return text[:number]
    return text


def _last(text: str, most: int) -> str:
    """The longest end of a text that takes so many columns at most."""
    return _first(text[::-1], most)[::-1]


def fitted(
    columns: Sequence[str], rows: Sequence[Sequence[str]], width: int, how: Mapping[str, Callable[[str, int], str]]
) -> list[list[str]]:
    """Cells of a table such that it fits: some columns are made shorter, the widest one first.

    Args:
        columns: The headings.
        rows: The cells.
        width: What all columns may take together, without what separates them.
        how: `shortened` or `cut` for each column whose cells may be.
    """
    natural = [max([width_of(column), *(width_of(row[n]) for row in rows)]) for n, column in enumerate(columns)]
    room = {column: natural[n] for n, column in enumerate(columns) if column in how}
    excess = sum(natural) - width
    while excess > 0 and room[widest := max(room, key=lambda column: room[column])] > LEAST:
        room[widest] -= 1
        excess -= 1
    return [
        [how[column](cell, room[column]) if column in room else cell for column, cell in zip(columns, row, strict=True)]
        for row in rows
    ]
