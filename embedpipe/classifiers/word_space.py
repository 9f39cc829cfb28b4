"""Words of pages to a few features: what texts of pages have in common, for measuring how far apart they are."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.extmath import randomized_svd
from sklearn.utils.validation import check_is_fitted

from embedpipe.classifiers.words import WordScaler, have_words

_MOST_ROWS = 1000
"""Pages that the directions are learnt from: more take longer, and tell new types no better."""


class WordSpace(TransformerMixin, BaseEstimator):
    """Latent semantic analysis of weighted n-grams (Deerwester et al., 1990).

    Pages are centred, and scaled so that their root mean square length is 1; pages without words are in the middle.

    Args:
        width: How many directions at most.

    Attributes:
        scaler_: Counts to weighted n-grams.
        directions_: float16 (n_buckets, width).
        mean_: Of the pages along the directions, (width,).
        scale_: Factor of all.
    """

    def __init__(self, width: int = 100) -> None:
        self.width = width

    def fit(self, X: Any, y: object = None) -> Self:  # noqa: ARG002 - scikit-learn's signature
        """Learns from counts of n-grams, sparse (n, n_buckets); rows without any are passed over."""
        there = np.flatnonzero(have_words(csr_array(X)))
        if len(there) > _MOST_ROWS:
            there = np.sort(np.random.default_rng(0).permutation(there)[:_MOST_ROWS])
        self.scaler_ = WordScaler()
        rows = self.scaler_.fit_transform(csr_array(X)[there])
        width = max(1, min(self.width, len(there) - 1))
        self.directions_ = np.zeros((rows.shape[1], self.width), np.float16)
        self.mean_, self.scale_ = np.zeros(self.width, np.float32), 1.0
        if len(there):
            _, _, found = randomized_svd(rows, width, n_iter=2, random_state=0)
            self.directions_[:, :width] = found.T
            along = self._along(rows)
            self.mean_ = along.mean(axis=0)
            self.scale_ = 1.0 / max(float(np.sqrt(((along - self.mean_) ** 2).sum(axis=1).mean())), 1e-6)
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Features of counts of n-grams, float32 (n, width)."""
        check_is_fitted(self)
        counts = csr_array(X)
        found = (self._along(self.scaler_.transform(counts)) - self.mean_) * np.float32(self.scale_)
        found[~have_words(counts)] = 0.0
        return found

    def _along(self, rows: csr_array) -> NDArray[np.float32]:
        found: NDArray[np.float32] = np.asarray(rows @ self.directions_.astype(np.float32), np.float32)
        return found
