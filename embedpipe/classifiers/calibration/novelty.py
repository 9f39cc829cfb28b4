"""How little a page looks like any labelled page: how new types of document are detected."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cho_factor, cho_solve
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from embedpipe.classifiers.scores.nearest import flat_index, mean_distances, unit_rows
from embedpipe.index.row_neighbours import EXACT_ROWS, Layout, sampled

_FOR_COVARIANCE = 20_000
"""Rows that a covariance is estimated from where there are more than `EXACT_ROWS`."""


class NoveltyDetector(BaseEstimator):
    """Cosine distance to the nearest training row among the directions that separate the classes.

    The directions are Fisher's linear discriminants (1936), with a covariance within the classes that is shrunk
    towards a multiple of the identity: what varies among pages of one class anyway makes no page novel. The cosine
    is that of the nearest rows, as in Sun et al. (2022, arXiv:2204.06507). docs/quality.md compares it with others.

    Args:
        shrinkage: Share of the identity in the covariance, 0..1.
        n_neighbors: The distance is the mean of that to so many nearest rows.

    Attributes:
        projection_: From features to discriminants, (n_features, n_classes).
        rows_: Training rows as unit vectors, float32 (n, n_classes).
        centroids_: Of the lists that rows are looked up in, float32 (lists, n_classes); none where all are compared.
        n_features_in_: Width of the training rows.
    """

    def __init__(self, shrinkage: float = 0.2, n_neighbors: int = 10) -> None:
        self.shrinkage = shrinkage
        self.n_neighbors = n_neighbors

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: NDArray[np.float64] | None = None) -> Self:
        """Learns from scaled features X, (n, n_features), and their classes y, (n,)."""
        checked, y = validate_data(self, X, y, dtype=np.float32)
        weights = np.ones(len(checked)) if sample_weight is None else np.asarray(sample_weight, np.float64)
        classes, columns = np.unique(y, return_inverse=True)
        members = np.zeros((len(checked), len(classes)), np.float32)
        members[np.arange(len(checked)), columns] = weights / np.bincount(columns, weights=weights)[columns]
        means = members.T @ checked
        some = slice(None) if len(checked) <= EXACT_ROWS else sampled(len(checked), _FOR_COVARIANCE)
        within = checked[some] - means[columns[some]]
        within *= np.sqrt(weights[some] / weights[some].sum())[:, None].astype(np.float32)
        covariance = (within.T @ within).astype(np.float64)
        average = max(float(np.trace(covariance)) / len(covariance), 1e-12)
        covariance *= 1.0 - self.shrinkage
        covariance[np.diag_indices_from(covariance)] += self.shrinkage * average
        directions = cho_solve(cho_factor(covariance, overwrite_a=True), means.T.astype(np.float64))
        # among these directions distances count as the covariance says: make them of unit variance, and upright
        values, vectors = np.linalg.eigh(means @ directions)
        kept = values > values.max() * 1e-6
        self.projection_ = (directions @ vectors[:, kept] / np.sqrt(values[kept])).astype(np.float32)
        self.rows_ = self._project(checked)
        self.centroids_ = np.empty((0, self.rows_.shape[1]), np.float32)
        if len(self.rows_) > EXACT_ROWS:
            sample = self.rows_[sampled(len(self.rows_))]
            self.centroids_ = Layout.of(sample, len(self.rows_), EXACT_ROWS).centroids
        self._index = self._index_of_rows()
        return self

    def _index_of_rows(self) -> Any:
        """Exact up to `EXACT_ROWS`; beyond, it looks at the nearest lists."""
        centroids = getattr(self, "centroids_", None)  # earlier versions compared all
        if centroids is None or not len(centroids):
            return flat_index(self.rows_)
        return Layout(np.empty((len(self.projection_.T), 0), np.float32), centroids).index(self.rows_)

    def distances(self, X: ArrayLike) -> NDArray[np.float64]:
        """One minus the cosine with the nearest training rows, 0..2, of scaled features X, (n,)."""
        check_is_fitted(self)
        checked = validate_data(self, X, dtype=np.float32, reset=False)
        return mean_distances(self._index, self._project(checked), self.n_neighbors)

    def _project(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        return unit_rows(X @ self.projection_)

    def __getstate__(self) -> dict[str, Any]:
        """Only arrays are saved; the index is made of them again."""
        return {key: value for key, value in super().__getstate__().items() if key != "_index"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Reverses `__getstate__`."""
        super().__setstate__(state)
        if "rows_" in state:
            self._index = self._index_of_rows()
