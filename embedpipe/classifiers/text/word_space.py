"""Words of pages to a few features: what texts of pages have in common, for measuring how far apart they are."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.extmath import randomized_svd
from sklearn.utils.validation import check_is_fitted

from embedpipe.classifiers.text.words import WordScaler
from embedpipe.pages.extras.word_rows import have_words, in_space

_MOST_ROWS = 1000
"""Pages that the directions are learnt from: more take longer, and tell new types no better."""


class WordSpace(TransformerMixin, BaseEstimator):
    """Latent semantic analysis of weighted n-grams (Deerwester et al., 1990).

    Pages are centred, and scaled so that their root mean square length is 1; pages without words are in the middle.

    Args:
        width: How many directions at most.

    Attributes:
        rarity_: Of each n-gram, see `words.WordScaler`, (n_buckets,).
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
        scaler = WordScaler()
        rows = scaler.fit_transform(csr_array(X)[there])
        self.rarity_ = scaler.rarity_
        width = max(1, min(self.width, len(there) - 1))
        self.directions_ = np.zeros((rows.shape[1], self.width), np.float16)
        self.mean_, self.scale_ = np.zeros(self.width, np.float32), 1.0
        if len(there):
            _, _, found = randomized_svd(rows, width, n_iter=2, random_state=0)
            self.directions_[:, :width] = found.T
            along = np.asarray(rows @ self.directions_.astype(np.float32), np.float32)
            self.mean_ = along.mean(axis=0)
            self.scale_ = 1.0 / max(float(np.sqrt(((along - self.mean_) ** 2).sum(axis=1).mean())), 1e-6)
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Features of counts of n-grams, float32 (n, width)."""
        check_is_fitted(self)
        return in_space(X, self.rarity_, self.directions_, self.mean_, self.scale_)
