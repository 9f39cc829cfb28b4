"""Kernel ridge regression on whole documents."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from embedpipe.classifiers.documents.ridge import DocumentRidge, build_documents
from embedpipe.classifiers.documents.rows import BUCKETS, Wholes

BLOCKS = [(0, 3), (3, 6)]


def documents(n: int = 90, *, noise: float = 0.6, words: bool = False, seed: int = 0) -> tuple[Wholes, np.ndarray]:
    """Made-up rows of documents of three types; with words, these tell the types and pictures do not."""
    rng = np.random.default_rng(seed)
    kinds = np.arange(n) % 3
    centres = np.random.default_rng(5).normal(0, 1, (3, 12)) * (not words)
    pictures = (centres[kinds] + rng.normal(0, noise, (n, 12))).astype(np.float32)
    counts = None
    if words:
        rows = np.zeros((n, 30))
        rows[np.arange(n), kinds * 5] = 1.0
        rows[:, 20:] = rng.random((n, 10))
        rows[::4] = 0.0
        lengths = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
        counts = csr_array((rows / lengths).astype(np.float32))
        counts.resize((n, BUCKETS))
    return Wholes(pictures, (np.arange(n) % 2).astype(np.float32), counts), np.array(["a", "b", "c"])[kinds]


def test_types_are_told_by_pictures() -> None:
    """Of other documents, by whole rows or a few at a time."""
    own, y = documents()
    ridge = DocumentRidge(BLOCKS).fit(own, y)
    other, truth = documents(seed=1)
    assert np.mean(ridge.predict(other) == truth) > 0.9
    np.testing.assert_allclose(
        ridge.decision_function(other)[:7], ridge.decision_function(other[np.arange(7)]), atol=1e-5
    )
    assert ridge.word_coef_ is None
    assert clone(ridge).get_params()["alpha"] == ridge.alpha
    with pytest.raises(NotFittedError):
        DocumentRidge(BLOCKS).decision_function(other)


def test_types_are_told_by_words_where_pictures_say_nothing() -> None:
    """A document without words is judged by its pictures."""
    own, y = documents(words=True)
    ridge = DocumentRidge(BLOCKS).fit(own, y)
    other, truth = documents(words=True, seed=1)
    told, silent = ridge.predict(other) == truth, np.arange(len(truth)) % 4 == 0
    assert told[~silent].mean() > 0.95
    assert told[silent].mean() < 0.7
    without = Wholes(other.pictures, other.digital)
    np.testing.assert_allclose(
        ridge.decision_function(other)[silent], ridge.decision_function(without)[silent], atol=1e-6
    )


def test_decisions_are_those_of_the_kernel() -> None:
    """The folded coefficients of words give what the kernel gives, but for the rounding of float16."""
    own, y = documents(150, words=True)
    ridge = DocumentRidge(BLOCKS).fit(own, y)
    assert ridge.kinship_ == 1.0
    other, _ = documents(words=True, seed=1)
    expected = ridge.sharpness * (ridge._kernel(other, own) @ ridge.dual_coef_)
    np.testing.assert_allclose(ridge.decision_function(other), expected, atol=0.02)


def test_many_documents_are_compared_with_some_of_them() -> None:
    """With as many landmarks as documents the approximation is exact; with fewer it is nearly as good, and small."""
    own, y = documents(600)
    other, truth = documents(300, seed=1)
    exact = DocumentRidge(BLOCKS, landmarks=600).fit(own, y)
    few = DocumentRidge(BLOCKS, landmarks=60).fit(own, y)
    assert few.landmarks_.shape == (60, 12)
    assert np.mean(few.predict(other) == truth) > np.mean(exact.predict(other) == truth) - 0.03
    nearly = DocumentRidge(BLOCKS, landmarks=599).fit(own, y)
    np.testing.assert_allclose(nearly.decision_function(other), exact.decision_function(other), atol=0.1)


def test_types_count_the_same_whatever_their_number() -> None:
    """Each document of a rare type once more changes nothing."""
    own, y = documents(noise=1.2)
    rare = np.flatnonzero((y != "c") | (np.arange(len(y)) < 12))
    twice = np.append(rare, rare[y[rare] == "c"])
    other, truth = documents(noise=1.2, seed=1)
    told = [DocumentRidge(BLOCKS).fit(own[rows], y[rows]).predict(other) for rows in (rare, twice)]
    assert abs(int(np.sum(told[0] == "c")) - int(np.sum(told[1] == "c"))) <= 3
    assert np.mean(told[0][truth == "c"] == "c") > 0.3


def test_blocks_are_those_of_one_page() -> None:
    """Each is scaled by itself, in the mean and in the first page."""
    pipeline = build_documents([(0, 3), (3, 6)])
    own, y = documents()
    assert pipeline.fit(own, y)[-1].scaler_.blocks == [(0, 3), (3, 6), (6, 9), (9, 12)]


def test_a_kind_of_which_few_were_learnt_counts_as_the_other() -> None:
    """Documents of a kind that was never learnt are answered as if they were of the one that was."""
    own, y = documents(150)
    ridge = DocumentRidge(BLOCKS).fit(Wholes(own.pictures, np.ones(150, np.float32)), y)
    other, truth = documents(seed=1)
    assert ridge.kinship_ == 0.0
    answers = [ridge.decision_function(Wholes(other.pictures, np.full(90, kind, np.float32))) for kind in (0, 1)]
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-6)
    assert np.mean(ridge.classes_[answers[0].argmax(axis=1)] == truth) > 0.9
