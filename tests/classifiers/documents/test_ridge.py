"""Kernel ridge regression on whole documents."""

import numpy as np
import pytest
from scipy.sparse import csr_array, hstack
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from embedpipe.classifiers.documents import ridge as module
from embedpipe.classifiers.documents.ridge import DocumentRidge, SharedWords, build_documents
from embedpipe.classifiers.documents.rows import BUCKETS, Wholes, kinship, picture_kernel
from embedpipe.pages.extras.word_rows import HEADS

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


def test_a_document_without_words_is_judged_by_its_pictures_alone() -> None:
    """Whatever type the others without words were of: words that are not there say nothing."""
    own, y = documents(words=True)
    empty = np.flatnonzero((np.arange(len(y)) % 4 == 0) & (y != "a"))
    kept = np.setdiff1d(np.arange(len(y)), empty)  # only those of one type have none
    ridge = DocumentRidge(BLOCKS).fit(with_heads(own, y)[kept], y[kept])
    pictures = DocumentRidge(BLOCKS).fit(Wholes(own.pictures, own.digital)[kept], y[kept])
    other, _ = documents(words=True, seed=1)
    without = Wholes(other.pictures, other.digital, csr_array((len(other), BUCKETS + HEADS), dtype=np.float32))
    np.testing.assert_allclose(ridge.decision_function(without), pictures.decision_function(without), atol=1e-5)


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


def with_heads(wholes: Wholes, y: np.ndarray) -> Wholes:
    """The same, and heads that tell the types."""
    heads = np.zeros((len(y), HEADS), np.float32)
    heads[np.arange(len(y)), np.searchsorted(["a", "b", "c"], y)] = 1.0
    return Wholes(wholes.pictures, wholes.digital, csr_array(hstack([wholes.words, csr_array(heads)], "csr")))


def test_types_are_told_by_heads() -> None:
    """Where words tell the types of three in four documents alone; without heads the answers are those of words."""
    own, y = documents(words=True)
    other, truth = documents(words=True, seed=1)
    plain = DocumentRidge(BLOCKS).fit(own, y)
    ridge = DocumentRidge(BLOCKS).fit(with_heads(own, y), y)
    assert ridge.word_coef_.shape == (2, 3, BUCKETS + HEADS)
    silent = np.arange(len(truth)) % 4 == 0
    assert np.mean(plain.predict(other)[silent] == truth[silent]) < 0.5
    assert np.mean(ridge.predict(with_heads(other, truth))[silent] == truth[silent]) > 0.55
    assert np.mean(ridge.predict(other)[~silent] == truth[~silent]) > 0.65  # by pictures and words
    # a classifier that learnt from no heads, as of earlier versions, passes over them
    np.testing.assert_array_equal(plain.decision_function(with_heads(other, truth)), plain.decision_function(other))
    empty = Wholes(own.pictures, own.digital, csr_array(hstack([own.words, csr_array((len(y), HEADS))], "csr")))
    again = DocumentRidge(BLOCKS).fit(empty, y)
    np.testing.assert_allclose(again.word_coef_, plain.word_coef_, atol=1e-6)


def likenesses(ridge: DocumentRidge, wholes: Wholes, own: Wholes) -> list[np.ndarray]:
    """How alike documents are to others, by pictures, words and heads, before anything is centred or halved."""
    scaled = [ridge.scaler_.transform(each.pictures).astype(np.float16).astype(np.float32) for each in (wholes, own)]
    none = csr_array((len(wholes), BUCKETS + HEADS))
    words, theirs = (none if each.words is None else each.words for each in (wholes, own))
    spans = ((0, BUCKETS), (BUCKETS, BUCKETS + HEADS))
    shared = [(words[:, a:b] @ theirs[:, a:b].T).toarray() for a, b in spans]
    return [picture_kernel(*scaled), *shared]


@pytest.mark.parametrize("known", [True, False])
def test_decisions_are_the_sum_of_those_of_three_centred_kernels(known: bool) -> None:
    """Centred at the mean of both kinds' means, halved between kinds, then solved: as the definition says, by hand."""
    own, y = documents(150, words=True)
    own = with_heads(own, np.roll(y, 1))
    rows = np.flatnonzero((y == "a") | ((y == "b") & ((np.arange(150) > 80) | (own.digital == 0))))
    own, y = own[rows], y[rows]
    own.digital[:4] = 0.5
    ridge = DocumentRidge(BLOCKS).fit(own, y)
    other, truth = documents(words=True, seed=1)
    other = with_heads(other, truth)
    if not known:
        other = Wholes(other.pictures, np.full(len(other), 0.5, np.float32))
    targets = (y[:, None] == ridge.classes_) - 0.5

    def decisions(among: np.ndarray, asked: np.ndarray, themselves: np.ndarray) -> np.ndarray:
        """Of those that have something to be alike in: a document has some likeness to itself."""
        there, judged = np.diag(among) > 0, np.diag(themselves) > 0
        sides = own.digital * there, (1 - own.digital) * there
        centre = np.sum([side / (np.sum(side) + 20) for side in sides], axis=0)
        centre /= centre.sum()
        counts = there / 2 / np.array([np.sum((y == name) & there) for name in y])
        weights = np.sqrt(there.sum() * counts)
        mean = centre @ among @ centre

        def centred(kernel: np.ndarray, digital: np.ndarray) -> np.ndarray:
            found = kernel - (kernel @ centre)[:, None] - among @ centre + mean
            same = digital[:, None] * own.digital + (1 - digital)[:, None] * (1 - own.digital)
            return found * (1 + same) / 2

        inner = weights[:, None] * centred(among, own.digital) * weights + 0.1 * np.eye(len(y))
        coefficients = weights[:, None] * np.linalg.solve(inner, weights[:, None] * targets)
        return judged[:, None] * (centred(asked, other.digital) @ coefficients)

    pairs = ((own, own), (other, own), (other, other))
    each = zip(*(likenesses(ridge, one, two) for one, two in pairs), strict=True)
    expected = ridge.sharpness * sum(decisions(*likeness) for likeness in each)
    assert np.abs(expected).max() > 1.0
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
    """Each document of a rare type once more changes little: the centre moves, for it counts documents."""
    own, y = documents(noise=1.2)
    rare = np.flatnonzero((y != "c") | (np.arange(len(y)) < 12))
    twice = np.append(rare, rare[y[rare] == "c"])
    other, truth = documents(noise=1.2, seed=1)
    told = [DocumentRidge(BLOCKS).fit(own[rows], y[rows]).predict(other) for rows in (rare, twice)]
    assert abs(int(np.sum(told[0] == "c")) - int(np.sum(told[1] == "c"))) <= 8
    assert np.mean(told[0][truth == "c"] == "c") > 0.3


def test_blocks_are_those_of_one_page() -> None:
    """Each is scaled by itself, in the mean and in the first page."""
    pipeline = build_documents([(0, 3), (3, 6)])
    own, y = documents()
    assert pipeline.fit(own, y)[-1].scaler_.blocks == [(0, 3), (3, 6), (6, 9), (9, 12)]


def test_a_kind_that_was_never_learnt_is_answered_as_well() -> None:
    """Likeness to what was learnt counts half for all types alike: less is said, of no type more than of others."""
    own, y = documents(150)
    ridge = DocumentRidge(BLOCKS).fit(Wholes(own.pictures, np.ones(150, np.float32)), y)
    other, truth = documents(seed=1)
    digital, scanned = (ridge.decision_function(Wholes(other.pictures, np.full(90, k, np.float32))) for k in (1, 0))
    np.testing.assert_allclose(scanned, digital / 2, atol=1e-5)
    assert np.mean(ridge.classes_[scanned.argmax(axis=1)] == truth) > 0.9


def test_few_of_a_kind_do_not_shift_decisions_about_it() -> None:
    """Of three scans of one type nobody learns that scans are of it, or of any other."""
    own, y = documents(150)
    digital = np.ones(150, np.float32)
    digital[np.flatnonzero(y == "a")[:3]] = 0.0
    ridge = DocumentRidge(BLOCKS).fit(Wholes(own.pictures, digital), y)
    other, truth = documents(seed=1)
    assert np.mean(ridge.predict(Wholes(other.pictures, np.zeros(90, np.float32))) == truth) > 0.9


@pytest.mark.parametrize("words", [False, True])
def test_a_ridge_that_was_saved_before_kernels_were_centred_answers_as_then(words: bool) -> None:
    """It has one coefficient for each landmark, the landmarks' kinds and no offset; kinship was applied when asked."""
    own, y = documents(150, words=words)
    other, _ = documents(words=words, seed=1)
    ridge = DocumentRidge(BLOCKS).fit(own, y)
    coefficients = np.random.default_rng(2).normal(0, 1, (150, 3)).astype(np.float32)
    saved = vars(ridge) | {"digital_": own.digital, "kinship_": 1.0, "dual_coef_": coefficients}
    del saved["offset_"], saved["word_offset_"]
    before = DocumentRidge(BLOCKS)
    before.__dict__.update(saved)
    scaled = [ridge.scaler_.transform(each.pictures) for each in (other, own)]
    kernel = picture_kernel(scaled[0], scaled[1].astype(np.float16).astype(np.float32))
    expected = ridge.share_ * (kernel * kinship(other.digital, own.digital, 1.0)) @ coefficients
    if words:
        each = [other.words @ part.T.astype(np.float32) for part in ridge.word_coef_]
        expected += np.where(other.digital[:, None] == 1, *each)
    np.testing.assert_allclose(before.decision_function(other), ridge.sharpness * expected, atol=1e-3)


def test_shared_words_are_the_same_by_dense_and_sparse_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inner products of rows, whichever n-grams are common."""
    rng = np.random.default_rng(0)
    dense = rng.random((70, 40)) * (rng.random((70, 40)) < np.linspace(0, 0.6, 40))
    rows = csr_array(dense.astype(np.float32))
    plain = SharedWords(rows)(rows[:50])
    monkeypatch.setattr(module, "LANDMARKS", 60)
    np.testing.assert_allclose(SharedWords(rows)(rows[:50]), plain, atol=1e-5)
    np.testing.assert_allclose(plain, dense[:50] @ dense.T, atol=1e-4)
