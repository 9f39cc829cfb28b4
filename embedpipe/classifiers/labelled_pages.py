"""Pages with their types, documents and groups, ready to learn from and to split."""

from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from embedpipe.classifiers.bundles import WORDS, taken
from embedpipe.classifiers.parts import Part
from embedpipe.classifiers.scores.pooling import page_weights
from embedpipe.classifiers.text.words import FIRST_PAGES, MOST_PAGES
from embedpipe.pages.extras.word_rows import have_words

GIVEN, GUESSED, OWN, UNGUESSED = "given", "guessed", "own", "unguessed"
"""Where a document's group comes from: its label; a guess that joins it with others, or that found no others; or
nowhere, for nothing could be guessed, and it is one alone."""


class Lessons(NamedTuple):
    """Rows to learn from: features float32 (n, dim) or counts of words, types (n,), and what each row counts (n,)."""

    X: NDArray[np.float32] | csr_array
    y: NDArray[Any]
    weights: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LabelledPages:
    """Features with labels, ready to fit and to split.

    Attributes:
        page_ids: (n,), of the store.
        X: float32 (n, dim).
        y: Types, (n,).
        documents: SHA-256 of each page's document, (n,).
        groups: What must stay on one side of a split, (n,).
        page_indices: Where each page is in its document, from 0, (n,).
        seen: Pages of groups that the network itself was trained on, (n,); None for a frozen network, which saw none.
        variants: Features of changed copies of each page, float16 (n, k, dim), NaN for one that is not there. They
            are learnt from with their page and never held out; None without any.
        paths: Where each page's document was when it was embedded, (n,); None where that is not known.
        origins: Where each page's group comes from: `GIVEN` and so on, (n,); None before any was guessed.
        kinds: Kind of source of each page, of `source_kinds.KINDS` or "", (n,); None where kinds are not distinguished.
        words: Counts of the n-grams of each page, sparse float32 (n, n_buckets); None where they were not asked for.
    """

    page_ids: NDArray[np.int64]
    X: NDArray[np.float32]
    y: NDArray[Any]
    documents: NDArray[Any]
    groups: NDArray[Any]
    page_indices: NDArray[np.int64]
    seen: NDArray[np.bool_] | None = None
    variants: NDArray[np.float16] | None = None
    paths: NDArray[Any] | None = None
    origins: NDArray[Any] | None = None
    kinds: NDArray[Any] | None = None
    words: csr_array | None = None

    def take(self, rows: NDArray[Any]) -> Self:
        """Some of the pages: by their numbers, in that order, or by a mask; a mask of all copies nothing."""
        if rows.dtype == bool and len(rows) == len(self.y) and rows.all():
            return self
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: column[rows] for name, column in columns.items() if column is not None})

    def lessons(self, rows: NDArray[Any] | None = None) -> Lessons:
        """What a classifier learns from some of the pages, or from all: the pages, then their variants."""
        weights = self.weights  # of all pages, also where some of a document are left out
        pages, weights = (self, weights) if rows is None else (replace(self, words=None).take(rows), weights[rows])
        if pages.variants is None:
            return Lessons(pages.X, pages.y, weights)
        there = ~np.isnan(pages.variants[:, :, 0])
        owner = np.nonzero(there)[0]
        shares = weights / (1 + there.sum(axis=1))
        X = np.concatenate([pages.X, pages.variants[there].astype(np.float32)])
        return Lessons(X, np.concatenate([pages.y, pages.y[owner]]), np.concatenate([shares, shares[owner]]))

    def columns_of(self, part: Part) -> Self:
        """The pages with only those features that a part learns from."""
        if part.columns is None:
            return self
        variants = None if self.variants is None else taken(self.variants, part.columns)
        return replace(self, X=taken(self.X, part.columns), variants=variants)

    def lessons_of(self, part: Part, rows: NDArray[Any] | None = None) -> Lessons:
        """What a part learns from some of the pages, or from all; words from the first pages of each document."""
        if part.name != WORDS or self.words is None:
            return self.columns_of(part).lessons(rows)
        chosen = np.arange(len(self.y)) if rows is None else np.arange(len(self.y))[rows]
        chosen = chosen[have_words(self.words)[chosen] & (self.page_indices[chosen] < FIRST_PAGES)]
        if len(chosen) > MOST_PAGES:
            drawn = np.random.default_rng(0).permutation(chosen)
            chosen = np.sort(drawn[np.argsort(self.page_indices[drawn], kind="stable")[:MOST_PAGES]])
        return Lessons(self.words[chosen], self.y[chosen], self.weights[chosen])

    def inputs_of(self, part: Part) -> NDArray[np.float32] | csr_array:
        """What a part judges the pages by, a row each."""
        return self.words if part.name == WORDS and self.words is not None else taken(self.X, part.columns)

    @property
    def weights(self) -> NDArray[np.float64]:
        """What each page counts: `page_weights`, adding up to 1 for each document, (n,)."""
        _, owner = np.unique(self.documents, return_inverse=True)
        weights = page_weights(self.page_indices)
        shares: NDArray[np.float64] = weights / np.bincount(owner, weights=weights)[owner]
        return shares
