"""Linear classifiers on many rows: scikit-learn's own objectives, minimised without copies of the rows.

`LinearSVC` copies its rows twice, as float64 and once more as a list of pairs: 32 bytes a number, and one pass of its
coordinate descent after the other on one core. `LogisticRegression` needs hundreds of passes, since features that vary
together make its objective long and narrow. Here both objectives are minimised by L-BFGS (Liu and Nocedal, 1989) on
parameters that are stretched by the rows' own second moments, an estimate of the Hessian, so that some ten passes are
enough; rows are read as float32 where they are, a block at a time.

The minimum is the same, for both are strictly convex; of a few thousand rows it is found as closely as by `LinearSVC`
with the tolerance that is used here, in a third of the time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import minimize
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC
from sklearn.utils.class_weight import compute_class_weight

MANY_ROWS = 20_000
"""Rows from which linear classifiers are fitted here; heads of fewer are fitted by scikit-learn in less time."""

SVM_ROWS = 1000
"""Rows from which linear SVMs are, unless there are more features, whose moments would take longer.

liblinear takes three times as long, and two of its fits beside each other take turns.
"""

_BLOCK = 8192
_SAMPLE = 12_000
_BEGINNING = 10_000
"""About so many rows are fitted first."""
_PRECISION, _FEW_PRECISION = 1e-5, 1e-7
"""Relative decrease of the objective below which a step is the last, of many rows and of fewer than `MANY_ROWS`."""

Losses = Callable[[NDArray[np.float32], NDArray[np.int64]], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Decisions (n, m) and classes (n,) to the loss of each row, (n,), and its derivatives, (n, m)."""


def can_fit(estimator: object, rows: int, width: int) -> bool:
    """Whether an estimator is fitted here, on dense rows: there are many, and its objective is one of the two."""
    least = min(max(SVM_ROWS, width), MANY_ROWS) if isinstance(estimator, LinearSVC) else MANY_ROWS
    if rows < least:
        return False
    if isinstance(estimator, LinearSVC):
        usual = LinearSVC().get_params()
        fixed: tuple[str, ...] = (
            "penalty",
            "loss",
            "multi_class",
            "fit_intercept",
            "intercept_scaling",
            "class_weight",
        )
    elif isinstance(estimator, LogisticRegression):
        usual = LogisticRegression().get_params()
        fixed = ("penalty", "l1_ratio", "solver", "fit_intercept", "dual", "warm_start")
    else:
        return False
    params = estimator.get_params()
    return all(params[name] == usual[name] for name in fixed if name in usual) and 0 < params["C"] < np.inf


def fit(estimator: Any, X: NDArray[np.floating], y: NDArray[Any], weights: NDArray[np.float64]) -> None:
    """Fits an estimator for which `can_fit` holds, in place, as its own `fit` would.

    Args:
        estimator: Gets `coef_`, `intercept_`, `classes_`, `n_iter_` and `n_features_in_`.
        X: Rows, float32 or float16 (n, dim).
        y: Classes, (n,), at least two of them.
        weights: Of the rows, (n,).

    Raises:
        ValueError: A hyper-parameter has a value that the estimator refuses.
    """
    estimator._validate_params()  # noqa: SLF001 - as its own `fit` begins
    classes, column = np.unique(y, return_inverse=True)
    if estimator.class_weight is not None:  # of a head; `LinearSVC` weighs only the one class against the rest
        each = compute_class_weight(estimator.class_weight, classes=classes, y=y, sample_weight=weights)
        weights = weights * each[column]
    svm = isinstance(estimator, LinearSVC)
    losses = _squared_hinge if svm else _logistic if len(classes) > 2 else _binary  # noqa: PLR2004
    costs = (estimator.C * weights).astype(np.float32)
    count = 1 if len(classes) == 2 else len(classes)  # noqa: PLR2004 - one decision tells two classes apart
    stretched = _Stretched(X, costs * np.float32(0.5 if svm else 0.1), penalised=svm)

    precision = _PRECISION if len(X) >= MANY_ROWS else _FEW_PRECISION
    W, steps = np.zeros((X.shape[1] + 1, count)), 0
    for step in dict.fromkeys((max(len(X) // _BEGINNING, 1), 1)):  # from the minimum of a part it is not far
        own = X[::step]
        counted = costs[::step] * np.float32(len(X) / len(own))
        objective = _Objective(own, column[::step], counted, losses, penalised=svm)
        W, done = objective.minimum(stretched, W, estimator.max_iter, precision)
        steps += done
    estimator.classes_, estimator.n_features_in_ = classes, X.shape[1]
    estimator.coef_, estimator.intercept_ = np.ascontiguousarray(W[:-1].T), W[-1].copy()
    estimator.n_iter_ = steps if svm else np.array([steps], np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class _Objective:
    """What is minimised: the losses of rows, each times its cost, and half the squares of the parameters.

    Attributes:
        X: Rows, (n, dim).
        column: Their classes, (n,).
        costs: What the loss of each counts, (n,).
        losses: Of their decisions.
        penalised: Whether the intercept is, as the other parameters are.
    """

    X: NDArray[np.floating]
    column: NDArray[np.int64]
    costs: NDArray[np.float32]
    losses: Losses
    penalised: bool

    def minimum(
        self, stretched: "_Stretched", W: NDArray[np.float64], most: int, precision: float
    ) -> tuple[NDArray[np.float64], int]:
        """The parameters (dim + 1, m) at the minimum, from some others, and how many steps it took.

        Args:
            stretched: Makes it round.
            W: The others.
            most: Steps at most.
            precision: See `_PRECISION`.
        """

        def objective(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            value, slopes = self.at(stretched.parameters(values.reshape(W.shape)))
            return value, stretched.slopes(slopes).ravel()

        options = {"maxiter": most, "ftol": precision}
        found = minimize(objective, stretched.values(W).ravel(), jac=True, method="L-BFGS-B", options=options)
        return stretched.parameters(found.x.reshape(W.shape)), int(found.nit)

    def at(self, W: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """The value and its derivatives, (dim + 1, m)."""
        penalised = W if self.penalised else W[:-1]
        loss, slopes = _sums(self.X, self.column, self.costs, W.astype(np.float32), self.losses)
        slopes[: len(penalised)] += penalised
        return loss + 0.5 * float((penalised**2).sum()), slopes


class _Stretched:
    """Parameters in which the objective is nearly round: W = L^-T V, where L L^T is close to the Hessian.

    Args:
        X: Rows, (n, dim).
        curvatures: About the second derivative of each row's loss, (n,).
        penalised: Whether the intercept is, as the other parameters are.
    """

    def __init__(self, X: NDArray[np.floating], curvatures: NDArray[np.float32], *, penalised: bool) -> None:
        rows = np.sort(np.random.default_rng(0).permutation(len(X))[:_SAMPLE])
        total = float(curvatures.sum())
        share = total / max(float(curvatures[rows].sum()), 1e-12)
        hessian = np.zeros((X.shape[1] + 1,) * 2)
        for first in range(0, len(rows), _BLOCK):
            some = rows[first : first + _BLOCK]
            block = np.column_stack([X[some].astype(np.float32), np.ones(len(some), np.float32)])
            block *= np.sqrt(curvatures[some] * np.float32(share))[:, None]
            hessian += block.T @ block
        hessian[np.diag_indices_from(hessian)] += 1.0
        hessian[-1, -1] -= 0.0 if penalised else 1.0
        self._root = cholesky(hessian, lower=True, overwrite_a=True)

    def parameters(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """W of V."""
        found: NDArray[np.float64] = solve_triangular(self._root, values, lower=True, trans="T", check_finite=False)
        return found

    def values(self, W: NDArray[np.float64]) -> NDArray[np.float64]:
        """Reverses `parameters`."""
        found: NDArray[np.float64] = self._root.T @ W
        return found

    def slopes(self, slopes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Derivatives with respect to V, of those with respect to W."""
        found: NDArray[np.float64] = solve_triangular(self._root, slopes, lower=True, check_finite=False)
        return found


def _sums(
    X: NDArray[np.floating],
    column: NDArray[np.int64],
    costs: NDArray[np.float32],
    W: NDArray[np.float32],
    losses: Losses,
) -> tuple[float, NDArray[np.float64]]:
    """The loss of all rows, and its derivatives with respect to W, (dim + 1, m): X is read once."""
    total, slopes = 0.0, np.zeros(W.shape)
    for first in range(0, len(X), _BLOCK):
        rows = slice(first, first + _BLOCK)
        block = X[rows].astype(np.float32, copy=False)
        loss, slope = losses(block @ W[:-1] + W[-1], column[rows])
        total += float(loss @ costs[rows])
        slope *= costs[rows, None]
        slopes[:-1] += block.T @ slope
        slopes[-1] += slope.sum(axis=0)
    return total, slopes


def _signs(decisions: NDArray[np.float32], column: NDArray[np.int64]) -> NDArray[np.float32]:
    """1 for the class of a row and -1 for others; one column tells the second class from the first."""
    if decisions.shape[1] == 1:
        return (2 * column[:, None] - 1).astype(np.float32)
    signs = np.full(decisions.shape, -1, np.float32)
    signs[np.arange(len(column)), column] = 1
    return signs


def _squared_hinge(
    decisions: NDArray[np.float32], column: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    signs = _signs(decisions, column)
    missing = np.maximum(1 - signs * decisions, 0)
    return (missing**2).sum(axis=1), -2 * signs * missing


def _logistic(
    decisions: NDArray[np.float32], column: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    slope = softmax(decisions, axis=1)
    rows = np.arange(len(column))
    loss = -np.log(np.maximum(slope[rows, column], 1e-30))
    slope[rows, column] -= 1
    return loss, slope


def _binary(
    decisions: NDArray[np.float32], column: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    signs = _signs(decisions, column)
    loss = np.logaddexp(0, -signs * decisions)
    return loss[:, 0], -signs * np.exp(-signs * decisions - loss)
