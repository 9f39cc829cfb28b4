"""The arithmetic of scaling, on arrays alone: what is fitted and saved with scikit-learn is `scaling.BlockScaler`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

CONSTANT = 1e-6
"""Less than this is no spread."""
_NO_LENGTH = 1e-12
_ROWS = 256
"""Rows that are scaled at a time: so few, with what lies in between, stay in the cache of a core."""
_PRIOR = 3
"""Measured on small samples of real documents: cosines are nearest to those in the whole store, by root mean square."""
_ENOUGH = 50
"""Pages from which the mean of a store is taken as it is."""


@dataclass(frozen=True, slots=True, eq=False)
class Scaling:
    """A fitted scaling; see `scaling.BlockScaler` for what it does.

    Attributes:
        blocks: (start, stop) of each block.
        mean_: Mean of each feature once each block has unit length, (n_features,).
        scale_: Factor of each feature, (n_features,).
        facts: How many of the last blocks are facts, which are not scaled to unit length.
    """

    blocks: Sequence[tuple[int, int]]
    mean_: NDArray[np.floating]
    scale_: NDArray[np.floating]
    facts: int = 0

    def transform(self, X: NDArray[np.floating], *, copy: bool = True) -> NDArray[np.floating]:
        """Scales rows X, float (n, n_features), in place if no copy is wanted."""
        blocks = self.blocks[: len(self.blocks) - self.facts]
        scaled = np.empty(X.shape, np.result_type(X, self.mean_, self.scale_)) if copy else X
        for first in range(0, len(X), _ROWS):
            some = slice(first, first + _ROWS)
            scaled[some] = (unit_blocks(X[some], blocks) - self.mean_) * self.scale_
        return scaled


def unit_blocks(X: NDArray[np.floating], blocks: Sequence[tuple[int, int]]) -> NDArray[np.floating]:
    """Rows X, (n, n_features), with each of some blocks scaled to unit length; blocks of zeros stay so."""
    unit = X.copy()
    for first in range(0, len(X), _ROWS):
        for start, stop in blocks:
            part = unit[first : first + _ROWS, start:stop]
            part /= np.maximum(np.linalg.norm(part, axis=1, keepdims=True), _NO_LENGTH)
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
    def of(cls, values: NDArray[np.floating], blocks: Sequence[tuple[int, int]]) -> Self:
        """Of features, (n, n_features); those beyond the blocks are not looked at, and their sums are zero."""
        sums, filled = np.zeros(values.shape[1]), np.zeros(len(blocks), np.int64)
        for first in range(0, len(values), _ROWS):
            rows = values[first : first + _ROWS].astype(np.float64)
            for number, (start, stop) in enumerate(blocks):
                block = rows[:, start:stop]
                lengths = np.sqrt(np.einsum("ij,ij->i", block, block))
                sums[start:stop] += (1 / np.maximum(lengths, _NO_LENGTH)) @ block
                filled[number] += np.count_nonzero(lengths)
        return cls(blocks, len(values), sums, filled)

    @classmethod
    def total(cls, some: Iterable[Self], blocks: Sequence[tuple[int, int]], width: int = 0) -> Self:
        """Of all pages of some; with as many features as the blocks have, unless there are more."""
        each = [cls.of(np.empty((0, width or blocks[-1][1]), np.float16), blocks), *some]
        sums = np.sum([moments.sums for moments in each], axis=0)
        filled = np.sum([moments.filled for moments in each], axis=0)
        return cls(blocks, sum(moments.pages for moments in each), sums, filled)

    def scaler(self) -> Scaling:
        """The scaling fitted on these pages, as `BlockScaler.fit` fits it from `_ENOUGH` pages on.

        The mean of a few pages is no mean of pages: the cosine of two pages of which a store consists would be -1,
        however alike they are. So the mean is drawn towards zero, as though up to `_PRIOR` pages without any features
        were among them, and fewer the more pages there are.
        """
        prior = max(_PRIOR * (1 - self.pages / _ENOUGH), 0.0)
        mean = self.sums / max(self.pages + prior, 1)
        scale = self.factors(mean, len(self.blocks))
        return Scaling(self.blocks, mean.astype(np.float32), scale.astype(np.float32))

    def factors(self, mean: NDArray[np.float64], blocks: int) -> NDArray[np.float64]:
        """What features are multiplied by once a mean is taken away, so that each block has the same weight.

        Args:
            mean: (n_features,).
            blocks: How many share the weight: these, or more.

        Returns:
            float64 (n_features,); 1 for features of no block.
        """
        own, scale = self.sums / max(self.pages, 1), np.ones(len(self.sums))
        for (start, stop), filled in zip(self.blocks, self.filled, strict=True):
            centre = mean[start:stop]
            spread = filled / max(self.pages, 1) - 2 * (centre @ own[start:stop]) + centre @ centre
            scale[start:stop] = 1.0 / (max(np.sqrt(max(spread, 0.0)), CONSTANT) * np.sqrt(blocks))
        return scale


def same_scaling(one: Scaling, other: Scaling) -> bool:
    """Whether two scalings give the same, to the last bit."""
    return np.array_equal(one.mean_, other.mean_) and np.array_equal(one.scale_, other.scale_)
