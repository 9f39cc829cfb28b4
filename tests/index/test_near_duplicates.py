"""Pairs of nearly equal rows, and the groups that they form."""

import numpy as np
import pytest

from embedpipe.index import near_duplicates
from embedpipe.index.near_duplicates import Groups, connected, near_pairs


def rows(n: int) -> np.ndarray:
    """Random rows of unit length."""
    X = np.random.default_rng(0).normal(size=(n, 16)).astype(np.float32)
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def test_every_pair_above_the_threshold_is_found_once() -> None:
    """The pairs are those of the whole matrix of cosines, each with its smaller row first."""
    X = rows(300)
    found, cosines = near_pairs(X, 0.5)
    expected = np.argwhere(np.triu(X @ X.T >= 0.5, k=1))
    assert len(expected) > 10
    assert sorted(map(tuple, found)) == sorted(map(tuple, expected))
    np.testing.assert_allclose(cosines, (X[found[:, 0]] * X[found[:, 1]]).sum(axis=1), rtol=1e-5)


def test_pairs_are_found_across_blocks() -> None:
    """Rows that are searched in different calls are compared, too."""
    X = rows(5000)
    X[4999] = X[3]
    found, _ = near_pairs(X, 0.999)
    assert [3, 4999] in found.tolist()


@pytest.mark.parametrize(("groups", "noise"), [(200, 0.02), (5, 0.002)], ids=["few near ones", "many near ones"])
def test_pairs_of_wide_rows_are_those_of_all_cosines(groups: int, noise: float) -> None:
    """What projections say of wide rows only leaves out what cannot be near."""
    X = alike(groups, 2400 // groups, dim=300, noise=noise)
    X[7] = 0.0
    found, cosines = near_pairs(X, 0.95)
    every = np.float64(X) @ np.float64(X).T
    assert sorted(map(tuple, found)) == sorted(map(tuple, np.argwhere(np.triu(every >= 0.95, k=1))))
    np.testing.assert_allclose(cosines, every[found[:, 0], found[:, 1]], rtol=1e-5)


def test_no_rows_have_no_pairs() -> None:
    """An empty matrix gives empty arrays of the right shape."""
    found, cosines = near_pairs(np.empty((0, 4), np.float32), 0.9)
    assert (found.shape, cosines.shape) == ((0, 2), (0,))


def test_rows_that_share_a_neighbour_are_one_group() -> None:
    """0-1 and 1-2 make one group; 3 is alone."""
    groups = connected(np.array([[0, 1], [1, 2]]), 4)
    assert len(set(groups[:3])) == 1
    assert groups[3] != groups[0]


def test_groups_are_told_while_they_are_joined() -> None:
    """They are those of all pairs at once, whatever the order; the smallest row stands for its group."""
    pairs = np.random.default_rng(1).integers(0, 60, (40, 2))
    groups = Groups(60)
    for one, other in pairs:
        groups.join(int(one), int(other))
    roots, expected = groups.roots(), connected(pairs, 60)
    np.testing.assert_array_equal(roots[:, None] == roots, expected[:, None] == expected)
    assert all(root == np.flatnonzero(roots == root)[0] for root in roots)


def alike(groups: int, each: int, dim: int = 24, noise: float = 0.03) -> np.ndarray:
    """Groups of nearly equal rows of unit length."""
    rng = np.random.default_rng(1)
    X = np.repeat(rng.normal(size=(groups, dim)), each, axis=0) + noise * rng.normal(size=(groups * each, dim))
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)


def test_many_rows_have_the_same_pairs() -> None:
    """Where no row has more near ones than are named, the lists find the pairs of the whole matrix."""
    X = alike(150, 4)
    exact, _ = near_pairs(X, 0.95)
    found, cosines = near_pairs(X, 0.95, most_exact=100)
    assert len(exact) > 500
    assert {tuple(pair) for pair in found.tolist()} == {tuple(pair) for pair in exact.tolist()}
    np.testing.assert_allclose(cosines, (X[found[:, 0]] * X[found[:, 1]]).sum(axis=1), rtol=1e-5)


def test_a_projection_loses_no_near_pair() -> None:
    """Rows wider than what is compared: what the projection drops is allowed for, and cosines are exact."""
    X = alike(150, 4, dim=400, noise=0.2)
    exact, _ = near_pairs(X, 0.95)
    found, _ = near_pairs(X, 0.95, most_exact=100)
    assert len(exact) > 500
    assert {tuple(pair) for pair in found.tolist()} == {tuple(pair) for pair in exact.tolist()}


def test_copies_of_one_form_make_few_pairs_and_stay_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some thousand would make millions; rows that are near some of them only are in the same group as before."""
    rng = np.random.default_rng(0)
    drift = np.linspace(0, 4, 600)[:, None] * rng.normal(size=64)  # the first of the chain is not near its last
    chain = rng.normal(size=64) + drift
    X = np.vstack([chain, alike(3, 300, dim=64), rng.normal(size=(100, 64))]).astype(np.float32)
    X = (X / np.linalg.norm(X, axis=1, keepdims=True))[rng.permutation(len(X))]
    exact, cosines = near_pairs(X, 0.95)
    monkeypatch.setattr(near_duplicates, "CROWDED", 50)
    monkeypatch.setattr(near_duplicates, "MOST", 3)
    found, some = near_pairs(X, 0.95)
    behind = np.bincount(exact[:, 0], minlength=len(X))
    assert len(found) < (3 + 1) * len(X) + behind[behind <= 50].sum() < len(exact) / 2
    before, after = connected(exact, len(X)), connected(found, len(X))
    np.testing.assert_array_equal(after, before)
    known = dict(zip(map(tuple, exact.tolist()), cosines, strict=True))
    assert [known[one, other] for one, other in found.tolist()] == some.tolist()


def test_what_only_a_crowded_row_connects_stays_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """The nearest of the first row are in one heap; that it lies near another one as well is not lost."""
    monkeypatch.setattr(near_duplicates, "CROWDED", 50)
    monkeypatch.setattr(near_duplicates, "MOST", 3)
    angles = np.radians([10.0, *[0.0] * 100, *[26.0] * 100])
    X = np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)
    assert not (X[1] @ X[-1] >= 0.95)
    found, _ = near_pairs(X, 0.95)
    assert set(connected(found, len(X))) == {0}


def test_rows_with_very_many_near_ones_stay_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each row only some near ones are named, yet a form that is there 200 times is one group."""
    monkeypatch.setattr(near_duplicates, "MOST", 3)
    X = alike(5, 200)
    pairs, _ = near_pairs(X, 0.95, most_exact=100)
    assert len(pairs) < 5 * 200 * 5
    groups = connected(pairs, len(X))
    assert [len(set(groups[start : start + 200])) for start in range(0, 1000, 200)] == [1] * 5
    assert len(set(groups)) == 5
