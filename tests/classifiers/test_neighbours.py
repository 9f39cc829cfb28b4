"""k nearest neighbours: scikit-learn's answers, found by FAISS."""

import copy
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from numpy.typing import NDArray
from sklearn.datasets import make_blobs
from sklearn.exceptions import SkipTestWarning
from sklearn.neighbors import KNeighborsClassifier
from sklearn.utils.estimator_checks import check_estimator

from embedpipe.classifiers import neighbours
from embedpipe.classifiers.neighbours import FaissKNeighborsClassifier


@pytest.fixture(scope="module")
def data() -> tuple[NDArray[np.float32], NDArray[Any], NDArray[np.float32]]:
    """Rows of four overlapping types, their types, and rows to be told."""
    X, y = make_blobs(300, 6, centers=4, cluster_std=6, random_state=0)
    names = np.array(["letter", "form", "invoice", "drawing"])[y]
    return X[:200].astype(np.float32), names[:200], X[200:].astype(np.float32)


def test_it_keeps_the_rules_of_scikit_learn() -> None:
    """The classifier passes scikit-learn's own checks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkipTestWarning)
        results = check_estimator(FaissKNeighborsClassifier())
    assert len([result for result in results if result["status"] == "passed"]) > 40


@pytest.mark.parametrize("k", [1, 3, 10])
def test_equal_votes_are_those_of_scikit_learn(data: Any, k: int) -> None:
    """With equal votes it gives the shares and winners of scikit-learn's exact search by cosine."""
    X, y, new = data
    mine = FaissKNeighborsClassifier(k, temperature="uniform").fit(X, y)
    theirs = KNeighborsClassifier(k, metric="cosine", algorithm="brute").fit(X, y)
    assert mine.classes_.tolist() == theirs.classes_.tolist() == ["drawing", "form", "invoice", "letter"]
    np.testing.assert_allclose(mine.predict_proba(new), theirs.predict_proba(new), atol=1e-12)
    np.testing.assert_array_equal(mine.predict(new), theirs.predict(new))


def test_votes_fall_with_the_distance_as_described(data: Any) -> None:
    """A row's vote is exp((cosine - 1) / temperature), computed by hand by scikit-learn's weights."""
    X, y, new = data
    mine = FaissKNeighborsClassifier(7, temperature=0.05).fit(X, y)
    theirs = KNeighborsClassifier(7, metric="cosine", algorithm="brute", weights=lambda d: np.exp(-d / 0.05))
    shares = mine.predict_proba(new)
    np.testing.assert_allclose(shares, theirs.fit(X, y).predict_proba(new), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert np.abs(shares - FaissKNeighborsClassifier(7, "uniform").fit(X, y).predict_proba(new)).max() > 0.1


def test_fewer_rows_than_neighbours_all_vote(data: Any) -> None:
    """Where there are fewer rows than neighbours are asked for, all of them vote."""
    X, _, new = data
    shares = FaissKNeighborsClassifier(50, "uniform").fit(X[:4], ["a", "b", "b", "b"]).predict_proba(new)
    np.testing.assert_allclose(shares, np.tile([0.25, 0.75], (len(new), 1)))


def test_extreme_temperatures_give_no_nan(data: Any) -> None:
    """A temperature near zero lets the nearest row alone decide, without overflow."""
    X, y, new = data
    cold = FaissKNeighborsClassifier(5, 1e-9).fit(X, y)
    assert np.isfinite(cold.predict_proba(new)).all()
    np.testing.assert_array_equal(cold.predict(new), FaissKNeighborsClassifier(1).fit(X, y).predict(new))


def restored(classifier: Any, route: str, folder: Path) -> Any:
    """The classifier after it was written and read, or copied."""
    if route == "skops":
        skops.io.dump(classifier, folder / "model.skops")
        unknown = skops.io.get_untrusted_types(file=folder / "model.skops")
        assert unknown == ["embedpipe.classifiers.neighbours.FaissKNeighborsClassifier"]
        return skops.io.load(folder / "model.skops", trusted=unknown)
    return copy.deepcopy(classifier) if route == "deepcopy" else pickle.loads(pickle.dumps(classifier))


@pytest.mark.parametrize("route", ["skops", "pickle", "deepcopy"])
def test_it_survives_being_saved(data: Any, tmp_path: Path, route: str) -> None:
    """Written and read again, the classifier gives the very same shares; the file holds only arrays."""
    X, y, new = data
    classifier = FaissKNeighborsClassifier(3, 0.2).fit(X, y)
    again = restored(classifier, route, tmp_path)
    assert again.get_params() == {"n_neighbors": 3, "temperature": 0.2}
    np.testing.assert_array_equal(again.predict_proba(new), classifier.predict_proba(new))


def test_an_unfitted_one_can_be_copied() -> None:
    """An unfitted classifier can be copied and then fitted."""
    twin = copy.deepcopy(FaissKNeighborsClassifier(1)).fit([[1.0, 0.0], [0.0, 1.0]], ["a", "b"])
    assert twin.predict([[0.9, 0.1], [0.1, 3.0]]).tolist() == ["a", "b"]


@pytest.mark.parametrize("settings", [{"n_neighbors": 0}, {"temperature": 0}, {"temperature": "warm"}])
def test_impossible_settings_are_refused(data: Any, settings: dict[str, Any]) -> None:
    """A number of neighbours or a temperature that makes no sense is refused when fitting."""
    X, y, _ = data
    with pytest.raises(ValueError, match=next(iter(settings))):
        FaissKNeighborsClassifier(**settings).fit(X, y)


def test_many_rows_vote_through_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit of exact search nearly the same rows vote; projected ones are kept, and saved without pickle."""
    X, y = make_blobs(1600, 600, centers=6, cluster_std=6, random_state=0)
    X = X.astype(np.float32)
    exact = FaissKNeighborsClassifier(20, temperature=0.03).fit(X[:1500], y[:1500])
    monkeypatch.setattr(neighbours, "EXACT_ROWS", 1000)
    lists = FaissKNeighborsClassifier(20, temperature=0.03).fit(X[:1500], y[:1500])
    assert lists._rows.shape == (1500, 512)
    assert np.mean(lists.predict(X[1500:]) == exact.predict(X[1500:])) > 0.95
    skops.io.dump(lists, tmp_path / "knn.skops")
    loaded = skops.io.load(
        tmp_path / "knn.skops", trusted=["embedpipe.classifiers.neighbours.FaissKNeighborsClassifier"]
    )
    np.testing.assert_array_equal(loaded.predict_proba(X[1500:]), lists.predict_proba(X[1500:]))
    again = lists.fit(X[:50], y[:50])  # few rows, after many
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(again)).predict_proba(X), again.predict_proba(X))
