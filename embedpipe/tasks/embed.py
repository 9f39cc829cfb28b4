"""Files in, features out: what `embed` does, from the walk to the written part.

intake (walk, identify) -> streaming (render, network) -> FeatureWriter and ExtrasWriter, in a thread of its own
"""

import math
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from embedpipe.backbones.engines import Backbone
from embedpipe.core.machine import available_cores
from embedpipe.core.other_formats import counted, in_words
from embedpipe.core.records import (
    OTHER_FORMAT,
    RETRIED,
    WHOLE_FILE,
    Document,
    FeatureBatch,
    PageFailure,
    PageInfo,
    PageRef,
)
from embedpipe.embedding.intake import Intake, Report
from embedpipe.embedding.recognition import keep_recognised, lacking
from embedpipe.embedding.streaming import PageStream, Settings
from embedpipe.pages.rendering import Job, Selection
from embedpipe.pages.walking import Input
from embedpipe.store.feature_writer import FeatureWriter
from embedpipe.store.features import FeatureStore
from embedpipe.store.page_extras import TABLES, ExtrasWriter
from embedpipe.store.sorted_ledger import refuse_unknown
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import label
from embedpipe.tasks.embed_forecast import AGAIN, FIRST_PAGES, Forecast, Heap, Load, forecast, page_bytes

_SAMPLED_DOCUMENTS = 16


@dataclass(frozen=True, slots=True)
class Progress:
    """Called after each step.

    Attributes:
        pages: Done so far, of the stage.
        bytes_done: Bytes of the files that are done; of recognition, its pages.
        bytes_total: Of all.
        stage: What is done to the pages.
        forecast: What the rest takes; told once, after the first pages.
    """

    pages: int
    bytes_done: int
    bytes_total: int
    stage: str = "embedding"
    forecast: Forecast | None = None


def embed(
    workspace: Workspace,
    inputs: Iterable[Input],
    backbone: Backbone,
    *,
    settings: Settings | None = None,
    label_by_folder: bool = False,
    retry_failed: bool = False,
    keep: Collection[str] = tuple(TABLES),
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
        keep: What else is kept of pages, of `page_extras.TABLES`; stored pages that lack it are drawn again,
            without the network.
        progress: Called now and then.

    Returns:
        What was done. On Ctrl-C everything that was computed is kept, and `interrupted` is set; where
        `settings.budget` is used up, `out_of_time` is.

    Raises:
        EmbedpipeError: An input does not exist, or the artifacts cannot be written; or folders hold answers, not
            labels.
    """
    inputs = list(inputs)
    if label_by_folder:
        refuse_unknown(given for given in inputs if isinstance(given, str))
    with workspace.writing("embed"):
        store = FeatureStore.create(workspace.store_path(backbone.identity.space), backbone.identity, backbone.blocks)
        run = _EmbedRun(workspace, store, backbone, settings or Settings(), keep, retry_failed=retry_failed)
        report = run.run(inputs, progress or (lambda _: None))
        report.kept_labels = label.follow_files(workspace, report.changed)
        if label_by_folder:
            label.take_folders(workspace, run.in_folders, "embed --label-by folder")
        if "words" in keep and run.settings.ocr and not (report.interrupted or report.out_of_time):
            run.recognise(workspace, progress or (lambda _: None))
        return report


@dataclass(frozen=True, slots=True)
class _Filling:
    """Pages of a document that have features and lack something else; and whether nothing else of it is wanted."""

    pages: frozenset[int] = frozenset()
    only: bool = False


class _EmbedRun:
    """One call of `embed`: decides what is missing, and counts what is done."""

    def __init__(
        self,
        workspace: Workspace,
        store: FeatureStore,
        backbone: Backbone,
        settings: Settings,
        keep: Collection[str],
        *,
        retry_failed: bool,
    ) -> None:
        engine = backbone.engine
        self._knobs = {"engine": engine.name, "device": engine.device, "precision": engine.precision}
        self.writer = FeatureWriter(store, self._knobs)
        self.extras = ExtrasWriter(workspace.root, keep)
        self._made = frozenset(keep)
        self._filling: dict[str, _Filling] = {}
        self.report = Report()
        self.in_folders: list[tuple[Document, str | None]] = []
        self._sources = workspace.sources()
        self._backbone = backbone
        self.settings = settings
        self._retry_failed = retry_failed
        self._documents: dict[str, Document] = {}
        self._bytes_handed_out = 0
        self._end = math.inf  # of the budget
        self._sized: list[PageInfo] = []  # pages that the next forecast is made of
        self._foreseen_at, self._files, self._handed_out = FIRST_PAGES, 0, 0
        self._first = self._reading = 0.0
        self._books = threading.Lock()  # the feeder's thread finds failures too, while the writer's counts pages

    def run(self, inputs: Iterable[Input], progress: Callable[[Progress], None]) -> Report:
        """Does the work; see `embed`."""
        begin = time.perf_counter()
        self._end = math.inf if self.settings.budget is None else begin + self.settings.budget
        intake = Intake(inputs, self.settings, self._sources, self.report)
        self._files, total = intake.size()
        stream = PageStream(self._backbone, self.settings, self._files, extras=self._made)
        stream.seen = self._fill
        writing = 0.0
        with ThreadPoolExecutor(1, "embedpipe-writer") as pool:
            pending: Future[float] | None = None
            try:
                for item in stream.run(self._jobs(intake, stream.stopped)):
                    if pending is not None:
                        writing += pending.result()  # a full disk ends the run here
                    if stream.converted:
                        self._knobs["converters"] = "; ".join(sorted(stream.converted))
                    pending = pool.submit(self._keep, item)
                    unpacked = intake.bytes_unpacked
                    done = intake.bytes_done + unpacked - self._bytes_handed_out + stream.bytes_finished
                    foreseen = self._foreseen(stream, total + unpacked - done)
                    progress(Progress(self.report.embedded, done, total + unpacked, forecast=foreseen))
                    if self._out_of_time():
                        break
            except KeyboardInterrupt:
                self.report.interrupted = True
            if pending is not None:
                writing += pending.result()
            intake.settle()
            writing += pool.submit(self._finish, intake).result()
        self.in_folders, self._documents = intake.in_folders, intake.documents
        self.report.documents = len(intake.documents) - self._failed_documents(intake)
        self.report.seconds = time.perf_counter() - begin
        self.report.stages = {**stream.seconds, "write": writing}
        self.report.converted = stream.converted
        return self.report

    def _foreseen(self, stream: PageStream, bytes_left: int) -> Forecast | None:
        """What the rest takes, when enough pages are done for the first time, or ten times as many as the last time."""
        if self.report.embedded < self._foreseen_at or not stream.pages_finished:
            return None
        self._foreseen_at = AGAIN * self.report.embedded
        engine, spent = self._backbone.engine, stream.so_far()
        load = Load(
            time.perf_counter() - self._first,
            spent["render"],
            spent["forward"],
            spent["wait"],
            self._reading,
            stream.workers,
            available_cores(),
            engine.device,
        )
        going = self._handed_out - stream.documents_finished
        heap = Heap(
            stream.pages_finished,
            stream.documents_finished,
            stream.bytes_finished,
            self._files - self.report.files + going,
            bytes_left,
        )
        sized, self._sized = page_bytes(self._sized, self.writer.store.dim), []
        stored = sum(map(len, self.writer.known.values()))
        return forecast(load, self.report.embedded, heap, sized, self.writer.store.path, stored)

    def _out_of_time(self) -> bool:
        """Whether the budget is used up, which is noted."""
        if time.perf_counter() >= self._end:
            self.report.out_of_time = True
        return self.report.out_of_time

    def recognise(self, workspace: Workspace, progress: Callable[[Progress], None]) -> None:
        """Recognises the text of the pages of this run that are to be recognised and were not; see `embed`."""
        begin = time.perf_counter()
        pages = FeatureStore.open(self.writer.store.path).pages()
        pages = pages[pages["document_sha256"].isin(list(self._documents))]
        wanted = lacking(workspace, pages, self.settings, retry_failed=self._retry_failed)

        def tell(done: int, total: int) -> None:
            progress(Progress(done, done, total, "recognising text"))
            if self._out_of_time():
                raise KeyboardInterrupt  # which ends it, with all that was recognised kept

        found = {self._documents[sha256]: indices for sha256, indices in wanted.items()}
        complete = keep_recognised(workspace, found, self.settings, self.report.recognised, tell)
        self.report.interrupted = not (complete or self.report.out_of_time)
        self.report.stages["recognise"] = time.perf_counter() - begin

    def _failed_documents(self, intake: Intake) -> int:
        return sum(
            f.page.page_index == WHOLE_FILE and f.page.document_sha256 in intake.documents for f in self.report.failures
        )

    def _jobs(self, intake: Intake, stopped: threading.Event) -> Iterator[Job]:
        items = iter(intake)
        while True:
            begin = time.perf_counter()
            item = next(items, None)
            self._reading += (time.perf_counter() - begin) if self._first else 0.0
            if item is None or stopped.is_set() or self._out_of_time():
                return
            with self._books:
                if isinstance(item, PageFailure):
                    self._note(item)
                    continue
                job = self._missing(item)
            if job is not None:
                self._first = self._first or time.perf_counter()
                self._bytes_handed_out += job.document.size
                self._handed_out += 1
                yield job

    def _note(self, failure: PageFailure) -> None:
        self.report.fail(failure)
        self.writer.fail(failure)

    def _missing(self, document: Document) -> Job | None:
        """What is still to do for a document; counts what is not."""
        sha256 = document.sha256
        selection = self.settings.selection
        stored = self.writer.known.get(sha256, set())
        # what could not be read, or changed while it was, says nothing about the content: it is always tried again
        failures = [] if self._retry_failed else [f for f in self.writer.failures_of(sha256) if f.kind not in RETRIED]
        if any(f.page.page_index == WHOLE_FILE for f in failures):
            for failure in failures:
                self._fail_again(failure, document)
            return None
        # a kill between a part and its failures can leave a page in both
        failed = {f.page.page_index: f for f in failures if f.page.page_index not in stored}
        count = self.writer.page_counts.get(sha256)
        wanted = set(selection.indices(count)) if count else stored | failed.keys()
        self.report.skipped += len(wanted & stored)
        lacking = self.extras.lacking(sha256, wanted & stored)
        for index in sorted(wanted & failed.keys()):
            self._fail_again(failed[index], document)
        complete = bool(count) and wanted <= stored | failed.keys()
        if complete and not lacking:
            return None
        self._filling[sha256] = _Filling(frozenset(lacking), complete)
        return Job(document, selection, frozenset(stored - lacking | failed.keys()), frozenset(lacking))

    def _fail_again(self, failure: PageFailure, document: Document) -> None:
        """Counts a failure that is known from an earlier run, at the document's place of today."""
        moved = _moved(failure, document)
        self.report.fail(moved)
        if moved != failure:
            self.writer.fail(moved)

    def _keep(self, item: FeatureBatch | PageFailure) -> float:
        begin = time.perf_counter()
        with self._books:
            if isinstance(item, PageFailure):
                if not self._given_up(item):
                    self._note(item)
            else:
                self.extras.append(item.pages)  # first: features without them would have their pages drawn again
                self.writer.append(item)
                self.report.embedded += len(item.pages)
                self._sized += item.pages if len(self._sized) < FIRST_PAGES else ()
                self.report.outcomes.update(info.outcome for info in item.pages)
        return time.perf_counter() - begin

    def _fill(self, info: PageInfo) -> None:
        """Keeps what a page lacked whose features are stored."""
        with self._books:
            self.extras.append([info])
            self.report.filled += 1

    def _given_up(self, failure: PageFailure) -> bool:
        """Notes pages that have features and could not be drawn again; whether it was nothing else that failed."""
        sha256, index = failure.page.document_sha256, failure.page.page_index
        filling = self._filling.get(sha256, _Filling())
        pages = filling.pages if index == WHOLE_FILE else filling.pages & {index}
        if failure.kind not in RETRIED:  # what changes while it is read says nothing about the content
            for page in pages:
                self.extras.give_up((sha256, page), f"{failure.kind}: {failure.message}")
        return bool(pages) and (index != WHOLE_FILE or filling.only)

    def _finish(self, intake: Intake) -> float:
        begin = time.perf_counter()
        failed = {failure.page.source for failure in self.report.failures}
        for path, what in self.report.unread:
            self.writer.fail(PageFailure(PageRef("", WHOLE_FILE, path), OTHER_FORMAT, what))
            failed.add(path)
        self.writer.drop_failures(path for path in self.writer.unread() if path not in failed and intake.in_reach(path))
        self.extras.flush()
        self.writer.flush()
        self._sources.save()
        return time.perf_counter() - begin


def _moved(failure: PageFailure, document: Document) -> PageFailure:
    """A failure that is known from an earlier run, at the document's place of today."""
    page = PageRef(document.sha256, failure.page.page_index, document.path)
    return PageFailure(page, failure.kind, failure.message)


def plan_run(
    workspace: Workspace,
    inputs: Iterable[str],
    backbone: Backbone,
    settings: Settings,
    progress: Callable[[Progress], None] | None = None,
) -> dict[str, Any]:
    """What `embed` would do, and about how long it would take, estimated from a sample of the new documents.

    Returns:
        documents, new_documents, ignored, unread (by format), duplicates, failed, changed, gone,
        unreachable, and estimates: pages, seconds.
    """
    report = Report()
    intake = Intake(inputs, settings, workspace.sources(), report)
    _, total = intake.size()
    items: list[Document | PageFailure] = []
    for item in intake:
        items.append(item)
        if progress is not None:
            progress(Progress(len(items), intake.bytes_done, total, "reading files"))
    intake.settle()
    documents = [item for item in items if isinstance(item, Document)]
    path = workspace.store_path(backbone.identity.space)
    known = set(FeatureStore.open(path).pages()["document_sha256"]) if (path / "manifest.json").exists() else set()
    new = [document for document in documents if document.sha256 not in known]
    sample = new[:: max(1, len(new) // _SAMPLED_DOCUMENTS)][:_SAMPLED_DOCUMENTS]
    counts: dict[str, int] = {}
    embedded, begin = 0, time.perf_counter()
    stream, sampled = PageStream(backbone, settings, len(sample)), sum(document.size for document in sample)
    for batch in stream.run(Job(d, Selection(((1, 4),))) for d in sample):
        if progress is not None:
            progress(Progress(embedded, stream.bytes_finished, sampled, "embedding a sample"))
        if isinstance(batch, FeatureBatch):
            embedded += len(batch.pages)
            counts.update({info.ref.document_sha256: info.page_count for info in batch.pages})
    rate = embedded / max(time.perf_counter() - begin, 1e-3) if embedded else 0.0
    pages = round(len(new) * sum(counts.values()) / len(counts)) if counts else 0
    return {
        "documents": len(documents),
        "new_documents": len(new),
        "ignored": report.ignored,
        "duplicates": report.duplicates,
        "same_files": report.same_files,
        "others": dict(report.others),
        "unread": counted(what for _, what in report.unread),
        "failed": len(items) - len(documents),
        "changed": len(report.changed),
        "gone": len(report.gone),
        "passed_over": len(report.left),
        "unreachable": len(report.unreachable),
        "estimated_pages": pages,
        "estimated_seconds": round(pages / rate, 1) if rate else 0.0,
    }


def describe_plan(plan: dict[str, Any]) -> str:
    """A plan in one line."""
    unread = f" ({in_words(plan['unread'])})" if plan["unread"] else ""
    return (
        f"{plan['documents']} documents, {plan['new_documents']} of them with pages to embed (about "
        f"{plan['estimated_pages']} pages, about {plan['estimated_seconds']:.0f} s); {plan['duplicates']} duplicate "
        f"files, {plan['ignored']} other files{unread}, {plan['failed']} that cannot be read; "
        f"{plan['changed']} files changed and {plan['gone']} are gone since; nothing was written"
    )
