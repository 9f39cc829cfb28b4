"""Words of pages as a classifier takes them."""

import numpy as np
from scipy.sparse import csr_array

from embedpipe.classifiers.text.words import WordScaler, build_words, shrunk
from embedpipe.pages.extras.word_rows import folded, have_words


def counts(rows: list[dict[int, int]], width: int = 32) -> csr_array:
    """Sparse rows of counts."""
    dense = np.zeros((len(rows), width), np.float32)
    for row, found in zip(dense, rows, strict=True):
        for column, count in found.items():
            row[column] = count
    return csr_array(dense)


def test_rows_are_weighted_and_of_unit_length() -> None:
    """Buckets are folded together, n-grams of a single row count nothing, and the counts given stay as they were."""
    given = counts([{1: 2, 9: 1}, {1: 1, 2: 4}, {2: 1, 3: 7}, {}])
    before = given.copy()
    found = WordScaler(buckets=8).fit(given).transform(given).toarray()
    assert (given != before).nnz == 0
    np.testing.assert_array_equal(given.indptr, before.indptr)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [1, 1, 1, 0], atol=1e-6)
    assert found[0, 1] > 0.999  # columns 1 and 9 are one
    assert found[2, 3] == 0  # in one row only
    assert list(have_words(given)) == [True, True, True, False]
    common = counts([{1: 1, 2: 1}, {1: 1, 2: 1}, {1: 1}, {1: 1}])
    row = WordScaler(buckets=8).fit(common).transform(common).toarray()[0]
    assert row[1] == row[2]  # a rare n-gram counts no more than a common one


def test_half_the_bytes_give_the_same_answers() -> None:
    """What is saved in float32 decides as before."""
    rng = np.random.default_rng(0)
    y = np.repeat(["a", "b", "c"], 10)
    rows = [{int(c): 1 for c in [*rng.integers(0, 32, 4), 10 + "abc".index(kind)]} for kind in y]
    X = counts(rows)
    fitted = build_words().fit(X, y)
    before = fitted.decision_function(X)
    assert (fitted.predict(X) == y).mean() > 0.9
    small = shrunk(fitted)
    assert small.steps[-1][1].coef_.dtype == np.float32
    np.testing.assert_allclose(small.decision_function(X), before, atol=1e-5)


def test_rows_are_folded_once() -> None:
    """What is folded already is the same object, and gives the same rows; rows that are spare are used up."""
    given = counts([{1: 2, 9: 1}, {1: 1, 2: 4}, {2: 1, 3: 7}, {}])
    once = folded(given, 8)
    assert folded(once, 8) is once
    assert once.toarray()[0, 1] == 3
    scaler = WordScaler(buckets=8).fit(given)
    before = once.copy()
    np.testing.assert_array_equal(scaler.transform(once).toarray(), scaler.transform(given).toarray())
    assert (once != before).nnz == 0
    np.testing.assert_array_equal(folded(given, 8, spare=True).toarray(), before.toarray())
