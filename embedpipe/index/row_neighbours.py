"""The nearest of some rows in memory, by cosine: exactly among few, through inverted lists among many.

Up to `EXACT_ROWS` every row is compared, which is exact. Beyond, that would be of the size n x n for n queries: rows
are projected on their first singular vectors, which keep their inner products, and with each query only the rows in the
nearest of some lists are compared (inverted files; Sivic and Zisserman, 2003; Douze et al., 2024, "The Faiss library").
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedpipe.core.faiss_library import faiss

EXACT_ROWS = 20_000
"""Up to so many rows all of them are compared."""

DIM = 256
"""Singular vectors that are kept of wider rows."""

_SAMPLE = 32_768
_FOR_AXES = 16_384
_BLOCK = 4096
_PROBES = 16
"""Lists that are looked at; docs/performance.md gives the neighbours that are found."""

_ROWS_PER_CENTROID = 32
_STEPS = 5
"""Of the clustering into lists; with these two 0.978 of the nearest are found, with ten steps on all rows 0.983."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """What rows are looked up by, so that an index of the same rows can be made again at once.

    Attributes:
        axes: Singular vectors that rows are projected on, float32 (dim, k); empty (dim, 0) where they are not.
        centroids: Of the lists, float32 (lists, k or dim); none for exact search.
    """

    axes: NDArray[np.float32]
    centroids: NDArray[np.float32]

    @classmethod
    def of(cls, sample: NDArray[np.float32], n: int, most_exact: int = EXACT_ROWS, *, most_axes: int = DIM) -> "Layout":
        """The layout that suits n rows.

        Args:
            sample: Those of them that `sampled` names, of unit length, float32 (m, dim).
            n: How many rows there are.
            most_exact: Up to so many are compared one by one.
            most_axes: Singular vectors that are kept of wider rows.
        """
        dim = sample.shape[1]
        nothing = np.empty((dim, 0), np.float32)
        if n <= most_exact:
            return cls(nothing, np.empty((0, dim), np.float32))
        axes = singular_vectors(sample, most_axes) if dim > most_axes else nothing
        lists = min(1 << (int(2 * n**0.5).bit_length() - 1), max(len(sample) // _ROWS_PER_CENTROID, 1))
        placed = _project(sample, axes)
        coarse = faiss.IndexFlatIP(placed.shape[1])
        index = faiss.IndexIVFFlat(coarse, placed.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
        index.cp.niter, index.cp.spherical, index.cp.min_points_per_centroid = _STEPS, True, 1
        index.cp.max_points_per_centroid = _ROWS_PER_CENTROID
        index.train(placed)  # not `faiss.Kmeans`, which fails where PyMuPDF's own kind of vectors was loaded before
        return cls(axes, coarse.reconstruct_n(0, lists))

    @property
    def exact(self) -> bool:
        """Whether every row is compared."""
        return not len(self.centroids)

    def project(self, unit: NDArray[np.float32]) -> NDArray[np.float32]:
        """Rows as they are compared, float32 (n, k)."""
        return _project(unit, self.axes)

    def directions(self, unit: NDArray[np.float32]) -> NDArray[np.float32]:
        """As `project`, and of unit length again, so that what was dropped makes no row farther from all others."""
        if not self.axes.shape[1]:
            return unit
        projected = self.project(unit)
        projected /= np.maximum(np.linalg.norm(projected, axis=1, keepdims=True), 1e-12)
        return projected

    def index(self, projected: NDArray[np.float32]) -> Any:
        """A FAISS index of rows as `project` gives them; in lists they are float16, which halves the time."""
        if self.exact:
            flat = faiss.IndexFlatIP(projected.shape[1])
            flat.add(projected)
            return flat
        coarse = faiss.IndexFlatIP(projected.shape[1])
        coarse.add(self.centroids)
        kind, counts = faiss.ScalarQuantizer.QT_fp16, (projected.shape[1], len(self.centroids))
        lists = faiss.IndexIVFScalarQuantizer(coarse, *counts, kind, faiss.METRIC_INNER_PRODUCT, False)
        lists.is_trained, lists.nprobe = True, min(_PROBES, len(self.centroids))
        for first in range(0, len(projected), _BLOCK):
            lists.add(projected[first : first + _BLOCK])
        return lists


class RowIndex:
    """Some rows of unit length, to look others up among them.

    Args:
        unit: float32 (n, dim).
        most_exact: Up to so many rows all are compared.
        probes: Lists that are looked at where there are more.
    """

    def __init__(self, unit: NDArray[np.float32], most_exact: int = EXACT_ROWS, probes: int = _PROBES) -> None:
        sample = unit[:0] if len(unit) <= most_exact else unit[sampled(len(unit))]
        self.layout = Layout.of(sample, len(unit), most_exact)
        del sample  # hundreds of megabytes
        self.rows = unit if self.layout.exact else self.layout.project(unit)
        self._index = self.layout.index(self.rows)
        if not self.exact:
            self._index.nprobe = min(probes, len(self.layout.centroids))

    @property
    def exact(self) -> bool:
        """Whether all rows are compared."""
        return self.layout.exact

    def search(self, unit: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The k nearest rows of each query, (n, k): cosines, best first, and rows, -1 where too few were looked at."""
        return search(self._index, unit if self.exact else self.layout.project(unit), k)

    def neighbours(self, k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """As `search`, of each row itself, which is among what is found."""
        return search(self._index, self.rows, k)


def search(index: Any, projected: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The k nearest rows, (n, k), of queries as `Layout.project` gives them; rows are -1 where there are fewer."""
    found: tuple[NDArray[np.float32], NDArray[np.int64]] = index.search(projected, k)
    return found


def sampled(n: int, most: int = _SAMPLE) -> NDArray[np.int64]:
    """Some of n rows, ascending, always the same ones: what a layout is made from, unless fewer are wanted."""
    return np.sort(np.random.default_rng(0).permutation(n)[:most])


def singular_vectors(unit: NDArray[np.float32], most: int = DIM) -> NDArray[np.float32]:
    """The first right singular vectors of rows, of some thousand of them, float32 (dim, most)."""
    from scipy.linalg import eigh  # noqa: PLC0415 - answering does without it

    some = unit[:: -(-len(unit) // _FOR_AXES)]
    products, dim = some.T @ some, unit.shape[1]
    _, axes = eigh(products, subset_by_index=(max(dim - most, 0), dim - 1))
    return np.ascontiguousarray(axes[:, ::-1], np.float32)


def _project(unit: NDArray[np.float32], axes: NDArray[np.float32]) -> NDArray[np.float32]:
    if not axes.shape[1]:
        return unit
    placed = np.empty((len(unit), axes.shape[1]), np.float32)
    for first in range(0, len(unit), _BLOCK):
        placed[first : first + _BLOCK] = unit[first : first + _BLOCK] @ axes
    return placed
