"""Makes the blocks of a feature vector comparable before a classifier or an index sees them."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data


class BlockScaler(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Gives every block of features the same weight.

    Each block of each row is scaled to unit length; then the block's mean over the training rows is taken away, and
    the rest is divided by its root mean square length and by the root of the number of blocks. So each block adds
    the same to the squared distance of two pages, whatever its width and range.

    Args:
        blocks: (start, stop) of each block; None for one block of all features.

    Attributes:
        mean_: Mean of each feature after the first step, (n_features,).
        scale_: Factor of each feature, (n_features,).
    """

    def __init__(self, blocks: Any = None) -> None:
        self.blocks = blocks

    def fit(self, X: ArrayLike, y: object = None) -> Self:  # noqa: ARG002 - scikit-learn's signature
        """Learns means and lengths from X, (n, n_features)."""
        rows: NDArray[np.floating] = validate_data(self, X, dtype=[np.float32, np.float64])
        unit = self._unit(rows)
        self.mean_ = unit.mean(axis=0)
        self.scale_ = np.ones(rows.shape[1], rows.dtype)
        blocks = self._blocks()
        for start, stop in blocks:
            centred = unit[:, start:stop] - self.mean_[start:stop]
            length = float(np.sqrt(np.mean(np.sum(centred * centred, axis=1))))
            self.scale_[start:stop] = 1.0 / (max(length, 1e-6) * np.sqrt(len(blocks)))
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.floating]:
        """Scales X, (n, n_features)."""
        check_is_fitted(self)
        rows: NDArray[np.floating] = validate_data(self, X, dtype=[np.float32, np.float64], reset=False)
        scaled: NDArray[np.floating] = (self._unit(rows) - self.mean_) * self.scale_
        return scaled

    def _blocks(self) -> list[tuple[int, int]]:
        if self.blocks is None:
            return [(0, self.n_features_in_)]
        return [(int(start), int(stop)) for start, stop in self.blocks]

    def _unit(self, X: NDArray[np.floating]) -> NDArray[np.floating]:
        unit = np.empty_like(X)
        for start, stop in self._blocks():
            part = X[:, start:stop]
            unit[:, start:stop] = part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12)
        return unit
