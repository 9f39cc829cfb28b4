"""Labelled pages to rows of their documents: to learn from, and to be asked about."""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from embedpipe.classifiers.documents.ridge import MOST_DOCUMENTS
from embedpipe.classifiers.documents.rows import Spans, Wholes, joined, wholes_of

_DOCUMENTS = 2048
"""So many documents are made at a time: their pages are copied."""


class Pages(Protocol):
    """What is taken of labelled pages; see `labelled_pages.LabelledPages`."""

    @property
    def X(self) -> NDArray[np.float32]: ...  # noqa: D102, N802 - as documented there
    @property
    def y(self) -> NDArray[Any]: ...  # noqa: D102
    @property
    def documents(self) -> NDArray[Any]: ...  # noqa: D102
    @property
    def page_indices(self) -> NDArray[np.int64]: ...  # noqa: D102
    @property
    def kinds(self) -> NDArray[Any] | None: ...  # noqa: D102
    @property
    def words(self) -> csr_array | None: ...  # noqa: D102
    @property
    def variants(self) -> NDArray[np.float16] | None: ...  # noqa: D102


def owners(documents: NDArray[Any], y: NDArray[Any]) -> NDArray[np.int64]:
    """Numbers of the documents of pages, from 0; one of pages of several types is a document for each, (n,)."""
    pairs = np.stack([np.unique(column, return_inverse=True)[1] for column in (documents, y)])
    owner: NDArray[np.int64] = np.unique(pairs, axis=1, return_inverse=True)[1].ravel()
    return owner


class Rows:
    """Rows of documents of labelled pages.

    Args:
        pages: Labelled ones.
        blocks: Where each block lies among the features that are taken.
        columns: Which features are taken; all for None.
        words: Take their words as well.
    """

    def __init__(self, pages: Pages, blocks: Spans, columns: NDArray[np.int64] | None, *, words: bool) -> None:
        self._pages, self._blocks, self._columns = pages, blocks, columns
        self._words = pages.words if words else None

    def lessons(self, rows: NDArray[np.int64]) -> tuple[Wholes, NDArray[Any]]:
        """Documents to learn from, at most `MOST_DOCUMENTS`, and their types.

        Copies of documents come after them, made of the variants of their pages, as far as there are any.

        Args:
            rows: Which of the pages.
        """
        pages = self._pages
        owner = owners(pages.documents[rows], pages.y[rows])
        copies = 0 if pages.variants is None else pages.variants.shape[1]
        count, most = int(owner.max(initial=-1)) + 1, MOST_DOCUMENTS // (1 + copies)
        if count > most:
            chosen = np.isin(owner, np.random.default_rng(0).permutation(count)[:most])
            rows, owner = rows[chosen], np.unique(owner[chosen], return_inverse=True)[1]
        y = pages.y[rows[np.unique(owner, return_index=True)[1]]]
        each = [self._wholes(rows, owner) if count <= _DOCUMENTS else joined([own for _, _, own in self.asked(rows)])]
        each += [
            self._wholes(rows, owner, pages.variants[rows, copy])
            for copy in range(copies)
            if pages.variants is not None
        ]
        return (each[0] if len(each) == 1 else joined(each)), np.tile(y, len(each))

    def asked(self, rows: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], Wholes]]:
        """Documents in the order of `owners`, some at a time: places in `rows`, which document each is of, and they."""
        owner = owners(self._pages.documents[rows], self._pages.y[rows])
        order = np.argsort(owner, kind="stable")
        cuts = np.searchsorted(owner[order], np.arange(_DOCUMENTS, len(rows), _DOCUMENTS))
        for some in np.split(order, np.unique(cuts[cuts < len(rows)])):
            own = np.unique(owner[some], return_inverse=True)[1]
            yield some, own, self._wholes(rows[some], own)

    def _wholes(
        self, rows: NDArray[np.int64], owner: NDArray[np.int64], changed: NDArray[np.float16] | None = None
    ) -> Wholes:
        """Rows of documents, also with changed features, NaN for pages that have none; their kind is not known then."""
        X, kinds = self._pages.X[rows], self._pages.kinds
        if changed is not None:
            X, kinds = np.where(np.isnan(changed[:, :1]), X, changed.astype(np.float32)), None
        X = X if self._columns is None else X[:, self._columns]
        told = None if kinds is None else kinds[rows].tolist()
        words = None if self._words is None else self._words[rows]
        return wholes_of(X, self._blocks, self._pages.page_indices[rows], owner, kinds=told, words=words)
