"""Linear classifiers on many rows: the minimum of scikit-learn's own objectives."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.svm import LinearSVC

from embedpipe.classifiers import many_rows
from embedpipe.classifiers.bundles import build_classifier, fit_classifier
from embedpipe.core.errors import EmbedpipeError
from embedpipe.store.scaling import BlockScaler


def rows(n: int = 600, types: int = 4, dim: int = 12) -> tuple[NDArray[np.float32], NDArray[Any], NDArray[np.float64]]:
    """Overlapping types with features of very different spread, and weights."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, types, n)
    X = rng.normal(size=(types, dim))[y] + rng.normal(size=(n, dim)) * np.geomspace(3, 0.1, dim)
    return (X / 5).astype(np.float32), np.array(["a", "b", "c", "d"])[y], rng.uniform(0.1, 1, n)


ESTIMATORS = [
    LinearSVC(C=5.0, dual=True, tol=1e-8, max_iter=1_000_000, random_state=0),
    LinearSVC(C=0.05, dual=True, tol=1e-8, max_iter=1_000_000, random_state=0),
    LogisticRegression(C=10.0, class_weight="balanced", max_iter=3000, tol=1e-8),
]


@pytest.mark.parametrize("types", [2, 4])
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=["svm", "smooth svm", "head"])
def test_the_minimum_is_that_of_scikit_learn(estimator: Any, types: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decisions are those of the estimator's own solver, with two types and with more, also begun with a part."""
    monkeypatch.setattr(many_rows, "_BLOCK", 100)
    monkeypatch.setattr(many_rows, "_BEGINNING", 200)
    monkeypatch.setattr(many_rows, "_FEW_PRECISION", 1e-9)
    X, y, weights = rows(types=types)
    theirs = type(estimator)(**estimator.get_params()).fit(X.astype(np.float64), y, sample_weight=weights)
    ours = type(estimator)(**estimator.get_params())
    many_rows.fit(ours, X, y, weights)
    expected = theirs.decision_function(X)
    np.testing.assert_allclose(ours.decision_function(X), expected, atol=0.01 * np.abs(expected).max())
    assert ours.coef_.shape == theirs.coef_.shape
    assert ours.intercept_.shape == theirs.intercept_.shape
    assert (ours.classes_ == theirs.classes_).all()
    assert np.mean(ours.predict(X) == theirs.predict(X)) > 0.99


@pytest.mark.parametrize(
    ("estimator", "rows", "told"),
    [
        (LinearSVC(C=5.0), many_rows.SVM_ROWS, True),
        (LinearSVC(C=5.0), many_rows.SVM_ROWS - 1, False),
        (LinearSVC(loss="hinge"), 10**6, False),
        (LinearSVC(class_weight="balanced"), 10**6, False),
        (LinearSVC(penalty="l1", dual=False), 10**6, False),
        (LogisticRegression(), many_rows.MANY_ROWS, True),
        (LogisticRegression(), many_rows.MANY_ROWS - 1, False),
        (LogisticRegression(C=np.inf), 10**6, False),
        (LogisticRegression(solver="saga"), 10**6, False),
        (KNeighborsClassifier(), 10**6, False),
    ],
)
def test_only_these_objectives_are_minimised_here(estimator: Any, rows: int, told: bool) -> None:
    """Few rows, and settings that make another objective, are left to scikit-learn."""
    assert many_rows.can_fit(estimator, rows, 12) is told


def test_more_features_than_rows_are_left_to_scikit_learn() -> None:
    """The moments of wide rows would take longer than they save, unless there are many rows."""
    svm, width = LinearSVC(), 2 * many_rows.SVM_ROWS
    assert not many_rows.can_fit(svm, width - 1, width)
    assert many_rows.can_fit(svm, width, width)
    assert many_rows.can_fit(svm, many_rows.MANY_ROWS, 2 * many_rows.MANY_ROWS)


def test_hyper_parameters_are_checked_as_scikit_learn_does() -> None:
    """A value that the estimator refuses is refused whatever the number of rows."""
    X, y, weights = rows(many_rows.SVM_ROWS)
    with pytest.raises(EmbedpipeError, match="'max_iter' parameter of LinearSVC"):
        fit_classifier(Pipeline([("scale", BlockScaler([(0, 12)])), ("svm", LinearSVC(max_iter=-1))]), X, y, weights)


@pytest.mark.parametrize(("kind", "least"), [("svm", "SVM_ROWS"), ("svm", "MANY_ROWS"), ("head", "MANY_ROWS")])
def test_pipelines_on_many_rows(kind: str, least: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`fit_classifier` scales the rows and fits as on few ones, and gives the same answers."""
    X, y, weights = rows()
    blocks = [("one", 0, 6), ("other", 6, 12)]
    few = fit_classifier(build_classifier(kind, blocks), X, y, weights)
    for name in {"SVM_ROWS", least}:
        monkeypatch.setattr(many_rows, name, 100)
    called: list[int] = []
    fit = many_rows.fit
    monkeypatch.setattr(many_rows, "fit", lambda *given: (called.append(1), fit(*given)))
    many = fit_classifier(build_classifier(kind, blocks), X, y, weights)
    assert called == [1]
    assert np.mean(few.predict(X) == many.predict(X)) > 0.99
    assert many.n_features_in_ == 12
    order = np.random.default_rng(0).permutation(2 * len(X))  # among others, in another order
    among = np.concatenate([X, X[::-1] + 1])[order]
    places = np.argsort(order)[: len(X)]
    same = fit_classifier(build_classifier(kind, blocks), among, y, weights, places)
    np.testing.assert_allclose(same.decision_function(X), many.decision_function(X), rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(among, np.concatenate([X, X[::-1] + 1])[order])  # nothing was scaled in place
