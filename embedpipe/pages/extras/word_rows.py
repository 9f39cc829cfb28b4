"""Counts of words as rows that a classifier takes. Loads no scikit-learn.

A row has columns for the n-grams anywhere on a page, a power of two of them, and may have `HEADS` more after these for
the n-grams of its head, the first characters. What a page is says its head: "Invoice", "Dear Sir", "Chapter 1".
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

HEADS = 2**13
"""Columns of the n-grams of heads, after all others; rows of earlier versions have none."""


def have_words(words: "csr_array") -> NDArray[np.bool_]:
    """Which rows hold any n-gram, (n,)."""
    there: NDArray[np.bool_] = np.diff(words.indptr) > 0
    return there


def body_width(width: int) -> int:
    """How many columns of rows are not of heads."""
    rest = width - HEADS
    return rest if rest > HEADS and rest & (rest - 1) == 0 else width


def folded(X: Any, buckets: int, *, spare: bool = False, heads: bool = False) -> "csr_array":
    """Counts, sparse (n, n_buckets), with columns folded to fewer, a power of two; float32.

    What is folded to so many already is given back as it is: rows that are used often are folded once.

    Args:
        X: The counts.
        buckets: How many columns.
        spare: X is not needed afterwards: its arrays are used.
        heads: Keep the columns of heads, where there are any, as they are.
    """
    from scipy.sparse import csr_array  # noqa: PLC0415 - classifiers without words do without it

    rows = X if isinstance(X, csr_array) else csr_array(X)
    width = body_width(rows.shape[1])
    if width < rows.shape[1] and not heads:
        rows = rows[:, :width]
    more = rows.shape[1] - width
    if width == buckets and rows.dtype == np.float32 and rows.has_canonical_format:
        return rows
    of_heads = rows.indices >= width
    moved = rows.indices[of_heads] + (buckets - width)
    columns = np.remainder(rows.indices, buckets, out=rows.indices if spare else None)
    columns[of_heads] = moved
    # of the kinds that liblinear takes; the sum below changes all three
    places = (own.astype(np.int32, copy=not spare) for own in (columns, rows.indptr))
    found = csr_array((rows.data.astype(np.float32, copy=not spare), *places), shape=(rows.shape[0], buckets + more))
    found.sum_duplicates()
    return found


def in_space(
    X: Any,
    rarity: NDArray[np.float32],
    directions: NDArray[np.float16],
    mean: NDArray[np.float32],
    scale: float,
) -> NDArray[np.float32]:
    """Where counts, sparse (n, n_buckets), are along some directions; rows without words are in the middle, 0, (n, k).

    Args:
        X: The counts.
        rarity: Of each n-gram, see `weighted`.
        directions: (buckets, k).
        mean: The middle, (k,).
        scale: Factor of all.
    """
    from scipy.sparse import csr_array  # noqa: PLC0415 - classifiers without words do without it

    along = np.asarray(weighted(X, rarity) @ directions.astype(np.float32), np.float32)
    found: NDArray[np.float32] = (along - mean) * np.float32(scale)
    found[~have_words(csr_array(X))] = 0.0
    return found


def weighted(X: Any, rarity: NDArray[np.float32]) -> "csr_array":
    """Counts, sparse (n, n_buckets), to rows of unit length: logarithms of counts, times the rarity of each n-gram.

    Args:
        X: The counts.
        rarity: Of each n-gram, (buckets,): columns are folded to so many.
    """
    rows = folded(X, len(rarity))
    values = (np.log(rows.data) + 1.0) * rarity[rows.indices]
    owner = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    lengths = np.sqrt(np.bincount(owner, weights=values * values, minlength=rows.shape[0]))
    values /= np.maximum(lengths[owner], 1e-12)
    return type(rows)((values.astype(np.float32, copy=False), rows.indices, rows.indptr), shape=rows.shape)
