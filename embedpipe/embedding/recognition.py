"""Words of pages that tell none themselves: which pages are recognised, and how what is read of them is kept."""

import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embedpipe.core.machine import render_workers
from embedpipe.core.records import (
    NO_WORDS,
    OCR_WORDS,
    SAYS_NOTHING,
    TEXT_WORDS,
    WHOLE_FILE,
    Document,
    FeatureBatch,
    PageFailure,
    PageImage,
    PageRef,
    Recipe,
    Words,
)
from embedpipe.embedding.streaming import Settings
from embedpipe.pages.documents import WORDS, ReadOptions
from embedpipe.pages.extras.ocr import AUTO, LONG_SIDE, PATIENCE, READY_BYTES, Ocr
from embedpipe.pages.extras.words import as_rows
from embedpipe.pages.rendering import Job, Renderer, Selection
from embedpipe.store import page_extras
from embedpipe.store.page_table import POSITION, Key, PageTable, PageTableWriter
from embedpipe.store.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

RECIPE = Recipe(size=LONG_SIDE, resize="area")
"""How a page is drawn for recognition."""

_HELD = 2048
"""Pages that wait for their words at a time, with their features."""

_WRITE_SECONDS, _WRITE_SHARE = 60.0, 0.02
"""What is read is written so often, and after this share of the time that it took, so that long runs write few parts: a
kill loses no more."""

_PASSING = ("unreadable", "encrypted")
"""Failures that say nothing of the page: it is tried again in the next run."""


@dataclass(slots=True)
class Recognised:
    """What recognition did in a run.

    Attributes:
        pages: How many were looked at.
        with_words: How many of these have words.
        failures: Those that could not be recognised: they stay without words.
        seconds: What it took.
        unread: Pages without words that `auto` would have looked at, where nothing was to be recognised.
    """

    pages: int = 0
    with_words: int = 0
    failures: list[PageFailure] = field(default_factory=list)
    seconds: float = 0.0
    unread: int = 0

    @property
    def rate(self) -> float:
        """Pages a second."""
        return self.pages / self.seconds if self.seconds else 0.0

    def as_json(self) -> dict[str, Any]:
        """As the command line prints it."""
        return {
            "pages": self.pages,
            "with_words": self.with_words,
            "failed": len(self.failures),
            "seconds": round(self.seconds, 3),
            "pages_per_second": round(self.rate, 2),
            "failures": [
                {"path": f.page.source, "page": f.page.page_number, "kind": f.kind, "message": f.message}
                for f in self.failures
            ],
        }

    def in_words(self) -> str:
        """In a line for people."""
        return (
            f"text recognition: {self.pages} pages, {self.with_words} of them with words, {len(self.failures)} failed; "
            f"{self.seconds:.1f} s, {self.rate:.2g} pages/s"
        )


def recognise(
    wanted: Mapping[Document, Iterable[int]], settings: Settings, counts: Recognised
) -> Generator[tuple[Key, Words]]:
    """Looks at the pictures of pages, in workers that may be killed, and yields what is read, as it comes.

    A page that takes too long, too much memory, or the worker with it, has no words, and a message that says why.

    Args:
        wanted: Page indices by document.
        settings: The recogniser, and what a page may cost.
        counts: What is done is added.
    """
    pages = {document: sorted(indices) for document, indices in wanted.items()}
    limits = replace(settings.limits, page_seconds=PATIENCE * settings.limits.page_seconds)
    options = ReadOptions(RECIPE, limits=limits, passwords=settings.passwords, extras=frozenset({WORDS}))
    options = replace(options, recogniser=settings.ocr.recogniser)
    workers = min(settings.workers or render_workers(READY_BYTES), sum(map(len, pages.values())))
    jobs = (
        Job(document, Selection(tuple((i + 1, i + 1) for i in indices)), extras_only=frozenset(indices))
        for document, indices in pages.items()
    )
    begin, before = time.perf_counter(), counts.seconds
    with Renderer(options, max(1, workers)) as renderer:
        for rendered in renderer.render(jobs):
            for result in rendered.results:
                for ref, words in _told(result, rendered.document, pages[rendered.document]):
                    counts.pages += 1
                    counts.with_words += bool(words)
                    if words.message:
                        kind, _, message = words.message.partition(": ")
                        counts.failures.append(PageFailure(ref, kind, message))
                    counts.seconds = before + time.perf_counter() - begin
                    yield (ref.document_sha256, ref.page_index), words


def _told(result: PageImage | PageFailure, document: Document, indices: list[int]) -> Iterator[tuple[PageRef, Words]]:
    """What a step of the renderer tells of pages; a failure of the file is one of each page that was wanted."""
    if isinstance(result, PageImage):
        if result.info.words is not None:
            yield result.info.ref, result.info.words
        return
    origin = NO_WORDS if result.kind in _PASSING else OCR_WORDS
    for index in indices if result.page.page_index == WHOLE_FILE else [result.page.page_index]:
        ref = PageRef(document.sha256, index, document.path)
        yield ref, Words(origin=origin, message=f"{result.kind}: {result.message}")


def completed(
    items: Iterable[FeatureBatch | PageFailure],
    workspace: Workspace,
    documents: Mapping[str, Document],
    settings: Settings,
    counts: Recognised,
) -> Iterator[FeatureBatch | PageFailure]:
    """Passes features and words on; pages that are to be recognised wait until that is done, and nothing is kept.

    Args:
        items: Features with words, and failures.
        workspace: What is known there to have been recognised, with words or without, is not looked at again.
        documents: All of them, by SHA-256.
        settings: Which pages are recognised, and what a page may cost.
        counts: What is done is added; `unread` where no page is recognised.
    """
    held: list[FeatureBatch] = []
    table = page_extras.words_table(workspace.root)
    for item in items:
        if isinstance(item, PageFailure):
            yield item
            continue
        waits = _to_recognise(item, table, settings.ocr or Ocr(AUTO))
        if not settings.ocr:
            counts.unread += int(waits.sum())
            waits[:] = False
        if not waits.all():
            yield _rows(item, ~waits)
        if waits.any():
            held.append(_rows(item, waits))
        if sum(len(batch.pages) for batch in held) >= _HELD:
            yield from _with_words(held, documents, settings, counts)
            held = []
    yield from _with_words(held, documents, settings, counts)


def _to_recognise(batch: FeatureBatch, table: PageTable, ocr: Ocr) -> NDArray[np.bool_]:
    """Which pages are, (n,)."""
    has_text = np.diff(batch.words.indptr) > 0
    found = np.array(
        [
            info.outcome not in SAYS_NOTHING and ocr.wants(info.ref.page_index, info.page_count, has_text=bool(text))
            for info, text in zip(batch.pages, has_text, strict=True)
        ],
        bool,
    )
    asked = np.flatnonzero(found)
    refs = [batch.pages[i].ref for i in asked]
    known = table.read([(ref.document_sha256, ref.page_index) for ref in refs], ["origin"])
    origins = zip(known[POSITION].to_pylist(), known["origin"].to_pylist(), strict=True)
    found[asked[[position for position, origin in origins if origin == OCR_WORDS]]] = False
    return found


def _rows(batch: FeatureBatch, chosen: NDArray[np.bool_]) -> FeatureBatch:
    pages = tuple(info for info, own in zip(batch.pages, chosen, strict=True) if own)
    return FeatureBatch(pages, batch.X[chosen], batch.words[np.flatnonzero(chosen)])


def _with_words(
    held: list[FeatureBatch], documents: Mapping[str, Document], settings: Settings, counts: Recognised
) -> Iterator[FeatureBatch]:
    """Batches of pages with what is read of their pictures in place of their words."""
    keys = [(info.ref.document_sha256, info.ref.page_index) for batch in held for info in batch.pages]
    if not keys:
        return
    from scipy.sparse import vstack  # noqa: PLC0415 - most runs recognise nothing

    log.info("recognising the text of %d pages", len(keys))
    wanted: dict[Document, list[int]] = {}
    for sha256, index in keys:
        wanted.setdefault(documents[sha256], []).append(index)
    found = dict(recognise(wanted, settings, counts))
    for batch in held:
        own = [found.get((info.ref.document_sha256, info.ref.page_index)) for info in batch.pages]
        # a page that always is recognised and cannot be keeps the words that it has
        words = vstack([as_rows([w]) if w and not w.message else batch.words[[i]] for i, w in enumerate(own)], "csr")
        yield replace(batch, words=words)


def lacking(
    workspace: Workspace, pages: "pd.DataFrame", settings: Settings, *, retry_failed: bool = False
) -> dict[str, list[int]]:
    """Stored pages that are to be recognised and were not yet.

    Args:
        workspace: Where words are kept.
        pages: Columns document_sha256, page_index, page_count and outcome.
        settings: Which pages are wanted, and of these, which are recognised.
        retry_failed: Also those that could not be recognised before.

    Returns:
        Page indices by document, in the order of `pages`. Pages of which no words are kept at all are left out.
    """
    pages = pages[~pages["outcome"].isin(SAYS_NOTHING)]
    keys = list(zip(pages["document_sha256"], pages["page_index"].tolist(), strict=True))
    table = page_extras.words_table(workspace.root).read(keys, ["origin", "message"])
    counts = pages["page_count"].tolist()
    found: dict[str, list[int]] = {}
    selected: dict[int, frozenset[int]] = {}
    rows = zip(*(table[name].to_pylist() for name in (POSITION, "origin", "message")), strict=True)
    for position, origin, message in rows:
        (sha256, index), count = keys[position], int(counts[position])
        if count not in selected:
            selected[count] = frozenset(settings.selection.indices(count))
        again = retry_failed and bool(message)
        if index not in selected[count] or (origin == OCR_WORDS and not again):
            continue
        if settings.ocr.wants(index, count, has_text=origin == TEXT_WORDS):
            found.setdefault(sha256, []).append(index)
    return found


def keep_recognised(
    workspace: Workspace,
    wanted: Mapping[Document, Iterable[int]],
    settings: Settings,
    counts: Recognised,
    progress: Callable[[int, int], None],
) -> bool:
    """Recognises pages and keeps their words, for the one writer; whether it came to the end, and not to a Ctrl-C.

    Args:
        workspace: Where words are kept.
        wanted: Page indices by document.
        settings: The recogniser, and what a page may cost.
        counts: What is done is added.
        progress: Called with the pages done, and all.

    Raises:
        ArtifactError: The disk is full or cannot be written; everything before stays.
    """
    total = sum(len(list(indices)) for indices in wanted.values())
    writer = PageTableWriter(page_extras.words_table(workspace.root))
    written = time.monotonic()
    complete = True
    try:
        with closing(recognise(wanted, settings, counts)) as found:
            for key, words in found:
                if words.origin == OCR_WORDS:
                    writer.append(key, page_extras.words_row(words))
                if time.monotonic() - written > max(_WRITE_SECONDS, _WRITE_SHARE * counts.seconds):
                    writer.flush()
                    written = time.monotonic()
                progress(counts.pages, total)
    except KeyboardInterrupt:
        complete = False
    finally:
        writer.flush()
    return complete
