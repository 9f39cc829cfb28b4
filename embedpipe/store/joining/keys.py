"""Pages of many parts as numbers, so that ten million of them can be compared in a few hundred megabytes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embedpipe.store.columns import array_of

_SPREAD = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F)
"""Odd numbers that spread page indices over 64 bits, as in SplitMix64 (Steele et al. 2014) and xxHash."""
_FOLD = np.array([0xBF58476D1CE4E5B9, 0x94D049BB133111EB], np.uint64)
"""Likewise, for the second half of a hash: all 256 bits count."""
_HEX = 64


@dataclass(frozen=True, slots=True)
class Keys:
    """Pages, in the order of the rows of a file.

    Attributes:
        a: 64 bits of each document's SHA-256, with the index of the page, uint64 (n,).
        b: 64 other bits likewise.
    """

    a: NDArray[np.uint64]
    b: NDArray[np.uint64]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.a)

    def where(self, rows: NDArray[np.bool_] | None) -> "Keys":
        """Some of them; all where None."""
        return self if rows is None else Keys(self.a[rows], self.b[rows])

    def checksum(self) -> int:
        """A sum that does not depend on the order: those of two sets of pages add up to that of both."""
        return (int(self.a.sum(dtype=np.uint64)) << 64) + int(self.b.sum(dtype=np.uint64))


def added(one: int, other: int) -> int:
    """The checksum of two sets of pages together, of the checksums of each."""
    low = (1 << 64) - 1
    return ((((one >> 64) + (other >> 64)) & low) << 64) + ((one + other) & low)


def read_keys(file: Path) -> tuple[Keys, list[str]]:
    """The pages of a part, of features or of what else is kept, and its distinct documents.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no such part.
        pa.ArrowException: It is damaged.
    """
    columns = ["document_sha256", "page_index"]
    with pq.ParquetFile(file, page_checksum_verification=True, read_dictionary=columns[:1]) as opened:
        table = opened.read(columns)
    if not table.num_rows:
        return Keys(np.empty(0, np.uint64), np.empty(0, np.uint64)), []
    documents = table[columns[0]].unify_dictionaries().combine_chunks()
    hashes = documents.dictionary.to_pylist()
    if documents.null_count or any(len(text) != _HEX for text in hashes):
        raise ValueError("its documents are not known by their SHA-256")
    halves = np.frombuffer(bytes.fromhex("".join(hashes)), ">u8").reshape(-1, 2, 2).astype(np.uint64)
    own = array_of(documents.indices)
    pages = array_of(table[columns[1]]).astype(np.uint64)
    with np.errstate(over="ignore"):
        words = halves[:, 0] + _FOLD * halves[:, 1]
        a, b = (words[own, place] + pages * np.uint64(spread) for place, spread in enumerate(_SPREAD))
    return Keys(a, b), hashes


def doubled(keys: list[Keys], ranks: list[NDArray[np.uint8]] | None = None) -> list[NDArray[np.bool_]]:
    """Which rows are of pages that another row counts for.

    Args:
        keys: Of files, the one first that counts. Emptied, for the memory.
        ranks: Of each row: of the same page the lowest counts, and of these the first.

    Returns:
        For each file which of its rows do not count.
    """
    sizes = [len(own) for own in keys]
    a = np.concatenate([own.a for own in keys]) if keys else np.empty(0, np.uint64)
    b = np.concatenate([own.b for own in keys]) if keys else np.empty(0, np.uint64)
    keys.clear()
    order = np.argsort(a, kind="stable") if ranks is None else np.lexsort((np.concatenate(ranks), b, a))
    again = a[order]
    same = again[1:] == again[:-1]
    del again
    at = np.flatnonzero(same)
    if ranks is None and (b[order[at]] != b[order[at + 1]]).any():  # 64 bits were not enough
        order = np.lexsort((b, a))
        at = np.flatnonzero(a[order[1:]] == a[order[:-1]])
    at = at[b[order[at]] == b[order[at + 1]]]
    found = np.zeros(len(a), bool)
    found[order[at + 1]] = True
    return np.split(found, np.cumsum(sizes)[:-1]) if sizes else []


def omitted_rows(size: int, counting: NDArray[np.bool_] | None, again: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which rows of a part do not count any more, (size,).

    Args:
        size: Rows of its file.
        counting: Which of them counted before, (size,); None for all.
        again: Which of those that counted another part has, in their order.
    """
    omitted = np.zeros(size, bool) if counting is None else ~counting
    omitted[slice(None) if counting is None else np.flatnonzero(counting)] = again
    return omitted
