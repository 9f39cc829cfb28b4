"""Whole documents to types: kernel ridge regression on their pictures and words, which judges no page by itself.

Classes are regressed one against the rest (Rifkin, Yeo and Poggio, 2003), each counting the same whatever its number of
documents; three times, each with a kernel of its own: how alike documents look on the whole, all words that they share,
and those of their heads (`word_rows`). The decisions are added with fixed weights, as classifiers are combined (Kittler
et al., 1998); one kernel that is the mean of the three (Lanckriet et al., 2004) is worse here. Each kernel is centred
(Schölkopf, Smola and Müller, 1998) at the mean of the kinds of source, each of which counts the same once many are
known. What is left counts half between a document that was born digital and one that was not: words that were
recognised, and scanned pages, are a domain of their own next to what all have in common (Daumé, 2007,
arXiv:0907.1815). Without the centre, halving would shift all decisions about a kind of which few were learnt.
docs/quality.md compares it with others.

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
from embedpipe.pages.extras.word_rows import have_words
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


class SharedWords:
    """Inner products of rows of n-grams with some others, (n, m).

    Among many rows, n-grams that a tenth of them have are multiplied as dense columns: a product of sparse rows takes
    time for each pair of rows that share one, and nearly all do.
    """

    def __init__(self, others: csr_array) -> None:
        common = np.zeros(others.shape[1], bool)
        if others.shape[0] >= LANDMARKS:
            common = np.bincount(others.indices, minlength=others.shape[1]) >= _COMMON * others.shape[0]
        self._common, self._rest = np.flatnonzero(common), np.flatnonzero(~common)
        self._dense = others[:, self._common].toarray().T if len(self._common) else None
        self._sparse = csr_array(others[:, self._rest] if len(self._common) else others).T

    def __call__(self, X: csr_array) -> NDArray[np.float64]:
        """Of rows of X, (n, n_buckets)."""
        if self._dense is None:
            return np.asarray((X @ self._sparse).toarray()).astype(np.float64)
        found = X[:, self._common].toarray() @ self._dense
        found += (X[:, self._rest] @ self._sparse).toarray()
        return np.asarray(found).astype(np.float64)


def _balanced(column: NDArray[np.int64], told_of: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Weights (n,) by which each class counts the same among those that count, and the others nothing."""
    weights = np.zeros(len(column))
    weights[told_of] = compute_sample_weight("balanced", column[told_of])
    return weights


class DocumentRidge(ClassifierMixin, BaseEstimator):
    """Kernel ridge regression on rows of documents; in a place of `X` it takes `rows.Wholes`.

    Args:
        blocks: Where each block of a page's features lies.
        alpha: How much small coefficients are preferred.
        landmarks: Documents that others are compared with at most.
        sharpness: What decisions are multiplied by: about log odds, so that the weight in a fusion is near others'.
        kinship: How much more documents of one kind of source are alike.
        words: What decisions by all words count, where those by pictures count 1.
        heads: What those by heads count; where none are known, words count as much more.

    Attributes:
        classes_: Sorted, (n_classes,).
        scaler_: Scales pictures.
        landmarks_: Scaled pictures, float16 (m, 2 * dim).
        dual_coef_: float32 (2, m, n_classes), see `rows.RidgeArrays`.
        word_coef_: float16 (2, n_classes, n_buckets), without heads where none were learnt; None without words.
        offset_: float32 (2, n_classes).
        word_offset_: float32 (k, 2, n_classes), of all words and of heads, as far as they were learnt: only a document
            that has them is judged by them.
        share_: 1: what decisions by pictures count; less in earlier versions, which had one kernel of all.
    """

    words = heads = 0.5  # earlier versions have none

    def __init__(
        self,
        blocks: Spans = (),
        alpha: float = 0.1,
        landmarks: int = LANDMARKS,
        sharpness: float = 4.0,
        kinship: float = 1.0,
        words: float = 1.0,
        heads: float = 1.0,
    ) -> None:
        self.blocks = blocks
        self.alpha = alpha
        self.landmarks = landmarks
        self.sharpness = sharpness
        self.kinship = kinship
        self.words = words
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
        targets = (column[:, None] == np.arange(len(self.classes_))) - 1.0 / len(self.classes_)
        everybody = np.ones(len(X), bool)
        self.share_ = 1.0
        dual, offset = self._learnt(self._look_alike, X, own, targets, _balanced(column, everybody))
        told = [np.empty((len(self.classes_), 0), np.float32)] * len(KINDS)
        offsets = []
        for start, stop, counted in self._words(own.words):
            columns = slice(start, stop)
            theirs, told_of = csr_array(own.words)[:, columns], have_words(csr_array(X.words)[:, columns])
            among = SharedWords(theirs)

            def shared(some: Wholes, among: SharedWords = among, columns: slice = columns) -> NDArray[np.float64]:
                return among(csr_array(some.words)[:, columns])

            parts, more = self._learnt(shared, X, own, targets, _balanced(column, told_of), have_words(theirs))
            offsets.append(counted * more)
            each = [counted * np.asarray(theirs.T @ part).T for part in parts]
            told = [np.concatenate(pair, axis=1) for pair in zip(told, each, strict=True)]
        self.word_offset_ = np.array(offsets, np.float32).reshape(-1, len(KINDS), len(self.classes_))
        self.dual_coef_, self.offset_ = dual.astype(np.float32), offset.astype(np.float32)
        self.word_coef_ = np.stack(told).astype(np.float16) if told[0].size else None
        return self

    def _words(self, words: csr_array | None) -> list[tuple[int, int, float]]:
        """Columns of all words and of heads, and what decisions by these count, as far as there are any."""
        if words is None or not words.nnz:
            return []
        if not (words.indices >= BUCKETS).any():
            return [(0, BUCKETS, self.words + self.heads)]
        return [(0, BUCKETS, self.words), (BUCKETS, words.shape[1], self.heads)]

    def _learnt(
        self,
        alike: Callable[[Wholes], NDArray[np.float64]],
        X: Wholes,
        own: Wholes,
        targets: NDArray[np.float64],
        weights: NDArray[np.float64],
        known: NDArray[np.bool_] | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What each landmark counts by one likeness (2, m, n_classes), and offsets, see `rows.RidgeArrays`.

        Documents of weight 0, and landmarks that are not `known`, (m,), have nothing that they could be alike in.
        """
        sides = np.stack([own.digital, 1.0 - own.digital]).astype(np.float64) * (1.0 if known is None else known)
        # of a few documents the mean is hardly known: n of a kind count n / (n + FEW)
        centre = np.sum(sides / (sides.sum(axis=1, keepdims=True) + FEW), axis=0)
        centre /= centre.sum()
        among = alike(own)
        means = among @ centre
        means -= centre @ means

        def kernel(some: Wholes, plain: NDArray[np.float64]) -> NDArray[np.float64]:
            """Between documents and landmarks, (n, m), from how alike they are."""
            plain -= (plain @ centre)[:, None] + means
            plain *= kinship(some.digital, own.digital, self.kinship)
            return plain

        def kernel_of(some: Wholes) -> NDArray[np.float64]:
            return kernel(some, alike(some))

        coefficients = self._solved(kernel(own, among), kernel_of, X, targets, weights)
        each = [coefficients * counted[:, None] for counted in kinship(KINDS, own.digital, self.kinship)]
        folded = [part - centre[:, None] * part.sum(axis=0) for part in each]
        return np.stack(folded), np.stack([-means @ part for part in each])

    def _solved(
        self,
        among: NDArray[np.float64],
        kernel_of: Callable[[Wholes], NDArray[np.float64]],
        X: Wholes,
        targets: NDArray[np.float64],
        weights: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """What each landmark counts, (m, n_classes), by the kernel among them, (m, m), and that of others."""
        if len(among) == len(X):
            ridge = KernelRidge(alpha=self.alpha, kernel="precomputed").fit(among, targets, weights)
            return np.asarray(ridge.dual_coef_)
        left, right = self.alpha * among, np.zeros((len(among), targets.shape[1]))
        for first in range(0, len(X), _BLOCK):
            some = slice(first, first + _BLOCK)
            kernel = kernel_of(X[some])
            weighted = kernel * weights[some, None]
            left += weighted.T @ kernel
            right += weighted.T @ targets[some]
        left[np.diag_indices_from(left)] += _JITTER * np.trace(left) / len(left)
        return np.asarray(solve(left, right, assume_a="pos", overwrite_a=True))

    def _look_alike(self, X: Wholes) -> NDArray[np.float64]:
        """How alike documents and landmarks look, whatever their kinds, (n, m)."""
        scaled = self.scaler_.transform(X.pictures).astype(np.float16).astype(np.float32)
        return picture_kernel(scaled, self.landmarks_.astype(np.float32)).astype(np.float64)

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
