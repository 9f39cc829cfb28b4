"""How far a page is from the labelled ones."""

from pathlib import Path

import numpy as np
import pytest
import skops.io
from numpy.typing import NDArray

from embedpipe.classifiers.calibration import novelty
from embedpipe.classifiers.calibration.novelty import NoveltyDetector


@pytest.fixture(scope="module")
def types() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """300 rows of six types in 20 dimensions, of which the last ones vary most and tell nothing."""
    rng = np.random.default_rng(0)
    y = np.arange(300) % 6
    X = np.zeros((300, 20))
    X[np.arange(300), y] = 3
    return (X + rng.normal(0, np.r_[np.full(10, 0.4), np.full(10, 3.0)], X.shape)).astype(np.float32), y


def test_rows_of_a_new_type_are_farther(types: tuple[NDArray[np.float32], NDArray[np.int64]]) -> None:
    """Each type in turn is left out: its rows are farther from the others than new rows of known types."""
    X, y = types
    for left_out in range(6):
        train = (y != left_out) & (np.arange(300) < 200)
        detector = NoveltyDetector().fit(X[train], y[train])
        distances = detector.distances(X[200:])
        new = y[200:] == left_out
        assert np.mean(distances[new][:, None] > distances[~new]) > 0.9


def test_distances_are_one_minus_a_cosine(types: tuple[NDArray[np.float32], NDArray[np.int64]]) -> None:
    """A row among the training rows is at no distance from itself; all distances are between 0 and 2."""
    X, y = types
    distances = NoveltyDetector(n_neighbors=1).fit(X, y).distances(X)
    assert distances == pytest.approx(0, abs=1e-5)
    others = NoveltyDetector().fit(X, y).distances(-X)
    assert 0 < others.min() < others.max() <= 2


def test_the_weight_of_rows_counts(types: tuple[NDArray[np.float32], NDArray[np.int64]]) -> None:
    """Weights are those of repeated rows, as far as directions go."""
    X, y = types
    weights = np.where(np.arange(300) < 100, 3.0, 1.0)
    repeated = np.repeat(np.arange(300), weights.astype(int))
    one = NoveltyDetector().fit(X, y, weights).projection_
    other = NoveltyDetector().fit(X[repeated], y[repeated]).projection_
    np.testing.assert_allclose(np.abs(one), np.abs(other), rtol=0.02, atol=1e-3)


def test_few_rows_are_enough() -> None:
    """Two rows of two types, and more features than rows, give distances."""
    detector = NoveltyDetector().fit(np.eye(2, 30, dtype=np.float32), ["a", "b"])
    assert np.isfinite(detector.distances(np.ones((3, 30), np.float32))).all()


def test_it_is_saved_without_pickle(types: tuple[NDArray[np.float32], NDArray[np.int64]], tmp_path: Path) -> None:
    """Saved and loaded, it gives the same distances; of rows only their discriminants are kept."""
    X, y = types
    detector = NoveltyDetector().fit(X, y)
    skops.io.dump(detector, tmp_path / "novelty.skops")
    loaded = skops.io.load(
        tmp_path / "novelty.skops", trusted=["embedpipe.classifiers.calibration.novelty.NoveltyDetector"]
    )
    np.testing.assert_array_equal(loaded.distances(X), detector.distances(X))
    assert loaded.rows_.shape == (300, 6)


def test_many_rows_are_looked_up_in_lists(
    types: tuple[NDArray[np.float32], NDArray[np.int64]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the limit of exact search distances stay nearly the same, also when saved and loaded."""
    X, y = (np.concatenate([part, part]) for part in types)
    X = X + np.random.default_rng(1).normal(0, 0.1, X.shape).astype(np.float32)
    exact = NoveltyDetector().fit(X, y).distances(X)
    monkeypatch.setattr(novelty, "EXACT_ROWS", 100)
    lists = NoveltyDetector().fit(X, y)
    assert len(lists.centroids_) > 1
    assert np.corrcoef(lists.distances(X), exact)[0, 1] > 0.95
    skops.io.dump(lists, tmp_path / "novelty.skops")
    loaded = skops.io.load(
        tmp_path / "novelty.skops", trusted=["embedpipe.classifiers.calibration.novelty.NoveltyDetector"]
    )
    np.testing.assert_array_equal(loaded.distances(X), lists.distances(X))
