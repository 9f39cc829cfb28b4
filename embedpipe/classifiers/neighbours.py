"""k nearest neighbours as a scikit-learn classifier, with FAISS doing the search."""

from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from embedpipe.classifiers.nearest import flat_index, unit_rows, vote_shares


class FaissKNeighborsClassifier(ClassifierMixin, BaseEstimator):
    """Votes of the nearest training rows by cosine, exact, a nearer row counting more.

    Args:
        n_neighbors: How many rows vote; fewer where there are fewer.
        temperature: A row's vote is exp((cosine - 1) / temperature); large values make all votes equal.

    Attributes:
        classes_: The classes, (n_classes,).
        n_features_in_: Width of the training rows.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "temperature": [Interval(Real, 0, None, closed="neither"), StrOptions({"uniform"})],
    }

    def __init__(self, n_neighbors: int = 5, temperature: float | str = 0.1) -> None:
        self.n_neighbors = n_neighbors
        self.temperature = temperature

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Keeps the rows X, (n, n_features), and their classes y, (n,)."""
        self._validate_params()
        checked, y = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(y)
        self.classes_, self._classes_of_rows = np.unique(y, return_inverse=True)
        self._rows = unit_rows(checked)
        self._index = flat_index(self._rows)
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Shares of the votes, (n, n_classes)."""
        check_is_fitted(self)
        checked: NDArray[np.float32] = validate_data(self, X, dtype=np.float32, reset=False)
        cosines, rows = self._search(unit_rows(checked))
        return vote_shares(cosines, self._classes_of_rows[rows], len(self.classes_), self.temperature)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The class with most votes, (n,)."""
        shares = self.predict_proba(X)
        winners: NDArray[Any] = self.classes_[shares.argmax(axis=1)]
        return winners

    def _search(self, X: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        cosines, rows = self._index.search(X, min(self.n_neighbors, len(self._rows)))
        return cosines, rows

    def __getstate__(self) -> dict[str, Any]:
        """Only arrays are saved; the index is made of them again."""
        return {key: value for key, value in super().__getstate__().items() if key != "_index"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Reverses `__getstate__`."""
        super().__setstate__(state)
        if "_rows" in state:
            self._index = flat_index(self._rows)
