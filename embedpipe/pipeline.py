"""Files in, features out: the one path that every page takes, whether it is one page or a million.

    walk, identify -> Renderer (worker processes) -> batches of one shape -> backbone -> FeatureStore

Rendering, the network and the writing of parts run side by side: a thread feeds the workers and forms batches, the
calling thread drives the network, and another thread writes.
"""

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from embedpipe.documents import Limits, ReadOptions
from embedpipe.features import FeatureStore, FeatureWriter
from embedpipe.labels import Label
from embedpipe.machine import available_cores
from embedpipe.records import WHOLE_FILE, Document, FeatureBatch, PageFailure, PageImage, PageRef, Recipe
from embedpipe.rendering import Guards, Job, Renderer, Selection
from embedpipe.texts import path_to_text
from embedpipe.walking import FoundFile, IgnoredFile, identify, walk
from embedpipe.workspace import Sources, Workspace

if TYPE_CHECKING:  # the network's library is slow to load and only needed by whoever makes a Backbone
    from embedpipe.backbones import Backbone

T = TypeVar("T")
DEFAULT_BATCH_SIZE = 16
_BATCHES_AHEAD = 4
_SAMPLED_DOCUMENTS = 16


@dataclass(frozen=True, slots=True)
class Settings:
    """How documents are read and what they may cost. None of it changes the features.

    Attributes:
        selection: Which pages of each document.
        limits: What is refused as too large.
        passwords: To try on encrypted PDFs.
        page_seconds: Longest time for one page.
        page_bytes: Most memory for one page.
        workers: Render processes; 0 for as many as the machine has cores.
        batch_size: Pages per call of the network.
        trust_mtime: Take size and time of change for the content of files that were hashed before.
    """

    selection: Selection = field(default_factory=Selection)
    limits: Limits = field(default_factory=Limits)
    passwords: tuple[str, ...] = ()
    page_seconds: float = 30.0
    page_bytes: int = 2 * 1024**3
    workers: int = 0
    batch_size: int = DEFAULT_BATCH_SIZE
    trust_mtime: bool = False


@dataclass(slots=True)
class Report:
    """What a run did.

    `files` = documents + duplicates + ignored + failed_files; `pages` = embedded + skipped + failed_pages.

    Attributes:
        outcomes: How many pages (or files, where they cannot be opened) had each outcome in this run.
        failures: The failures, also those known from earlier runs.
        stages: Seconds per stage: `render` is the workers' time, `wait` is how long the network waited for pages.
    """

    files: int = 0
    documents: int = 0
    duplicates: int = 0
    ignored: int = 0
    failed_files: int = 0
    embedded: int = 0
    skipped: int = 0
    failed_pages: int = 0
    seconds: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[PageFailure] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def pages(self) -> int:
        """Pages of the inputs that have an outcome."""
        return self.embedded + self.skipped + self.failed_pages

    @property
    def failed(self) -> int:
        """Pages and files without features."""
        return self.failed_pages + self.failed_files

    def fail(self, failure: PageFailure) -> None:
        """Counts a failure."""
        self.failures.append(failure)
        self.outcomes[failure.kind] += 1
        if failure.page.page_index == WHOLE_FILE:
            self.failed_files += 1
        else:
            self.failed_pages += 1


@dataclass(frozen=True, slots=True)
class Progress:
    """Told after each step: pages done so far, and bytes of files taken in out of all."""

    pages: int
    bytes_done: int
    bytes_total: int


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
    """

    def __init__(self, backbone: "Backbone", settings: Settings, files: int) -> None:
        self._backbone = backbone
        self._settings = settings
        identity = backbone.identity
        self._options = ReadOptions(identity.recipe, identity.interpolation, settings.limits, settings.passwords)
        workers = settings.workers or available_cores()
        self._guards = Guards(settings.page_seconds, settings.page_bytes, max(1, min(workers, files)))
        self.seconds = {"render": 0.0, "forward": 0.0, "wait": 0.0}
        self.stopped = threading.Event()

    def run(self, jobs: Iterable[Job]) -> Iterator[FeatureBatch | PageFailure]:
        """Yields the features of every wanted page, and a failure for each that has none; in no fixed order."""
        with Renderer(self._options, self._guards) as renderer:
            feeder = _Background(self._batches(renderer, jobs), _BATCHES_AHEAD)
            try:
                for item in feeder:
                    if isinstance(item, PageFailure):
                        yield item
                        continue
                    begin = time.perf_counter()
                    X = self._backbone(np.stack([page.pixels for page in item]))
                    self.seconds["forward"] += time.perf_counter() - begin
                    yield from _finite(item, X)
            finally:
                self.stopped.set()
                feeder.stop()
                renderer.stop()
                feeder.join()
                self.seconds["render"] += renderer.stats.seconds
                self.seconds["wait"] += feeder.waited

    def _batches(self, renderer: Renderer, jobs: Iterable[Job]) -> Iterator[list[PageImage] | PageFailure]:
        """Gathers pages of one shape, so that no padding is computed."""
        waiting: dict[tuple[int, ...], list[PageImage]] = {}
        for rendered in renderer.render(jobs):
            for result in rendered.results:
                if isinstance(result, PageFailure):
                    yield result
                    continue
                batch = waiting.setdefault(result.pixels.shape, [])
                batch.append(result)
                if len(batch) == self._settings.batch_size:
                    yield waiting.pop(result.pixels.shape)
        yield from waiting.values()


def _finite(batch: list[PageImage], X: np.typing.NDArray[np.float32]) -> Iterator[FeatureBatch | PageFailure]:
    """Passes on rows that float16 can hold; anything else would poison every classifier."""
    with np.errstate(over="ignore"):
        good = np.atleast_1d(np.isfinite(X.astype(np.float16)).all(axis=1))
    if good.any():
        pages = tuple(page.info for page, fine in zip(batch, good, strict=True) if fine)
        yield FeatureBatch(pages, X[good])
    for page, fine in zip(batch, good, strict=True):
        if not fine:
            yield PageFailure(page.info.ref, "page_error", "the network's features are not finite numbers")


class Intake:
    """Walks the inputs, hashes what it finds, and says which documents still have pages to do.

    Attributes:
        documents: Every distinct document by hash, in the order met.
        labels: Labels by folder, for documents below a type's folder.
        bytes_done: Bytes of files taken in.
    """

    def __init__(self, inputs: Iterable[str], settings: Settings, sources: Sources, report: Report) -> None:
        self.documents: dict[str, Document] = {}
        self.labels: list[Label] = []
        self.bytes_done = 0
        self._inputs = list(inputs)
        self._settings = settings
        self._sources = sources
        self._report = report

    def size(self) -> tuple[int, int]:
        """Files and bytes to come; walks the inputs once, without opening a file."""
        found = [item.size for item in walk(self._inputs) if isinstance(item, FoundFile)]
        return len(found), sum(found)

    def __iter__(self) -> Iterator[Document | PageFailure]:
        for found in walk(self._inputs):
            self._report.files += 1
            item = self._identify(found) if isinstance(found, FoundFile) else found
            if isinstance(item, IgnoredFile):
                self._report.ignored += 1
            elif isinstance(item, PageFailure):
                yield item
            elif isinstance(found, FoundFile):
                self._sources.add(item)
                if found.type_folder is not None:
                    self.labels.append(Label(item.sha256, item.path, path_to_text(found.type_folder)))
                if item.sha256 in self.documents:
                    self._report.duplicates += 1
                else:
                    self.documents[item.sha256] = item
                    yield item
            self.bytes_done += found.size if isinstance(found, FoundFile) else 0

    def _identify(self, found: FoundFile) -> Document | IgnoredFile | PageFailure:
        known = self._sources.unchanged(found) if self._settings.trust_mtime else None
        return known or identify(found, self._settings.limits)


def embed(
    workspace: Workspace,
    inputs: Iterable[str],
    backbone: "Backbone",
    *,
    settings: Settings | None = None,
    label_by_folder: bool = False,
    retry_failed: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Renders and embeds every page of files and folders that the store does not hold yet.

    Args:
        workspace: Where the store is.
        inputs: Files and folders.
        backbone: Gives the space.
        settings: How documents are read.
        label_by_folder: Take the folder directly below an input as the type of the documents in it.
        retry_failed: Try again what failed in an earlier run.
        progress: Called now and then.

    Returns:
        What was done. On Ctrl-C everything that was computed is kept, and `interrupted` is set.

    Raises:
        EmbedpipeError: An input does not exist, or the artifacts cannot be written.
    """
    with workspace.writing("embed"):
        store = FeatureStore.create(workspace.store_path(backbone.identity.space), backbone.identity, backbone.blocks)
        run = _EmbedRun(workspace, store, backbone, settings or Settings(), retry_failed=retry_failed)
        report = run.run(inputs, progress or (lambda _: None))
        if label_by_folder:
            labels = workspace.labels()
            labels.add(run.labels)
            labels.save(workspace.labels_file)
        return report


class _EmbedRun:
    """One call of `embed`: decides what is missing, and keeps the books."""

    def __init__(
        self, workspace: Workspace, store: FeatureStore, backbone: "Backbone", settings: Settings, *, retry_failed: bool
    ) -> None:
        engine = backbone.engine
        knobs = {"engine": engine.name, "device": engine.device, "precision": engine.precision}
        self.writer = FeatureWriter(store, knobs)
        self.report = Report()
        self.labels: list[Label] = []
        self._sources = workspace.sources()
        self._backbone = backbone
        self._settings = settings
        self._retry_failed = retry_failed
        self._books = threading.Lock()  # the feeder's thread finds failures too, while the writer's counts pages

    def run(self, inputs: Iterable[str], progress: Callable[[Progress], None]) -> Report:
        """Does the work; see `embed`."""
        begin = time.perf_counter()
        intake = Intake(inputs, self._settings, self._sources, self.report)
        files, total = intake.size()
        stream = PageStream(self._backbone, self._settings, files)
        writing = 0.0
        with ThreadPoolExecutor(1, "embedpipe-writer") as pool:
            pending: Future[float] | None = None
            try:
                for item in stream.run(self._jobs(intake, stream.stopped)):
                    if pending is not None:
                        writing += pending.result()  # a full disk ends the run here
                    pending = pool.submit(self._keep, item)
                    progress(Progress(self.report.embedded, intake.bytes_done, total))
            except KeyboardInterrupt:
                self.report.interrupted = True
            if pending is not None:
                writing += pending.result()
            writing += pool.submit(self._finish).result()
        self.labels = intake.labels
        self.report.documents = len(intake.documents) - self._failed_documents(intake)
        self.report.seconds = time.perf_counter() - begin
        self.report.stages = {**stream.seconds, "write": writing}
        return self.report

    def _failed_documents(self, intake: Intake) -> int:
        return sum(
            f.page.page_index == WHOLE_FILE and f.page.document_sha256 in intake.documents for f in self.report.failures
        )

    def _jobs(self, intake: Intake, stopped: threading.Event) -> Iterator[Job]:
        for item in intake:
            if stopped.is_set():
                return
            with self._books:
                if isinstance(item, PageFailure):
                    self._note(item)
                    continue
                job = self._missing(item)
            if job is not None:
                yield job

    def _note(self, failure: PageFailure) -> None:
        self.report.fail(failure)
        self.writer.fail(failure)

    def _missing(self, document: Document) -> Job | None:
        """What is still to do for a document; counts what is not."""
        sha256 = document.sha256
        selection = self._settings.selection
        stored = self.writer.known.get(sha256, set())
        # what could not be read, or changed while it was, says nothing about the content: it is always tried again
        failures = [] if self._retry_failed else [f for f in self.writer.failures_of(sha256) if f.kind != "unreadable"]
        if any(f.page.page_index == WHOLE_FILE for f in failures):
            for failure in failures:
                self.report.fail(_moved(failure, document))
            return None
        # a kill between a part and its failures can leave a page in both
        failed = {f.page.page_index: f for f in failures if f.page.page_index not in stored}
        count = self.writer.page_counts.get(sha256)
        wanted = set(selection.indices(count)) if count else stored | failed.keys()
        self.report.skipped += len(wanted & stored)
        for index in sorted(wanted & failed.keys()):
            self.report.fail(_moved(failed[index], document))
        if count and wanted <= stored | failed.keys():
            return None
        return Job(document, selection, frozenset(stored | failed.keys()))

    def _keep(self, item: FeatureBatch | PageFailure) -> float:
        begin = time.perf_counter()
        with self._books:
            if isinstance(item, PageFailure):
                self._note(item)
            else:
                self.writer.append(item)
                self.report.embedded += len(item.pages)
                self.report.outcomes.update(info.outcome for info in item.pages)
        return time.perf_counter() - begin

    def _finish(self) -> float:
        begin = time.perf_counter()
        self.writer.flush()
        self._sources.save()
        return time.perf_counter() - begin


def _moved(failure: PageFailure, document: Document) -> PageFailure:
    """A failure that is known from an earlier run, at the document's place of today."""
    page = PageRef(document.sha256, failure.page.page_index, document.path)
    return PageFailure(page, failure.kind, failure.message)


def plan_run(workspace: Workspace, inputs: Iterable[str], backbone: "Backbone", settings: Settings) -> dict[str, Any]:
    """What `embed` would do, and about how long it would take, told from a sample of the new documents.

    Returns:
        documents, new_documents, ignored, duplicates, failed, and estimates: pages, seconds.
    """
    report = Report()
    items = list(Intake(inputs, settings, workspace.sources(), report))
    documents = [item for item in items if isinstance(item, Document)]
    path = workspace.store_path(backbone.identity.space)
    known = set(FeatureStore.open(path).pages()["document_sha256"]) if (path / "manifest.json").exists() else set()
    new = [document for document in documents if document.sha256 not in known]
    sample = new[:: max(1, len(new) // _SAMPLED_DOCUMENTS)][:_SAMPLED_DOCUMENTS]
    counts: dict[str, int] = {}
    embedded, begin = 0, time.perf_counter()
    for item in PageStream(backbone, settings, len(sample)).run(Job(d, Selection(((1, 4),))) for d in sample):
        if isinstance(item, FeatureBatch):
            embedded += len(item.pages)
            counts.update({info.ref.document_sha256: info.page_count for info in item.pages})
    rate = embedded / max(time.perf_counter() - begin, 1e-3) if embedded else 0.0
    pages = round(len(new) * sum(counts.values()) / len(counts)) if counts else 0
    return {
        "documents": len(documents),
        "new_documents": len(new),
        "ignored": report.ignored,
        "duplicates": report.duplicates,
        "failed": len(items) - len(documents),
        "estimated_pages": pages,
        "estimated_seconds": round(pages / rate, 1) if rate else 0.0,
    }


def describe_plan(plan: dict[str, Any]) -> str:
    """A plan in one line."""
    return (
        f"{plan['documents']} documents, {plan['new_documents']} of them with pages to embed (about "
        f"{plan['estimated_pages']} pages, about {plan['estimated_seconds']:.0f} s); {plan['duplicates']} duplicate "
        f"files, {plan['ignored']} other files, {plan['failed']} that cannot be read; nothing was written"
    )


def render_pages(
    wanted: Iterable[tuple[Document, int]], size: int = 320
) -> dict[tuple[str, int], np.typing.NDArray[np.uint8]]:
    """Pictures of some pages, for people to look at.

    Args:
        wanted: Documents and page indices.
        size: Pixels of the long side.

    Returns:
        uint8 (H, W, 3) by (sha256, page index); pages that cannot be rendered are missing.
    """
    jobs = [Job(document, Selection(((index + 1, index + 1),))) for document, index in dict.fromkeys(wanted)]
    if not jobs:
        return {}
    options = ReadOptions(Recipe(size=size, resize="aspect"))
    guards = Guards(workers=min(available_cores(), len(jobs)))
    with Renderer(options, guards) as renderer:
        pages = [page for rendered in renderer.render(jobs) for page in rendered.results]
    return {
        (page.info.ref.document_sha256, page.info.ref.page_index): page.pixels
        for page in pages
        if isinstance(page, PageImage)
    }
