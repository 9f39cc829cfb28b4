"""Where one document ends and the next begins in a stream of pages, learnt from the labelled documents.

Page stream segmentation as a decision at every pair of neighbouring pages (Collins-Thompson and Nickolov, 2002; Daher
and Belaïd, 2014; Wiedemann and Heyer, 2021, arXiv:1710.03006): neighbours inside labelled documents are pairs of one
document; the last page of one and the first page of another are pairs with a boundary. The most probable cut of
independent pairs is a cut wherever the probability is above one half. Decoding the whole stream with the types of its
segments was measured and gained nothing, see docs/quality.md.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from embedpipe.classifiers.calibration.probabilities import best_temperature
from embedpipe.classifiers.folds import LEARNT, grouped_folds
from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.classifiers.lessons.held_out import honest_folds
from embedpipe.core.errors import LabelsError
from embedpipe.store.scaling import BlockScaler

Blocks = list[tuple[int, int]]

_COMPONENTS = 128
_PARTNERS = 4
"""Other documents that each document is followed by in training, half of them of its own type."""

_SAME_SIZE = 0.01
"""Sides of pages that differ by less are equal; scanners are not exact."""

_TINY = 1e-3


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Rows of first and second pages, whether a document begins at the second, and what each pair counts."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    boundary: NDArray[np.bool_]
    weights: NDArray[np.float64]


class BoundaryModel:
    """Probability that a document begins between two neighbouring pages.

    A logistic regression on what both pages look like (128 principal components each: first pages look different from
    later ones), on the cosines of each block of their features, on how well their types agree (a linear discriminant
    analysis of its own, so that any classifier may be used beside it), and on whether their sizes differ. In a pile
    whose pages all have one size, as scanners make them, sizes are no evidence: the model is trained with and without.

    Args:
        blocks: (start, stop) of each block of features.

    Attributes:
        temperature_: Calibrates the probabilities; learnt on held-out documents that the network itself has not seen.
        calibrated_: Whether there were enough of these; the temperature is 1 otherwise.
    """

    def __init__(self, blocks: Blocks) -> None:
        self.blocks = blocks

    def fit(self, pages: LabelledPages, sizes: NDArray[np.float64]) -> Self:
        """Learns from labelled documents.

        Args:
            pages: Without blank ones, in any order.
            sizes: Width and height of each page, (n, 2).

        Raises:
            LabelsError: There are too few documents, or none has two pages.
        """
        folds = grouped_folds(pages)
        pairs = _training_pairs(pages)
        if pairs.boundary.all() or not pairs.boundary.any():
            raise LabelsError("no labelled document has two pages: label some that have, so that a pile can be cut")
        self._scaler = BlockScaler(self.blocks).fit(pages.X)
        X = self._scaler.transform(pages.X)
        n_components = min(_COMPONENTS, *X.shape)
        self._pca = PCA(n_components, svd_solver="randomized", random_state=0).fit(X)
        Z = self._pca.transform(X)
        self._spread = float(np.sqrt(np.mean(Z.var(axis=0)))) or 1.0
        Z /= self._spread
        self._classes = sorted(set(pages.y))
        self._prior = np.array([np.mean(pages.y == kind) for kind in self._classes])
        looks = _Looks(X, Z, self._held_out_types(Z, pages.y, folds), sizes)
        self._types = _fit_types(Z, pages.y)
        temperature = self._held_out_temperature(looks, pairs, honest_folds(pages))
        self.temperature_, self.calibrated_ = temperature or 1.0, temperature is not None
        self._pre, self._head = self._fit_head(looks, pairs)
        return self

    def probabilities(self, X: NDArray[np.float32], sizes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability of a boundary after each page but the last.

        Args:
            X: Features of a stream of pages without blank ones, in order, float32 (n, dim); what lies behind the blocks
                is not looked at.
            sizes: Their widths and heights, (n, 2).

        Returns:
            (n - 1,).
        """
        if len(X) <= 1:
            return np.zeros(0)
        scaled = self._scaler.transform(X[:, : self.blocks[-1][1]])
        Z = self._pca.transform(scaled) / self._spread
        looks = _Looks(scaled, Z, self._type_probabilities(self._types, Z), sizes)
        rows = np.arange(len(X) - 1)
        one_size = bool(_equal_sizes(sizes, np.zeros(len(X), np.int64), np.arange(len(X))).all())
        scores = self._head.decision_function(self._inputs(looks, rows, rows + 1, self._pre, blind=one_size))
        probabilities: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-scores / self.temperature_))
        return probabilities

    def _held_out_types(self, Z: NDArray[np.float64], y: NDArray[Any], folds: NDArray[np.int64]) -> NDArray[np.float64]:
        """Types of labelled pages as predicted by models that did not see their groups, as for new pages."""
        types = np.zeros((len(y), len(self._classes)))
        for fold in np.unique(folds):
            train, test = folds != fold, folds == fold
            types[test] = self._type_probabilities(_fit_types(Z[train], y[train]), Z[test])
        return types

    def _type_probabilities(self, model: Any, Z: NDArray[np.float64]) -> NDArray[np.float64]:
        types = np.full((len(Z), len(self._classes)), _TINY / 10)
        if model is None:
            return np.full_like(types, 1.0 / types.shape[1])
        types[:, np.searchsorted(self._classes, model.classes_)] += model.predict_proba(Z)
        types /= types.sum(axis=1, keepdims=True)
        return types

    def _inputs(
        self, looks: "_Looks", first: NDArray[np.int64], second: NDArray[np.int64], pre: StandardScaler, *, blind: bool
    ) -> NDArray[np.float64]:
        facts = pre.transform(self._facts(looks, first, second))
        differ = ~_equal_sizes(looks.sizes, first, second)
        size = np.zeros((len(first), 2)) if blind else np.column_stack([differ, ~differ])
        return np.hstack([facts, size, looks.Z[first], looks.Z[second]])

    def _facts(self, looks: "_Looks", first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float64]:
        """Features of a pair of pages, from comparing them, (n, n_blocks + 4)."""
        a, b = looks.X[first], looks.X[second]
        cosines = [_cosine(a[:, start:stop], b[:, start:stop]) for start, stop in self.blocks]
        p, q = looks.types[first], looks.types[second]
        same_type = np.log((p * q / self._prior).sum(axis=1) + _TINY)
        alike = np.log(np.sqrt(p * q).sum(axis=1) + _TINY)  # Bhattacharyya
        distance = np.log(np.linalg.norm(a - b, axis=1) + _TINY)
        return np.column_stack([*cosines, _cosine(a, b), distance, same_type, alike])

    def _fit_head(self, looks: "_Looks", pairs: _Pairs) -> tuple[StandardScaler, LogisticRegression]:
        pre = StandardScaler().fit(self._facts(looks, pairs.first, pairs.second))
        both = [self._inputs(looks, pairs.first, pairs.second, pre, blind=blind) for blind in (False, True)]
        head = LogisticRegression(C=0.1, max_iter=500)
        weights = np.tile(pairs.weights / 2, 2)
        return pre, head.fit(np.vstack(both), np.tile(pairs.boundary, 2), sample_weight=weights)

    def _held_out_temperature(self, looks: "_Looks", pairs: _Pairs, folds: NDArray[np.int64]) -> float | None:
        """Calibrates on pairs whose documents are both of one fold, with heads fitted on pairs of none of it.

        None where no such pair is left.
        """
        scores, truth = [], []
        first, second = folds[pairs.first], folds[pairs.second]
        for fold in np.unique(folds[folds != LEARNT]):
            train, test = (first != fold) & (second != fold), (first == fold) & (second == fold)
            if len(np.unique(pairs.boundary[train])) < 2 or not test.any():  # noqa: PLR2004
                continue
            pre, head = self._fit_head(looks, _subset(pairs, train))
            inputs = self._inputs(looks, pairs.first[test], pairs.second[test], pre, blind=False)
            scores.append(head.decision_function(inputs))
            truth.append(pairs.boundary[test])
        if not scores:
            return None
        margin = np.concatenate(scores)
        return best_temperature(
            np.column_stack([np.zeros_like(margin), margin]), np.concatenate(truth).astype(np.int64)
        )


@dataclass(frozen=True, slots=True)
class _Looks:
    """Pages: scaled features, principal components, type probabilities, and (width, height), a row each."""

    X: NDArray[np.floating]
    Z: NDArray[np.float64]
    types: NDArray[np.float64]
    sizes: NDArray[np.float64]


def _fit_types(Z: NDArray[np.float64], y: NDArray[Any]) -> Any:
    """A model of types, or None for a single type."""
    if len(set(y)) < 2:  # noqa: PLR2004
        return None
    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1).fit(Z, y)


def _training_pairs(pages: LabelledPages) -> _Pairs:
    """Neighbours inside documents, and each document followed by others: a boundary per document in all."""
    order = np.lexsort((pages.page_indices, pages.documents))
    starts = np.flatnonzero(np.r_[True, pages.documents[order][1:] != pages.documents[order][:-1]])
    documents = [rows for rows in np.split(order, starts[1:]) if len(set(pages.y[rows])) == 1]  # others are piles
    first = [page for rows in documents for page in rows[:-1]]
    second = [page for rows in documents for page in rows[1:]]
    inside = len(first)
    rng = np.random.default_rng(0)
    types = np.array([pages.y[rows[0]] for rows in documents], object)
    for number, rows in enumerate(documents):
        others = np.flatnonzero(np.arange(len(documents)) != number)
        alike = others[types[others] == types[number]]
        for turn in range(_PARTNERS if len(others) else 0):
            pool = alike if turn % 2 and len(alike) else others
            first.append(rows[-1])
            second.append(documents[int(rng.choice(pool))][0])
    boundary = np.arange(len(first)) >= inside
    return _Pairs(np.array(first), np.array(second), boundary, np.where(boundary, 1.0 / _PARTNERS, 1.0))


def _subset(pairs: _Pairs, mask: NDArray[np.bool_]) -> _Pairs:
    return _Pairs(pairs.first[mask], pairs.second[mask], pairs.boundary[mask], pairs.weights[mask])


def _equal_sizes(sizes: NDArray[np.float64], first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.bool_]:
    ratios = np.abs(np.log(sizes[first] / sizes[second]))
    return np.asarray(ratios.max(axis=1) <= _SAME_SIZE)


def _cosine(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosine: NDArray[np.float64] = (a * b).sum(axis=1) / np.maximum(lengths, 1e-12)
    return cosine
