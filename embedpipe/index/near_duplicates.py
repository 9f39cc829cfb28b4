"""Which rows of features are nearly the same picture: pairs of high cosines, joined into groups."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from embedpipe.index.row_neighbours import EXACT_ROWS, RowIndex

NEAR_DUPLICATE = 0.95
"""Cosine of scaled features from which two pages are nearly the same picture: one page saved again, or one form, also
where it is filled differently, which features do not show (docs/quality.md). Scans of a printed page lie below."""

MOST = 100
"""Near rows of each row that are named among many: a million copies of one form do not make a million times a million
pairs."""

CROWDED = 500
"""Later near rows from which on those of a row are named like those among many: 20,000 copies of one form would make
two hundred million pairs."""

_BLOCK, _SLICE = 256, 128
_AXES, _FOR_AXES, _STEPS = 64, 2048, 3
_OFTEN = 64
"""Rows that may be near each row, on average, before all are compared."""
_ROUNDING = 1e-5  # of squared lengths as float32, at most
_ROUNDED = 5e-4  # by which products with float16 are too small at most
_PAIRS = 4096
_PROBES = 8
"""Lists that are looked at: so near rows lie in few. Of 21,127 pairs from a cosine of 0.9 on one was missed, of 5,660
from 0.95 on none."""


def near_pairs(
    unit: NDArray[np.float32], threshold: float, most_exact: int = EXACT_ROWS
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Pairs of rows whose cosine is at least a threshold, found without the square matrix.

    Up to `most_exact` rows they are all of them, but of rows with more than `CROWDED` near ones behind them. Of these
    and of more rows, they are those of each row with its `MOST` nearest ones, among more as far as the lists that are
    looked at hold them (`row_neighbours`); where a row has more, pairs with a few of these rows are added, so that all
    of them are connected.

    Args:
        unit: Rows of unit length, float32 (n, dim).
        threshold: Smallest cosine.
        most_exact: Up to so many rows all are compared.

    Returns:
        Rows (m, 2) with the smaller one first, and their cosines (m,).
    """
    if len(unit) > most_exact:
        return _pairs_of_many(unit, threshold, most_exact)
    bounded, joined = _bounding(unit), np.arange(len(unit))
    pairs, cosines = [np.empty((0, 2), np.int64)], [np.empty(0, np.float32)]
    for start in range(0, len(unit), _BLOCK):
        some = slice(start, start + _BLOCK)
        products = bounded[some] @ bounded[start:].T
        many = np.count_nonzero(products >= threshold) > _OFTEN * len(products)
        if many:  # comparing all at once is quicker than one by one
            del products
            products = unit[some] @ unit[start:].T
        step = _SLICE if many else _BLOCK
        for first in range(0, len(products), step):
            one, other = np.nonzero(products[first : first + step] >= threshold)
            one += first
            one, other = one[one < other], other[one < other]
            found = np.column_stack([one, other]) + start
            own = products[one, other] if many else _cosines(unit, found)
            found, own = found[own >= threshold], own[own >= threshold]
            kept = _thinned(found, own, joined)
            pairs.append(found[kept])
            cosines.append(own[kept])
    return np.concatenate(pairs), np.concatenate(cosines)


def _thinned(pairs: NDArray[np.int64], cosines: NDArray[np.float32], joined: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which pairs are named of rows with more than `CROWDED` near ones behind them, and all of the others, (m,).

    Args:
        pairs: All of some rows, in the order of the rows, (m, 2).
        cosines: Of the pairs, (m,).
        joined: A number for each row, (n,), the same for rows that pairs of crowded rows connect; brought up to date.
    """
    kept = np.ones(len(pairs), bool)
    rows, starts, counts = np.unique(pairs[:, 0], return_index=True, return_counts=True)
    for k in np.flatnonzero(counts > CROWDED):
        own = slice(starts[k], starts[k] + counts[k])
        near, number = pairs[own, 1], joined[rows[k]]
        named = np.zeros(len(near), bool)
        named[np.argpartition(-cosines[own], MOST)[:MOST]] = True
        others = np.flatnonzero(joined[near] != number)
        numbers, first = np.unique(joined[near[others]], return_index=True)
        named[others[first]] = True
        if len(numbers):
            joined[np.isin(joined, numbers)] = number
        kept[own] = named
    return kept


def _bounding(unit: NDArray[np.float32]) -> NDArray[np.float32]:
    """Short rows whose inner products are at least those of some rows of unit length, (n, at most `_AXES` + 1).

    They are the projections on some axes, then the lengths of what these drop, for the inner product of two dropped
    parts is at most that of their lengths. The bound holds for any axes; it is close for those near the first singular
    vectors, found from some of the rows (subspace iteration; Halko, Martinsson and Tropp, 2011, arXiv:0909.4061).
    """
    if unit.shape[1] <= _AXES:
        return unit
    sample = unit[:: -(-len(unit) // _FOR_AXES)] if len(unit) else unit
    sample = sample[np.isfinite(sample).all(axis=1)]  # a row that is no picture spoils no other's pairs
    axes = np.random.default_rng(0).standard_normal((unit.shape[1], _AXES), np.float32)
    for _ in range(_STEPS):
        axes = np.linalg.qr(sample.T @ (sample @ axes))[0]
    placed = unit @ axes
    lost = np.einsum("ij,ij->i", unit, unit) - np.einsum("ij,ij->i", placed, placed)
    return np.column_stack([placed, np.sqrt(np.maximum(lost, 0.0) + _ROUNDING)])


def _pairs_of_many(
    unit: NDArray[np.float32], threshold: float, most_exact: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    index, n = RowIndex(unit, most_exact, _PROBES), len(unit)
    lost = np.sqrt(np.maximum(1.0 - np.einsum("ij,ij->i", index.rows, index.rows), 0.0))  # by the projection
    keys, crowded = [], np.zeros(n, bool)
    for start in range(0, n, _BLOCK):
        estimates, rows = index.search(unit[start : start + _BLOCK], MOST + 1)
        queries = np.arange(start, start + len(rows))[:, None]
        # the parts that the projection drops have an inner product of at most that of their lengths
        most = estimates + lost[queries] * lost[rows] + _ROUNDED
        near = (rows >= 0) & (rows != queries) & (most >= threshold)
        crowded[start : start + len(rows)] = near.sum(axis=1) >= MOST
        low, high = np.minimum(queries, rows)[near], np.maximum(queries, rows)[near]
        keys.append(np.unique(low * n + high))
    pairs = np.column_stack(np.divmod(np.unique(np.concatenate(keys)), n))
    pairs = np.concatenate([pairs, _pairs_with_leaders(index.rows, np.flatnonzero(crowded), threshold)])
    cosines = _cosines(unit, pairs)
    near_enough = cosines >= threshold
    return pairs[near_enough], cosines[near_enough]


def _pairs_with_leaders(rows: NDArray[np.float32], crowded: NDArray[np.int64], threshold: float) -> NDArray[np.int64]:
    """Pairs of rows that have more near ones than were named, with one of them that leads all that are near it, (m, 2).

    Each row has many near it, so that there are few leaders.
    """
    found, left = [np.empty((0, 2), np.int64)], crowded
    while len(left):
        near = rows[left] @ rows[left[0]] >= threshold * float(rows[left[0]] @ rows[left[0]])
        near[0] = True
        found.append(np.column_stack([np.full(int(near.sum()) - 1, left[0]), left[near][1:]]))
        left = left[~near]
    return np.concatenate(found)


def _cosines(unit: NDArray[np.float32], pairs: NDArray[np.int64]) -> NDArray[np.float32]:
    cosines = np.empty(len(pairs), np.float32)
    for start in range(0, len(pairs), _PAIRS):
        one, other = pairs[start : start + _PAIRS].T
        np.einsum("ij,ij->i", unit[one], unit[other], out=cosines[start : start + _PAIRS])
    return cosines


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
