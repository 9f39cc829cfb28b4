"""Words of pages to types: a linear SVM on the weighted n-grams of each page, small enough to lie in every classifier.

TF-IDF with logarithmic counts (Salton and Buckley, 1988) and a linear SVM, the long-standing choice for the topics of
texts (Joachims, 1998). The 2**18 buckets of the store are folded to fewer ones: the model is as good and 16 times
smaller, see docs/quality.md.
"""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.pipeline import Pipeline
from sklearn.svm import LinearSVC
from sklearn.utils.validation import check_is_fitted

BUCKETS = 2**14
"""N-grams that are told apart at most."""

FIRST_PAGES = 4
"""Pages of each document whose words are learnt from: later ones gain nothing, and would take most of the time."""

MOST_PAGES = 200_000
"""Pages whose words are learnt from at most, drawn at random: n-grams of so many fit into memory."""


class WordScaler(TransformerMixin, BaseEstimator):
    """Counts of hashed n-grams to rows of unit length: logarithms of counts, times the rarity of each n-gram.

    Args:
        buckets: Columns are folded to so many, a power of two.

    Attributes:
        rarity_: Logarithm of the inverse share of rows with each n-gram; 0 for those of a single row, (buckets,).
    """

    def __init__(self, buckets: int = BUCKETS) -> None:
        self.buckets = buckets

    def fit(self, X: Any, y: object = None) -> Self:  # noqa: ARG002 - scikit-learn's signature
        """Learns from counts, sparse (n, n_buckets)."""
        folded = self._folded(X)
        rows = np.bincount(folded.indices, minlength=folded.shape[1])
        rarity = np.log((1.0 + folded.shape[0]) / (1.0 + rows)) + 1.0
        self.rarity_ = np.where(rows > 1, rarity, 0.0).astype(np.float32)
        return self

    def transform(self, X: Any) -> csr_array:
        """Scales counts, sparse (n, n_buckets), to float32 (n, buckets)."""
        check_is_fitted(self)
        rows = self._folded(X)
        values = (np.log(rows.data) + 1.0) * self.rarity_[rows.indices]
        owner = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
        lengths = np.sqrt(np.bincount(owner, weights=values * values, minlength=rows.shape[0]))
        values /= np.maximum(lengths[owner], 1e-12)
        return csr_array((values.astype(np.float32), rows.indices, rows.indptr), shape=rows.shape)

    def _folded(self, X: Any) -> csr_array:
        rows = csr_array(X)
        places = (rows.indices % self.buckets).astype(np.int32), rows.indptr.astype(np.int32)  # as liblinear takes them
        found = csr_array((rows.data.astype(np.float32), *places), shape=(rows.shape[0], self.buckets))
        found.sum_duplicates()
        return found


def build_words() -> Pipeline:
    """An unfitted pipeline on the words of pages."""
    svm = LinearSVC(C=10.0, class_weight="balanced", dual=True, tol=0.1, max_iter=200, random_state=0)
    return Pipeline([("scale", WordScaler()), ("words", svm)])


def shrunk(fitted: Pipeline) -> Pipeline:
    """A fitted pipeline with its coefficients in half the bytes."""
    svm = fitted.steps[-1][1]
    svm.coef_ = svm.coef_.astype(np.float32)
    return fitted


def have_words(words: csr_array) -> NDArray[np.bool_]:
    """Which rows hold any n-gram, (n,)."""
    there: NDArray[np.bool_] = np.diff(words.indptr) > 0
    return there
