"""Features of files and folders: from the store where it holds them, else through rendering and network, not kept."""

import functools
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedpipe.core.errors import ArtifactError
from embedpipe.core.records import (
    OCR_WORDS,
    WHOLE_FILE,
    Document,
    FeatureBatch,
    Identity,
    PageFailure,
    PageInfo,
    PageRef,
)
from embedpipe.embedding.cue_table import cues_of
from embedpipe.embedding.intake import Intake, Report
from embedpipe.embedding.recognition import completed
from embedpipe.embedding.streaming import PageStream, Settings
from embedpipe.pages.cues import as_block
from embedpipe.pages.documents import WORDS, ReadOptions
from embedpipe.pages.extras.words import as_rows
from embedpipe.pages.rendering import Job
from embedpipe.pages.walking import Input
from embedpipe.store.columns import array_of, by_value, numbers
from embedpipe.store.features import FeatureStore
from embedpipe.store.page_extras import word_counts, words_in, words_table
from embedpipe.store.page_table import PageTable
from embedpipe.store.sources import Sources
from embedpipe.store.workspace import Workspace

if TYPE_CHECKING:  # only new pages need the network
    from embedpipe.backbones.engines import Backbone


log = logging.getLogger(__name__)

_NOWHERE = "no-sources"
"""In place of the sources, which take long to read, where the inputs lie in none of the folders that these know."""

Progress = Callable[[str, int, int, int], None]
"""Takes the stage, how many pages or files are done, and bytes done of how many."""


@dataclass(eq=False)
class _Stored:
    """The stored pages of some artifacts, and where those of each document are."""

    workspace: Workspace
    store: FeatureStore
    pages: pa.Table
    rows: dict[str, NDArray[np.int64]]

    @classmethod
    def of(cls, workspace: Workspace, identity: Identity) -> "_Stored | None":
        """Those of a space; None where there are none: then every page is new."""
        try:
            store = FeatureStore.open(workspace.store_path(identity.space))
        except ArtifactError:
            return None
        if store.identity != identity:
            return None
        pages = store.table()
        return cls(workspace, store, pages, _rows_by_document(pages))

    @functools.cached_property
    def words(self) -> PageTable:
        """Of the pages, opened once for all documents."""
        return words_table(self.workspace.root)


class Reading:
    """One reading of files and folders.

    Args:
        workspace: Where stored features are looked up, and in the artifacts beside it.
        identity: The space that is wanted.
        settings: How documents are read.
        cues: Join the cues of each page to its features, as a last block.
        words: Tell the words of each page as well, recognised ones where `settings.ocr` wants them.

    Attributes:
        found: Each file in the order met, once `read` has begun.
        report: What was done, complete when `read` has ended.
        options: How documents are read, for those who have to read one again.
        progress: Called now and then, if set.
    """

    def __init__(
        self, workspace: Workspace, identity: Identity, settings: Settings, *, cues: bool = False, words: bool = False
    ) -> None:
        self.found: list[Document | PageFailure] = []
        self.report = Report()
        self.progress: Progress | None = None
        self._workspace = workspace
        self._settings = settings
        self.options = ReadOptions(limits=settings.limits, passwords=settings.passwords)
        self._cues, self._words = cues, words
        if settings.ocr and not words:
            log.warning("--ocr: this classifier learnt from pictures alone, so no text is recognised")
        found = (self._held(one, identity) for one in (workspace, *workspace.beside))
        self._stores = [one for one in found if one is not None]

    def _held(self, workspace: Workspace, identity: Identity) -> _Stored | None:
        """The stored pages of some artifacts; read once for many readings where the program stays."""
        if self._settings.warm is None:
            return _Stored.of(workspace, identity)
        files = [workspace.store_path(identity.space) / "manifest.json", workspace.root / "pages" / "words.json"]
        return self._settings.warm.kept(("stored", *files), files, lambda: _Stored.of(workspace, identity))

    def read(self, inputs: Iterable[Input], backbone: "Callable[[], Backbone]") -> Iterator[FeatureBatch | PageFailure]:
        """Yields the features of every wanted page, rounded as in the store, and a failure for each that has none.

        Args:
            inputs: Files and folders.
            backbone: Loads the backbone; called only when there are new pages.

        Raises:
            EmbedpipeError: An input does not exist.
        """
        sources = self._workspace.sources() if self._settings.warm is None else Sources(self._workspace.root / _NOWHERE)
        intake = Intake(inputs, self._settings, sources, self.report)
        self.found.extend(intake if self.progress is None else told(intake, self.progress))
        documents = {item.sha256: item for item in self.found if isinstance(item, Document)}
        items = self._items(backbone)
        if self._words:
            items = completed(items, self._workspace, documents, self._settings, self.report.recognised)
        yield from items
        failed = {f.page.document_sha256 for f in self.report.failures if f.page.page_index == WHOLE_FILE}
        self.report.documents = len(documents.keys() - failed)
        self._say_unread()

    def _say_unread(self) -> None:
        """Says that pages were read without recognition, where the words that are kept came from it."""
        unread = self.report.recognised.unread
        if unread and self._settings.warm is None and word_counts(self._workspace.root)[OCR_WORDS]:
            log.warning(
                "pages without text, and without words, for nothing was recognised: %d; of stored ones it was: --ocr "
                "auto reads these alike",
                unread,
            )

    def _items(self, backbone: "Callable[[], Backbone]") -> Iterator[FeatureBatch | PageFailure]:
        """What `read` yields, with the words that documents tell themselves."""
        jobs = []
        for item in self.found:
            if isinstance(item, PageFailure):
                self.report.fail(item)
                yield item
                continue
            stored, job = self._stored(item)
            if stored:
                self.report.skipped += len(stored.pages)
                yield stored
            if job:
                jobs.append(job)
        if jobs:
            yield from self._streamed(backbone(), jobs)

    def _tell(self, finished: int, jobs: list[Job]) -> None:
        if self.progress is not None:
            self.progress("reading pages", self.report.embedded, finished, sum(job.document.size for job in jobs))

    def _stored(self, document: Document) -> tuple[FeatureBatch | None, Job | None]:
        """What the store holds of the wanted pages of a document, in their order, and what is missing."""
        selection = self._settings.selection
        held = next((one for one in self._stores if document.sha256 in one.rows), None)
        if held is None:
            return None, Job(document, selection)
        pages = held.pages.take(numbers(held.rows[document.sha256]))
        wanted = set(selection.indices(pages["page_count"][0].as_py()))
        indices = array_of(pages["page_index"])
        order = np.argsort(indices, kind="stable")
        pages = pages.take(numbers(order[np.isin(indices[order], list(wanted))]))
        known = frozenset(pages["page_index"].to_pylist())
        job = Job(document, selection, known) if wanted - known else None
        if not known:
            return None, job
        columns = ["page_index", "page_count", "width", "height", "ink", "outcome", "message", "source_kind", "turned"]
        infos = tuple(
            replace(
                PageInfo(PageRef(document.sha256, index, document.path), count, *others),
                source_kind=kind,
                turned=turned,
            )
            for index, count, *others, kind, turned in zip(*(pages[name].to_pylist() for name in columns), strict=True)
        )
        X = held.store.features(array_of(pages["page_id"]))
        keys = [(document.sha256, info.ref.page_index) for info in infos]
        words = words_in(held.words, keys) if self._words else None
        if self._cues:
            X = np.hstack([X, cues_of(held.workspace, keys, self.options)])
        return FeatureBatch(infos, X, words), job

    def _streamed(self, backbone: "Backbone", jobs: list[Job]) -> Iterator[FeatureBatch | PageFailure]:
        extras = frozenset({WORDS} if self._words else ())
        stream = PageStream(backbone, self._settings, len(jobs), cues=self._cues, extras=extras)
        for item in stream.run(jobs):
            self._tell(stream.bytes_finished, jobs)
            if isinstance(item, PageFailure):
                self.report.fail(item)
                yield item
            else:
                self.report.embedded += len(item.pages)
                # float16 as in the store, so that a page has one answer whether it is stored or not
                X = item.X.astype(np.float16).astype(np.float32)
                cues = as_block([info.cues for info in item.pages]) if self._cues else np.zeros((len(X), 0), np.float32)
                words = as_rows([info.words for info in item.pages]) if self._words else None
                yield FeatureBatch(item.pages, np.hstack([X, cues]), words)


def told(intake: Intake, progress: Progress) -> Iterator[Document | PageFailure]:
    """What an intake yields, with word of how far it is."""
    _, total = intake.size()
    for number, item in enumerate(intake, 1):
        progress("reading files", number, intake.bytes_done, total)
        yield item


def _rows_by_document(pages: pa.Table) -> dict[str, NDArray[np.int64]]:
    """The rows of each document, ascending, by its SHA-256."""
    documents, own = by_value(pages["document_sha256"])
    order = np.argsort(own, kind="stable")
    cuts = np.cumsum(np.bincount(own, minlength=len(documents)))[:-1]
    return dict(zip(documents, np.split(order, cuts), strict=True)) if documents else {}
