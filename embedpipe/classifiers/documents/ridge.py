"""Whole documents to types: kernel ridge regression on their pictures and words, which judges no page by itself.

Classes are regressed one against the rest (Rifkin, Yeo and Poggio, 2003), each counting the same whatever its number of
documents. The kernel is the mean of two, as in multiple kernel learning with fixed weights (Lanckriet et al., 2004):
how alike documents look on the whole, and the words that they share, half of this in their heads (`word_rows`). It is
centred (Schölkopf, Smola and Müller, 1998) at the mean of the kinds of source, each of which counts the same once many
are known. What is left counts half between a document that was born digital and one that was not: words that were
recognised, and scanned pages, are a domain of their own next to what all have in common (Daumé, 2007,
arXiv:0907.1815). Without the centre, halving would shift all decisions about a kind of
which few were learnt. docs/quality.md compares it with others.

Of more documents than `LANDMARKS` the kernel is approximated from so many of them, drawn at random (Williams and
Seeger, 2001): nothing is as large as the square of their number.
"""

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.kernel_ridge import KernelRidge
from sklearn.pipeline import Pipeline
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import check_is_fitted

from embedpipe.classifiers.documents.rows import BUCKETS, KINDS, RidgeArrays, Spans, Wholes, kinship, picture_kernel
from embedpipe.store.scaling import BlockScaler

LANDMARKS = 2000
"""Documents that others are compared with at most."""

FEW = 20
"""Documents of a kind of source whose mean counts half as much in the centre as that of very many."""

MOST_DOCUMENTS = 10_000
"""Documents that are learnt from at most, drawn at random: their rows fit into memory."""

_BLOCK = 2048
_JITTER = 1e-7
_COMMON = 0.1


def shared_words(X: csr_array, others: csr_array) -> NDArray[np.float32]:
    """Inner products of rows of n-grams, (n, m).

    Among many rows, n-grams that a tenth of them have are multiplied as dense columns: a product of sparse rows takes
    time for each pair of rows that share one, and nearly all do.
    """
    common = np.bincount(others.indices, minlength=others.shape[1]) >= _COMMON * others.shape[0]
    if others.shape[0] < LANDMARKS or not common.any():
        return np.asarray((X @ others.T).toarray())
    some, rest = np.flatnonzero(common), np.flatnonzero(~common)
    found = X[:, some].toarray() @ others[:, some].toarray().T
    found += (X[:, rest] @ others[:, rest].T).toarray()
    return np.asarray(found)


class DocumentRidge(ClassifierMixin, BaseEstimator):
    """Kernel ridge regression on rows of documents; in a place of `X` it takes `rows.Wholes`.

    Args:
        blocks: Where each block of a page's features lies.
        alpha: How much small coefficients are preferred.
        pictures: Share of pictures in the kernel where words are known; else it is 1.
        landmarks: Documents that others are compared with at most.
        sharpness: What decisions are multiplied by: about log odds, so that the weight in a fusion is near others'.
        kinship: How much more documents of one kind of source are alike.
        heads: Share of heads in the kernel of words where they are known; else it is 0.

    Attributes:
        classes_: Sorted, (n_classes,).
        scaler_: Scales pictures.
        landmarks_: Scaled pictures, float16 (m, 2 * dim).
        dual_coef_: float32 (2, m, n_classes), see `rows.RidgeArrays`.
        word_coef_: float16 (2, n_classes, n_buckets), without heads where none were learnt; None without words.
        offset_: float32 (2, n_classes).
        share_: Of pictures in the kernel.
    """

    heads: float = 0.0  # earlier versions have none

    def __init__(
        self,
        blocks: Spans = (),
        alpha: float = 0.1,
        pictures: float = 0.6,
        landmarks: int = LANDMARKS,
        sharpness: float = 4.0,
        kinship: float = 1.0,
        heads: float = 0.5,
    ) -> None:
        self.blocks = blocks
        self.alpha = alpha
        self.pictures = pictures
        self.landmarks = landmarks
        self.sharpness = sharpness
        self.kinship = kinship
        self.heads = heads

    def fit(self, X: Wholes, y: NDArray[Any]) -> Self:
        """Learns from rows of documents and their classes y, (n,), at least two."""
        width = X.shape[1] // 2
        spans = [*self.blocks, *((start + width, stop + width) for start, stop in self.blocks)]
        self.scaler_ = BlockScaler(spans, facts=len(spans)).fit(X.pictures)
        self.classes_, column = np.unique(y, return_inverse=True)
        chosen = np.arange(len(X))
        if len(X) > self.landmarks:
            chosen = np.sort(np.random.default_rng(0).permutation(len(X))[: self.landmarks])
        own = X[chosen]
        self.landmarks_ = self.scaler_.transform(own.pictures).astype(np.float16)
        self.share_ = self.pictures if X.words is not None and X.words.nnz else 1.0
        words = self._counted(own.words)
        sides = np.stack([own.digital, 1.0 - own.digital]).astype(np.float64)
        # of a few documents the mean is hardly known: n of a kind count n / (n + FEW)
        centre = np.sum(sides / (sides.sum(axis=1, keepdims=True) + FEW), axis=0)
        centre /= centre.sum()
        means = self._alike(own, own) @ centre
        means -= centre @ means
        targets = (column[:, None] == np.arange(len(self.classes_))) - 1.0 / len(self.classes_)

        def kernel(some: Wholes) -> NDArray[np.float64]:
            """Between documents and landmarks, (n, m)."""
            plain = self._alike(some, own)
            plain -= (plain @ centre)[:, None] + means
            return plain * kinship(some.digital, own.digital, self.kinship)

        coefficients = self._solved(kernel, X, own, targets, compute_sample_weight("balanced", column))
        each = [coefficients * alike[:, None] for alike in kinship(KINDS, own.digital, self.kinship)]
        self.offset_ = np.stack([-means @ part for part in each]).astype(np.float32)
        folded = [part - centre[:, None] * part.sum(axis=0) for part in each]
        self.dual_coef_ = np.stack(folded).astype(np.float32)
        self.word_coef_ = None
        if self.share_ < 1.0 and words is not None:
            told = [(1.0 - self.share_) * np.asarray(words.T @ part).T for part in folded]
            self.word_coef_ = np.stack(told).astype(np.float16)
        return self

    def _solved(
        self,
        kernel_of: Callable[[Wholes], NDArray[np.float64]],
        X: Wholes,
        own: Wholes,
        targets: NDArray[np.float64],
        weights: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """What each landmark counts, (m, n_classes)."""
        among = kernel_of(own)
        if len(own) == len(X):
            ridge = KernelRidge(alpha=self.alpha, kernel="precomputed").fit(among, targets, weights)
            return np.asarray(ridge.dual_coef_)
        left, right = self.alpha * among, np.zeros((len(own), targets.shape[1]))
        for first in range(0, len(X), _BLOCK):
            some = slice(first, first + _BLOCK)
            kernel = kernel_of(X[some])
            weighted = kernel * weights[some, None]
            left += weighted.T @ kernel
            right += weighted.T @ targets[some]
        left[np.diag_indices_from(left)] += _JITTER * np.trace(left) / len(left)
        return np.asarray(solve(left, right, assume_a="pos", overwrite_a=True))

    def _alike(self, X: Wholes, own: Wholes) -> NDArray[np.float64]:
        """How alike documents and landmarks are, whatever their kinds, (n, m)."""
        scaled = self.scaler_.transform(X.pictures).astype(np.float16).astype(np.float32)
        landmarks = self.landmarks_.astype(np.float32)
        found = self.share_ * picture_kernel(scaled, landmarks).astype(np.float64)
        words = self._counted(own.words)
        if self.share_ < 1.0 and X.words is not None and words is not None:
            found += (1.0 - self.share_) * shared_words(X.words[:, : words.shape[1]], words)
        return np.asarray(found)

    def _counted(self, words: csr_array | None) -> csr_array | None:
        """Words of landmarks, times what each n-gram counts in the kernel; without heads where none are known."""
        if words is None or words.shape[1] == BUCKETS:
            return words
        of_heads = words.indices >= BUCKETS
        if not of_heads.any():
            return words[:, :BUCKETS]
        data = words.data * np.where(of_heads, self.heads, 1.0 - self.heads).astype(np.float32)
        return csr_array((data, words.indices, words.indptr), shape=words.shape)

    def decision_function(self, X: Wholes) -> NDArray[np.float64]:
        """The value of each class, higher for likelier ones, (n, n_classes)."""
        check_is_fitted(self)
        return self.sharpness * RidgeArrays.of(vars(self)).decisions(self.scaler_.transform(X.pictures), X)

    def predict(self, X: Wholes) -> NDArray[Any]:
        """The likeliest class of each document, (n,)."""
        found: NDArray[Any] = self.classes_[self.decision_function(X).argmax(axis=1)]
        return found


def build_documents(blocks: Sequence[tuple[int, int]]) -> Pipeline:
    """An unfitted pipeline on rows of documents.

    Args:
        blocks: Where each block of a page's features lies.
    """
    return Pipeline([("document", DocumentRidge([(int(a), int(b)) for a, b in blocks]))])
