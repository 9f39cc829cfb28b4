"""Families of pages with one layout, such as the forms or letters of one sender, by average linkage.

Average linkage (Sokal & Michener 1958) joins the two clusters whose pages have the greatest mean cosine. It is run
here on the graph of nearest neighbours, by joining all clusters that are each other's nearest at once, which for this
linkage gives the same tree (Murtagh 1983). Of each cluster only its mean is kept: the mean cosine of the pages of two
clusters is the inner product of their means. So nothing of the size n x n is made.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.decomposition import TruncatedSVD

from embedpipe.index.row_neighbours import EXACT_ROWS, RowIndex, sampled, singular_vectors

SAME_LAYOUT = 0.8
"""Mean cosine of two pages of a family: at 0.85 families of real documents agree a little better with their sources, at
0.8 they take in more pages."""

_NEIGHBOURS = 10
_DIM = 256
"""Clusters are found on so many singular vectors: a sixth of the time, and a million pages fit into 1 GB."""

_SAMPLE = 20_000
_EDGES = 65_536
_READ = 8192
"""Rows that are in memory at once where there are many."""

_TOTALS = 2**25
"""Numbers of the sums of families that are in memory at once."""

Read = Callable[[NDArray[np.int64]], NDArray[np.float32]]
"""Page ids, (n,), to their rows of unit length, float32 (n, dim)."""


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """Pages of one layout.

    Attributes:
        page_ids: The most typical first: the one with the greatest mean cosine with all of the family, int64 (n,).
        coherence: Mean cosine of two of its pages; 1 where all are the same.
    """

    page_ids: NDArray[np.int64]
    coherence: float

    @property
    def representative(self) -> int:
        """Id of the most typical page, the medoid."""
        return int(self.page_ids[0])


def families(
    unit: NDArray[np.float32], page_ids: NDArray[np.int64], *, threshold: float = SAME_LAYOUT, least: int = 3
) -> list[Family]:
    """Finds the families among some pages.

    Args:
        unit: Features as `PageIndex.unit` gives them, float32 (n, dim).
        page_ids: Ids of the pages, int64 (n,).
        threshold: Least mean cosine of two pages of a family; higher ones give tighter and smaller families.
        least: Pages of the smallest family; the pages of smaller ones are in none.

    Returns:
        The largest first, of equal ones that with the earlier page. Every page is in one family at most.
    """
    members = _members(average_linkage(reduced(unit), threshold), least)
    return [_family(unit[rows], page_ids[rows]) for rows in members]


def _members(clusters: NDArray[np.int64], least: int) -> list[NDArray[np.int64]]:
    """The rows of each cluster that is large enough, the largest first."""
    order = np.argsort(clusters, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(clusters[order])) + 1) if len(order) else []
    return sorted((rows for rows in members if len(rows) >= least), key=lambda rows: (-len(rows), rows[0]))


def families_of_many(
    read: Read,
    page_ids: NDArray[np.int64],
    *,
    threshold: float = SAME_LAYOUT,
    least: int = 3,
    most_exact: int = EXACT_ROWS,
) -> list[Family]:
    """As `families`, of pages whose rows need not fit into memory: more than `EXACT_ROWS` are read some at a time.

    Args:
        read: Gives the rows of some pages; asked for them in the order of their ids, three times.
        page_ids: Ids of the pages, int64 (n,).
        threshold: Least mean cosine of two pages of a family.
        least: Pages of the smallest family.
        most_exact: Up to so many pages are in memory at once.
    """
    if len(page_ids) <= most_exact:
        return families(read(page_ids), page_ids, threshold=threshold, least=least) if len(page_ids) else []
    order = np.argsort(page_ids, kind="stable")
    axes = singular_vectors(read(page_ids[order[sampled(len(order), _SAMPLE)]]))
    projected = np.empty((len(order), axes.shape[1]), np.float32)
    for rows, unit in _pieces(read, page_ids, order):
        projected[rows] = unit @ axes
    members = _members(average_linkage(projected, threshold), least)
    del projected
    found: list[Family] = []
    most = max(_TOTALS // len(axes), 1)
    for first in range(0, len(members), most):
        found += _families_of(read, page_ids, members[first : first + most], len(axes))
    return found


def _pieces(
    read: Read, page_ids: NDArray[np.int64], order: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Numbers of some pages and their rows, a few at a time, in an order in which a store is read once."""
    for first in range(0, len(order), _READ):
        rows = order[first : first + _READ]
        yield rows, read(page_ids[rows])


def _families_of(read: Read, page_ids: NDArray[np.int64], members: list[NDArray[np.int64]], dim: int) -> list[Family]:
    """Families with their pages in order, from sums that are added up while rows go by."""
    family = np.full(len(page_ids), -1, np.int64)
    for number, rows in enumerate(members):
        family[rows] = number
    own = np.flatnonzero(family >= 0)
    order = own[np.argsort(page_ids[own], kind="stable")]
    totals, closeness = np.zeros((len(members), dim)), np.empty(len(page_ids))
    for rows, unit in _pieces(read, page_ids, order):
        by_family = np.argsort(family[rows], kind="stable")
        numbers, starts = np.unique(family[rows[by_family]], return_index=True)
        totals[numbers] += np.add.reduceat(unit[by_family], starts, axis=0, dtype=np.float64)
    for rows, unit in _pieces(read, page_ids, order):
        closeness[rows] = np.einsum("ij,ij->i", unit, totals[family[rows]])
    return [
        Family(page_ids[rows[np.argsort(-closeness[rows], kind="stable")]], _coherence(total, len(rows)))
        for rows, total in zip(members, totals, strict=True)
    ]


def average_linkage(unit: NDArray[np.float32], threshold: float) -> NDArray[np.int64]:
    """Clusters of rows: no two of them could be joined without their mean cosine falling below the threshold.

    Args:
        unit: Rows of unit length, float32 (n, dim).
        threshold: Least mean cosine at which clusters are joined.

    Returns:
        The cluster of each row, counted from 0, (n,).
    """
    n = len(unit)
    clusters, means, sizes = np.arange(n), unit, np.ones(n)
    while True:  # means are searched anew when their old neighbours are used up
        edges, before = _neighbour_edges(means), len(means)
        cosines = _products(means, edges)
        while len(pairs := _mutually_nearest(edges, cosines, threshold)):
            merged = _merge(pairs, len(means))
            means, sizes = _means(means, sizes, merged)
            clusters = merged[clusters]
            edges, cosines = _contracted(edges, cosines, merged, means, pairs)
        if len(means) == before:
            return clusters


def reduced(unit: NDArray[np.float32]) -> NDArray[np.float32]:
    """The rows on their first singular vectors: inner products stay what they were, but for what was dropped.

    Args:
        unit: Rows of unit length, float32 (n, dim).

    Returns:
        float32 (n, 256), or the same rows where either side is no longer than that.
    """
    if min(unit.shape) <= _DIM:
        return unit
    if len(unit) > EXACT_ROWS:
        return np.ascontiguousarray(unit @ singular_vectors(unit))
    rng = np.random.default_rng(0)
    sample = unit[np.sort(rng.choice(len(unit), min(_SAMPLE, len(unit)), replace=False))]
    svd = TruncatedSVD(_DIM, random_state=0).fit(sample)  # not PCA: without a centre, no cosine changes
    return np.ascontiguousarray(unit @ svd.components_.T.astype(np.float32))


def _neighbour_edges(means: NDArray[np.float32]) -> NDArray[np.int64]:
    """Pairs (smaller, larger) of rows of which one is among the nearest of the other."""
    if not len(means):
        return np.empty((0, 2), np.int64)
    _, found = RowIndex(means).search(means, min(_NEIGHBOURS + 1, len(means)))
    rows = np.repeat(np.arange(len(means)), found.shape[1])
    return _unique_edges(np.column_stack([rows, found.ravel()]), len(means))


def _unique_edges(edges: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    low, high = edges.min(axis=1, initial=n), edges.max(axis=1, initial=-1)
    keys = np.unique((low * n + high)[(low < high) & (low >= 0)])
    return np.column_stack([keys // max(n, 1), keys % max(n, 1)])


def _products(means: NDArray[np.float32], edges: NDArray[np.int64]) -> NDArray[np.float32]:
    products = np.empty(len(edges), np.float32)
    for start in range(0, len(edges), _EDGES):
        some = edges[start : start + _EDGES]
        np.einsum("ij,ij->i", means[some[:, 0]], means[some[:, 1]], out=products[start : start + _EDGES])
    return products


def _mutually_nearest(edges: NDArray[np.int64], cosines: NDArray[np.float32], threshold: float) -> NDArray[np.int64]:
    """The edges that are the best one of both their ends, (m, 2)."""
    near = cosines >= threshold
    edges, cosines = edges[near], cosines[near]
    order = np.lexsort((edges[:, 1], edges[:, 0], -cosines))  # of equal ones the first: any rule that both ends share
    ranked = edges[order]
    rank = np.arange(len(ranked))
    best = np.full(int(ranked.max(initial=-1)) + 1, len(ranked))
    np.minimum.at(best, ranked[:, 0], rank)
    np.minimum.at(best, ranked[:, 1], rank)
    pairs: NDArray[np.int64] = ranked[(best[ranked[:, 0]] == rank) & (best[ranked[:, 1]] == rank)]
    return pairs


def _merge(pairs: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """The new number of each of n clusters, (n,)."""
    target = np.arange(n)
    target[pairs[:, 1]] = pairs[:, 0]
    return np.unique(target, return_inverse=True)[1].astype(np.int64)


def _means(
    means: NDArray[np.float32], sizes: NDArray[np.float64], merged: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    total = np.bincount(merged, sizes).astype(np.float64)
    shares = csr_array((sizes / total[merged], (merged, np.arange(len(merged)))), (len(total), len(merged)))
    joined: NDArray[np.float32] = np.ascontiguousarray(shares.astype(np.float32) @ means)
    return joined, total


def _contracted(
    edges: NDArray[np.int64],
    cosines: NDArray[np.float32],
    merged: NDArray[np.int64],
    means: NDArray[np.float32],
    pairs: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The edges between the new clusters; only those of clusters that grew are computed again."""
    grown = np.zeros(len(means), bool)
    grown[merged[pairs[:, 0]]] = True
    moved = merged[edges]
    changed = grown[moved].any(axis=1)
    new = _unique_edges(moved[changed], len(means))
    return (
        np.concatenate([moved[~changed], new]),
        np.concatenate([cosines[~changed], _products(means, new)]),
    )


def _family(unit: NDArray[np.float32], page_ids: NDArray[np.int64]) -> Family:
    n, total = len(unit), unit.sum(axis=0, dtype=np.float64)
    order = np.argsort(-(unit @ total), kind="stable")
    return Family(page_ids[order], _coherence(total, n))


def _coherence(total: NDArray[np.float64], n: int) -> float:
    """Mean cosine of two of n rows of unit length with this sum."""
    return min((float(total @ total) - n) / (n * (n - 1)), 1.0) if n > 1 else 1.0
