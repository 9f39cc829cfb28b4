"""Pairs of nearly equal rows, and the groups that they form."""

import numpy as np

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
