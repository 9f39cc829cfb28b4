"""Evidence for an answer: the labelled pages that look most like a page."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.classifiers.lessons.reading import labelled_pages
from embedpipe.core.faiss_library import faiss
from embedpipe.core.records import SHOWN, Example, PageRef
from embedpipe.pages.rendering import Selection
from embedpipe.store.features import FeatureStore
from embedpipe.store.scaling import BlockScaler
from embedpipe.store.workspace import Workspace

_FIRST_LOOK = 8  # rows that are asked for per wanted document, at first


class Examples:
    """The labelled pages of a store, to compare other pages with by exact search.

    Args:
        workspace: Where labels and sources are.
        store: The features.
        pages: The labelled pages of the store that are compared with; all, read anew, if not given.

    Raises:
        LabelsError: No page is labelled.
    """

    def __init__(self, workspace: Workspace, store: FeatureStore, pages: LabelledPages | None = None) -> None:
        pages = pages or labelled_pages(workspace, store, Selection())
        self._labels, self._documents, self._page_indices = pages.y, pages.documents, pages.page_indices
        self._sources = workspace.sources()
        self._scaler = BlockScaler([(start, stop) for _, start, stop in store.blocks]).fit(pages.X)
        self._index = faiss.IndexFlatIP(store.dim)
        self._index.add(self._unit(pages.X))

    def nearest(self, X: NDArray[np.float32], documents: Sequence[str], k: int = SHOWN) -> list[list[Example]]:
        """The labelled pages that look most like each page: one of each document, never of the page's own.

        Pages of one document look alike, and of its own document a page would only learn its own label again.

        Args:
            X: Features as the store holds them, float32 (n, dim); cues after them are ignored.
            documents: SHA-256 of the document of each page, n of them.
            k: How many; fewer where fewer other documents are labelled.

        Returns:
            The examples of each page, best first.
        """
        queries, total = self._unit(X[:, : self._index.d]), len(self._labels)
        found: list[list[Example]] = [[] for _ in documents]
        open_rows, asked = np.arange(len(found)), min(k * _FIRST_LOOK, total)
        while len(open_rows):
            cosines, rows = self._index.search(queries[open_rows], asked)
            for query, scores, those in zip(open_rows.tolist(), cosines, rows, strict=True):
                found[query] = self._best_of_each(those, scores, documents[query])[:k]
            if asked == total:
                break
            open_rows = np.array([query for query in open_rows.tolist() if len(found[query]) < k], np.int64)
            asked = min(asked * _FIRST_LOOK, total)
        return found

    def _best_of_each(self, rows: NDArray[np.int64], scores: NDArray[np.float32], own: str) -> list[Example]:
        best: dict[str, Example] = {}
        for row, score in zip(rows, scores, strict=True):
            sha256 = self._documents[row]
            if sha256 != own and sha256 not in best:
                page = PageRef(sha256, int(self._page_indices[row]), self._sources.path_of(sha256, otherwise=sha256))
                best[sha256] = Example(page, str(self._labels[row]), float(score))
        return list(best.values())

    def _unit(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        scaled = self._scaler.transform(X)
        lengths = np.linalg.norm(scaled, axis=1, keepdims=True)
        return np.ascontiguousarray(scaled / np.maximum(lengths, 1e-12), dtype=np.float32)
