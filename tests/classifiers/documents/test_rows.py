"""Rows of whole documents, whatever the order in which their pages come."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array

from embedpipe.classifiers.documents.rows import BUCKETS, WORD_PAGES, Assembly, Gathered, joined, kinship, wholes_of
from embedpipe.pages.extras.word_rows import HEADS
from embedpipe.store.moments import unit_blocks

BLOCKS = [(0, 4), (4, 6)]


def pages(counts: tuple[int, ...] = (3, 1, 6), seed: int = 0) -> Gathered:
    """Made-up pages of some documents, in an order at random."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(len(counts)), counts)
    indices = np.concatenate([np.arange(count) for count in counts])
    order = rng.permutation(len(owner))
    words = csr_array(rng.poisson(0.4, (len(owner), 40)).astype(np.float32))
    kinds = ["digital", "scan", ""]
    X, scores = rng.normal(0, 1, (len(owner), 6)).astype(np.float32), rng.normal(0, 1, (len(owner), 3))
    return Gathered(
        scores, {"pictures": scores}, X, words, indices[order], [kinds[i % 3] for i in owner[order]], owner[order]
    )


def test_a_row_is_the_weighted_mean_of_pages_and_the_first_page() -> None:
    """Pages count one over their number; words are those of the first pages; a kind that is not known is a half."""
    own = pages()
    found = wholes_of(own.X, BLOCKS, own.indices, own.owner, kinds=own.kinds, words=own.words)
    assert found.shape == (3, 12)
    assert found.words is not None
    assert found.words.shape == (3, BUCKETS)
    assert list(found.digital) == [1.0, 0.0, 0.5]
    for document in range(3):
        rows = np.flatnonzero(own.owner == document)
        rows = rows[np.argsort(own.indices[rows])]
        unit, weights = unit_blocks(own.X[rows], BLOCKS), 1.0 / (own.indices[rows] + 1.0)
        mean = (weights / weights.sum()) @ unit
        np.testing.assert_allclose(found.pictures[document], [*mean, *unit[0]], atol=1e-6)
        counts = own.words[rows[:WORD_PAGES]].toarray()
        logs = np.log(np.where(counts > 0, counts, 1)) + (counts > 0)
        expected = weights[:WORD_PAGES] @ logs
        np.testing.assert_allclose(found.words.toarray()[document, :40], expected / np.linalg.norm(expected), atol=1e-6)


def test_the_head_of_a_document_is_that_of_its_first_page_with_words() -> None:
    """At unit length, beside its other words, whatever these are."""
    own = pages((3, 2))
    rows = np.zeros((5, 2**15 + HEADS), np.float32)
    rows[:, 7] = 1.0
    rows[own.indices == 0, 2**15 + 1] = 2.0
    rows[own.indices == 1, 2**15 + 2] = 1.0
    rows[(own.indices == 0) & (own.owner == 1)] = 0.0
    found = wholes_of(own.X, BLOCKS, own.indices, own.owner, words=csr_array(rows)).words.toarray()
    assert found.shape == (2, BUCKETS + HEADS)
    assert found[:, BUCKETS + 1].tolist() == [1.0, 0.0]
    assert found[:, BUCKETS + 2].tolist() == [0.0, 1.0]
    np.testing.assert_allclose(np.sum(found, axis=1), 2.0, atol=1e-6)


def test_the_order_of_pages_does_not_matter() -> None:
    """Nor do other documents beside them; without kinds and words nothing is known of either."""
    own = pages()
    order = np.random.default_rng(1).permutation(len(own.owner))
    plain = wholes_of(own.X, BLOCKS, own.indices, own.owner)
    mixed = wholes_of(own.X[order], BLOCKS, own.indices[order], own.owner[order])
    np.testing.assert_allclose(mixed.pictures, plain.pictures, atol=1e-6)
    assert plain.words is None
    assert set(plain.digital) == {0.5}
    last = own.owner == 2
    alone = wholes_of(own.X[last], BLOCKS, own.indices[last], own.owner[last] - 2)
    np.testing.assert_allclose(alone.pictures, plain[np.array([2])].pictures, atol=1e-6)
    np.testing.assert_array_equal(joined([plain, alone]).pictures[3], alone.pictures[0])


def test_documents_without_words_have_rows_of_zeros() -> None:
    """Not of what is no number."""
    own = pages()
    silent = csr_array(own.words.shape, dtype=np.float32)
    found = wholes_of(own.X, BLOCKS, own.indices, own.owner, words=silent)
    assert found.words is not None
    assert found.words.nnz == 0


def test_kinds_of_source_are_kin_to_themselves() -> None:
    """Between kinds likeness counts half; where a kind is not known, in between."""
    kinds = np.array([1.0, 0.0, 0.5], np.float32)
    np.testing.assert_allclose(kinship(kinds, kinds, 1.0), [[1, 0.5, 0.75], [0.5, 1, 0.75], [0.75, 0.75, 0.75]])


@pytest.mark.parametrize("step", [1, 2, 4, 10])
def test_documents_are_whole_once_their_last_page_came(step: int) -> None:
    """Each comes once, with all its pages, however many come at a time."""
    own = pages()
    assembly, met = Assembly(np.bincount(own.owner)), []
    for first in range(0, len(own.owner), step):
        rows = np.arange(first, min(first + step, len(own.owner)))
        part = replace(
            own,
            scores=own.scores[rows],
            parts={"pictures": own.scores[rows]},
            X=own.X[rows],
            words=own.words[rows],
            indices=own.indices[rows],
            kinds=[own.kinds[i] for i in rows],
            owner=own.owner[rows],
        )
        whole = assembly.add(part)
        if whole is None:
            continue
        numbers, found = whole
        for place, number in enumerate(numbers.tolist()):
            mine, theirs = found.owner == place, own.owner == number
            order, other = np.argsort(found.indices[mine]), np.argsort(own.indices[theirs])
            np.testing.assert_array_equal(found.X[mine][order], own.X[theirs][other])
            np.testing.assert_array_equal(found.parts["pictures"][mine][order], own.scores[theirs][other])
            assert found.words is not None
            np.testing.assert_array_equal(found.words.toarray()[mine][order], own.words.toarray()[theirs][other])
            met.append(number)
    assert sorted(met) == [0, 1, 2]
