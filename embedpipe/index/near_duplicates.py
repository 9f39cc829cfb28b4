"""Which rows of features are nearly the same picture: pairs found by FAISS, joined into groups."""

import faiss
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

NEAR_DUPLICATE = 0.95
"""Cosine of scaled features from which two pages are nearly the same picture: one page saved again, or one form, also
where it is filled differently, which features do not show (docs/quality.md). Scans of a printed page lie below."""

_BLOCK = 4096


def near_pairs(unit: NDArray[np.float32], threshold: float) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """All pairs of rows whose cosine is at least a threshold, found without the square matrix.

    Args:
        unit: Rows of unit length, float32 (n, dim).
        threshold: Smallest cosine.

    Returns:
        Rows (m, 2) with the smaller one first, and their cosines (m,).
    """
    index = faiss.IndexFlatIP(unit.shape[1])
    index.add(unit)
    pairs, cosines = [], []
    for start in range(0, len(unit), _BLOCK):
        limits, found, rows = index.range_search(unit[start : start + _BLOCK], threshold)
        counts: NDArray[np.int64] = np.diff(limits).astype(np.int64)
        queries = np.repeat(np.arange(start, start + len(counts)), counts)
        once = queries < rows
        pairs.append(np.column_stack([queries[once], rows[once]]))
        cosines.append(found[once])
    empty = np.empty((0, 2), np.int64), np.empty(0, np.float32)
    return (np.concatenate(pairs), np.concatenate(cosines)) if pairs else empty


def connected(pairs: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """The group of each of n rows, (n,): rows of a pair are in one group, and groups that share a row are one."""
    ones = np.ones(len(pairs), np.int8)
    _, groups = connected_components(coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(n, n)), directed=False)
    joined: NDArray[np.int64] = groups.astype(np.int64)
    return joined


class Groups:
    """Rows joined pair by pair, as a forest (Galler and Fischer 1964): gives at any time which are together.

    Args:
        n: Number of rows; each begins alone.
    """

    def __init__(self, n: int) -> None:
        self._parents = list(range(n))

    def root(self, row: int) -> int:
        """The representative row of a row's group."""
        parents = self._parents
        while parents[row] != row:
            parents[row] = row = parents[parents[row]]
        return row

    def join(self, one: int, other: int) -> None:
        """Makes the groups of two rows one; the smallest row of a group represents it."""
        first, second = sorted((self.root(one), self.root(other)))
        self._parents[second] = first

    def roots(self) -> NDArray[np.int64]:
        """The representative of the group of each row, (n,)."""
        return np.array([self.root(row) for row in range(len(self._parents))], np.int64)
