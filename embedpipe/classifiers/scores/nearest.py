"""Exact search among rows of unit length, for whatever compares pages with labelled ones. Loads no scikit-learn."""

import numpy as np
from numpy.typing import NDArray

from embedpipe.core.faiss_library import faiss

_ROWS = 256


def flat_index(rows: NDArray[np.float32]) -> faiss.Index:
    """An index for exact search among unit rows, float32 (n, dim)."""
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    return index


def unit_rows(X: NDArray[np.float32], *, copy: bool = True) -> NDArray[np.float32]:
    """Rows scaled to unit length, (n, dim), in place if no copy is wanted; rows of zeros stay so."""
    unit = np.empty(X.shape, np.float32) if copy or X.dtype != np.float32 else X
    for first in range(0, len(X), _ROWS):
        some = X[first : first + _ROWS]
        unit[first : first + _ROWS] = some / np.maximum(np.linalg.norm(some, axis=1, keepdims=True), 1e-12)
    return unit


def vote_shares(
    cosines: NDArray[np.float32], classes: NDArray[np.int64], count: int, temperature: float | str
) -> NDArray[np.float64]:
    """Shares of the votes of the nearest rows, (n, count).

    Args:
        cosines: Of the nearest rows of each query, best first, (n, k).
        classes: Columns of their classes, (n, k); -1 for a neighbour that was not found.
        count: How many classes there are.
        temperature: A row's vote is exp((cosine - best cosine) / temperature); a text makes all votes equal.
    """
    votes = np.ones(cosines.shape)
    if not isinstance(temperature, str):
        votes = np.exp((np.float64(cosines) - cosines[:, :1]) / temperature)
    votes[classes < 0] = 0.0
    shares = np.zeros((len(cosines), count))
    np.add.at(shares, (np.arange(len(cosines))[:, None], classes), votes)
    shares /= shares.sum(axis=1, keepdims=True)
    return shares


_NONE_NEIGHBORS = 3
"""How many of the nearest examples of no class count."""

_MARGIN, _STRESS = 0.3, 2.0
"""How much nearer to the classes than to those examples a row has to be, and what each bit less counts. Measured: the
difference of both distances tells documents like the examples as well, but others worse (docs/quality.md)."""


def distances_of(index: faiss.Index, none: faiss.Index, unit: NDArray[np.float32], k: int) -> NDArray[np.float64]:
    """How far unit rows, (n, dim), are from those of classes, (n,): 0..2, and more near examples of no class.

    Args:
        index: Rows of classes; the distance is the mean of that to the nearest k.
        none: Examples of no class; there may be none.
        unit: Of the same width.
        k: How many rows of classes count.
    """
    distances = mean_distances(index, unit, k)
    if none.ntotal:
        away = mean_distances(none, unit, _NONE_NEIGHBORS)
        distances += _STRESS * np.maximum(0.0, _MARGIN + distances - away)
    return distances


def mean_distances(index: faiss.Index, unit: NDArray[np.float32], k: int) -> NDArray[np.float64]:
    """One minus the mean cosine with the k nearest rows, 0..2, of unit rows (n, dim); (n,)."""
    cosines, rows = index.search(unit, min(k, index.ntotal))
    distances: NDArray[np.float64] = 1.0 - np.float64(cosines).mean(axis=1, where=rows >= 0)
    return distances
