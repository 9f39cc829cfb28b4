"""Single rows of a part's features, read from the Parquet file in place, without decoding the pages around them.

The store writes features plain and uncompressed, so that each row lies in the file byte for byte, here and there cut by
the header of a data page. Where the pieces begin is found by looking for the bytes themselves: a wrong place cannot be
noted. Rows that are not found so, as in a file that was compressed by other programs, are read by decoding the part.
"""

import mmap
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_PATTERN = 64
_MOST_SPANS = 4096
"""A part with more pieces is taken as one that cannot be read in place."""


@dataclass(frozen=True, slots=True)
class Spans:
    """Where the bytes of a part's features lie.

    Attributes:
        starts: The first byte of each piece, counted in the features' bytes, int64 (m,), ascending.
        offsets: Where the piece begins in the file, int64 (m,).
    """

    starts: NDArray[np.int64]
    offsets: NDArray[np.int64]


def locate(file: Path, values: NDArray[np.float16]) -> Spans:
    """Finds where the features of a part lie in its file.

    Args:
        file: The part.
        values: Its features, float16 (n, dim) or flat.

    Returns:
        The pieces; none where the features do not lie there as they are.
    """
    wanted = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    starts: list[int] = []
    offsets: list[int] = []
    done = 0
    with open(file, "rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content:
        there = np.frombuffer(content, np.uint8)
        at = 0
        while done < len(wanted):
            at = content.find(wanted[done : done + _PATTERN].tobytes(), at)
            if at < 0 or len(starts) == _MOST_SPANS:
                starts, offsets = [], []
                break
            length = _common_prefix(there[at:], wanted[done:])
            starts.append(done)
            offsets.append(at)
            done, at = done + length, at + length
        del there
    return Spans(np.array(starts, np.int64), np.array(offsets, np.int64))


def _common_prefix(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> int:
    length = min(len(one), len(other))
    differs = one[:length] != other[:length]
    first = int(differs.argmax())
    return first if differs[first] else length


def checksums(values: NDArray[np.float16]) -> NDArray[np.uint32]:
    """CRC-32 of each row of features, float16 (n, dim); uint32 (n,)."""
    return np.array([zlib.crc32(row) for row in np.ascontiguousarray(values)], np.uint32)


def read_rows(file: str | Path, spans: Spans, rows: NDArray[np.int64], dim: int) -> NDArray[np.float16]:
    """Reads rows of a part in place.

    Args:
        file: The part.
        spans: As `locate` found them; not empty.
        rows: Numbers of the rows in the part.
        dim: Features of a row.

    Returns:
        float16 (len(rows), dim); the caller compares the checksums.

    Raises:
        OSError: The file is gone, or too short.
    """
    width = 2 * dim
    found = bytearray(width * len(rows))
    handle = os.open(file, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        for number, first in enumerate((rows * width).tolist()):
            found[number * width : (number + 1) * width] = _read(handle, spans, first, width)
    finally:
        os.close(handle)
    return np.frombuffer(found, np.float16).reshape(len(rows), dim)


def _read(handle: int, spans: Spans, first: int, length: int) -> bytes:
    """Bytes `first` to before `first + length` of the features, of as many pieces as they lie in."""
    pieces = []
    piece = int(np.searchsorted(spans.starts, first, side="right")) - 1
    while length:
        into = first - int(spans.starts[piece])
        here = length
        if piece + 1 < len(spans.starts):
            here = min(length, int(spans.starts[piece + 1]) - first)
        content = _pread(handle, here, int(spans.offsets[piece]) + into)
        if len(content) != here:
            raise OSError("the file is too short")
        pieces.append(content)
        first, length, piece = first + here, length - here, piece + 1
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _pread(handle: int, length: int, offset: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(handle, length, offset)
    os.lseek(handle, offset, os.SEEK_SET)  # Windows
    return os.read(handle, length)
