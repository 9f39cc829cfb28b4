"""Pages that say alike: cosines of the weighted n-grams of pages, exact, in memory that does not grow with the store.

Rows are TF-IDF (Salton and Buckley, 1988) of the counts that the store keeps. The store is read a batch at a time, and
each query keeps only its best pages; rows of a small store stay in memory for the next query.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from embedpipe.pages.extras.word_rows import folded, weighted
from embedpipe.pages.extras.words import BUCKETS
from embedpipe.store.features import FeatureStore
from embedpipe.store.page_extras import PageWords

_BATCH = 2048
_MOST_KEPT = 30_000_000
"""N-grams of all pages that are kept in memory between queries, 240 MB of them; more are read again."""


class WordSearch:
    """The words of a snapshot of a store, to compare other words with.

    Args:
        store: Whose pages.
    """

    def __init__(self, store: FeatureStore) -> None:
        self._words = PageWords(store)
        self._ids = np.sort(store.pages()["page_id"].to_numpy(np.int64))
        self._kept: list[tuple[NDArray[np.int64], csr_array]] | None = []
        rows, total, size = np.zeros(BUCKETS, np.int64), 0, 0
        for ids, counts in self._read():
            rows += np.bincount(counts.indices, minlength=BUCKETS)
            total += int((np.diff(counts.indptr) > 0).sum())
            size += counts.nnz
            if self._kept is not None:
                self._kept = [*self._kept, (ids, counts)] if size <= _MOST_KEPT else None
        rarity = np.log((1.0 + total) / (1.0 + rows)) + 1.0
        self._rarity = np.where(rows > 1, rarity, 0.0).astype(np.float32)
        self.pages = total
        if self._kept is not None:
            self._kept = [(ids, self.unit(counts)) for ids, counts in self._kept]

    def unit(self, counts: csr_array) -> csr_array:
        """Counts, sparse (n, WIDTH), as weighted rows of unit length."""
        return weighted(counts, self._rarity)

    def search(
        self, query: csr_array, k: int, allowed: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The k pages whose words are most like those of a query; pages that share no n-gram are none.

        Args:
            query: Counts of one page, sparse (1, WIDTH).
            k: How many pages.
            allowed: Ids of the pages that may be found; None for all.

        Returns:
            Cosines, best first, and page ids.
        """
        wanted = self.unit(query).toarray()[0]
        best, found = np.empty(0, np.float32), np.empty(0, np.int64)
        for ids, rows in self._rows():
            cosines = rows @ wanted
            good = cosines > 0 if allowed is None else (cosines > 0) & np.isin(ids, allowed)
            best, found = np.concatenate([best, cosines[good]]), np.concatenate([found, ids[good]])
            order = np.argsort(-best, kind="stable")[:k]
            best, found = best[order], found[order]
        return best, found

    def cosines(self, query: csr_array, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Cosines of one query with some pages, (len(ids),)."""
        found: NDArray[np.float32] = self.unit(self._words.of(ids)) @ self.unit(query).toarray()[0]
        return found

    def _rows(self) -> Iterator[tuple[NDArray[np.int64], csr_array]]:
        if self._kept is not None:
            yield from self._kept
            return
        for ids, counts in self._read():
            yield ids, self.unit(counts)

    def _read(self) -> Iterator[tuple[NDArray[np.int64], csr_array]]:
        for start in range(0, len(self._ids), _BATCH):
            ids = self._ids[start : start + _BATCH]
            yield ids, folded(self._words.of(ids), BUCKETS)
