"""Worker processes around the readers, so that no page can stop the run.

PyMuPDF holds the interpreter's lock and cannot be interrupted, and a decoder may crash or eat the memory. So pages are
rendered by spawned processes. A worker that takes too long over a page is killed; one that dies is replaced; only the
page at fault is lost, and its neighbours are rendered again where they went down with it.
"""

import signal
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from typing import Any, Self

from pebble import ProcessExpired, ProcessPool

from embedpipe.core.errors import DocumentError, EmbedpipeError
from embedpipe.core.records import Document, PageFailure, PageImage, PageRef
from embedpipe.pages.containers import sharing
from embedpipe.pages.contract import Selection
from embedpipe.pages.converting.conversions import Conversions
from embedpipe.pages.documents import Converted, ReadOptions, needs_converting
from embedpipe.pages.extras.ocr import PATIENCE
from embedpipe.pages.page_tasks import IDLE, OPENING, Answer, Job, failures, pages_per_task, start_worker, work
from embedpipe.pages.workers import WorkerContext

__all__ = ["Job", "RenderStats", "Rendered", "Renderer", "Selection"]

TASKS_PER_WORKER = 500
"""A worker is replaced after this many tasks, for what the libraries leak."""

_MOST_FALSE_STARTS = 3
_LOOK_UP = 0.2  # seconds
_MOST_CONVERTING = 4096  # documents that wait for a program: those behind them are drawn meanwhile


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
        self._first = "import embedpipe.pages.page_tasks"
        if options.recogniser is not None:
            kind = type(options.recogniser)
            self._first = f"from {kind.__module__} import {kind.__qualname__} as kind; kind().load()"
        self._pages_per_task = pages_per_task(options)
        context = WorkerContext()
        self._window = workers * 3
        self._marks = context.numbers([IDLE] * self._window)
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
        self._running: dict[Future[Answer], _Task] = {}
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
            return Rendered(job.document, failures(job.document, None, error.kind, str(error)), finished=True)
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
            self._marks[task.slot] = IDLE
            pages = self._pages_per_task if task.indices is None else len(task.indices)
            # the worker's own alarm is exact; this one is for platforms without it
            limit = (pages + 2) * self._limits.page_seconds + 10
            future = self._pool.schedule(work, args=(task.job, task.indices, task.slot), timeout=limit)
            self._running[future] = task

    def _settle(self, future: Future[Answer]) -> Rendered:
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
        if mark == IDLE:  # the worker died before it began: no page is to blame
            if task.false_starts == _MOST_FALSE_STARTS:
                raise EmbedpipeError(f"render workers die before they begin: {message}; is --page-memory too small?")
            self._enqueue(_Task(task.job, task.indices, false_starts=task.false_starts + 1))
            return []
        if mark == OPENING:
            return failures(document, task.indices, kind, f"opening it: {message}")
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
