"""Answers about single files and pages: classifier and network are loaded once, and requests wait in line for them."""

import asyncio
import functools
import threading
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from embedpipe.backbones.engines import Backbone
from embedpipe.classifiers.bundles import ClassifierBundle
from embedpipe.classifiers.calibration import shift
from embedpipe.classifiers.calibration.decisions import Rule
from embedpipe.classifiers.saved.answering import Answerer
from embedpipe.core.records import Document, Identity, Recipe
from embedpipe.embedding.page_pictures import documents_of
from embedpipe.embedding.streaming import Settings, stream_pages
from embedpipe.pages.documents import ReadOptions
from embedpipe.store.features import FeatureStore
from embedpipe.store.page_table import Key
from embedpipe.tasks import classify as classify_task
from embedpipe.tasks import explain as explain_task
from embedpipe.tasks.similar import Finder, LookAlikes, Wanted, identify_query
from embedpipe.web.hub import Hub, InUse
from embedpipe.web.network import SharedBackbone, load
from embedpipe.web.pictures import encoded
from embedpipe.web.problems import ProblemError

T = TypeVar("T")


class Lane:
    """Runs calls in a few threads; who comes when too many wait is told to come again.

    Args:
        name: Of its threads.
        lanes: Calls at a time.
        waiting: Calls that may wait.
    """

    def __init__(self, name: str, lanes: int, waiting: int) -> None:
        self._pool = ThreadPoolExecutor(lanes, thread_name_prefix=f"embedpipe-{name}")
        self._most, self._taken = lanes + waiting, 0

    async def run(self, call: Callable[[], T]) -> T:
        """The result of a call.

        Raises:
            ProblemError: Too many wait.
        """
        if self._taken >= self._most:
            raise ProblemError("busy", f"{self._taken} requests wait already: try again in a moment")
        self._taken += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, call)
        finally:
            self._taken -= 1

    def close(self) -> None:
        """Ends the threads once their calls are over."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class Desk:
    """Answers about files and pages. For several threads.

    Args:
        hub: The artifacts.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        caps = hub.settings.caps
        self.network_lane = Lane("network", caps.lanes, caps.waiting)
        self.search_lane = Lane("search", 2, caps.waiting)
        self.picture_lane = Lane("pictures", 2, caps.waiting)
        self.slow_lane = Lane("slow", 1, 4)
        self._backbones: dict[str, SharedBackbone] = {}
        self._loading = threading.Lock()

    def close(self) -> None:
        """Ends the threads."""
        for lane in (self.network_lane, self.search_lane, self.picture_lane, self.slow_lane):
            lane.close()

    def warm_up(self) -> None:
        """Loads what the first request would wait for; what cannot be loaded is said to whoever asks."""
        used = self._hub.in_use()
        if used is not None:
            self.backbone(self.answerer(used).identity)
        self.finder()

    @property
    def _settings(self) -> Settings:
        return replace(self._hub.settings.reading, workers=1, warm=self._hub.warm)

    def backbone(self, identity: Identity) -> Backbone:
        """The network of a space, loaded once."""
        with self._loading:
            if identity.space not in self._backbones:
                self._backbones.clear()
                loaded = load(self._hub.workspace, self._hub.settings.network, identity)
                self._backbones[identity.space] = SharedBackbone(loaded)
            return self._backbones[identity.space]

    def answerer(self, used: InUse) -> "Answerer | ClassifierBundle":
        """The classifier, loaded once; without scikit-learn where that is possible."""

        def make() -> "Answerer | ClassifierBundle":
            return Answerer.load(used.folder) or ClassifierBundle.load(used.folder)

        return self._hub.warm.kept("answerer", [used.folder / "manifest.json"], make)

    def classify(self, file: Path, name: str, rule: Rule, neighbours: int) -> dict[str, Any]:
        """What `classify --json` says of a file.

        Args:
            file: Where it is now.
            name: What it is called.
            rule: What is asked of the answer.
            neighbours: How many labelled pages are shown with it.
        """
        used = self._hub.answering()
        bundle = self.answerer(used)
        verdicts, report = classify_task.classify(
            self._hub.workspace,
            [str(file)],
            bundle,
            functools.partial(self.backbone, bundle.identity),
            rule=rule,
            neighbours=neighbours,
            settings=self._settings,
        )
        told = classify_task.with_labels(verdicts, self._hub.scribe.labels().checked)
        found = shift.as_json(report.shift, bundle.name, rule.error_rate)
        documents = [{**classify_task.as_json(one), "document": one.document_sha256 or None} for one in told]
        values = {
            "classifier": bundle.name,
            "version": used.version,
            "documents": documents,
            "shift": found,
            **report.counts_json(),
            "promise": shift.promise(bundle.documents, rule.error_rate),
        }
        renamed: dict[str, Any] = _renamed(values, str(file), name)
        return renamed

    def finder(self) -> Finder | None:
        """Finds look-alikes; None where nothing is stored yet."""
        hub = self._hub

        def make(store: FeatureStore) -> Finder:
            return Finder(hub.workspace, store, functools.partial(self.backbone, store.identity), self._settings)

        finder = hub.of_store("finder", make)
        if finder is not None:
            finder.tell_labels(hub.scribe.labels().checked)
        return finder

    def _found(self) -> Finder:
        finder = self.finder()
        if finder is None:
            raise ProblemError("conflict", "nothing is stored yet: embed documents first")
        return finder

    def similar(self, sha256: str, page: int, wanted: Wanted) -> dict[str, Any]:
        """What `similar --json` says of a stored page."""
        return _look_alikes(self._found().find_stored(sha256, page - 1, wanted))

    def similar_file(
        self, file: Path, name: str, page: int, wanted: Wanted, *, drawn: int | None = None
    ) -> dict[str, Any]:
        """What `similar --json` says of a page of a file.

        Args:
            file: Where it is now.
            name: What it is called.
            page: Its number, from 1.
            wanted: What may be found.
            drawn: Pixels of the long side of a picture of the page, which is told as well, as a data URL.
        """
        finder = self._found()
        document = identify_query(str(file), finder.settings.limits)
        values: dict[str, Any] = _renamed(_look_alikes(finder.find_like(document, page - 1, wanted)), str(file), name)
        finder.drawn.clear()  # the thumbnails of pages that are asked about are shown nowhere here
        if drawn is not None:
            picture = self._drawn([(document, page - 1)], drawn, "webp")
            values["query"]["picture"] = picture and f"data:image/webp;base64,{b64encode(picture).decode()}"
        return values

    def explain(self, sha256: str, page: int, kind: str | None) -> dict[str, Any]:
        """What `explain --json` says of a stored page, and where its grid lies on the picture of the page; slow."""
        used = self._hub.answering()
        document = self._hub.sources().document(sha256)
        if document is None:
            raise ProblemError("gone", "the file of this document is gone, or was changed since it was embedded")
        mark = [used.folder / "manifest.json"]
        bundle = self._hub.warm.kept("bundle", mark, lambda: ClassifierBundle.load(used.folder))
        query, backbone = f"{document.path}#page={page}", self.backbone(bundle.identity)
        settings = self._settings
        found = explain_task.explain(self._hub.workspace, query, bundle, backbone, kind=kind, settings=settings)
        info = found.page.info
        region = explain_task.seen_region(info, backbone.identity.recipe)
        picture = {"width": info.width, "height": info.height, "turned": info.turned, "region": region}
        return explain_task.as_json(found) | {"picture": picture}

    def picture(self, key: Key, size: int, suffix: str) -> bytes | None:
        """A page drawn from its document with so many pixels on its long side; None where that cannot be done."""
        documents = documents_of(self._hub.sources(), [key])
        return self._drawn(documents, size, suffix) if documents else None

    def _drawn(self, documents: list[tuple[Document, int]], size: int, suffix: str) -> bytes | None:
        own = self._hub.settings.reading
        options = ReadOptions(Recipe(size=size, resize="aspect"), limits=own.limits, passwords=own.passwords)
        with self._hub.warm.renderer(options, 1) as renderer:
            pages = [page for page in stream_pages(documents, renderer) if hasattr(page, "pixels")]
        return encoded(pages[0].pixels, suffix) if pages else None


def _look_alikes(found: LookAlikes) -> dict[str, Any]:
    from embedpipe.tasks.similar import as_json  # noqa: PLC0415 - of another name than those here

    values = as_json(found)
    values["query"]["document"] = found.query.document_sha256
    for told, neighbour in zip(values["neighbours"], found.neighbours, strict=True):
        told["document"] = neighbour.page.document_sha256
    return values


def _renamed(values: Any, path: str, name: str) -> Any:
    """Values in which an uploaded file has its own name, and not the one that it has here."""
    if isinstance(values, str):
        return values.replace(path, name)
    if isinstance(values, dict):
        return {key: _renamed(value, path, name) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [_renamed(value, path, name) for value in values]
    return values
