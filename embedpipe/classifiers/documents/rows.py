"""Pages to rows of whole documents, and what a fitted `ridge.DocumentRidge` says of these. Loads no scikit-learn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from embedpipe.classifiers.scores.pooling import page_weights
from embedpipe.pages.extras.word_rows import folded, have_words
from embedpipe.pages.source_kinds import DIGITAL, UNKNOWN, document_kind
from embedpipe.store.moments import unit_blocks

if TYPE_CHECKING:
    from scipy.sparse import csr_array

BUCKETS = 2**14
"""N-grams that are told apart at most."""

WORD_PAGES = 4
"""First pages of each document whose words count: as good as those of all, and much less to read."""

WIDTH = 0.3
"""What a squared distance of pictures counts in the kernel."""

KINDS = np.array([1.0, 0.0], np.float32)
"""What `Wholes.digital` is of documents that were born digital, and of others."""

_ROWS = 2048

Spans = Sequence[tuple[int, int]]
"""(start, stop) of each block of features."""


@dataclass(frozen=True, slots=True, eq=False)
class Wholes:
    """Rows of documents.

    Attributes:
        pictures: The mean of each document's pages, then its first page; each block of a page at unit length, float32
            (n, 2 * dim).
        digital: 1 for a document that was born digital, 0 for a scan or a photo, a half where that is not known, (n,).
        words: Logarithms of counts of n-grams, means of the first pages, at unit length, sparse float32 (n, `BUCKETS`);
            then, where heads are known, those of the first one, at unit length as well (n, `BUCKETS` + `HEADS`).
            None where no words are known.
    """

    pictures: NDArray[np.float32]
    digital: NDArray[np.float32]
    words: "csr_array | None" = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and features of pictures, as of an array."""
        rows, width = self.pictures.shape
        return rows, width

    def __len__(self) -> int:
        """How many documents."""
        return len(self.pictures)

    def __getitem__(self, rows: Any) -> Self:
        """Some of them."""
        words = None if self.words is None else self.words[rows]
        return replace(self, pictures=self.pictures[rows], digital=self.digital[rows], words=words)


def joined(several: Sequence[Wholes]) -> Wholes:
    """Documents one after another; all with words or none."""
    words = None
    if several[0].words is not None:
        from scipy.sparse import vstack  # noqa: PLC0415 - classifiers without words do without it

        words = vstack([each.words for each in several], "csr")
    pictures, digital = (np.concatenate([getattr(each, name) for each in several]) for name in ("pictures", "digital"))
    return Wholes(pictures, digital, words)


@dataclass(frozen=True, slots=True, eq=False)
class Gathered:
    """All pages of some documents, with what is known of each, in any order.

    Attributes:
        scores: Log scores of pages, (n, n_classes).
        parts: Those of each part of the classifier that judges pages; NaN for pages that it cannot judge.
        X: Features, float (n, dim).
        words: Counts of their n-grams, sparse (n, n_buckets); None where none are known.
        indices: Where each page is in its document, from 0, (n,).
        kinds: Their kinds of source.
        owner: Which document each is of, from 0, (n,).
    """

    scores: NDArray[np.float64]
    parts: Mapping[str, NDArray[np.float64]]
    X: NDArray[Any]
    words: "csr_array | None"
    indices: NDArray[np.int64]
    kinds: Sequence[str]
    owner: NDArray[np.int64]


def wholes_of(
    X: NDArray[Any],
    blocks: Spans,
    indices: NDArray[np.int64],
    owner: NDArray[np.int64],
    *,
    kinds: Sequence[str] | None = None,
    words: "csr_array | None" = None,
) -> Wholes:
    """Rows of documents, from all their pages, which count one over their number.

    Args:
        X: Features of pages, float (n, dim).
        blocks: Of these.
        indices: Where each page is in its document, from 0, (n,).
        owner: Which document each is of, from 0 and each at least once, (n,).
        kinds: Their kinds of source; None where these are not known.
        words: Counts of their n-grams, sparse (n, n_buckets); None where none are known.
    """
    order = np.lexsort((indices, owner))
    owned = owner[order]
    starts = np.flatnonzero(np.diff(owned, prepend=-1))
    weights = page_weights(indices[order])
    shares = (weights / np.bincount(owned, weights=weights)[owned]).astype(np.float32)
    pictures = np.empty((len(starts), 2 * X.shape[1]), np.float32)
    for first in range(0, len(starts), _ROWS):  # copies of many pages are never made at once
        here = starts[first : first + _ROWS]
        last = starts[first + _ROWS] if first + _ROWS < len(starts) else len(order)
        unit = unit_blocks(X[order[here[0] : last]].astype(np.float32), blocks)
        pictures[first : first + _ROWS, X.shape[1] :] = unit[here - here[0]]
        unit *= shares[here[0] : last, None]
        pictures[first : first + _ROWS, : X.shape[1]] = np.add.reduceat(unit, here - here[0])
    digital = np.full(len(starts), 0.5, np.float32)
    if kinds is not None:
        parts = np.split(order, starts[1:])
        told = [document_kind([kinds[i] for i in rows], page_weights(indices[rows])) for rows in parts]
        digital = np.array([0.5 if kind == UNKNOWN else kind == DIGITAL for kind in told], np.float32)
    own = None if words is None else _words(words, order, starts, shares)
    return Wholes(pictures, digital, own)


def _words(
    words: "csr_array", order: NDArray[np.int64], starts: NDArray[np.int64], shares: NDArray[np.float32]
) -> "csr_array":
    """Of the first pages of documents, whose pages follow one another in some order."""
    from scipy.sparse import csr_array, hstack  # noqa: PLC0415 - classifiers without words do without it

    sizes = np.diff(np.append(starts, len(order)))
    place = np.arange(len(order)) - np.repeat(starts, sizes)
    kept = np.flatnonzero(place < WORD_PAGES)
    counts = folded(words[order[kept]], BUCKETS, heads=True)
    counts.data = np.log(counts.data) + np.float32(1.0)
    owner = np.repeat(np.arange(len(starts)), sizes)[kept]

    def sums(weights: NDArray[np.float32], rows: "csr_array") -> "csr_array":
        """Of the pages of each document, at unit length."""
        found = csr_array((weights, (owner, np.arange(len(kept)))), shape=(len(starts), len(kept))) @ rows
        own = np.repeat(np.arange(len(starts)), np.diff(found.indptr))
        lengths = np.sqrt(np.bincount(own, weights=found.data.astype(np.float64) ** 2, minlength=len(starts)))
        found.data = (found.data / np.maximum(lengths[own], 1e-12)).astype(np.float32)
        return found

    if counts.shape[1] == BUCKETS:
        return sums(shares[kept], counts)
    heads = counts[:, BUCKETS:]
    there = np.flatnonzero(have_words(heads))
    first = np.zeros(len(kept), np.float32)
    first[there[np.unique(owner[there], return_index=True)[1]]] = 1.0
    return csr_array(hstack([sums(shares[kept], counts[:, :BUCKETS]), sums(first, heads)], "csr"))


@dataclass(frozen=True, slots=True, eq=False)
class RidgeArrays:
    """What a fitted ridge computes with; the first of two is for documents born digital, the other for others.

    Attributes:
        landmarks: Scaled rows of documents, float32 (m, 2 * dim).
        share: What the likeness of pictures is multiplied by.
        dual_coef: What each counts for each class, (2, m, n_classes).
        word_coef: What n-grams count for each class, (2, n_classes, buckets), with those of heads where they were
            learnt; None without words.
        offset: What is added to each class, (2, n_classes).
        word_offset: Likewise for a document that has words, and for one that has heads, (k, 2, n_classes).
    """

    landmarks: NDArray[np.float32]
    share: float
    dual_coef: NDArray[np.floating]
    word_coef: NDArray[np.floating] | None
    offset: NDArray[np.floating]
    word_offset: NDArray[np.floating]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Of the attributes of a fitted ridge, also of one that was saved when kernels were not centred."""
        coefficients = values["dual_coef_"]
        if coefficients.ndim == 2:  # noqa: PLR2004 - for all kinds of source; their kinship was applied when asked
            alike = kinship(KINDS, values["digital_"], float(values["kinship_"]))
            coefficients = coefficients * alike[:, :, None]
        offset = values.get("offset_", np.zeros((2, coefficients.shape[2]), np.float32))
        landmarks = values["landmarks_"].astype(np.float32)
        with_words = values.get("word_offset_", np.zeros((0, *offset.shape), np.float32))
        return cls(landmarks, float(values["share_"]), coefficients, values["word_coef_"], offset, with_words)

    def decisions(self, scaled: NDArray[np.float32], wholes: Wholes) -> NDArray[np.float64]:
        """The value of each class, higher for likelier ones, (n, n_classes).

        Args:
            scaled: Scaled pictures of documents, float32 (n, 2 * dim).
            wholes: The documents.
        """
        digital = wholes.digital.astype(np.float64)
        shares = np.stack([digital, 1.0 - digital])[:, :, None]
        found = np.asarray(np.sum(shares * self.offset[:, None], axis=0))
        for first in range(0, len(wholes), _ROWS):
            some = slice(first, first + _ROWS)
            kernel = picture_kernel(scaled[some], self.landmarks)
            found[some] += self.share * np.sum(shares[:, some] * (kernel @ self.dual_coef), axis=0)
        if self.word_coef is not None and wholes.words is not None:
            both = min(wholes.words.shape[1], self.word_coef.shape[2])  # either may be without heads
            words = wholes.words if both == wholes.words.shape[1] else wholes.words[:, :both]
            for part, coefficients in zip(shares, self.word_coef[:, :, :both], strict=True):
                found += part * np.asarray(words @ coefficients.T.astype(np.float32), np.float64)
            bounds = (slice(BUCKETS), slice(BUCKETS, both))  # all words, and those of heads
            for columns, offset in zip(bounds, self.word_offset, strict=False):
                there = have_words(words[:, columns])
                found[there] += np.sum(shares[:, there] * offset[:, None], axis=0)
        return found


def picture_kernel(rows: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """How alike documents look, 0..1, (n, m), by scaled pictures (n, 2 * dim) and (m, 2 * dim)."""
    lengths = np.einsum("ij,ij->i", rows, rows)[:, None] + np.einsum("ij,ij->i", others, others)
    found: NDArray[np.float32] = np.exp(-WIDTH * np.maximum(lengths - 2.0 * (rows @ others.T), 0.0))
    return found


def kinship(digital: NDArray[np.float32], their: NDArray[np.float32], strength: float) -> NDArray[np.float32]:
    """What likeness counts between documents of kinds of source: 1 within a kind, less between kinds, (n, m)."""
    same = digital[:, None] * their + (1.0 - digital)[:, None] * (1.0 - their)
    found: NDArray[np.float32] = ((1.0 + strength * same) / (1.0 + strength)).astype(np.float32)
    return found


class Assembly:
    """Pages that come in any order to whole documents, each as soon as its last page is there.

    Args:
        counts: How many pages each document has, by its number, (n_documents,).
    """

    def __init__(self, counts: NDArray[np.int64]) -> None:
        self._left = counts.copy()
        self._kept: Gathered | None = None

    def add(self, pages: Gathered) -> tuple[NDArray[np.int64], Gathered] | None:
        """Takes pages, whose `owner` are numbers of documents; the numbers of those that are whole now, and these."""
        self._left -= np.bincount(pages.owner, minlength=len(self._left))
        everything = pages if self._kept is None else _joined(self._kept, pages)
        whole = self._left[everything.owner] == 0
        rest = np.flatnonzero(~whole)
        self._kept = _taken(everything, rest) if len(rest) else None
        if not whole.any():
            return None
        numbers, owner = np.unique(everything.owner[whole], return_inverse=True)
        return numbers, replace(_taken(everything, np.flatnonzero(whole)), owner=owner)


def _joined(one: Gathered, other: Gathered) -> Gathered:
    words = None
    if one.words is not None and other.words is not None:
        from scipy.sparse import vstack  # noqa: PLC0415 - classifiers without words do without it

        words = vstack([one.words, other.words], "csr")
    arrays = {
        name: np.concatenate([getattr(one, name), getattr(other, name)]) for name in ("scores", "X", "indices", "owner")
    }
    parts = {name: np.concatenate([scores, other.parts[name]]) for name, scores in one.parts.items()}
    return Gathered(**arrays, parts=parts, words=words, kinds=[*one.kinds, *other.kinds])


def _taken(pages: Gathered, rows: NDArray[np.int64]) -> Gathered:
    words = None if pages.words is None else pages.words[rows]
    kinds = [pages.kinds[i] for i in rows.tolist()]
    parts = {name: scores[rows] for name, scores in pages.parts.items()}
    return Gathered(pages.scores[rows], parts, pages.X[rows], words, pages.indices[rows], kinds, pages.owner[rows])


def document_kinds(kinds: NDArray[Any], weights: NDArray[np.float64], owner: NDArray[np.int64]) -> list[str]:
    """The kind of source of each document, from its pages': see `source_kinds.document_kind`, (n_documents,)."""
    order = np.argsort(owner, kind="stable")
    places = np.flatnonzero(np.diff(owner[order])) + 1
    return [document_kind(kinds[rows].tolist(), weights[rows]) for rows in np.split(order, places)]
