"""Worker processes around the readers, so that no page can stop the run.

PyMuPDF holds the interpreter's lock and cannot be interrupted, and a decoder may crash or eat the memory. So pages are
rendered by spawned processes. A worker that takes too long over a page is killed; one that dies is replaced; only the
page at fault is lost, and its neighbours are rendered again where they went down with it.
"""

import contextlib
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pebble import ProcessExpired, ProcessPool

from embedpipe.core.errors import DocumentError, EmbedpipeError
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
from embedpipe.pages.converting.conversions import Conversions
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
    needs_converting,
    open_document,
    plan,
)
from embedpipe.pages.extras.ocr import PATIENCE, PageReader
from embedpipe.pages.extras.thumbnails import LONG_SIDE, thumbnail
from embedpipe.pages.extras.words import hashed, words_of_page
from embedpipe.pages.guarding import be_capped
from embedpipe.pages.source_kinds import UNKNOWN as UNKNOWN_KIND
from embedpipe.pages.source_kinds import page_kind
from embedpipe.pages.workers import Numbers, WorkerContext, silence

__all__ = ["Job", "RenderStats", "Rendered", "Renderer", "Selection", "start_worker"]

PAGES_PER_TASK = 16
"""Pages of a document that a worker takes at a time: long documents are shared out, short ones cost one message.

Of pages that several variants are made of, so many fewer that a message does not become larger. Pages whose text is
recognised come one by one: each takes a second, and what a kill takes with it is read again.
"""

TASKS_PER_WORKER = 500
"""A worker is replaced after this many tasks, for what the libraries leak."""

_MOST_FALSE_STARTS = 3
_LOOK_UP = 0.2  # seconds
_MOST_CONVERTING = 4096  # documents that wait for a program: those behind them are drawn meanwhile
_NO_PICTURE = np.empty((0, 0, 3), np.uint8)
_IDLE = -2
_OPENING = -1


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


@dataclass(slots=True)
class RenderStats:
    """What rendering cost, added up over the workers: seconds of work, and pages; and what made PDFs of documents."""

    seconds: float = 0.0
    pages: int = 0
    converted: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class _Task:
    """Some pages of a document; `indices` is None until the document was opened once."""

    job: Job
    indices: list[int] | None
    slot: int = -1
    false_starts: int = 0


@dataclass(frozen=True, slots=True)
class _Answer:
    results: list[PageImage | PageFailure]
    rest: list[int]
    seconds: float


@dataclass(slots=True)
class Rendered:
    """All that one step of the renderer brought: pages and failures of one document, and whether it is finished."""

    document: Document
    results: list[PageImage | PageFailure] = field(default_factory=list)
    finished: bool = False


class Renderer:
    """Renders documents in worker processes; a context manager, since the processes must end.

    Args:
        options: How to read, and what a page may cost.
        workers: Worker processes.
    """

    def __init__(self, options: ReadOptions, workers: int = 1) -> None:
        self.stats = RenderStats()
        self._limits = options.limits
        self._first = "import embedpipe.pages.rendering"
        if options.recogniser is not None:
            kind = type(options.recogniser)
            self._first = f"from {kind.__module__} import {kind.__qualname__} as kind; kind().load()"
        self._pages_per_task = _pages_per_task(options)
        context = WorkerContext()
        self._window = workers * 3
        self._marks = context.numbers([_IDLE] * self._window)
        self._free = list(range(self._window))
        self._stopped = False
        self._pool = ProcessPool(
            max_workers=workers,
            max_tasks=TASKS_PER_WORKER,
            initializer=start_worker,
            initargs=(options, self._marks, sharing.place()),
            context=context,
        )
        self._waiting: deque[_Task] = deque()
        self._running: dict[Future[_Answer], _Task] = {}
        self._open_tasks: dict[Document, int] = {}
        # half of the workers' number: while programs run, pages are drawn
        self._conversions = Conversions(options.limits, max(1, workers // 2))
        self._converting: dict[Future[Converted], Job] = {}

    def __enter__(self) -> Self:
        """Workers start with the first document."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the workers at once, also in the middle of a page."""
        self.stop()

    @property
    def idle(self) -> bool:
        """Whether all is done that it was asked for, so that it can be asked for something else."""
        return not (self._stopped or self._running or self._waiting or self._converting)

    def stop(self) -> None:
        """Ends the workers at once; what they were at is cancelled."""
        self._stopped = True
        self._conversions.stop()
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join(timeout=10)
        sharing.clear()

    def render(self, jobs: Iterable[Job]) -> Iterator[Rendered]:
        """Yields results as they come, in no fixed order; documents are drawn from `jobs` only when there is room.

        Each wanted page of each document appears exactly once, as a `PageImage` or a `PageFailure`; a document
        that cannot be opened appears as one failure of the whole file.
        """
        source = iter(jobs)
        exhausted = False
        while True:
            exhausted = exhausted or self._draw(source)
            self._fill()
            if not (self._running or self._converting):
                if exhausted and not self._waiting:
                    return
                continue
            # a pool that is stopped from another thread may leave futures that never end
            more = not exhausted and self._has_room()
            futures: list[Future[Any]] = [*self._running, *self._converting]
            done, _ = wait(futures, timeout=0 if more else _LOOK_UP, return_when=FIRST_COMPLETED)
            if self._stopped:
                return
            for future in done:
                if future in self._running:
                    yield self._settle(future)
                elif (failed := self._take_converted(future)) is not None:
                    yield failed

    def _draw(self, jobs: Iterator[Job]) -> bool:
        """Takes some documents, as long as there is room; whether there are no more."""
        for _ in range(self._window):
            if not self._has_room():
                return False
            job = next(jobs, None)
            if job is None:
                return True
            if needs_converting(job.document.reader) and job.converted is None:
                self._converting[self._conversions.submit(job.document)] = job
            else:
                self._enqueue(_Task(job, None))
            self._fill()
        return False

    def _has_room(self) -> bool:
        """Whether one more document can be taken: pages wait for a worker, or Office documents in a long row."""
        return bool(self._free) and len(self._waiting) < self._window and len(self._converting) < _MOST_CONVERTING

    def _take_converted(self, future: Any) -> Rendered | None:
        """Has the pages of a document drawn whose PDF was made; or tells why there is none."""
        job = self._converting.pop(future)
        try:
            converted = future.result()
        except DocumentError as error:
            return Rendered(job.document, _failures(job.document, None, error.kind, str(error)), finished=True)
        self.stats.converted[converted.made_by] += 1
        self._enqueue(_Task(replace(job, converted=converted), None))
        return None

    def _enqueue(self, task: _Task) -> None:
        document = task.job.document
        self._open_tasks[document] = self._open_tasks.get(document, 0) + 1
        self._waiting.append(task)

    def _fill(self) -> None:
        while self._free and self._waiting:
            task = self._waiting.popleft()
            task.slot = self._free.pop()
            self._marks[task.slot] = _IDLE
            pages = self._pages_per_task if task.indices is None else len(task.indices)
            # the worker's own alarm is exact; this one is for platforms without it
            limit = (pages + 2) * self._limits.page_seconds + 10
            future = self._pool.schedule(_work, args=(task.job, task.indices, task.slot), timeout=limit)
            self._running[future] = task

    def _settle(self, future: Future[_Answer]) -> Rendered:
        task = self._running.pop(future)
        document = task.job.document
        try:
            answer = future.result()
        except (ProcessExpired, TimeoutError) as error:
            results = self._after_death(task, error)
        except BrokenProcessPool as error:
            raise EmbedpipeError(
                f"render workers die as they start: try `{sys.executable} -c '{self._first}'`"
            ) from error
        else:
            self.stats.seconds += answer.seconds
            self.stats.pages += len(answer.results)
            results = answer.results
            for start in range(0, len(answer.rest), self._pages_per_task):
                self._enqueue(_Task(task.job, answer.rest[start : start + self._pages_per_task]))
        self._free.append(task.slot)
        left = self._open_tasks[document] = self._open_tasks[document] - 1
        if not left:
            del self._open_tasks[document]
        return Rendered(document, results, finished=not left)

    def _after_death(self, task: _Task, error: BaseException) -> list[PageImage | PageFailure]:
        """Blames the page that the worker was at, and hands out the task's other pages again."""
        mark = self._marks[task.slot]
        kind, message = self._verdict(error)
        document = task.job.document
        if mark == _IDLE:  # the worker died before it began: no page is to blame
            if task.false_starts == _MOST_FALSE_STARTS:
                raise EmbedpipeError(f"render workers die before they begin: {message}; is --page-memory too small?")
            self._enqueue(_Task(task.job, task.indices, false_starts=task.false_starts + 1))
            return []
        if mark == _OPENING:
            return _failures(document, task.indices, kind, f"opening it: {message}")
        if task.indices is None:  # the page count went down with the worker; a fresh look skips the page at fault
            again = replace(task.job, known=task.job.known | {mark})
            self._enqueue(_Task(again, None))
        else:
            rest = [i for i in task.indices if i != mark]
            if rest:
                self._enqueue(_Task(task.job, rest))
        return [PageFailure(PageRef(document.sha256, mark, document.path), kind, message)]

    def _verdict(self, error: BaseException) -> tuple[str, str]:
        code = getattr(error, "exitcode", None)
        if code == -getattr(signal, "SIGPROF", 0):
            return "timeout", f"took {self._limits.page_seconds / PATIENCE:g} s of processor time (--page-timeout)"
        if isinstance(error, TimeoutError) or code == -getattr(signal, "SIGALRM", 0):
            return "timeout", f"not finished after {self._limits.page_seconds:g} s (--page-timeout)"
        if code == -getattr(signal, "SIGKILL", 0):
            return "memory", "the system killed the worker, most likely for lack of memory"
        return "crash", f"the decoder crashed the worker (exit code {code})"


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


def _work(job: Job, indices: list[int] | None, slot: int) -> _Answer:
    """Runs in a worker: renders pages of one document; the first task of a document also finds its page count."""
    begin = time.perf_counter()
    document = job.document
    _marks[slot] = _OPENING
    try:
        with _fetched(document), _alarm():  # in this order: a network may be slower than a page
            opened = _open(document, _options, job.converted)
    except (DocumentError, MemoryError) as error:
        return _Answer(_failures(document, indices, *_reason(error)), [], time.perf_counter() - begin)
    rest: list[int] = []
    if indices is None:
        wanted = [i for i in job.selection.indices(opened.page_count) if i not in job.known]
        indices, rest = wanted[: _pages_per_task(_options)], wanted[_pages_per_task(_options) :]
    results = [result for index in indices for result in _render_page(job, opened, index, slot)]
    return _Answer(results, rest, time.perf_counter() - begin)


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


def _pages_per_task(options: ReadOptions) -> int:
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
        return _failures(document, [index], *_reason(error))
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


def _failures(document: Document, indices: list[int] | None, kind: str, message: str) -> list[PageImage | PageFailure]:
    """One failure for each page, or one for the whole file as long as its pages are not known."""
    return [
        PageFailure(PageRef(document.sha256, index, document.path), kind, message)
        for index in ([WHOLE_FILE] if indices is None else indices)
    ]
