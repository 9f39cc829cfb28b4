"""What a worker process does: it opens a document, and makes of its pages what is asked for, or says why it cannot."""

import contextlib
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from embedpipe.core.errors import DocumentError
from embedpipe.core.files import file_time
from embedpipe.core.objects.places import stat
from embedpipe.core.objects.reading import fetched
from embedpipe.core.objects.urls import is_url
from embedpipe.core.records import (
    OCR_WORDS,
    PLACEHOLDER,
    WHOLE_FILE,
    Document,
    PageFailure,
    PageImage,
    PageInfo,
    PageRef,
    Recipe,
    Words,
)
from embedpipe.pages.containers import sharing
from embedpipe.pages.containers.contract import telling_damage
from embedpipe.pages.containers.places import outer
from embedpipe.pages.contract import Selection, first_line
from embedpipe.pages.cues import UNKNOWN, page_cues
from embedpipe.pages.documents import (
    BLANK_INK,
    THUMBNAILS,
    WORDS,
    Converted,
    OpenDocument,
    ReadOptions,
    Rendering,
    load_decoders,
    open_document,
    plan,
)
from embedpipe.pages.extras.ocr import PATIENCE, PageReader
from embedpipe.pages.extras.thumbnails import LONG_SIDE, thumbnail
from embedpipe.pages.extras.words import hashed, words_of_page
from embedpipe.pages.guarding import be_capped
from embedpipe.pages.source_kinds import UNKNOWN as UNKNOWN_KIND
from embedpipe.pages.source_kinds import page_kind
from embedpipe.pages.workers import Numbers, silence

PAGES_PER_TASK = 16
"""Pages of a document that a worker takes at a time: long documents are shared out, short ones cost one message.

Of pages that several variants are made of, so many fewer that a message does not become larger. Pages whose text is
recognised come one by one: each takes a second, and what a kill takes with it is read again.
"""

IDLE, OPENING = -2, -1
"""Marks of a task that is not at a page; see `workers.Numbers`."""

_NO_PICTURE = np.empty((0, 0, 3), np.uint8)


@dataclass(frozen=True, slots=True)
class Job:
    """A document to render.

    Attributes:
        document: Which.
        selection: Which of its pages.
        known: Page indices of these that are not wanted.
        extras_only: Page indices whose picture is not wanted, only what else is made of the page.
        converted: The PDF that a program has made of it; the renderer has it made where that is needed.
    """

    document: Document
    selection: Selection
    known: frozenset[int] = frozenset()
    extras_only: frozenset[int] = frozenset()
    converted: Converted | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a task.

    Attributes:
        results: Pages and failures.
        rest: Page indices of the document that are still to be rendered.
        seconds: That it took.
    """

    results: list[PageImage | PageFailure]
    rest: list[int]
    seconds: float


_options: ReadOptions
_marks: Numbers
_last: dict[Recipe, tuple[Document, OpenDocument]] = {}
_read: PageReader | None = None


def start_worker(options: ReadOptions, marks: Numbers, shared: str = "") -> None:
    """Makes a fresh process one that may be killed, and that cannot take more memory than it is given.

    Args:
        options: How documents are read.
        marks: What each task is at.
        shared: Where the list is of what the parent has unpacked, see `containers.sharing`.
    """
    global _options, _marks, _read  # noqa: PLW0603 - one per worker process
    _options, _marks = options, marks
    sharing.follow(shared)
    load_decoders()  # before the memory is counted that it starts with
    silence()
    _read = options.recogniser.load() if options.recogniser else None
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it could not be blocked before
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # the kernel ends the process; a handler would wait for MuPDF
    be_capped(options.limits.page_bytes + (options.recogniser.address_space if options.recogniser else 0))


@contextlib.contextmanager
def _alarm() -> Iterator[None]:
    if not hasattr(signal, "setitimer"):
        yield
        return
    signal.setitimer(signal.ITIMER_REAL, _options.limits.page_seconds)
    if _read is not None:
        signal.setitimer(signal.ITIMER_PROF, _options.limits.page_seconds / PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_PROF, 0)


def work(job: Job, indices: list[int] | None, slot: int) -> Answer:
    """Runs in a worker: renders pages of one document; the first task of a document also finds its page count."""
    begin = time.perf_counter()
    document = job.document
    _marks[slot] = OPENING
    try:
        with _fetched(document), _alarm():  # in this order: a network may be slower than a page
            opened = _open(document, _options, job.converted)
    except (DocumentError, MemoryError) as error:
        return Answer(failures(document, indices, *_reason(error)), [], time.perf_counter() - begin)
    rest: list[int] = []
    if indices is None:
        wanted = [i for i in job.selection.indices(opened.page_count) if i not in job.known]
        indices, rest = wanted[: pages_per_task(_options)], wanted[pages_per_task(_options) :]
    results = [result for index in indices for result in _render_page(job, opened, index, slot)]
    return Answer(results, rest, time.perf_counter() - begin)


def _fetched(document: Document) -> "contextlib.AbstractContextManager[object]":
    """Has the content of an object here; nothing is done for other documents, nor for one that is open already."""
    last = _last.get(_options.recipe)
    if not is_url(document.path) or outer(document.path) != document.path or (last and last[0] == document):
        return contextlib.nullcontext()
    with telling_damage("it"):
        return contextlib.closing(fetched(document.path))


def _open(document: Document, options: ReadOptions, converted: Converted | None) -> OpenDocument:
    """Opens a document, or hands out the one that this worker opened last to draw pages so."""
    last = _last.get(options.recipe)
    if last is not None:
        if last[0] == document:
            return last[1]
        last[1].close()
        del _last[options.recipe]
    file = outer(document.path)
    try:
        status = stat(file)
    except OSError as error:
        raise DocumentError("unreadable", f"cannot be read: {error.strerror or error}") from None
    size = status.st_size if file == document.path else document.size
    if (size, file_time(status.st_mtime_ns)) != (document.size, document.mtime_ns):
        raise DocumentError("unreadable", "it changed while it was read; run again when it is at rest")
    opened = open_document(document.path, document.reader, options, converted)
    _last[options.recipe] = (document, opened)
    return opened


def pages_per_task(options: ReadOptions) -> int:
    """How many pages of a document a worker takes at a time."""
    if options.recogniser:
        return 1
    return max(1, PAGES_PER_TASK // len(options.variants.numbers)) if options.variants else PAGES_PER_TASK


def _render_page(job: Job, opened: OpenDocument, index: int, slot: int) -> list[PageImage | PageFailure]:
    """The page, or the variants of it that are wanted; or why there is none."""
    _marks[slot] = index
    document = job.document
    try:
        with _alarm():
            drawn = opened.render(index)
            ink = drawn.ink
            facts = _cues(opened, drawn, index) if _options.cues else ()
            kind = UNKNOWN_KIND if _options.variants else _kind(opened, drawn)
            words, small = _words(drawn), _thumbnail(job, drawn, index)
            pictures = [] if index in job.extras_only else _pictures(drawn, (document.sha256, index))
    except (DocumentError, MemoryError) as error:
        return failures(document, [index], *_reason(error))
    outcome = _outcome(drawn, ink)
    ref = PageRef(document.sha256, index, document.path)
    info = PageInfo(ref, opened.page_count, drawn.width, drawn.height, ink, outcome, drawn.message, facts)
    info = replace(info, source_kind=kind, words=words, thumbnail=small)
    if index in job.extras_only:
        return [PageImage(info, _NO_PICTURE)]
    return [PageImage(replace(info, variant=number), pixels) for number, pixels in pictures]


def _outcome(drawn: Rendering, ink: float) -> str:
    """What came of a page; an empty cover stands for what is embedded."""
    if drawn.stands_for:
        return PLACEHOLDER if ink < BLANK_INK else drawn.stands_for
    return "blank" if ink < BLANK_INK else "repaired" if drawn.repaired else "ok"


def _pictures(drawn: Rendering, page: tuple[str, int]) -> list[tuple[int, NDArray[np.uint8]]]:
    """The page itself, as number 0, or its variants."""
    if _options.variants is None:
        return [(0, drawn.pixels)]
    _, (columns, rows) = plan(drawn.width, drawn.height, _options.variants.recipe)
    return _options.variants.of_page(drawn.pixels, (rows, columns), page)


def _cues(opened: OpenDocument, drawn: Rendering, index: int) -> tuple[float, ...]:
    """The page's cues; a page that can be rendered is never lost for them."""
    try:
        return page_cues(drawn.width, drawn.height, index, opened.page_count, drawn.page)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - MuPDF raises many kinds
        return UNKNOWN


def _kind(opened: OpenDocument, drawn: Rendering) -> str:
    """Where the page's picture comes from; a page that can be rendered is never lost for it."""
    try:
        return page_kind(drawn.pixels, drawn.page, camera=opened.taken_by_camera)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - MuPDF raises many kinds
        return UNKNOWN_KIND


def _words(drawn: Rendering) -> Words | None:
    """The page's words, where they are wanted; a page that can be rendered is never lost for them."""
    if WORDS not in _options.extras:
        return None
    if _read is not None:
        return _recognised(drawn, _read)
    try:
        return words_of_page(drawn.page, drawn.drawing) if drawn.page is not None else hashed(drawn.text)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - MuPDF raises many kinds
        return Words(message=f"its text cannot be read: {first_line(error)}")


def _recognised(drawn: Rendering, read: PageReader) -> Words:
    """The words in the picture of a page; blank ones are not looked at."""
    if drawn.ink < BLANK_INK:
        return Words(origin=OCR_WORDS)
    try:
        return replace(hashed(read(drawn.pixels), OCR_WORDS), origin=OCR_WORDS)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a recogniser raises
        return Words(origin=OCR_WORDS, message=f"page_error: its text cannot be recognised: {first_line(error)}")


def _thumbnail(job: Job, drawn: Rendering, index: int) -> bytes | None:
    """A small picture of the whole page, where one is wanted; a page that can be rendered is never lost for it."""
    if THUMBNAILS not in _options.extras:
        return None
    recipe = _options.recipe
    if recipe.resize == "crop" or recipe.size < LONG_SIDE or recipe.annotations == "hide":  # they are for all spaces
        try:
            drawn = _open(job.document, replace(_options, recipe=Recipe(LONG_SIDE)), job.converted).render(index)
        except DocumentError:
            return b""
    return thumbnail(drawn.pixels, drawn.width, drawn.height)


def _reason(error: Exception) -> tuple[str, str]:
    if isinstance(error, DocumentError):
        return error.kind, str(error)
    return "memory", "needs more memory than --page-memory allows"


def failures(document: Document, indices: list[int] | None, kind: str, message: str) -> list[PageImage | PageFailure]:
    """One failure for each page, or one for the whole file as long as its pages are not known."""
    return [
        PageFailure(PageRef(document.sha256, index, document.path), kind, message)
        for index in ([WHOLE_FILE] if indices is None else indices)
    ]
