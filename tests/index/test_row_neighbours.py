"""The nearest of some rows in memory: exact among few, nearly so among many, always the same."""

import numpy as np
import pytest
from numpy.typing import NDArray

from embedpipe.index import row_neighbours
from embedpipe.index.row_neighbours import Layout, RowIndex, sampled


def clustered(n: int, dim: int, seed: int = 0) -> NDArray[np.float32]:
    """Rows of unit length around twenty centres, as pages lie around their layouts."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(20, dim))[np.arange(n) % 20] + 0.7 * rng.normal(size=(n, dim))
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)


def test_few_rows_are_all_compared() -> None:
    """The nearest are those of the whole matrix of cosines."""
    X = clustered(200, 16)
    index = RowIndex(X)
    cosines, rows = index.search(X[:50], 7)
    everything = X[:50] @ X.T
    assert index.exact
    np.testing.assert_array_equal(rows, np.argsort(-everything, axis=1)[:, :7])
    np.testing.assert_allclose(cosines, np.sort(everything, axis=1)[:, :-8:-1], atol=1e-6)


@pytest.mark.parametrize("dim", [16, 300])
def test_of_many_rows_nearly_all_of_the_nearest_are_found(dim: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With lists, and with a projection where rows are wide; a quarter of the lists is looked at."""
    monkeypatch.setattr(row_neighbours, "_PROBES", 16)
    X = clustered(1500, dim)
    index = RowIndex(X, most_exact=100)
    assert not index.exact
    assert index.rows.shape == (1500, min(dim, row_neighbours.DIM))
    _, rows = index.search(X[:100], 10)
    truth = np.argsort(-(X[:100] @ X.T), axis=1)[:, :10]
    found = np.mean([len(np.intersect1d(one, other)) / 10 for one, other in zip(truth, rows, strict=True)])
    assert 0.85 < found <= 1
    assert (rows[:, 0] == np.arange(100)).all()


def test_an_index_is_made_again_from_its_layout() -> None:
    """Axes and centroids are all that has to be kept beside the rows."""
    X = clustered(1000, 300)
    layout = Layout.of(X[sampled(len(X))], len(X), most_exact=100)
    rows = layout.project(X)
    again = Layout(layout.axes.copy(), layout.centroids.copy())
    one, other = (row_neighbours.search(made.index(rows), rows[:20], 5) for made in (layout, again))
    np.testing.assert_array_equal(one[1], other[1])
    np.testing.assert_array_equal(one[0], other[0])


def test_the_sample_is_always_the_same_and_ascending() -> None:
    """All rows where there are few of them."""
    np.testing.assert_array_equal(sampled(10), np.arange(10))
    some = sampled(1000, 50)
    assert len(set(some)) == 50
    np.testing.assert_array_equal(some, np.sort(some))
    np.testing.assert_array_equal(some, sampled(1000, 50))
