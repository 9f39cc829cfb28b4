"""k nearest neighbours as a scikit-learn classifier, with FAISS doing the search."""

from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from embedpipe.classifiers.scores.nearest import flat_index, unit_rows, vote_shares
from embedpipe.index.row_neighbours import EXACT_ROWS, Layout, sampled, search
from embedpipe.store.scaling import ScaledRows

_BLOCK, _SMALL_BLOCK = 20_000, 4096
_AXES = 512
"""Directions that are kept of many rows; votes depend on small differences of cosines, and 256 lost right answers."""


class FaissKNeighborsClassifier(ClassifierMixin, BaseEstimator):
    """Votes of the nearest training rows by cosine, a nearer row counting more.

    The nearest ones are exact up to `EXACT_ROWS` training rows. Of more, only projected ones are kept, and those in the
    nearest lists are compared, see `row_neighbours`: nothing is of the size n x n, nor are all features kept.

    Args:
        n_neighbors: How many rows vote; fewer where there are fewer.
        temperature: A row's vote is exp((cosine - 1) / temperature); large values make all votes equal.

    Attributes:
        classes_: The classes, (n_classes,).
        n_features_in_: Width of the training rows.
    """

    _layout: Layout | None = None

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "temperature": [Interval(Real, 0, None, closed="neither"), StrOptions({"uniform"})],
    }

    def __init__(self, n_neighbors: int = 5, temperature: float | str = 0.1) -> None:
        self.n_neighbors = n_neighbors
        self.temperature = temperature

    def fit(self, X: ArrayLike | ScaledRows, y: ArrayLike) -> Self:
        """Keeps the rows X, (n, n_features), and their classes y, (n,)."""
        self._validate_params()
        checked: NDArray[np.float32] | ScaledRows
        if isinstance(X, ScaledRows):  # many, which were validated where their scaler was fitted
            checked, self.n_features_in_ = X, X.shape[1]
        else:
            checked, y = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(y)
        self.classes_, self._classes_of_rows = np.unique(y, return_inverse=True)
        for name in ("_axes", "_centroids"):  # of an earlier fit
            self.__dict__.pop(name, None)
        if len(checked) <= EXACT_ROWS:
            self._rows, self._layout = unit_rows(checked[:]), None
            self._index = flat_index(self._rows)
        else:
            n = len(checked)
            sample = unit_rows(checked[sampled(n)], copy=False)
            self._layout = layout = Layout.of(sample, n, EXACT_ROWS, most_axes=_AXES)
            self._axes, self._centroids = layout.axes, layout.centroids
            del sample  # hundreds of megabytes
            self._rows = np.empty((n, layout.axes.shape[1] or checked.shape[1]), np.float32)
            for first in range(0, n, _SMALL_BLOCK):
                some = slice(first, first + _SMALL_BLOCK)
                self._rows[some] = layout.directions(unit_rows(checked[some]))
            self._index = layout.index(self._rows)
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Shares of the votes, (n, n_classes)."""
        check_is_fitted(self)
        checked: NDArray[np.float32] = validate_data(self, X, dtype=np.float32, reset=False)
        shares = np.empty((len(checked), len(self.classes_)))
        step = _BLOCK if self._layout is None else _SMALL_BLOCK
        for first in range(0, len(checked), step):  # the votes of all would be many times as large as their shares
            some = slice(first, first + step)
            cosines, rows = self._search(unit_rows(checked[some]))
            classes = np.where(rows < 0, -1, self._classes_of_rows[rows])
            shares[some] = vote_shares(cosines, classes, len(self.classes_), self.temperature)
        return shares

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The class with most votes, (n,)."""
        shares = self.predict_proba(X)
        winners: NDArray[Any] = self.classes_[shares.argmax(axis=1)]
        return winners

    def _search(self, X: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        return search(
            self._index,
            X if self._layout is None else self._layout.directions(X),
            min(self.n_neighbors, len(self._rows)),
        )

    def __getstate__(self) -> dict[str, Any]:
        """Only arrays are saved; the index is made of them again."""
        return {key: value for key, value in super().__getstate__().items() if key not in ("_index", "_layout")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Reverses `__getstate__`."""
        super().__setstate__(state)
        if "_axes" in state:
            self._layout = Layout(self._axes, self._centroids)
            self._index = self._layout.index(self._rows)
        elif "_rows" in state:
            self._index = flat_index(self._rows)
