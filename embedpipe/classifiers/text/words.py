"""Words of pages to types: a linear SVM on the weighted n-grams of each page, small enough to lie in every classifier.

Logarithmic counts (Salton and Buckley, 1988) and a linear SVM, the long-standing choice for the topics of texts
(Joachims, 1998). The rarity of an n-gram, the other half of TF-IDF, is left out: rare n-grams are names of sources, and
without it more documents of other sources are right. The 2**18 buckets of the store are folded to fewer ones: the model
is as good and 16 times smaller. Both are measured in docs/quality.md.
"""

from typing import Any, Self

import numpy as np
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.pipeline import Pipeline
from sklearn.svm import LinearSVC
from sklearn.utils.validation import check_is_fitted

from embedpipe.pages.extras.word_rows import folded, weighted

BUCKETS = 2**14
"""N-grams that are told apart at most."""

FIRST_PAGES = 4
"""Pages of each document whose words are learnt from: later ones gain nothing, and would take most of the time."""

MOST_PAGES = 20_000
"""Pages whose words are learnt from at most, the first ones of all documents before second ones: more take longer."""


class WordScaler(TransformerMixin, BaseEstimator):
    """Counts of hashed n-grams to rows of unit length: logarithms of counts, of n-grams of several rows.

    Args:
        buckets: Columns are folded to so many, a power of two.

    Attributes:
        rarity_: What each n-gram counts: 1, or 0 for those of a single row; earlier versions have TF-IDF's rarity,
            (buckets,).
    """

    def __init__(self, buckets: int = BUCKETS) -> None:
        self.buckets = buckets

    def fit(self, X: Any, y: object = None) -> Self:  # noqa: ARG002 - scikit-learn's signature
        """Learns from counts, sparse (n, n_buckets)."""
        counts = folded(X, self.buckets)
        rows = np.bincount(counts.indices, minlength=counts.shape[1])
        self.rarity_ = (rows > 1).astype(np.float32)
        return self

    def transform(self, X: Any) -> csr_array:
        """Scales counts, sparse (n, n_buckets), to float32 (n, buckets)."""
        check_is_fitted(self)
        return weighted(X, self.rarity_)


def build_words() -> Pipeline:
    """An unfitted pipeline on the words of pages; by the dual, which takes a third of the time of the primal."""
    svm = LinearSVC(C=3.0, class_weight="balanced", dual=True, tol=0.1, random_state=0)
    return Pipeline([("scale", WordScaler()), ("words", svm)])


def shrunk(fitted: Pipeline) -> Pipeline:
    """A fitted pipeline with its coefficients in half the bytes."""
    svm = fitted.steps[-1][1]
    svm.coef_ = svm.coef_.astype(np.float32)
    return fitted
