"""Principal components part by part, and places in the plane."""

import sys
import types
from collections.abc import Iterator

import numpy as np
import pytest
from sklearn.decomposition import PCA

from embedpipe.core.errors import EmbedpipeError
from embedpipe.index.projection import FEWEST, Components, chosen, components, in_plane


def kinds(rows: int = 90, dim: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Rows around three centres, and the centre of each."""
    rng = np.random.default_rng(0)
    truth = np.arange(rows) % 3
    return (6 * rng.normal(size=(3, dim))[truth] + rng.normal(size=(rows, dim))).astype(np.float32), truth


def in_batches(X: np.ndarray, size: int) -> "Components":
    """Components of rows that come so many at a time."""

    def batches() -> Iterator[np.ndarray]:
        for first in range(0, len(X), size):
            yield X[first : first + size]

    return components(batches, 5)


@pytest.mark.parametrize("size", [1, 7, 90])
def test_components_are_those_of_scikit_learn_however_the_rows_come(size: int) -> None:
    """Places and shares of the variance agree with PCA of the whole matrix, up to the sign of a direction."""
    X, _ = kinds()
    reduced, whole = in_batches(X, size), PCA(5).fit(X)
    np.testing.assert_allclose(np.abs(reduced.X), np.abs(whole.transform(X)), atol=2e-3)
    np.testing.assert_allclose(reduced.shares, whole.explained_variance_ratio_, atol=1e-5)


def test_the_plane_is_the_same_every_time_and_keeps_kinds_apart() -> None:
    """Every row lies nearer to the middle of its own kind than to that of another."""
    X, truth = kinds()
    places = in_plane(in_batches(X, 40), "pca")
    np.testing.assert_array_equal(places, in_plane(in_batches(X, 40), "pca"))
    middles = np.stack([places[truth == kind].mean(axis=0) for kind in range(3)])
    distances = np.linalg.norm(places[:, None] - middles, axis=2)
    assert (distances.argmin(axis=1) == truth).all()


@pytest.mark.parametrize(("rows", "dim"), [(1, 6), (2, 6), (40, 6), (3, 1)])
def test_equal_rows_lie_in_one_place(rows: int, dim: int) -> None:
    """Without differences there are no directions: zeros, and no number that is none."""
    reduced = components(lambda: [np.full((rows, dim), 0.3, np.float32)])
    assert reduced.X.shape == (rows, max(2, dim))
    assert not reduced.X.any()
    assert not reduced.shares.any()
    assert not in_plane(reduced, "umap").any()


def test_no_rows() -> None:
    """There is nothing to place."""
    with pytest.raises(ValueError, match="no rows"):
        components(list)


def test_which_method_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` does without UMAP where it is missing or has too few pages, and says why; `umap` insists."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    method, reason = chosen("auto", 1000)
    assert method == "pca"
    assert "pip install umap-learn" in reason
    with pytest.raises(EmbedpipeError, match=r"not installed.*--method pca"):
        chosen("umap", 1000)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: object())
    assert chosen("auto", 1000) == ("umap", "")
    assert chosen("auto", FEWEST - 1)[0] == "pca"
    assert chosen("pca", 1000) == ("pca", "")
    with pytest.raises(EmbedpipeError, match=f"at least {FEWEST} pages"):
        chosen("umap", FEWEST - 1)
    with pytest.raises(EmbedpipeError, match="auto, umap, pca"):
        chosen("tsne", 1000)


def test_umap_begins_from_the_first_two_components(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given all components, the seed, and a beginning that does not depend on chance."""
    given: dict[str, object] = {}

    class Umap:
        def __init__(self, **options: object) -> None:
            given.update(options)

        def fit_transform(self, X: np.ndarray) -> np.ndarray:
            given["X"] = X
            return X[:, 2:4]

    monkeypatch.setitem(sys.modules, "umap", types.SimpleNamespace(UMAP=Umap))
    reduced = in_batches(kinds()[0], 40)
    np.testing.assert_array_equal(in_plane(reduced, "umap", 7), reduced.X[:, 2:4])
    assert given["random_state"] == 7
    np.testing.assert_array_equal(given["X"], reduced.X)
    assert np.corrcoef(np.asarray(given["init"])[:, 0], reduced.X[:, 0])[0, 1] == pytest.approx(1)


def test_the_real_umap_gives_the_same_map_twice() -> None:
    """With the same seed, and kinds lie apart."""
    pytest.importorskip("umap", reason="umap-learn is not installed")
    X, truth = kinds()
    first, second = (in_plane(in_batches(X, 40), "umap", 3) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    middles = np.stack([first[truth == kind].mean(axis=0) for kind in range(3)])
    assert (np.linalg.norm(first[:, None] - middles, axis=2).argmin(axis=1) == truth).all()
