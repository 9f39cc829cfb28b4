"""How little a page looks like any labelled page: how new types of document are detected."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from embedpipe.classifiers.scores.nearest import distances_of, flat_index, unit_rows
from embedpipe.classifiers.text.word_space import WordSpace
from embedpipe.index.row_neighbours import EXACT_ROWS, Layout, sampled
from embedpipe.store.labels import NONE
from embedpipe.store.scaling import ScaledRows

_BLOCK = 4096
_FOR_COVARIANCE = 20_000
"""Rows that a covariance is estimated from where there are more than `EXACT_ROWS`."""


class NoveltyDetector(BaseEstimator):
    """Cosine distance to the nearest training row among the directions that separate the classes.

    The directions are Fisher's linear discriminants (1936), with a covariance within the classes that is shrunk
    towards a multiple of the identity: what varies among pages of one class anyway makes no page novel. The cosine
    is that of the nearest rows, as in Sun et al. (2022, arXiv:2204.06507). docs/quality.md compares it with others.

    Rows of the class `labels.NONE` are examples of what is of no class (outlier exposure: Hendrycks, Mazeika and
    Dietterich, 2019, arXiv:1812.04606). They are one more class to the discriminants, and no row of a class is near
    to them: a row that is nearly as near to them as to those of the classes is farther away than it looks. So
    examples that have nothing to do with a row leave its distance as it is.

    Words, where they are known, are more features of a row; see `word_space`.

    Args:
        shrinkage: Share of the identity in the covariance, 0..1.
        n_neighbors: The distance is the mean of that to so many nearest rows.
        words: Width of the words beside the features, which are of width 1.

    Attributes:
        projection_: From features to discriminants, (n_features, n_classes).
        rows_: Training rows as unit vectors, float32 (n, n_classes).
        centroids_: Of the lists that rows are looked up in, float32 (lists, n_classes); none where all are compared.
        none_: Those of no class, float32 (m, n_classes); missing in detectors of earlier versions.
        word_space_: Makes features of words; None for a detector that learnt from none.
        n_features_in_: Width of the training rows.
    """

    word_space_: WordSpace | None = None
    words: float = 0.7  # earlier versions have none

    def __init__(self, shrinkage: float = 0.2, n_neighbors: int = 10, words: float = 0.7) -> None:
        self.shrinkage = shrinkage
        self.n_neighbors = n_neighbors
        self.words = words

    def fit(
        self,
        X: ArrayLike | ScaledRows,
        y: ArrayLike,
        sample_weight: NDArray[np.float64] | None = None,
        words: csr_array | None = None,
    ) -> Self:
        """Learns from scaled features X, (n, n_features), and their classes y, (n,).

        Args:
            X: Features as the classifier scales them.
            y: Classes, or `labels.NONE`.
            sample_weight: What each row counts, (n,).
            words: Counts of the n-grams of each row, (n, n_buckets); None where they are not known.
        """
        checked: NDArray[np.float32] | ScaledRows
        if isinstance(X, ScaledRows):  # many, which were validated where their scaler was fitted
            checked, self.n_features_in_ = X, X.shape[1]
        else:
            checked, y = validate_data(self, X, y, dtype=np.float32)
        if words is not None:
            self.word_space_ = WordSpace().fit(words)
        n = len(checked)
        space = None if self.word_space_ is None else self._space(n, words)
        whole = _beside(checked[:], space) if n <= EXACT_ROWS else None
        step = n if n <= EXACT_ROWS else _BLOCK
        blocks = [slice(first, first + step) for first in range(0, n, step)]

        def block(some: slice | NDArray[np.int64]) -> NDArray[np.float32]:  # with their words rows are copies
            return whole[some] if whole is not None else _beside(checked[some], None if space is None else space[some])

        weights = np.ones(n) if sample_weight is None else np.asarray(sample_weight, np.float64)
        classes, columns = np.unique(y, return_inverse=True)
        members = np.zeros((n, len(classes)), np.float32)
        members[np.arange(n), columns] = weights / np.bincount(columns, weights=weights)[columns]
        means = np.sum([members[some].T @ block(some) for some in blocks], axis=0)
        some = slice(None) if n <= EXACT_ROWS else sampled(n, _FOR_COVARIANCE)
        within = block(some) - means[columns[some]]
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
        none: NDArray[np.bool_] = np.asarray(y, object) == NONE
        known = ~none
        projected = np.concatenate([self._project(block(some)) for some in blocks])
        self.rows_, self.none_ = projected[known], projected[none]
        self.centroids_ = np.empty((0, self.rows_.shape[1]), np.float32)
        if len(self.rows_) > EXACT_ROWS:
            sample = self.rows_[sampled(len(self.rows_))]
            self.centroids_ = Layout.of(sample, len(self.rows_), EXACT_ROWS).centroids
        self._index, self._none_index = self._index_of_rows(), flat_index(self.none_)
        return self

    def _index_of_rows(self) -> Any:
        """Exact up to `EXACT_ROWS`; beyond, it looks at the nearest lists."""
        centroids = getattr(self, "centroids_", None)  # earlier versions compared all
        if centroids is None or not len(centroids):
            return flat_index(self.rows_)
        return Layout(np.empty((len(self.projection_.T), 0), np.float32), centroids).index(self.rows_)

    def distances(self, X: ArrayLike, words: csr_array | None = None) -> NDArray[np.float64]:
        """One minus the cosine with the nearest training rows of scaled features X, (n,).

        0 to 2, and more near examples of no class.

        Args:
            X: Features as the classifier scales them, (n, n_features).
            words: Counts of the n-grams of each row, (n, n_buckets); None where they are not known.
        """
        check_is_fitted(self)
        checked = validate_data(self, X, dtype=np.float32, reset=False)
        rows = self._project(self._joined(checked, words))
        return distances_of(self._index, self._none_index, rows, self.n_neighbors)

    def _joined(self, X: NDArray[np.float32], words: csr_array | None) -> NDArray[np.float32]:
        """Features with those of the words; zeros, which are in the middle, where no words are known."""
        return _beside(X, None if self.word_space_ is None else self._space(len(X), words))

    def _space(self, n: int, words: csr_array | None) -> NDArray[np.float32]:
        """Features of the words of n rows, (n, width), some rows at a time."""
        assert self.word_space_ is not None
        space = np.zeros((n, self.word_space_.width), np.float32)
        if words is not None:
            for first in range(0, n, _BLOCK):
                some = slice(first, first + _BLOCK)
                space[some] = self.words * self.word_space_.transform(words[some])
        return space

    def _project(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        return unit_rows(X @ self.projection_)

    def __getstate__(self) -> dict[str, Any]:
        """Only arrays are saved; the indexes are made of them again."""
        return {key: value for key, value in super().__getstate__().items() if key not in ("_index", "_none_index")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Reverses `__getstate__`."""
        super().__setstate__(state)
        if "rows_" in state:
            self._index = self._index_of_rows()
            self._none_index = flat_index(state.get("none_", self.rows_[:0]))


def _beside(X: NDArray[np.float32], space: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """Features and those of words side by side; the former as they are where there are no others."""
    return X if space is None else np.concatenate([X, space], axis=1)
