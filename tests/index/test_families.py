"""Families of pages with one layout: average linkage without the square matrix."""

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage

from embedpipe.index import families as families_module
from embedpipe.index.families import average_linkage, families, families_of_many


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


def test_families_of_pages_that_go_by_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read a few at a time, in the order of their ids, pages are in the same families, the most typical first."""
    monkeypatch.setattr(families_module, "_READ", 37)
    monkeypatch.setattr(families_module, "_TOTALS", 64)  # the sums of two families at once
    X, _ = layouts([300, 60, 20, 7, 1], noise=0.4)
    page_ids = np.random.default_rng(3).permutation(len(X)) * 5
    row_of = {int(page_id): row for row, page_id in enumerate(page_ids)}
    asked: list[int] = []

    def read(some: np.ndarray) -> np.ndarray:
        asked.append(len(some))
        assert (np.diff(some) > 0).all()
        return X[[row_of[int(page_id)] for page_id in some]]

    expected = families(X, page_ids, threshold=0.7)
    found = families_of_many(read, page_ids, threshold=0.7, most_exact=100)
    assert len(expected) == 4
    assert [set(family.page_ids) for family in found] == [set(family.page_ids) for family in expected]
    assert [family.representative for family in found] == [family.representative for family in expected]
    assert [f.coherence for f in found] == pytest.approx([f.coherence for f in expected], abs=1e-5)
    assert max(asked[1:]) == 37


def test_few_pages_are_read_at_once() -> None:
    """What was exact stays so; no pages have no families."""
    X, _ = layouts([40, 10])
    ids = np.arange(len(X))
    found, expected = families_of_many(lambda some: X[some], ids), families(X, ids)
    assert [f.page_ids.tolist() for f in found] == [f.page_ids.tolist() for f in expected]
    assert [f.coherence for f in found] == [f.coherence for f in expected]
    assert families_of_many(lambda _: X, np.empty(0, np.int64)) == []
