"""What all requests share: the artifacts as they are now, and what was computed of them; read again once changed."""

import logging
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from embedpipe.classifiers.saved.on_disk import MANIFEST
from embedpipe.core import versions
from embedpipe.core.cache_folder import Aside, remove_left
from embedpipe.core.claims import SERVE
from embedpipe.core.errors import ArtifactError, EmbedpipeError, UnknownNameError
from embedpipe.core.files import mark_of, read_json, sha256_of
from embedpipe.embedding.warm import Warm
from embedpipe.store.features import FeatureStore
from embedpipe.store.workspace import Sources
from embedpipe.tasks.heap import Stock, Survey, stock
from embedpipe.tasks.queue import Ranking
from embedpipe.web.events import Events
from embedpipe.web.pictures import Thumbnails
from embedpipe.web.problems import ProblemError
from embedpipe.web.scribe import Scribe
from embedpipe.web.settings import ServeSettings, reading_json, workspace_of
from embedpipe.web.working.derived import MISSING, PENDING, STALE, Derived
from embedpipe.web.working.ledger import Job, Ledger
from embedpipe.web.working.runner import Runner

T = TypeVar("T")
log = logging.getLogger(__name__)

_FAILURES = 200
"""Failures of a job that are told; `info --failures` lists all."""

_END = 20.0
"""Seconds that it may take to end."""

_PATIENCE = 0.3
"""Seconds that a list of all documents waits for how doubtful they are."""

_LOOK_AGAIN = 1.0
"""Seconds after which it is seen what another process has changed."""


@dataclass(frozen=True, slots=True)
class InUse:
    """The classifier that answers.

    Attributes:
        name: Of the classifier.
        version: The version in use.
        folder: Of this version.
        space: Whose features it takes.
        types: In the order of its columns.
        documents: How many documents it learnt from.
    """

    name: str
    version: int
    folder: Path
    space: str
    types: tuple[str, ...]
    documents: int


class Hub:
    """What all requests share. For several threads.

    Args:
        settings: How the server was started.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self.settings = settings
        remove_left()  # files that were sent to a server that was killed
        self._aside = Aside("serve") if settings.read_only else None
        self.workspace = workspace_of(settings.root, self._aside.name if self._aside is not None else None)
        if self._aside is None:
            self.workspace.claim()
        self.work = Path(self._aside.name) if self._aside is not None else settings.root / SERVE
        self.events, self.warm = Events(), Warm()
        self.scribe = Scribe(self.workspace)
        self.ledger = Ledger(self.work / "jobs")
        self.ledger.interrupt()
        how = {
            "network": asdict(settings.network),
            "reading": reading_json(settings.reading),
            "aside": self._aside.name if self._aside is not None else None,
        }
        self.runner = Runner(self.ledger, settings.root.absolute(), how, settings.caps.jobs, self._tell_job)
        self.derived = Derived(self.work / "derived", self.ledger, self.runner)
        self.thumbnails = Thumbnails(settings.root)
        self._ranking_lock = threading.Lock()
        self._ranking: tuple[object, Ranking] | None = None
        self._told: object = None
        self._doubts: dict[str, float] = {}
        self.heap_table: tuple[object, object, Any] | None = None
        self._stopped = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="embedpipe-watcher", daemon=True)
        self._marks = self._marks_now()

    def start(self) -> None:
        """Begins to look at what other processes change."""
        self._watcher.start()

    def close(self) -> None:
        """Ends jobs and workers, and writes what is to be written."""
        self._stopped.set()
        self.events.close()
        if self._watcher.is_alive():
            self._watcher.join(timeout=_END)
        self.scribe.close()
        self.runner.close()
        self.warm.close()
        if self._aside is not None:
            self._aside.cleanup()

    def in_use(self) -> InUse | None:
        """The classifier that answers: the one that was named, the one of the space, or the one fitted last."""
        known = self.workspace.classifiers()
        if self.settings.classifier is not None and known and self.settings.classifier not in known:
            raise UnknownNameError("classifier", self.settings.classifier, known)
        wanted = [self.settings.classifier] if self.settings.classifier in known else known
        found = [one for name in wanted if name is not None and (one := self._in_use(name)) is not None]
        fitting = [one for one in found if self.settings.space in (None, one.space)]
        if not fitting:
            return None
        return max(fitting, key=lambda one: mark_of(one.folder / MANIFEST) or (0, 0, 0))

    def answering(self) -> InUse:
        """As `in_use`; raises ProblemError where there is none."""
        used = self.in_use()
        if used is None:
            raise ProblemError("conflict", "there is no classifier yet: fit one, with `fit-svm` or POST /refit")
        return used

    def _in_use(self, name: str) -> InUse | None:
        folder = self.workspace.classifier_folder(name)

        def read() -> InUse | None:
            try:
                number = versions.current(folder)
                own = versions.path_of(folder, number)
                values = read_json(own / MANIFEST)
                space, types = str(values["space"]), tuple(map(str, values["classes"]))
                return InUse(name, number, own, space, types, int(values["fitted_on"]["documents"]))
            except (ArtifactError, LookupError, TypeError, ValueError):
                return None

        files = [folder / "current.json", folder / MANIFEST, folder / "versions"]
        return self.warm.kept(("classifier", name), files, read)

    def space(self) -> str | None:
        """The space that is looked at; None where nothing is stored yet.

        Raises:
            ArtifactError: There are several, and nothing says which.
        """
        if self.settings.space is not None:
            return self.settings.space
        used = self.in_use()
        if used is not None:
            return used.space
        known = sorted(folder.parent.name for folder in self.settings.root.glob("features/*/manifest.json"))
        if len(known) > 1:
            raise ArtifactError(f"there are {len(known)} spaces: start `serve` with --space: {', '.join(known)}")
        return known[0] if known else None

    def _store_files(self, space: str) -> list[Path]:
        return [self.workspace.store_path(space) / "manifest.json", self.settings.root / "sources.parquet"]

    def store(self) -> FeatureStore | None:
        """The features that are looked at; None where there are none yet."""
        space = self.space()
        if space is None or mark_of(self._store_files(space)[0]) is None:
            return None
        return self.warm.kept(("store", space), self._store_files(space), lambda: self.workspace.open_store(space))

    def sources(self) -> Sources:
        """Where the documents are; not to be changed."""
        return self.warm.kept("sources", [self.settings.root / "sources.parquet"], self.workspace.sources)

    def of_store(self, what: str, make: Callable[[FeatureStore], T]) -> T | None:
        """Something that is made of the store, and again when it changes."""
        space, store = self.space(), self.store()
        if space is None or store is None:
            return None
        return self.warm.kept((what, space), self._store_files(space), lambda: make(store))

    def stock(self) -> Stock | None:
        """The documents; None where there are none yet."""
        return self.of_store("stock", partial(stock, self.workspace))

    def paths(self) -> Mapping[str, str]:
        """Where each document is, by SHA-256."""

        def make(_: FeatureStore) -> dict[str, str]:
            held = self.stock()
            return dict(zip(held.documents, held.paths, strict=True)) if held is not None else {}

        return self.of_store("paths", make) or {}

    def key(self, *more: object) -> str:
        """By what results know that the documents, and what else they come from, are the same still."""
        space = self.space()
        marks = [mark_of(file) for file in self._store_files(space)] if space is not None else []
        return "|".join(str(part) for part in (space, *marks, *more))

    def labels_digest(self) -> str:
        """Hash of labels.csv, by which results know that the labels are the same still; "" where there are none."""
        file = self.workspace.labels_file
        return self.warm.kept("labels_digest", [file], lambda: sha256_of(file) if file.exists() else "")

    def survey(self) -> tuple[str, Survey | None]:
        """What was computed of all documents, and whether it is `ready`, `pending` or `none`; starts the job for it."""
        space, used, held = self.space(), self.in_use(), self.stock()
        if space is None or held is None or not held.documents:  # the first document may be being embedded
            return "none", None
        name, number = (used.name, used.version) if used is not None and used.space == space else (None, None)
        wish = {"space": space, "classifier": name, "version": number}
        key = self.key(name, number)
        state, data, _ = self.derived.get("answers", "answers for all documents", {}, wish, key)
        found = None
        if data is not None:
            file = self.derived.file("answers", {}).with_suffix(".npz")
            found = self.warm.kept("survey", [file], lambda: _load(file))
        if state in (PENDING, STALE):
            return "pending", found
        return ("ready" if found is not None and found.answered else "none"), found

    def use_ranking(self, use: Callable[[Ranking], T], patience: float = -1) -> tuple[str, T | None]:
        """What a call makes of the ranking of documents as of now, alone with it.

        Args:
            use: The call.
            patience: Seconds that others are waited for, who use it or make it; any time if not given.

        Returns:
            How the answers stand, see `survey`; and what the call returned, None where there is no ranking yet.
        """
        state, found = self.survey()
        held = self.stock()
        if found is None or held is None or not self._ranking_lock.acquire(timeout=patience):
            return state, None
        try:
            labels = self.scribe.labels()
            if self._ranking is None or self._ranking[0] is not found:
                self._ranking = (found, Ranking(found, held, self._ranking[1] if self._ranking else None))
                self._told = None
            ranking = self._ranking[1]
            if self._told is not labels.checked:
                ranking.tell(*labels.known)
                self._told = labels.checked
            return state, use(ranking)
        finally:
            self._ranking_lock.release()

    def doubts(self) -> dict[str, float]:
        """What the label of each document would teach; as it was a moment ago while it is computed anew."""
        _, found = self.use_ranking(lambda ranking: ranking.doubts(), _PATIENCE)
        if found is not None:
            self._doubts = found
        return self._doubts

    def result(
        self,
        what: str,
        title: str,
        of: Mapping[str, Any],
        wish: Mapping[str, Any],
        more: str,
        *,
        refresh: bool = True,
    ) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """What was computed for all documents, see `Derived.get`: how it stands, and the result, if there is any."""
        if self.store() is None:
            return {"state": MISSING, "job": None, "message": ""}, None
        state, data, job = self.derived.get(what, title, of, wish, self.key(more), refresh=refresh)
        told = None if job is None else self.job_json(job)
        return {"state": state, "job": told, "message": job.message if job is not None else ""}, data

    def job_json(self, job: Job) -> dict[str, Any]:
        """A job as it is told."""
        told = (self.ledger.result(job.name).get("result") or {}) if job.over else {}
        failures = told.get("failures", [])
        if len(failures) > _FAILURES:
            told = {**told, "failures": failures[:_FAILURES]}
        progress = self.ledger.progress(job.name)
        return {
            "job": job.name,
            "kind": job.kind,
            "title": job.title,
            "state": job.state,
            "created": job.created,
            "started": job.started or None,
            "ended": job.ended or None,
            "progress": {
                "done": progress.get("done", 0),
                "total": progress.get("total"),
                "unit": progress.get("unit", "steps"),
                "stage": progress.get("stage", ""),
                "share": progress.get("share"),
                "rate": progress.get("rate"),
                "seconds_left": progress.get("seconds_left"),
            },
            "message": job.message,
            "result": told or None,
            "can_resume": job.kind in RESUMED and job.over and job.state != "done",
        }

    def _tell_job(self, job: Job) -> None:
        self.events.publish("job", job=self.job_json(job))
        if job.state == "done":
            if job.kind not in RESUMED:
                self.events.publish("answers" if job.kind == "answers" else "derived", what=job.kind)
            if job.kind == "refit":
                self.events.publish("classifier", name=job.wish.get("name") or job.wish.get("kind"))
            if job.kind == "embed":
                self.events.publish("documents")

    def _marks_now(self) -> dict[str, object]:
        """What is looked at for changes by other processes, by the event that tells of them."""
        root = self.settings.root
        manifests = [*root.glob("features/*/manifest.json"), root / "sources.parquet"]
        return {
            "labels": (mark_of(root / "labels.csv"), mark_of(root / "labels" / "suggested.csv")),
            "documents": tuple(mark_of(file) for file in manifests),
            "classifier": tuple(mark_of(file) for file in sorted(root.glob("classifiers/*/current.json"))),
        }

    def _watch(self) -> None:
        """Tells pages what other processes have changed, and prepares what they will ask for."""
        said = ""
        while not self._stopped.wait(_LOOK_AGAIN):
            try:
                self._look()
            except EmbedpipeError:
                continue  # whoever asks is told
            except Exception as error:  # noqa: BLE001 - without this thread pages would never hear of changes again
                if str(error) != said:
                    said = str(error)
                    log.warning("unexpected %s: %s; please report it", type(error).__name__, error)

    def _look(self) -> None:
        marks = self._marks_now()
        for event, mark in marks.items():
            if mark != self._marks.get(event):
                self.events.publish(event)
        self._marks = marks
        self.use_ranking(lambda _: None)

    def note_labels(self) -> None:
        """Notes that it was this server that has just written the labels, so that they are not told twice."""
        self._marks["labels"] = self._marks_now()["labels"]


RESUMED = ("embed", "refit", "write_parts")
"""Kinds of jobs that people begin, and resume; the others begin by themselves when their result is asked for."""


def _load(file: Path) -> Survey | None:
    try:
        return Survey.load(file)
    except ArtifactError:
        return None


def folder_name(path: Path) -> str:
    """The name of a folder for people."""
    return path.name or os.fspath(path)
