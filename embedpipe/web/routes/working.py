"""Jobs, intake, and what is computed for all documents at once: twins, map, confusion, changes, piles."""

import os
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from embedpipe.classifiers.bundles import CLASSIFIERS
from embedpipe.core import versions
from embedpipe.core.display import path_to_text, text_to_path
from embedpipe.core.errors import UnknownNameError, UsageError
from embedpipe.core.tables import csv_bytes
from embedpipe.tasks import classifiers as classifiers_task
from embedpipe.tasks import dedupe
from embedpipe.tasks.decide import is_confirmed
from embedpipe.tasks.heap import Stock
from embedpipe.web.hub import Hub, folder_name
from embedpipe.web.problems import ProblemError
from embedpipe.web.routes.common import PROBLEMS, TheHub, csv_answer, document_of, is_below, stored, submitted, whole
from embedpipe.web.working.ledger import Job

router = APIRouter(responses=PROBLEMS)

_FOLDERS = 500
_LONGEST = 1000
_QUICK = {"knn": ["pictures"]}
"""What a kind of classifier learns from that is fitted while somebody waits."""

_METHODS = ("auto", "pca", "umap")
_LEAST_PILE = 2
_MOST_PILES = 1000
Refresh = Annotated[bool, Query(description="Start a job where the result is not up to date.")]


class Refit(BaseModel):
    """What is fitted."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"kind": "knn"}]})
    kind: str = Field(max_length=20, description="svm, knn or head.")
    name: str | None = Field(None, max_length=100, description="Of the classifier; its kind if left out.")
    blocks: list[str] | None = Field(
        None,
        max_length=50,
        description="As --blocks. Left out, knn learns from pictures alone, which takes seconds, and the others as "
        "they did before; an empty list has each choose.",
    )


class Embed(BaseModel):
    """What is taken in: a batch of uploads, or a folder below an inbox."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"inbox": 0, "folder": "2026"}, {"batch": "20260101-0a1b2c3d4e5f"}]},
    )
    batch: str | None = Field(None, max_length=40)
    inbox: int | None = None
    folder: str = Field(
        "", max_length=_LONGEST, description="As of /inboxes; bytes that are not UTF-8 are named `bytes:%XX...`."
    )
    label_by_folder: bool = False
    retry_failed: bool = False


class Version(BaseModel):
    """A classifier."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "svm"}]})
    name: str | None = Field(None, max_length=100)
    version: int | None = None


class PartWish(BaseModel):
    """Pages of a pile that become a file."""

    model_config = ConfigDict(extra="forbid")
    first: int = Field(ge=1, le=1_000_000)
    last: int = Field(ge=1, le=1_000_000)
    type: str | None = Field(None, max_length=200)


class Parts(BaseModel):
    """The parts of a pile, as a person wants them."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"parts": [{"first": 1, "last": 3}]}]})
    parts: list[PartWish] = Field(min_length=1, max_length=5000)


@router.get("/jobs", tags=["jobs"])
def jobs(
    hub: TheHub,
    limit: Annotated[int, Query()] = 50,
    kind: Annotated[str | None, Query(max_length=30, description="Only of this kind.")] = None,
) -> dict[str, Any]:
    """All jobs, newest first."""
    own = [job for job in hub.ledger.all() if kind in (None, job.kind)]
    return {"jobs": [hub.job_json(job) for job in own[: whole(limit, 0, 500)]]}


@router.get("/jobs/{name}", tags=["jobs"])
def job_of(hub: TheHub, name: str) -> dict[str, Any]:
    """How far a job is, and what came of it."""
    return hub.job_json(_job(hub, name))


def _job(hub: Hub, name: str) -> Job:
    job = hub.ledger.find(name)
    if job is None:
        raise ProblemError("not_found", "there is no such job: GET /jobs lists them")
    return job


@router.post("/jobs/{name}/cancel", tags=["jobs"])
def cancel(hub: TheHub, name: str) -> dict[str, Any]:
    """Ends a job; what it has kept stays."""
    _job(hub, name)
    job = hub.runner.cancel(name)
    assert job is not None
    return hub.job_json(job)


@router.post("/jobs/{name}/resume", status_code=202, tags=["jobs"])
def resume(request: Request, hub: TheHub, name: str) -> dict[str, Any]:
    """Begins a job again that was interrupted, cancelled, or failed; embedding goes on from what is there."""
    job = _job(hub, name)
    if not hub.job_json(job)["can_resume"]:
        raise ProblemError("conflict", f"this job is {job.state}: there is nothing to resume")
    _still_allowed(request, hub, job)
    return submitted(hub, hub.runner.submit(job.kind, job.title, job.wish))


def _still_allowed(request: Request, hub: Hub, job: Job) -> None:
    """Raises ProblemError where a job of an earlier server reads or writes a folder that this one was not given."""
    folders = [request.app.state.uploads.folder, *hub.settings.inboxes]
    inputs = [str(one) for one in job.wish.get("inputs", ())]
    outbox = job.wish.get("folder")
    if outbox is not None and str(outbox) != str(hub.settings.outbox):
        raise ProblemError("forbidden", "this server was started without the --outbox of this job")
    if not all(any(is_below(one, folder) for folder in folders) for one in inputs):
        raise ProblemError("forbidden", "this server was started without the --inbox of this job")


@router.post("/refit", status_code=202, tags=["jobs"])
def refit(hub: TheHub, wish: Refit) -> dict[str, Any]:
    """Fits a classifier again, or a new one; it is in use once the job is done."""
    if wish.kind not in CLASSIFIERS:
        raise UnknownNameError("classifier", wish.kind, CLASSIFIERS)
    name = (wish.name or "").strip() or wish.kind
    if name.startswith(".") or "/" in name or "\\" in name or not name.isprintable():
        raise ProblemError("unprocessable", f"name: {name!r} has slashes, or a dot at its beginning: it names a folder")
    blocks = _QUICK.get(wish.kind, []) if wish.blocks is None else wish.blocks
    values = {"kind": wish.kind, "name": name, "space": _space(hub), "blocks": blocks}
    return submitted(hub, hub.runner.submit("refit", f"fit {name}", values))


def _space(hub: Hub) -> str:
    """The space that is looked at; raises ProblemError where nothing is stored."""
    if hub.store() is None:
        raise ProblemError("conflict", "nothing is stored yet: embed documents first")
    space = hub.space()
    assert space is not None
    return space


@router.get("/inboxes", tags=["intake"])
def inboxes(hub: TheHub) -> dict[str, Any]:
    """The folders whose documents may be embedded, with the folders in them."""
    found = []
    for number, inbox in enumerate(hub.settings.inboxes):
        try:
            entries = sorted(entry.name for entry in os.scandir(inbox) if entry.is_dir() and entry.name[0] != ".")
        except OSError:
            entries = []
        path, entries = path_to_text(str(inbox)), [path_to_text(name) for name in entries[:_FOLDERS]]
        found.append({"inbox": number, "name": folder_name(inbox), "path": path, "folders": entries})
    return {"inboxes": found}


@router.post("/uploads", tags=["intake"])
async def upload(
    request: Request,
    name: Annotated[str, Query(max_length=_LONGEST, description="What the file is called.")],
    batch: Annotated[str | None, Query(max_length=40, description="Of an earlier upload; else a new one.")] = None,
) -> dict[str, Any]:
    """Keeps a file, the body of the request, so that it can be embedded with the others of its batch."""
    taken, kept, size = await request.app.state.uploads.take(request, name, batch)
    return {"batch": taken, "name": kept, "bytes": size}


@router.post("/embed", status_code=202, tags=["intake"])
def embed(request: Request, hub: TheHub, wish: Embed) -> dict[str, Any]:
    """Takes in a batch of uploads, or a folder of an inbox, as `embed` does."""
    if (wish.batch is None) == (wish.inbox is None):
        raise ProblemError("unprocessable", "name a batch of uploads, or an inbox: one of them")
    if wish.batch is not None:
        folder = request.app.state.uploads.batch(wish.batch)
        title = "embed uploaded files"
    else:
        folder, title = _below_inbox(hub, wish.inbox or 0, wish.folder), "embed a folder"
    try:
        space = hub.space()
    except UsageError:
        space = None
    values = {
        "inputs": [str(folder)],
        "space": space,
        "label_by_folder": wish.label_by_folder and wish.batch is None,
        "retry_failed": wish.retry_failed,
    }
    return submitted(hub, hub.runner.submit("embed", title, values))


def _below_inbox(hub: Hub, number: int, folder: str) -> str:
    """A folder of an inbox as it really lies; raises ProblemError for what is not below it."""
    if not 0 <= number < len(hub.settings.inboxes):
        raise ProblemError("forbidden", "no such inbox: folders are only taken from those that --inbox names")
    root, folder = os.path.realpath(hub.settings.inboxes[number]), text_to_path(folder)
    if "\0" in folder or os.path.isabs(folder):
        raise ProblemError("forbidden", "name a folder below the inbox, without a slash at its beginning")
    wanted = os.path.realpath(os.path.join(root, folder))
    if not is_below(wanted, root):
        raise ProblemError("forbidden", "this folder does not lie below the inbox")
    if not os.path.isdir(wanted):
        raise ProblemError("not_found", "there is no such folder in the inbox")
    return wanted


@router.get("/map", tags=["views"])
def plane(
    hub: TheHub,
    method: Annotated[str, Query(description="auto, pca or umap.")] = "auto",
    pages: Annotated[bool, Query(description="All pages, not only first ones.")] = False,
    refresh: Refresh = True,
) -> dict[str, Any]:
    """Where documents lie in the plane: near each other where they look alike; 0 to 1 both ways."""
    if method not in _METHODS:
        raise ProblemError("unprocessable", f"method: write {', '.join(_METHODS[:-1])} or {_METHODS[-1]}")
    of = {"method": method, "pages": pages}
    values, data = hub.result("map", "map of documents", of, {**of, "space": hub.space()}, "", refresh=refresh)
    return {**values, **(data or {"columns": {"document": [], "page": [], "x": [], "y": []}})}


@router.get("/twins", tags=["views"], response_model=None)
def twins(
    hub: TheHub,
    refresh: Refresh = True,
    format: Annotated[str, Query(description="json, or csv for the keep-list.")] = "json",  # noqa: A002
) -> dict[str, Any] | Response:
    """Documents and pages that are there more than once, the one to keep first; nothing is deleted."""
    values, data = hub.result("twins", "twins among documents", {}, {"space": hub.space()}, "", refresh=refresh)
    groups = data["groups"] if data else []
    if format != "csv":
        return {**values, "groups": groups, "notes": data["notes"] if data else []}
    rows = (
        {**group, **row, "keep": "yes" if row["keep"] else "no", "path": path_to_text(row["path"])}
        for group in groups
        for row in group["members"]
    )
    return csv_answer(csv_bytes(dedupe.COLUMNS, rows), "twins.csv")


@router.get("/confusion", tags=["views"])
def confusion(
    hub: TheHub,
    kind: Annotated[str, Query(description="Without a classifier: the kind that judges, svm, knn or head.")] = "svm",
    refresh: Refresh = True,
) -> dict[str, Any]:
    """Which labelled documents classifiers that never saw them take for which type; labels that are likely wrong.

    Labels that somebody has confirmed (see `POST /labels`) are not told as likely wrong.
    """
    if kind not in CLASSIFIERS:
        raise UnknownNameError("classifier", kind, CLASSIFIERS)
    used = hub.in_use()
    name, number = (used.name, used.version) if used is not None else (None, None)
    wish = {"kind": kind, "classifier": name, "version": number, "space": hub.space()}
    of = {"kind": kind}
    values, data = hub.result("confusion", "confusion of types", of, wish, hub.labels_digest(), refresh=refresh)
    if data is None:
        return {**values, "types": [], "matrix": [], "cells": [], "likely_wrong": [], "accuracy": None}
    confirmed = hub.scribe.labels().confirmed
    likely = [one for one in data["likely_wrong"] if not is_confirmed(confirmed, one["document"], 0, one["label"])]
    return {**values, **data, "likely_wrong": likely}


@router.get("/changes", tags=["jobs"])
def changes(
    hub: TheHub,
    name: Annotated[
        str | None, Query(max_length=100, description="Of the classifier; that in use if left out.")
    ] = None,
    one: Annotated[int | None, Query(alias="from", description="A version; the one before that in use.")] = None,
    other: Annotated[int | None, Query(alias="to", description="Another version; the one in use.")] = None,
    refresh: Refresh = True,
) -> dict[str, Any]:
    """What changed between two versions of a classifier: answers that are others now, and types better or worse."""
    name = _classifier(hub, name)
    folder = hub.workspace.classifier_folder(name)
    known = versions.numbers(folder)
    to = versions.current(folder) if other is None else other
    before = max((number for number in known if number < to), default=None) if one is None else one
    base = {"name": name, "from": before, "to": to, "versions": known}
    if before is None:
        return {**base, "state": "ready", "job": None, "can_roll_back": False, "flips": [], "types": [], **_NOTHING}
    for number in (before, to):
        if number not in known:
            raise ProblemError("not_found", f"{name} has no version {number}; it has {', '.join(map(str, known))}")
    of = {"name": name, "from": before, "to": to}
    values, data = hub.result("changes", f"changes of {name}", of, of, hub.labels_digest(), refresh=refresh)
    empty: dict[str, Any] = {"flips": [], "types": [], **_NOTHING}
    rolled = to == versions.current(folder) and any(number < to for number in known)
    return {**values, **base, "can_roll_back": rolled, **(data or empty)}


_NOTHING = {"accuracy": {"before": None, "after": None}, "note": ""}


def _classifier(hub: Hub, name: str | None) -> str:
    known = hub.workspace.classifiers()
    if name is None:
        return hub.answering().name
    if name not in known:
        raise UnknownNameError("classifier", name, known)
    return name


@router.post("/changes/keep", tags=["jobs"])
def keep(hub: TheHub, wish: Version) -> dict[str, Any]:
    """Keeps the version in use: there is nothing to do, for it is."""
    name = _classifier(hub, wish.name)
    return {"name": name, "version": versions.current(hub.workspace.classifier_folder(name))}


@router.post("/changes/rollback", tags=["jobs"])
def rollback(hub: TheHub, wish: Version) -> dict[str, Any]:
    """Goes back to the version before, or to another one; every version stays."""
    name = _classifier(hub, wish.name)
    number = classifiers_task.roll_back(hub.workspace, name, wish.version)
    hub.events.publish("classifier", name=name)
    return {"name": name, "version": number}


@router.get("/piles", tags=["views"])
def piles(
    hub: TheHub,
    document: Annotated[str | None, Query(description="A file that may hold several documents.")] = None,
    refresh: Refresh = True,
) -> dict[str, Any]:
    """Files of several pages; of one, where it is to be cut into documents, and what the parts are."""
    if document is None:
        held = hub.stock() or Stock.empty()
        rows = [row for row in range(len(held.documents)) if held.pages[row] >= _LEAST_PILE]
        rows.sort(key=lambda row: -int(held.pages[row]))
        found = [
            {"document": held.documents[r], "name": os.path.basename(held.paths[r]), "pages": int(held.pages[r])}
            for r in rows[:_MOST_PILES]
        ]
        return {"documents": found}
    sha256 = document_of(document)
    held, place = stored(hub, sha256)
    used = hub.answering()
    source = hub.sources().document(sha256)
    if source is None:
        raise ProblemError("gone", "the file of this document is gone, or was changed since it was embedded")
    wish = {"path": source.path, "document": sha256, "classifier": used.name, "version": used.version}
    of, more = {"document": sha256}, f"{used.name}-{used.version}-{hub.labels_digest()}"
    values, data = hub.result("piles", "cuts of a pile", of, wish, more, refresh=refresh)
    return {**values, "document": sha256, "pages": int(held.pages[place]), **(data or {"parts": [], "note": ""})}


@router.post("/piles/{document}/write", status_code=202, tags=["views"])
def write_pile(hub: TheHub, document: str, wish: Parts) -> dict[str, Any]:
    """Writes parts of a pile as files into the server's output folder; the pile stays as it is."""
    if hub.settings.outbox is None:
        raise ProblemError("forbidden", "no folder for parts was named when the server started: --outbox DIR")
    sha256 = document_of(document)
    held, place = stored(hub, sha256)
    pages = int(held.pages[place])
    for part in wish.parts:
        if not part.first <= part.last <= pages:
            raise ProblemError("unprocessable", f"pages {part.first}-{part.last}: the pile has pages 1-{pages}")
    parts = [part.model_dump() for part in wish.parts]
    values = {"document": sha256, "parts": parts, "folder": str(hub.settings.outbox)}
    return submitted(hub, hub.runner.submit("write_parts", "write parts of a pile", values))
