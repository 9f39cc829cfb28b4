"""Families of pages with one layout: average linkage without the square matrix."""

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage

from embedpipe.index.families import average_linkage, families


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of unit length, as the index holds them."""
    return np.ascontiguousarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def layouts(sizes: list[int], dim: int = 32, noise: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    """Pages around as many layouts as there are sizes, and the layout of each."""
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(len(sizes)), sizes)
    centres = rng.normal(size=(len(sizes), dim))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    return unit(centres[truth] + noise * rng.normal(size=(len(truth), dim)) / np.sqrt(dim)), truth


def partition(labels: np.ndarray) -> set[frozenset[int]]:
    """The clusters as sets of rows."""
    return {frozenset(np.flatnonzero(labels == name).tolist()) for name in np.unique(labels)}


@pytest.mark.parametrize("threshold", [0.3, 0.6, 0.8])
def test_clusters_are_those_of_scipy_where_the_graph_holds_all_pairs(threshold: float) -> None:
    """With few rows every pair is an edge, and joining mutual neighbours gives the tree of plain average linkage."""
    X, _ = layouts([3, 3, 2, 2], noise=0.9)
    assert len(X) <= 11
    expected = fcluster(linkage(X, "average", metric=lambda a, b: 1 - a @ b), 1 - threshold, "distance")
    assert partition(average_linkage(X, threshold)) == partition(expected)


def test_a_large_family_is_found_whole() -> None:
    """Far more pages of a layout than neighbours are looked at end up in one family; loners in none."""
    X, truth = layouts([400, 60, 5, 1], noise=0.3)
    found = families(X, np.arange(len(X)) + 100, threshold=0.8)
    assert [len(family.page_ids) for family in found] == [400, 60, 5]
    for number, family in enumerate(found):
        assert set(truth[family.page_ids - 100]) == {number}


def test_the_representative_is_the_medoid_and_coherence_the_mean_cosine() -> None:
    """Both are what the square matrix of a family says."""
    X, _ = layouts([12])
    [family] = families(X, np.arange(12), threshold=0.2)
    cosines = X @ X.T
    assert family.representative == cosines.sum(axis=1).argmax()
    assert family.coherence == pytest.approx((cosines.sum() - 12) / (12 * 11), abs=1e-5)


def test_wide_features_are_reduced_without_changing_the_families() -> None:
    """With more features than are kept, cosines and so families stay the same."""
    X, truth = layouts([300, 100, 20], dim=600, noise=0.4)
    found = families(X, np.arange(len(X)))
    assert [set(truth[family.page_ids]) for family in found] == [{0}, {1}, {2}]


def test_the_same_picture_many_times_and_none_at_all() -> None:
    """Equal rows are one family of coherence 1; without pages there are no families."""
    X = np.repeat(unit(np.random.default_rng(1).normal(size=(1, 8))), 50, axis=0)
    [family] = families(X, np.arange(50))
    assert len(family.page_ids) == 50
    assert family.coherence == pytest.approx(1.0)
    assert families(np.empty((0, 8), np.float32), np.empty(0, np.int64)) == []
