"""Documents through rendering and the network, side by side: the one path that every page takes.

A thread feeds the workers and forms batches of one shape; the calling thread drives the network.
"""

import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import InitVar, dataclass, field, replace
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from embedpipe.backbones.engines import Backbone, Pending, UprightTurner
from embedpipe.backbones.onnx.orientation import turned
from embedpipe.core.errors import DocumentError, NetworkError
from embedpipe.core.machine import render_workers
from embedpipe.core.records import Document, FeatureBatch, PageFailure, PageImage, PageInfo, Recipe
from embedpipe.embedding.sharding import Shard
from embedpipe.embedding.warm import Warm
from embedpipe.pages.augmentation import Variants, larger
from embedpipe.pages.documents import WORDS, Limits, ReadOptions
from embedpipe.pages.extras.ocr import Ocr
from embedpipe.pages.rendering import Job, Renderer, Selection
from embedpipe.pages.source_kinds import PHOTO, SCAN

T = TypeVar("T")
_MAY_LIE = (SCAN, PHOTO)
"""Kinds of pages whose picture is all there is: nothing else says which way up they are."""

_BATCHES_AHEAD = 4
_BATCHES_WAITING = 8
"""Pages that wait for others of their shape, in batches: however many shapes there are, memory stays bounded."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How documents are read and what they may cost. None of it changes the features.

    Attributes:
        selection: Which pages of each document.
        limits: What documents and pages may cost.
        passwords: To try on encrypted PDFs and members of archives.
        workers: Render processes; 0 for as many as suit the cores and the memory.
        batch_size: Pages per call of the network; 0 for what suits the engine.
        trust_mtime: Take size and time of change for the content of files that were hashed before.
        exclude: Patterns of files and folders below the inputs that are passed over, see `pages.leftovers`.
        follow_links: Follow links below the inputs.
        strict: Documents and pictures in formats that are not read count as failures, see `walking.IgnoredFile`.
        ocr: Whether pages are read by text recognition, and how.
        warm: What a program that stays keeps between readings; None where each starts its own workers.
        shard: Read only the files of this shard; None for all.
        budget: Seconds after which a run stops by itself, and can be continued; None for no limit.
        page_seconds: Earlier name of `limits.page_seconds`.
        page_bytes: Earlier name of `limits.page_bytes`.
    """

    selection: Selection = field(default_factory=Selection)
    limits: Limits = field(default_factory=Limits)
    passwords: tuple[str, ...] = ()
    workers: int = 0
    batch_size: int = 0
    trust_mtime: bool = False
    exclude: tuple[str, ...] = ()
    follow_links: bool = False
    ocr: Ocr = field(default_factory=Ocr)
    strict: bool = False
    warm: Warm | None = None
    shard: Shard | None = None
    budget: float | None = None
    page_seconds: InitVar[float | None] = None
    page_bytes: InitVar[int | None] = None

    def __post_init__(self, page_seconds: float | None, page_bytes: int | None) -> None:
        """Takes limits by their earlier names."""
        given = {"page_seconds": page_seconds, "page_bytes": page_bytes}
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        object.__setattr__(self, "limits", replace(self.limits, **changes).with_passwords(self.passwords))


class _Background(Generic[T]):
    """Runs an iterator in a thread, a few items ahead of the consumer."""

    def __init__(self, items: Iterator[T], ahead: int) -> None:
        self._queue: queue.Queue[tuple[str, Any]] = queue.Queue(ahead)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(items,), name="embedpipe-feeder", daemon=True)
        self._thread.start()
        self.waited = 0.0

    def _run(self, items: Iterator[T]) -> None:
        try:
            for item in items:
                if not self._put(("item", item)):
                    return
            self._put(("end", None))
        except BaseException as error:  # noqa: BLE001 - handed to the consumer, who raises it
            self._put(("error", error))

    def _put(self, message: tuple[str, Any]) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(message, timeout=0.2)
            except queue.Full:
                continue
            return True
        return False

    def __iter__(self) -> Iterator[T]:
        while True:
            begin = time.perf_counter()
            kind, value = self._queue.get()
            self.waited += time.perf_counter() - begin
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value

    def stop(self) -> None:
        """Lets the thread end at its next step."""
        self._stop.set()

    def join(self) -> None:
        """Waits until the thread has ended."""
        self._thread.join()


class PageStream:
    """Sends documents through rendering and the network.

    Args:
        backbone: Gives size and resize rule, and runs the batches.
        settings: Limits, workers, batch size.
        files: How many files there are at most, so that no more workers start than can be busy.
        cues: Tell the cues of pages as well.
        variants: Changed copies that are sent through instead of each page.
        extras: What else is made of each page, see `ReadOptions.extras`.
        turns: Degrees clockwise of pages, by SHA-256 and index, that are known to be turned; asked of none then.

    Attributes:
        seconds: What each stage took.
        converted: How many documents each program has made PDFs of, by its name and version.
        workers: Render processes.
        seen: Called, in the thread of the feeder, with each page of which only the extras were wanted.
    """

    def __init__(
        self,
        backbone: Backbone,
        settings: Settings,
        files: int,
        *,
        cues: bool = False,
        variants: Variants | None = None,
        extras: frozenset[str] = frozenset(),
        turns: Mapping[tuple[str, int], int] | None = None,
    ) -> None:
        self._backbone = backbone
        self._turns = turns
        self._batch_size = settings.batch_size or backbone.engine.batch_size
        identity = backbone.identity
        self._options = ReadOptions(
            identity.recipe, identity.interpolation, settings.limits, settings.passwords, cues, extras
        )
        if variants is not None:
            self._options = replace(self._options, recipe=larger(identity.recipe), variants=variants)
        workers = settings.workers or render_workers()
        self.workers = max(1, min(workers, files))
        self._warm = settings.warm
        self.seconds = {"render": 0.0, "forward": 0.0, "wait": 0.0}
        self.converted: Counter[str] = Counter()
        self._running: tuple[Renderer, _Background[list[PageImage] | PageFailure]] | None = None
        self.stopped = threading.Event()
        self.bytes_finished = 0  # of documents that left the workers
        self.documents_finished = self.pages_finished = 0  # likewise
        self._rendered: Counter[str] = Counter()  # pages of documents that are not finished
        self.seen: Callable[[PageInfo], None] = lambda _: None

    def run(self, jobs: Iterable[Job]) -> Iterator[FeatureBatch | PageFailure]:
        """Yields the features of every wanted page, and a failure for each that has none; in no fixed order."""
        with self._renderer() as renderer:
            before = renderer.stats.seconds
            renderer.stats.converted = self.converted
            feeder = _Background(self._batches(renderer, jobs), _BATCHES_AHEAD)
            self._running = renderer, feeder
            try:
                yield from self._features(feeder)
            finally:
                self.stopped.set()
                feeder.stop()
                if self._warm is None or not renderer.idle:
                    renderer.stop()
                feeder.join()
                self.seconds["render"] += renderer.stats.seconds - before
                self.seconds["wait"] += feeder.waited
                self._running = None

    def so_far(self) -> dict[str, float]:
        """What each stage took until now, while it runs."""
        if self._running is None:
            return dict(self.seconds)
        renderer, feeder = self._running
        now = {"render": renderer.stats.seconds, "wait": feeder.waited}
        return {stage: seconds + now.get(stage, 0.0) for stage, seconds in self.seconds.items()}

    def _renderer(self) -> AbstractContextManager[Renderer]:
        if self._warm is None:
            return Renderer(self._options, self.workers)
        return self._warm.renderer(self._options, self.workers)

    def _features(self, batches: Iterable[list[PageImage] | PageFailure]) -> Iterator[FeatureBatch | PageFailure]:
        """Sends batches through the network; the next one is laid out while the network works."""
        running: deque[tuple[list[PageImage], Pending]] = deque()
        for item in batches:
            if isinstance(item, PageFailure):
                yield item
                continue
            pixels = np.stack([page.pixels for page in item])
            while len(running) >= self._backbone.engine.in_flight:
                yield from self._finished(*running.popleft())
            running.append((item, self._started(pixels)))
        while running:
            yield from self._finished(*running.popleft())

    def _started(self, pixels: NDArray[np.uint8]) -> Pending:
        return self._timed(partial(self._backbone.start, pixels))

    def _finished(self, pages: list[PageImage], pending: Pending) -> Iterator[FeatureBatch | PageFailure]:
        try:
            X = self._timed(pending)
        except NetworkError:
            yield from self._one_by_one(pages)
        else:
            yield from _finite(pages, X)

    def _one_by_one(self, pages: list[PageImage]) -> Iterator[FeatureBatch | PageFailure]:
        """Tries the pages of a batch again that failed; one that fails alone has no features.

        Raises:
            NetworkError: The network does not take a page of the plainest shape either, so it is not the pages' fault.
        """
        if len(pages) > 1:
            for page in pages:
                yield from self._finished([page], self._started(page.pixels[np.newaxis]))
            return
        size = self._backbone.identity.recipe.size
        self._backbone(np.full((1, size, size, 3), 255, np.uint8))
        rows, columns, _ = pages[0].pixels.shape
        message = f"the network takes no pages of {columns} x {rows} pixels: with --resize squash all are squares"
        yield PageFailure(pages[0].info.ref, "page_error", message)

    def _timed(self, call: Callable[[], T]) -> T:
        """Runs a call of the network and adds its time to the stage."""
        begin = time.perf_counter()
        result = call()
        self.seconds["forward"] += time.perf_counter() - begin
        return result

    def _upright(self, results: Sequence[PageImage | PageFailure]) -> Sequence[PageImage | PageFailure]:
        """Results with the pages turned that lie sideways or upside down, where the space has it so."""
        if self._backbone.turner is None:
            return results
        if self._turns is None:
            return upright(results, self._backbone.turner)
        known = self._turns
        return [
            turned_page(r, known.get((r.info.ref.document_sha256, r.info.ref.page_index), 0))
            if isinstance(r, PageImage)
            else r
            for r in results
        ]

    def _batches(self, renderer: Renderer, jobs: Iterable[Job]) -> Iterator[list[PageImage] | PageFailure]:
        """Gathers pages of one shape, so that no padding is computed."""
        waiting: dict[tuple[int, ...], list[PageImage]] = {}
        count = 0
        for rendered in renderer.render(jobs):
            self._rendered[rendered.document.sha256] += len(rendered.results)
            if rendered.finished:
                self.bytes_finished += rendered.document.size
                self.documents_finished += 1
                self.pages_finished += self._rendered.pop(rendered.document.sha256)
            for result in self._upright(rendered.results):
                if isinstance(result, PageFailure):
                    yield result
                    continue
                shape = result.pixels.shape
                if not result.pixels.size:
                    self.seen(result.info)
                    continue
                waiting.setdefault(shape, []).append(result)
                count += 1
                if count > _BATCHES_WAITING * self._batch_size:
                    shape = max(waiting, key=lambda shape: len(waiting[shape]))
                elif len(waiting[shape]) < self._batch_size:
                    continue
                count -= len(waiting[shape])
                yield waiting.pop(shape)
        yield from waiting.values()


def upright(results: Sequence[PageImage | PageFailure], turner: UprightTurner) -> list[PageImage | PageFailure]:
    """Pages as they are, but scans and photos that lie sideways or upside down, which are turned.

    Pages with text of their own are not asked about: they are drawn as their document says.
    """
    shapes: dict[tuple[int, ...], list[int]] = {}
    for place, result in enumerate(results):
        if isinstance(result, PageImage) and result.info.source_kind in _MAY_LIE and result.info.outcome != "blank":
            shapes.setdefault(result.pixels.shape, []).append(place)
    found = list(results)
    for places in shapes.values():
        pages = [page for place in places if isinstance(page := found[place], PageImage) and page.pixels.size]
        if not pages:
            continue
        turns = turner.turns(np.stack([page.pixels for page in pages]))
        for place, page, degrees in zip(places, pages, turns.tolist(), strict=True):
            found[place] = turned_page(page, degrees)
    return found


def turned_page(page: PageImage, degrees: int) -> PageImage:
    """A page turned clockwise, and noted as such."""
    return PageImage(replace(page.info, turned=degrees), turned(page.pixels, degrees)) if degrees else page


def _finite(batch: list[PageImage], X: NDArray[np.float32]) -> Iterator[FeatureBatch | PageFailure]:
    """Passes on rows that float16 can hold; anything else would poison every classifier."""
    with np.errstate(over="ignore"):
        good = np.atleast_1d(np.isfinite(X.astype(np.float16)).all(axis=1))
    if good.any():
        pages = tuple(page.info for page, fine in zip(batch, good, strict=True) if fine)
        yield FeatureBatch(pages, X[good])
    for page, fine in zip(batch, good, strict=True):
        if not fine:
            yield PageFailure(page.info.ref, "page_error", "the network's features are not finite numbers")


def render_page(
    document: Document,
    index: int,
    recipe: Recipe,
    interpolation: str,
    settings: Settings,
    *,
    cues: bool = False,
    words: bool = False,
    turner: UprightTurner | None = None,
) -> PageImage:
    """One page as a network sees it.

    Args:
        document: Its document.
        index: Which page, from 0.
        recipe: Size and resize rule.
        interpolation: How images are scaled.
        settings: Limits, passwords, and what the page may cost.
        cues: Tell the cues of the page as well.
        words: Tell its words as well.
        turner: What turns it upright; None where it is taken as it is.

    Raises:
        DocumentError: The page cannot be rendered, or there is none of that number.
    """
    extras = frozenset({WORDS} if words else ())
    options = ReadOptions(recipe, interpolation, settings.limits, settings.passwords, cues, extras)
    with Renderer(options) as renderer:
        job = Job(document, Selection(((index + 1, index + 1),)))
        for page in (page for rendered in renderer.render([job]) for page in rendered.results):
            if isinstance(page, PageFailure):
                raise DocumentError(page.kind, f"{page.page}: {page.message}")
            (drawn,) = upright([page], turner) if turner is not None else [page]
            return drawn if isinstance(drawn, PageImage) else page
    raise DocumentError("page_error", f"{document.path} has no page {index + 1}")


def render_pages(
    wanted: Iterable[tuple[Document, int]], size: int = 320, *, options: ReadOptions | None = None
) -> dict[tuple[str, int], NDArray[np.uint8]]:
    """Pictures of some pages, for people to look at.

    Args:
        wanted: Documents and page indices.
        size: Pixels of the long side.
        options: How they are rendered, where it must be exactly so.

    Returns:
        uint8 (H, W, 3) by (sha256, page index); pages that cannot be rendered are missing.
    """
    pages = each_page(wanted, size, options=options)
    return {(page.info.ref.document_sha256, page.info.ref.page_index): page.pixels for page in pages}


def each_page(
    wanted: Iterable[tuple[Document, int]], size: int = 320, *, options: ReadOptions | None = None
) -> Iterator[PageImage]:
    """As `render_pages`, one after the other, in no fixed order: for more pictures than the memory should hold."""
    wanted = list(wanted)
    with page_renderer(options or ReadOptions(Recipe(size=size, resize="aspect")), len(wanted)) as renderer:
        yield from (page for page in stream_pages(wanted, renderer) if isinstance(page, PageImage))


def page_renderer(options: ReadOptions, pages: int) -> Renderer:
    """A renderer for so many pages, with no more workers than there are cores, memory and pages for."""
    return Renderer(options, max(1, min(render_workers(), pages)))


def stream_pages(wanted: Iterable[tuple[Document, int]], renderer: Renderer) -> Iterator[PageImage | PageFailure]:
    """Renders some pages and yields them as they come, in no fixed order, so that they need not all be in memory.

    Args:
        wanted: Documents and page indices.
        renderer: Its workers start with the first page; it can be used again.
    """
    numbers: dict[Document, list[int]] = {}
    for document, index in dict.fromkeys(wanted):
        numbers.setdefault(document, []).append(index + 1)
    jobs = (Job(document, Selection(tuple((n, n) for n in own))) for document, own in numbers.items())
    for rendered in renderer.render(jobs):
        yield from rendered.results
