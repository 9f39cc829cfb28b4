"""Words as a few features."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from embedpipe.classifiers.calibration.novelty import NoveltyDetector
from embedpipe.classifiers.text.word_space import WordSpace
from embedpipe.pages.extras.words import as_rows, hashed

INVOICES = [f"invoice number {n} total amount due in euro please pay" for n in range(20)]
LETTERS = [f"dear madam, thank you for the letter of day {n}, yours sincerely" for n in range(20)]


def counts(texts: list[str]) -> csr_array:
    """Counts of the n-grams of texts."""
    return as_rows([hashed(text) for text in texts])


def test_texts_alike_are_near() -> None:
    """Pages are centred and of length one on average; those without words are in the middle, others by their text."""
    space = WordSpace(5).fit(counts(INVOICES + LETTERS))
    found = space.transform(counts([*INVOICES, *LETTERS, ""]))
    assert found.shape == (41, 5)
    assert found[:40].mean(axis=0) == pytest.approx(0, abs=1e-2)
    assert np.mean(np.sum(found[:40] ** 2, axis=1)) == pytest.approx(1, abs=0.05)
    assert not found[40].any()
    assert np.all(found[:20] @ found[20:40].T < 0)


@pytest.mark.parametrize("texts", [[], [""], ["", "a text that is long enough to count"]])
def test_few_words_are_enough(texts: list[str]) -> None:
    """Without any words every page is in the middle."""
    assert np.isfinite(WordSpace().fit(counts(texts)).transform(counts(LETTERS))).all()


def test_words_make_a_page_novel() -> None:
    """A page that looks like the known ones is farther away with other words; without words it is as it looks."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(0, 1, (40, 6)).astype(np.float32), np.repeat(["invoice", "letter"], 20)
    X[:20, 0] += 3
    detector = NoveltyDetector().fit(X, y, words=counts(INVOICES + LETTERS))
    others = counts(["lemma two: let the set be open and the map continuous"] * 20)
    known, strange = detector.distances(X[:20], counts(INVOICES)), detector.distances(X[:20], others)
    assert np.median(strange) > np.median(known)
    assert np.isfinite(detector.distances(X[:20])).all()
