"""Makes the blocks of a feature vector comparable before a classifier or an index sees them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

_CONSTANT = 1e-6
_ROWS = 4096
_MANY = 20_000
"""Of more rows, sums are added up in blocks."""
_NO_LENGTH = 1e-12
_PRIOR = 3
"""Measured on small samples of real documents: cosines are nearest to those in the whole store, by root mean square."""
_ENOUGH = 50
"""Pages from which the mean of a store is taken as it is."""


class BlockScaler(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Gives every block of features the same weight.

    Each block of each row is scaled to unit length; then the block's mean over the training rows is taken away, and
    the rest is divided by its root mean square length and by the root of the number of blocks. So each block adds
    the same to the squared distance of two pages, whatever its width and range.

    Blocks of facts, whose numbers have units of their own, are instead scaled number by number: each to a mean of
    zero and the same spread. The whole block then has the same weight as any other.

    Args:
        blocks: (start, stop) of each block; None for one block of all features.
        facts: How many of the last blocks are facts.

    Attributes:
        mean_: Mean of each feature after the first step, (n_features,).
        scale_: Factor of each feature, (n_features,).
    """

    def __init__(self, blocks: Any = None, facts: int = 0) -> None:
        self.blocks = blocks
        self.facts = facts

    def fit(self, X: ArrayLike, y: object = None) -> Self:  # noqa: ARG002 - scikit-learn's signature
        """Learns means and lengths from X, (n, n_features)."""
        rows: NDArray[np.floating] = validate_data(self, X, dtype=[np.float32, np.float64])
        if len(rows) > _MANY and not self.facts:
            return self._fit_many(rows)
        unit = self._unit(rows)
        self.mean_ = unit.mean(axis=0)
        self.scale_ = np.ones(rows.shape[1], rows.dtype)
        blocks = self._blocks()
        for number, (start, stop) in enumerate(blocks):
            centred = unit[:, start:stop] - self.mean_[start:stop]
            if number >= len(blocks) - self.facts:
                spread = np.sqrt((centred * centred).mean(axis=0) * (stop - start))
                lengths = np.where(spread > _CONSTANT, spread, np.inf)  # what never changes carries no information
            else:
                lengths = np.maximum(np.sqrt(np.mean(np.sum(centred * centred, axis=1))), _CONSTANT)
            self.scale_[start:stop] = 1.0 / (lengths * np.sqrt(len(blocks)))
        return self

    def _fit_many(self, rows: NDArray[np.floating]) -> Self:
        """As `fit`, of rows that are not copied: their sums are added up in blocks, as float64."""
        blocks = self._blocks()
        total, squares = np.zeros(rows.shape[1]), np.zeros(len(blocks))
        for first in range(0, len(rows), _ROWS):
            unit = self._unit(rows[first : first + _ROWS]).astype(np.float64)
            total += unit.sum(axis=0)
            squares += [float((unit[:, start:stop] ** 2).sum()) for start, stop in blocks]
        mean = total / len(rows)
        self.mean_, self.scale_ = mean.astype(rows.dtype), np.ones(rows.shape[1], rows.dtype)
        for (start, stop), square in zip(blocks, squares, strict=True):
            spread = max(square / len(rows) - float(mean[start:stop] @ mean[start:stop]), 0.0)
            self.scale_[start:stop] = 1.0 / (max(np.sqrt(spread), _CONSTANT) * np.sqrt(len(blocks)))
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.floating]:
        """Scales X, (n, n_features)."""
        check_is_fitted(self)
        rows: NDArray[np.floating] = validate_data(self, X, dtype=[np.float32, np.float64], reset=False)
        scaled = np.empty(rows.shape, np.result_type(rows, self.mean_, self.scale_))
        for first in range(0, len(rows), _ROWS):  # what lies in between would be as large as all rows, twice
            some = slice(first, first + _ROWS)
            scaled[some] = (self._unit(rows[some]) - self.mean_) * self.scale_
        return scaled

    def _blocks(self) -> list[tuple[int, int]]:
        if self.blocks is None:
            return [(0, self.n_features_in_)]
        return [(int(start), int(stop)) for start, stop in self.blocks]

    def _unit(self, X: NDArray[np.floating]) -> NDArray[np.floating]:
        blocks = self._blocks()
        return unit_blocks(X, blocks[: len(blocks) - self.facts])


def unit_blocks(X: NDArray[np.floating], blocks: Sequence[tuple[int, int]]) -> NDArray[np.floating]:
    """Rows X, (n, n_features), with each of some blocks scaled to unit length; blocks of zeros stay so."""
    unit = X.copy()
    for start, stop in blocks:
        part = X[:, start:stop]
        unit[:, start:stop] = part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), _NO_LENGTH)
    return unit


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Sums over pages from which their scaling follows.

    Sums of some pages and of others add up to those of all, so that the scaling of a store follows from the sums of its
    parts, in whatever order these came and whatever was removed in between.

    Attributes:
        blocks: (start, stop) of each block.
        pages: How many pages.
        sums: Of their features, each block scaled to unit length, float64 (n_features,).
        filled: How many pages have each block, that is not only zeros in it, int64 (n_blocks,).
    """

    blocks: Sequence[tuple[int, int]]
    pages: int
    sums: NDArray[np.float64]
    filled: NDArray[np.int64]

    @classmethod
    def of(cls, values: NDArray[np.float16], blocks: Sequence[tuple[int, int]]) -> Self:
        """Of features as the store holds them, float16 (n, n_features)."""
        sums, filled = np.zeros(values.shape[1]), np.zeros(len(blocks), np.int64)
        for number, (start, stop) in enumerate(blocks):
            block = values[:, start:stop].astype(np.float64)
            lengths = np.sqrt(np.einsum("ij,ij->i", block, block))
            sums[start:stop] = (1 / np.maximum(lengths, _NO_LENGTH)) @ block
            filled[number] = np.count_nonzero(lengths)
        return cls(blocks, len(values), sums, filled)

    @classmethod
    def total(cls, some: Iterable[Self], blocks: Sequence[tuple[int, int]]) -> Self:
        """Of all pages of some."""
        each = [cls.of(np.empty((0, blocks[-1][1]), np.float16), blocks), *some]
        sums = np.sum([moments.sums for moments in each], axis=0)
        filled = np.sum([moments.filled for moments in each], axis=0)
        return cls(blocks, sum(moments.pages for moments in each), sums, filled)

    def scaler(self) -> BlockScaler:
        """The scaler fitted on these pages, as `BlockScaler.fit` fits it from `_ENOUGH` pages on.

        The mean of a few pages is no mean of pages: the cosine of two pages of which a store consists would be -1,
        however alike they are. So the mean is drawn towards zero, as though up to `_PRIOR` pages without any features
        were among them, and fewer the more pages there are.
        """
        prior = max(_PRIOR * (1 - self.pages / _ENOUGH), 0.0)
        own = self.sums / max(self.pages, 1)
        mean = self.sums / max(self.pages + prior, 1)
        scale = np.ones(len(own))
        for (start, stop), filled in zip(self.blocks, self.filled, strict=True):
            centre = mean[start:stop]
            spread = filled / max(self.pages, 1) - 2 * (centre @ own[start:stop]) + centre @ centre
            scale[start:stop] = 1.0 / (max(np.sqrt(max(spread, 0.0)), _CONSTANT) * np.sqrt(len(self.blocks)))
        return fitted(self.blocks, mean.astype(np.float32), scale.astype(np.float32))


def fitted(blocks: Sequence[tuple[int, int]], mean: NDArray[np.float32], scale: NDArray[np.float32]) -> BlockScaler:
    """A scaler with a mean and a factor for each feature, both (n_features,)."""
    scaler = BlockScaler([(int(start), int(stop)) for start, stop in blocks])
    scaler.mean_, scaler.scale_, scaler.n_features_in_ = mean, scale, len(mean)
    return scaler


def same_scaling(one: BlockScaler, other: BlockScaler) -> bool:
    """Whether two scalers give the same, to the last bit."""
    return np.array_equal(one.mean_, other.mean_) and np.array_equal(one.scale_, other.scale_)
