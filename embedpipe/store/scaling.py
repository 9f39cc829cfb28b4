"""Makes the blocks of a feature vector comparable before a classifier or an index sees them."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from embedpipe.store.moments import CONSTANT, Moments, Scaling

_ROWS = 4096


class ScaledRows:
    """Rows as a fitted scaler gives them, some at a time: all of them would be a second copy of all features.

    Args:
        scaler: The scaler.
        X: Features, (m, n_features).
        rows: Which of these, (n,); all if not given.
    """

    def __init__(self, scaler: "BlockScaler", X: NDArray[np.float32], rows: NDArray[np.int64] | None = None) -> None:
        self._scaler, self._X = scaler, X
        self._rows = np.arange(len(X)) if rows is None else rows

    def __len__(self) -> int:
        """How many rows."""
        return len(self._rows)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and features."""
        return len(self._rows), self._X.shape[1]

    def __getitem__(self, some: slice | NDArray[np.int64]) -> NDArray[np.floating]:
        """Some rows, scaled."""
        return self._scaler.transform_in_place(self._X[self._rows[some]])

    def halved(self) -> NDArray[np.float16]:
        """All of them in half the bytes, float16 (n, n_features), as precise as a store is."""
        found = np.empty(self.shape, np.float16)
        for first in range(0, len(self), _ROWS):
            found[first : first + _ROWS] = self[first : first + _ROWS]
        return found


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
        return self._fit(validate_data(self, X, dtype=[np.float32, np.float64]))

    def fit_some(self, X: NDArray[np.float32], rows: NDArray[np.int64]) -> Self:
        """As `fit`, of some rows, (n,), of X, which are not copied."""
        return self._fit(validate_data(self, X, dtype=np.float32), rows)

    def _fit(self, X: NDArray[np.floating], rows: NDArray[np.int64] | None = None) -> Self:
        blocks, n = self._blocks(), len(X) if rows is None else len(rows)
        scaled = blocks[: len(blocks) - self.facts]
        some = [slice(first, first + _ROWS) for first in range(0, n, _ROWS)]
        chosen = some if rows is None else [rows[one] for one in some]
        moments = Moments.total((Moments.of(X[one], scaled) for one in chosen), scaled, X.shape[1])
        mean = moments.sums / n
        scale = moments.factors(mean, len(blocks))
        for start, stop in blocks[len(scaled) :]:
            facts = (X[:, start:stop] if rows is None else X[rows, start:stop]).astype(np.float64)
            mean[start:stop] = facts.mean(axis=0)
            spreads = np.sqrt(((facts - mean[start:stop]) ** 2).mean(axis=0) * (stop - start))
            lengths = np.where(spreads > CONSTANT, spreads, np.inf)  # what never changes carries no information
            scale[start:stop] = 1.0 / (lengths * np.sqrt(len(blocks)))
        self.mean_, self.scale_ = mean.astype(X.dtype), scale.astype(X.dtype)
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.floating]:
        """Scales X, (n, n_features)."""
        check_is_fitted(self)
        rows: NDArray[np.floating] = validate_data(self, X, dtype=[np.float32, np.float64], reset=False)
        return Scaling(self._blocks(), self.mean_, self.scale_, self.facts).transform(rows)

    def transform_in_place(self, X: NDArray[np.floating]) -> NDArray[np.floating]:
        """As `transform`, of an array that is not needed any more."""
        check_is_fitted(self)
        return Scaling(self._blocks(), self.mean_, self.scale_, self.facts).transform(X, copy=False)

    def _blocks(self) -> list[tuple[int, int]]:
        if self.blocks is None:
            return [(0, self.n_features_in_)]
        return [(int(start), int(stop)) for start, stop in self.blocks]
