"""The kinds of job: each is one task, with how far it is said to whoever waits. Runs in the process of a job."""

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from embedpipe.classifiers.bundles import ClassifierBundle
from embedpipe.classifiers.saved.on_disk import MANIFEST
from embedpipe.core import versions
from embedpipe.core.errors import ArtifactError, BusyError, EmbedpipeError, UsageError
from embedpipe.core.files import read_json
from embedpipe.embedding.streaming import Settings
from embedpipe.store.features import FeatureStore
from embedpipe.store.workspace import Workspace
from embedpipe.web.network import load
from embedpipe.web.settings import NetworkWish, reading_of

Tell = Callable[..., None]
"""Takes `done`, `total`, `unit` and `stage`, of those that are known."""

_LOOK_AGAIN = 1.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a job is given.

    Attributes:
        workspace: The artifacts.
        wish: What is wanted.
        how: As `how_of` makes it of the server's settings.
        tell: Says how far it is.
        keep: Writes what is derived, with the key that it was asked for with.
        file: Where what is too large for JSON goes.
    """

    workspace: Workspace
    wish: Mapping[str, Any]
    how: Mapping[str, Any]
    tell: Tell
    keep: Callable[[Mapping[str, Any]], None]
    file: Path

    @property
    def settings(self) -> Settings:
        """How documents are read."""
        return reading_of(self.how["reading"])

    @property
    def network(self) -> NetworkWish:
        """The network that was asked for."""
        return NetworkWish(**self.how["network"])

    def store(self) -> FeatureStore:
        """The features that are asked about."""
        return self.workspace.store(space=self.wish.get("space"))

    def bundle(self) -> ClassifierBundle | None:
        """The classifier that is asked, if one is."""
        name, number = self.wish.get("classifier"), self.wish.get("version")
        if not name:
            return None
        folder = self.workspace.classifier_folder(name)
        return ClassifierBundle.load(versions.in_use(folder) if number is None else versions.path_of(folder, number))


def embed(task: Task) -> dict[str, Any]:
    """Takes in a folder, as `embed` does."""
    from embedpipe.tasks import embed as embed_task  # noqa: PLC0415 - each kind loads what it needs

    task.tell(stage="loading the network")
    space = task.wish.get("space")
    try:
        identity = task.workspace.open_store(space).identity if space else None
    except ArtifactError:
        identity = None
    backbone = load(task.workspace, task.network, identity)

    def progress(now: embed_task.Progress) -> None:
        share = now.bytes_done / now.bytes_total if now.bytes_total else 0.0
        task.tell(done=now.pages, unit="pages", stage=now.stage, share=min(share, 1.0))

    report = embed_task.embed(
        task.workspace,
        [os.fspath(one) for one in task.wish["inputs"]],
        backbone,
        settings=task.settings,
        label_by_folder=bool(task.wish.get("label_by_folder")),
        retry_failed=bool(task.wish.get("retry_failed")),
        progress=progress,
    )
    return report.as_json()


def refit(task: Task) -> dict[str, Any]:
    """Fits a classifier again as it was fitted, or a new one, as `fit-*` do."""
    from embedpipe.classifiers.calibration.decisions import ERROR_RATE  # noqa: PLC0415 - see `embed`
    from embedpipe.classifiers.calibration.shift import never_ok  # noqa: PLC0415 - see `embed`
    from embedpipe.classifiers.lessons.reading import make_variants  # noqa: PLC0415 - see `embed`
    from embedpipe.classifiers.lessons.recipes import TrainingRecipe  # noqa: PLC0415 - see `embed`
    from embedpipe.classifiers.training import fit  # noqa: PLC0415 - see `embed`

    kind, name = str(task.wish["kind"]), task.wish.get("name") or str(task.wish["kind"])
    store, recipe = (
        task.store(),
        TrainingRecipe(kind, blocks=tuple(task.wish["blocks"]) if task.wish["blocks"] else None),
    )
    with contextlib.suppress(ArtifactError, LookupError, TypeError):
        before = read_json(task.workspace.classifier_path(name) / MANIFEST)["fitted_on"]
        if before["kind"] == kind and not task.wish["blocks"]:
            recipe = TrainingRecipe.as_asked(before)
    _wait_for_others(task)
    if recipe.augment:
        task.tell(stage="making variants of pages")
        network = partial(load, task.workspace, task.network, store.identity)
        make_variants(task.workspace, store, recipe, network, settings=task.settings, allow_missing=True)
    task.tell(stage="fitting and measuring")
    bundle = fit(task.workspace, store, recipe, name, allow_missing=True)
    return {
        "classifier": bundle.name,
        "version": versions.current(task.workspace.classifier_folder(bundle.name)),
        "classes": bundle.classes,
        "documents": bundle.fitted_on["documents"],
        "pages": bundle.fitted_on["pages"],
        "seconds": round(bundle.fitted_on["seconds"], 3),
        "metrics": bundle.metrics,
        "advice": never_ok(bundle.documents, bundle.classes, ERROR_RATE),
    }


def _wait_for_others(task: Task) -> None:
    """Waits until nobody writes to the artifacts: what is fitted meanwhile could not be kept."""
    while True:
        try:
            with task.workspace.writing("fit"):
                return
        except BusyError as error:
            task.tell(stage=f"waiting: {error}")
            time.sleep(_LOOK_AGAIN)


def answers(task: Task) -> dict[str, Any]:
    """Asks the classifier about all stored documents."""
    from embedpipe.tasks.heap import survey  # noqa: PLC0415 - see `embed`

    task.tell(stage="answering for all documents")
    found = survey(task.workspace, task.store(), task.bundle())
    task.file.parent.mkdir(parents=True, exist_ok=True)
    found.save(task.file)
    task.keep({"documents": len(found.documents)})
    return {"documents": len(found.documents)}


def families(task: Task) -> dict[str, Any]:
    """Finds the families of documents by their first pages."""
    from embedpipe.tasks import families as families_task  # noqa: PLC0415 - see `embed`

    task.tell(stage="grouping documents")
    threshold, least = float(task.wish["threshold"]), int(task.wish["least"])
    found = families_task.find(task.workspace, task.store(), threshold=threshold, least=least, first_pages=True)
    rows = [
        {
            "documents": [page.document_sha256 for page in layout.pages],
            "page": layout.pages[0].page_number,
            "coherence": round(layout.coherence, 4),
        }
        for layout in found
    ]
    task.keep({"families": rows})
    return {"families": len(rows)}


def twins(task: Task) -> dict[str, Any]:
    """Finds documents and pages that are there more than once."""
    from embedpipe.tasks import dedupe  # noqa: PLC0415 - see `embed`

    task.tell(stage="comparing pages")
    found = dedupe.find(task.workspace, task.store())
    pages: dict[int, list[dict[str, Any]]] = {}
    copies = (copy for group in found.groups for copy in group.copies)
    for row, copy in zip(dedupe.as_rows(found.groups), copies, strict=True):
        shown = {"document": copy.page.document_sha256, "shown_page": copy.page.page_number}
        pages.setdefault(row["group"], []).append({**row, **shown})
    groups = [
        {"group": number, "kind": rows[0]["kind"], "members": [_without(row, "group", "kind") for row in rows]}
        for number, rows in pages.items()
    ]
    task.keep({"groups": groups, "notes": dedupe.left_out(found)})
    return {"groups": len(groups)}


def plane(task: Task) -> dict[str, Any]:
    """Places documents in the plane."""
    from embedpipe.pages.rendering import Selection  # noqa: PLC0415 - see `embed`
    from embedpipe.tasks import map as map_task  # noqa: PLC0415 - see `embed`

    task.tell(stage="placing pages")
    selection = Selection() if task.wish.get("pages") else Selection.parse("1")
    wanted = map_task.Wanted(method=str(task.wish["method"]), pages=selection, thumbnails=0)
    found = map_task.make(task.workspace, task.store(), wanted)
    low, high = found.places.min(axis=0), found.places.max(axis=0)
    scaled = (found.places - low) / (high - low).clip(min=1e-9)
    task.keep(
        {
            "method": found.method,
            "reason": found.reason,
            "left_out": found.left_out,
            "columns": {
                "document": [point.page.document_sha256 for point in found.points],
                "page": [point.page.page_number for point in found.points],
                "x": scaled[:, 0].round(4).tolist(),
                "y": scaled[:, 1].round(4).tolist(),
            },
        }
    )
    return {"pages": len(found.points), "method": found.method}


def confusion(task: Task) -> dict[str, Any]:
    """Judges labels by classifiers that did not see them."""
    from embedpipe.classifiers.lessons.recipes import TrainingRecipe  # noqa: PLC0415 - see `embed`
    from embedpipe.tasks import confusion as confusion_task  # noqa: PLC0415 - see `embed`

    task.tell(stage="judging labels by other documents")
    bundle = task.bundle()
    recipe = TrainingRecipe(str(task.wish["kind"])) if bundle is None else TrainingRecipe.of(bundle.fitted_on)
    task.keep(confusion_task.as_json(confusion_task.judge(task.workspace, task.store(), recipe)))
    return {}


def changes(task: Task) -> dict[str, Any]:
    """Compares two versions of a classifier."""
    from embedpipe.tasks import changes as changes_task  # noqa: PLC0415 - see `embed`

    task.tell(stage="comparing two versions")
    name, one, other = str(task.wish["name"]), int(task.wish["from"]), int(task.wish["to"])
    task.keep(changes_task.as_json(changes_task.compare(task.workspace, name, one, other)))
    return {}


def piles(task: Task) -> dict[str, Any]:
    """Plans where a pile is to be cut."""
    from embedpipe.tasks import classify, split  # noqa: PLC0415 - see `embed`

    task.tell(stage="looking for boundaries")
    bundle = task.bundle()
    if bundle is None:
        raise UsageError("cutting piles needs a classifier: fit one first")
    network = partial(load, task.workspace, task.network, bundle.identity)
    found = split.split(task.workspace, [str(task.wish["path"])], bundle, network, settings=task.settings)
    pile = next((one for one in found.piles if one.document is not None), None)
    if pile is None:
        raise EmbedpipeError(f"{task.wish['path']} cannot be read: {found.piles[0].verdict.message}")
    parts = [split.as_json(part, classify.as_json(part.verdict)) for part in pile.parts]
    task.keep({"document": task.wish["document"], "parts": parts, "note": found.fallback})
    return {"parts": len(parts)}


def write_parts(task: Task) -> dict[str, Any]:
    """Writes the parts of a pile as files."""
    from embedpipe.tasks import split  # noqa: PLC0415 - see `embed`

    task.tell(stage="writing parts")
    document = task.workspace.sources().document(str(task.wish["document"]))
    if document is None:
        raise ArtifactError("the file of this document is gone, or was changed: embed its folder again")
    parts = [(int(part["first"]), int(part["last"]), part.get("type")) for part in task.wish["parts"]]
    written = split.write_as_said(document, parts, Path(task.wish["folder"]), task.settings)
    files = [{"first": first, "file": str(file)} for first, file in written.items() if isinstance(file, Path)]
    missing = [{"first": first, "reason": why} for first, why in written.items() if isinstance(why, str)]
    return {"files": files, "not_written": missing}


def _without(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


KINDS: dict[str, Callable[[Task], dict[str, Any]]] = {
    "embed": embed,
    "refit": refit,
    "answers": answers,
    "families": families,
    "twins": twins,
    "map": plane,
    "confusion": confusion,
    "changes": changes,
    "piles": piles,
    "write_parts": write_parts,
}
"""What a job of each kind does; what is returned is its result."""
