"""Documents and their pages: all of them with what is known, one of them, and pictures."""

import functools
import hashlib
import os
import re
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from embedpipe.classifiers.stored_answers import STATUSES
from embedpipe.core.display import path_to_text
from embedpipe.core.tables import csv_bytes
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import Labels
from embedpipe.tasks.heap import CHECKED, STATES, Stock, Survey, columns
from embedpipe.web.hub import Hub
from embedpipe.web.pictures import as_webp
from embedpipe.web.problems import ProblemError, as_json
from embedpipe.web.routes.common import PROBLEMS, TheDesk, TheHub, csv_answer, document_of, page_of, stored, whole

router = APIRouter(responses=PROBLEMS)

_MOST = 10_000_000
_LARGE = 1400
_SIZES = (200, 2000)
_STATES = {name: number for number, name in enumerate(STATES)}
_SORTS = ("path", "confidence", "margin", "novelty", "doubt", "pages")
_IMMUTABLE = {"Cache-Control": "private, max-age=31536000, immutable"}
_MAY_CHANGE = {"Cache-Control": "private, max-age=60"}
_CSV = (
    "path",
    "document",
    "pages",
    "label",
    "label_state",
    "type",
    "status",
    "confidence",
    "margin",
    "novelty",
    "doubt",
)
"""Columns of the CSV; with `path` and `label` it can be given to `label`."""

_AS_THEY_ARE = ("document", "pages", "confidence", "margin", "novelty", "doubt")
"""Those of them whose cells are what the table holds."""

_EXAMPLE = {
    "count": 1,
    "total": 1,
    "answers": "ready",
    "dictionaries": {"type": ["invoice"], "status": ["ok"], "folder": ["/data"], "source_kind": ["scan"]},
    "columns": {"document": ["3f" * 32], "name": ["a.pdf"], "folder": [0], "label": [0], "label_state": [2]},
}


class Table:
    """All documents with what is known of each, as it was at one moment.

    Attributes:
        answers: Whether a classifier's answers are in it: `ready`, `pending` or `none`.
        dictionaries: As of `heap.columns`.
        columns: As of `heap.columns`.
    """

    def __init__(self, answers: str, values: dict[str, Any]) -> None:
        self.answers = answers
        self.dictionaries: dict[str, list[str]] = values["dictionaries"]
        self.columns: dict[str, list[Any]] = values["columns"]

    @functools.cached_property
    def whole(self) -> tuple[bytes, str]:
        """The answer that holds everything, and its tag."""
        return self.answer(None, None)

    def answer(
        self, rows: Sequence[int] | None, names: Sequence[str] | None, total: int | None = None
    ) -> tuple[bytes, str]:
        """The answer for some documents, and its tag.

        Args:
            rows: Which, in which order; None for all.
            names: Which columns; None for all.
            total: How many there are without limit and offset.
        """
        own = {name: self.columns[name] for name in names or self.columns if name in self.columns}
        if rows is not None:
            own = {name: [values[row] for row in rows] for name, values in own.items()}
        count = len(self.columns["document"]) if rows is None else len(rows)
        values = {
            "count": count,
            "total": count if total is None else total,
            "answers": self.answers,
            "dictionaries": self.dictionaries,
            "columns": own,
        }
        content = as_json(values)
        return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def table_of(hub: Hub) -> Table:
    """All documents as they are now; made again when something of them has changed."""
    held, labels = hub.stock(), hub.scribe.labels()
    state, found = hub.survey()
    doubts = hub.doubts() if held is not None else {}
    mark = (id(held), id(labels), id(found), id(doubts), state)
    kept = hub.heap_table
    if kept is not None and kept[0] == mark:
        table: Table = kept[2]
        return table
    if held is None:
        values = columns(Stock.empty(), Labels(), Labels(), None, {})
    else:
        values = columns(held, labels.checked, labels.suggested, found, doubts)
    table = Table(state, values)
    hub.heap_table = (mark, (held, labels, found, doubts), table)  # what is held keeps its number
    return table


@router.get("/documents", tags=["documents"], responses={200: {"content": {"application/json": {"example": _EXAMPLE}}}})
def documents(
    request: Request,
    hub: TheHub,
    type: Annotated[list[str] | None, Query(description="Only documents of this label, else answer.")] = None,  # noqa: A002
    label_state: Annotated[list[str] | None, Query(description="none, suggested, checked or partly.")] = None,
    status: Annotated[list[str] | None, Query(description="ok, ambiguous, novel or blank.")] = None,
    folder: Annotated[str | None, Query(description="Only documents in this folder, or below it.")] = None,
    text: Annotated[str, Query(max_length=200, description="Words that the path has, in any case.")] = "",
    sort: Annotated[str, Query(description="path, confidence, margin, novelty, doubt or pages.")] = "path",
    order: Annotated[str, Query(description="asc or desc.")] = "asc",
    limit: Annotated[int, Query(description="How many.")] = _MOST,
    offset: Annotated[int, Query(description="How many of the first are left out.")] = 0,
    names: Annotated[str, Query(alias="columns", description="Which columns, with commas between.")] = "",
    format: Annotated[str, Query(description="json or csv.")] = "json",  # noqa: A002
) -> Response:
    """All documents with label, answer and doubt, a list for each column; filtered, sorted and cut where asked."""
    table = table_of(hub)
    filters = (type, label_state, status, folder, text.split())
    plain = (
        not any(filters)
        and sort == "path"
        and order == "asc"
        and offset <= 0
        and limit >= len(table.columns["document"])
    )
    if plain and not names and format == "json":
        content, tag = table.whole
    else:
        rows = _ordered(table, _filtered(table, *filters), sort, order)
        first = whole(offset, 0, _MOST)
        cut = rows[first : first + whole(limit, 0, _MOST)]
        if format == "csv":
            return csv_answer(_as_csv(table, cut), "documents.csv")
        wanted = [name.strip() for name in names.split(",") if name.strip()] or None
        content, tag = table.answer(cut, wanted, len(rows))
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(None, 304, headers)
    return Response(content, 200, headers, "application/json")


def _filtered(
    table: Table,
    types: list[str] | None,
    states: list[str] | None,
    statuses: list[str] | None,
    folder: str | None,
    words: list[str],
) -> list[int]:
    """The documents that filters leave, by their places."""
    own, known = table.columns, table.dictionaries
    rows: list[int] = list(range(len(own["document"])))
    if types:
        wanted = {known["type"].index(kind) for kind in types if kind in known["type"]}
        told_of = zip(own["label"], own["type"], own["label_state"], strict=True)
        counts_as = [label if label >= 0 or state == CHECKED else told for label, told, state in told_of]
        rows = [row for row in rows if counts_as[row] in wanted]
    if states:
        numbers = {_STATES[state] for state in states if state in _STATES}
        rows = [row for row in rows if own["label_state"][row] in numbers]
    if statuses:
        numbers = {known["status"].index(status) for status in statuses if status in known["status"]}
        rows = [row for row in rows if own["status"][row] in numbers]
    if folder is not None:
        below = folder.rstrip(os.sep) + os.sep
        folders = {n for n, name in enumerate(known["folder"]) if name == folder or name.startswith(below)}
        rows = [row for row in rows if own["folder"][row] in folders]
    if words:
        sought, names, places = [word.casefold() for word in words], own["name"], own["folder"]
        texts = ((row, f"{known['folder'][places[row]]}{os.sep}{names[row]}".casefold()) for row in rows)
        rows = [row for row, path in texts if all(word in path for word in sought)]
    return rows


def _ordered(table: Table, rows: list[int], sort: str, order: str) -> list[int]:
    """Documents in the order that is asked for; what is not known comes last."""
    if sort not in _SORTS:
        raise ProblemError("unprocessable", f"sort: {sort[:50]!r} is none of {', '.join(_SORTS)}")
    if order not in ("asc", "desc"):
        raise ProblemError("unprocessable", f"order: {order[:50]!r} is neither asc nor desc")
    if sort == "path":
        return rows[::-1] if order == "desc" else rows
    values, sign = table.columns[sort], -1.0 if order == "desc" else 1.0
    return sorted(rows, key=lambda row: (values[row] is None, sign * (values[row] or 0.0)))


def _as_csv(table: Table, rows: Sequence[int]) -> bytes:
    own, known = table.columns, table.dictionaries

    def named(name: str, row: int, dictionary: str) -> str:
        return known[dictionary][own[name][row]] if own[name][row] >= 0 else ""

    def cells(row: int) -> dict[str, object]:
        return {
            "path": path_to_text(os.path.join(known["folder"][own["folder"][row]], own["name"][row])),
            "label": named("label", row, "type"),
            "label_state": STATES[own["label_state"][row]],
            "type": named("type", row, "type"),
            "status": named("status", row, "status"),
            **{name: own[name][row] for name in _AS_THEY_ARE},
        }

    return csv_bytes(_CSV, map(cells, rows))


@router.get("/documents/{document}", tags=["documents"])
def document(hub: TheHub, document: str) -> dict[str, Any]:
    """What is known of a document: places, pages, label, and the classifier's answer."""
    sha256 = document_of(document)
    held, place = stored(hub, sha256)
    pages = hub.of_store("pages by document", _pages_by_document) or {}
    labels, (_, found) = hub.scribe.labels(), hub.survey()
    label, state = labels.of(sha256, held)
    row = labels.checked.rows.get((sha256, 0))
    return {
        "document": sha256,
        "path": held.paths[place],
        "paths": hub.sources().paths(sha256) or [held.paths[place]],
        "pages": int(held.pages[place]),
        "page_list": pages.get(sha256, []),
        "label": label,
        "label_state": state,
        "group": row.group if row else "",
        "page_labels": {str(number): kind for number, kind in sorted(labels.known[1].get(sha256, {}).items())},
        "source_kind": held.kinds[place] or None,
        "answer": _answer(found, sha256),
    }


def _pages_by_document(store: FeatureStore) -> dict[str, list[dict[str, Any]]]:
    table = store.pages().sort_values(["document_sha256", "page_index"])
    names = ("document_sha256", "page_index", "width", "height", "outcome", "message")
    found: dict[str, list[dict[str, Any]]] = {}
    for sha256, index, width, height, outcome, message in zip(*(table[name].tolist() for name in names), strict=True):
        values = {"page": index + 1, "width": round(width, 1), "height": round(height, 1), "outcome": outcome}
        found.setdefault(sha256, []).append(values | ({"message": message} if message else {}))
    return found


def _answer(found: Survey | None, sha256: str) -> dict[str, Any] | None:
    """What the classifier says of a document, with the keys of `classify --json`."""
    row = found.rows.get(sha256) if found is not None and found.answered else None
    if found is None or row is None:
        return None
    probabilities = found.probabilities[row]
    ranked = [
        (found.classes[k], float(probabilities[k]), bool(found.candidates[row, k])) for k in range(len(found.classes))
    ]
    ranked.sort(key=lambda one: -one[1])
    return {
        "type": ranked[0][0],
        "confidence": round(ranked[0][1], 4),
        "status": STATUSES[int(found.status[row])],
        "candidates": [{"type": kind, "confidence": round(p, 4)} for kind, p, candidate in ranked if candidate],
        "ranking": [{"type": kind, "confidence": round(p, 4)} for kind, p, _ in ranked[:9]],
        "margin": round(float(1.0 - found.uncertainty[row]), 4),
        "novelty": None if found.novelty[row] != found.novelty[row] else round(float(found.novelty[row]), 4),
        "measured": bool(found.measured[row]),
    }


@router.get("/pages/{name}", tags=["documents"], response_class=Response)
async def picture(
    request: Request,
    hub: TheHub,
    desk: TheDesk,
    name: str,
    size: Annotated[
        str, Query(description="large, or pixels of the long side, 200 to 2000; else as kept, or 200.")
    ] = "",
) -> Response:
    """A page as a picture: `<sha256>-<page>.webp` or `.jpg`, as it is kept, or drawn from the document."""
    stem, _, suffix = name.rpartition(".")
    if suffix not in ("webp", "jpg"):
        raise ProblemError("not_found", "pages are pictures of the kinds .webp and .jpg")
    sha256, page = page_of(stem)
    named = _LARGE if size else _SIZES[0]
    pixels = whole(int(size), *_SIZES) if re.fullmatch(r"[0-9]{1,5}", size) else named
    tag = f'"{stem}-{pixels if size else ""}"'
    if request.headers.get("if-none-match") == tag:
        return Response(None, 304, {"ETag": tag, **_IMMUTABLE})
    key, kind = (sha256, page - 1), "image/webp" if suffix == "webp" else "image/jpeg"
    kept = None if size else await run_in_threadpool(hub.thumbnails.find, key)
    if kept is None:  # a store of before pictures were kept, or one that keeps none, is shown all the same
        await run_in_threadpool(stored, hub, sha256)
        drawn = await desk.picture_lane.run(functools.partial(desk.picture, key, pixels, suffix))
        if drawn is not None:
            return Response(drawn, 200, {"ETag": tag, **_IMMUTABLE, "X-Embedpipe-Picture": "drawn"}, kind)
        kept = await run_in_threadpool(hub.thumbnails.find, key)
    if kept is None:
        raise ProblemError("not_found", f"no picture of page {page} of document {sha256[:12]} is kept")
    content = kept if suffix == "jpg" else await run_in_threadpool(as_webp, kept)
    headers = {**_MAY_CHANGE} if size else {"ETag": tag, **_IMMUTABLE}
    return Response(content, 200, {**headers, "X-Embedpipe-Picture": "kept"}, kind)
