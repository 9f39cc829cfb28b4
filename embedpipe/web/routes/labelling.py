"""Labels: given in batches, undone and done again; the queue of doubtful documents; families."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from embedpipe.classifiers.stored_answers import STATUSES
from embedpipe.core.cache_folder import Aside
from embedpipe.core.display import name_of
from embedpipe.core.errors import EmbedpipeError, LabelsError
from embedpipe.store.label_lists.columns import Wish
from embedpipe.store.label_lists.lines import BadLinesError
from embedpipe.store.labels import Labels
from embedpipe.tasks.decide import CHECKED, SUGGESTED, Batch, Decision, Done
from embedpipe.tasks.queue import as_json
from embedpipe.web.hub import Hub
from embedpipe.web.problems import ProblemError
from embedpipe.web.routes.common import PROBLEMS, TheHub, clamped, csv_answer, document_of, whole

router = APIRouter(responses=PROBLEMS)

_MOST_QUESTIONS = 100
_MOST_TOLD = 5000
_SKIPPED = 2000
_LONGEST = 200
"""Characters of a type or a group."""


class Given(BaseModel):
    """A label that is given."""

    model_config = ConfigDict(extra="forbid")
    document: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the document.")
    type: str | None = Field(
        max_length=_LONGEST, description="Its type; `none` for none of the types, null to take the label away."
    )
    page: int = Field(0, ge=0, le=1_000_000, description="A page of it, from 1; 0 for the whole document.")
    group: str = Field("", max_length=_LONGEST, description="What must not be split between training and test.")


class LabelBatch(BaseModel):
    """Labels that are given, and undone, together."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"labels": [{"document": "3f" * 32, "type": "invoice"}], "state": "checked", "client": "a1"}]
        },
    )
    labels: list[Given]
    state: str = Field(
        CHECKED,
        description="checked, which teaches; suggested, which does not; confirmed: checked, and not likely wrong.",
    )
    client: str = Field("", max_length=64, description="Who decides: undoing without a token undoes his own.")


class Turn(BaseModel):
    """Which batch is undone, or done again."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"token": "17"}, {"client": "a1"}]})
    token: str | None = Field(None, max_length=20, pattern="^[0-9]+$", description="Of the batch; else the newest one.")
    client: str = Field("", max_length=64)


class Suggest(BaseModel):
    """Which answers of the classifier become suggested labels."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"status": ["ok"]}]})
    status: list[str] = Field(default=["ok"], max_length=4)
    documents: list[str] | None = Field(None, description="Only of these.")
    client: str = Field("", max_length=64)


@router.get("/types", tags=["labels"])
def types(hub: TheHub) -> dict[str, Any]:
    """The types of labels and classifier, with how many labels each has."""
    labels, used = hub.scribe.labels(), hub.in_use()
    checked, suggested = labels.checked.types(), labels.suggested.types()
    names = sorted({*checked, *suggested, *(used.types if used is not None else ())})
    rows = [{"type": n, "labels": checked.get(n, 0), "suggested": suggested.get(n, 0)} for n in names]
    return {"types": rows, "none": labels.checked.none}


@router.post("/labels", tags=["labels"])
def give(hub: TheHub, batch: LabelBatch) -> dict[str, Any]:
    """Gives labels to documents or pages, all or none; the answer's token undoes exactly these."""
    most = hub.settings.caps.labels
    if len(batch.labels) > most:
        raise ProblemError("unprocessable", f"labels: {len(batch.labels)} are too many at once: send {most} at a time")
    paths = hub.paths()
    unknown = [given.document for given in batch.labels if given.document not in paths]
    if unknown:
        raise ProblemError("unprocessable", f"document {unknown[0][:12]} is not stored, so no label was given")
    held = hub.stock()
    for one in batch.labels:
        last = int(held.pages[held.rows[one.document]]) if held is not None and one.document in held.rows else 0
        if one.page > last and one.type is not None:
            raise ProblemError("unprocessable", f"document {one.document[:12]} has pages 1-{last}, and no {one.page}")
    decisions = [Decision(one.document, _type(one.type), one.page, _group(one.group)) for one in batch.labels]
    return _kept(hub, Batch(decisions, batch.state, batch.client), paths)


def _type(given: str | None) -> str | None:
    """A type as labels have it."""
    if given is None:
        return None
    name = name_of(given)
    if not name or not name.isprintable():
        raise ProblemError("unprocessable", f"{given[:50]!r} is no name of a type: write one that can be seen")
    return name


def _group(given: str) -> str:
    """A group as labels have it; none is an empty one."""
    name = name_of(given)
    if not name.isprintable():
        raise ProblemError("unprocessable", f"{given[:50]!r} is no name of a group: write one that can be seen")
    return name


def _kept(hub: Hub, batch: Batch, paths: Any) -> dict[str, Any]:
    try:
        done = hub.scribe.decide(batch, paths)
    except LabelsError as error:
        raise ProblemError("unprocessable", str(error)) from error
    _tell(hub, done, batch.client, undone=False)
    return {
        "token": str(done.number) if done.number else None,
        "changed": len(done.changed),
        "unchanged": len({decision.key for decision in batch.decisions}) - len(done.changed),
        "labels": done.labels,
        "suggested": done.suggested,
    }


def _tell(hub: Hub, done: Done, client: str, *, undone: bool) -> None:
    """Tells all pages which documents have other labels now."""
    hub.note_labels()
    if not done.number:
        return
    labels, held = hub.scribe.labels(), hub.stock()
    documents = list(dict.fromkeys(sha256 for sha256, _ in done.changed))
    changed = []
    for sha256 in documents[:_MOST_TOLD]:
        label, state = labels.of(sha256, held)
        changed.append({"document": sha256, "label": label, "label_state": state})
    hub.events.publish(
        "labels",
        by=client,
        batch=str(done.number),
        undone=undone,
        changed=changed,
        all=len(documents) <= _MOST_TOLD,
        labels=done.labels,
        suggested=done.suggested,
    )


@router.post("/labels/undo", tags=["labels"])
def undo(hub: TheHub, turn: Turn) -> dict[str, Any]:
    """Undoes a batch; what was changed by others since stays as it is."""
    return _turned(hub, turn, undo=True)


@router.post("/labels/redo", tags=["labels"])
def redo(hub: TheHub, turn: Turn) -> dict[str, Any]:
    """Does again what was undone."""
    return _turned(hub, turn, undo=False)


def _turned(hub: Hub, turn: Turn, *, undo: bool) -> dict[str, Any]:
    done = hub.scribe.turn(None if turn.token is None else int(turn.token), turn.client, undo=undo)
    _tell(hub, done, turn.client, undone=undo)
    return {
        "token": str(done.number),
        "changed": len(done.changed),
        "documents": list(dict.fromkeys(sha256 for sha256, _ in done.changed)),
        "kept": list(done.left),
        "labels": done.labels,
        "suggested": done.suggested,
    }


@router.get("/labels/changes", tags=["labels"])
def label_changes(
    hub: TheHub,
    client: Annotated[str, Query(max_length=64, description="Only his.")] = "",
    limit: Annotated[int, Query()] = 50,
) -> dict[str, Any]:
    """The batches, newest first, and whether there is anything to undo or redo."""
    own = [entry for entry in hub.scribe.entries() if client in ("", entry.client)][: whole(limit, 0, 500)]
    undoable, redoable = hub.scribe.can(client)
    return {
        "can_undo": undoable,
        "can_redo": redoable,
        "batches": [
            {
                "token": str(entry.number),
                "when": entry.when,
                "client": entry.client,
                "state": entry.state,
                "documents": len({sha256 for sha256, _ in entry.changes}),
                "types": sorted({row["type"] for _, after in entry.changes.values() for row in after if row}),
                "undone": entry.undone,
            }
            for entry in own
        ],
    }


@router.get("/labels.csv", tags=["labels"], response_class=Response)
def labels_csv(hub: TheHub) -> Response:
    """The checked labels, as `label` takes them."""
    file = hub.workspace.labels_file
    return csv_answer(file.read_bytes() if file.exists() else b"document,path,page,label,group\r\n", "labels.csv")


@router.post("/labels.csv", tags=["labels"])
async def take_csv(
    request: Request,
    hub: TheHub,
    partial: Annotated[bool, Query(description="Take the good lines of a list that has bad ones.")] = False,
    client: Annotated[str, Query(max_length=64)] = "",
) -> dict[str, Any]:
    """Takes the labels of a list (CSV or workbook), as `label` does."""
    content = await request.body()
    return await run_in_threadpool(_take_csv, hub, content, partial, client)


def _take_csv(hub: Hub, content: bytes, partial: bool, client: str) -> dict[str, Any]:
    paths = hub.paths()
    stored = {path: sha256 for sha256, path in paths.items()}
    with Aside("labels") as folder:
        file = Path(folder) / "labels.csv"
        file.write_bytes(content)
        try:
            given = Labels.from_csv(file, stored.get, stored=stored, wish=Wish(partial=partial))
        except BadLinesError as error:
            bad = [_bad(line) for line in error.lines[:100]]
            raise ProblemError("unprocessable", str(error).replace(str(file), "the list"), bad=bad) from error
        except EmbedpipeError as error:
            raise ProblemError("unprocessable", str(error).replace(str(file), "the list")) from error
    rows = given.rows.values()
    decisions = [Decision(r.document_sha256, _type(r.label), r.page_number, _group(r.group)) for r in rows]
    strangers = [one for one in decisions if one.document_sha256 not in paths]
    decisions = [one for one in decisions if one.document_sha256 in paths]
    answer = _kept(hub, Batch(decisions, CHECKED, client), paths)
    notes = [note.replace(str(file), "the list") for note in given.notes]
    notes += [f"{path} is labelled {' and '.join(kinds)}: it has no label now" for path, kinds in given.conflicts]
    if strangers:
        notes.append(f"{len(strangers)} documents of the list are not stored: their labels were not taken")
    return {**answer, "skipped": given.skipped, "bad": [_bad(line) for line in given.bad[:100]], "notes": notes}


def _bad(line: Any) -> dict[str, Any]:
    return {name: getattr(line, name) for name in ("line", "cell", "value", "reason")}


@router.post("/suggestions", tags=["labels"])
def suggestions(hub: TheHub, wish: Suggest) -> dict[str, Any]:
    """Takes the classifier's answers as suggested labels: they do not teach until they are checked."""
    state, found = hub.survey()
    if found is None or not found.answered:
        raise ProblemError(
            "conflict", "there are no answers of a classifier yet: fit one, or wait until they are there"
        )
    wanted = {STATUSES.index(one) for one in wish.status if one in STATUSES}
    only = None if wish.documents is None else set(wish.documents)
    checked, of_pages = hub.scribe.labels().known
    paths = hub.paths()
    decisions = [
        Decision(sha256, found.classes[int(found.probabilities[row].argmax())])
        for row, sha256 in enumerate(found.documents)
        if int(found.status[row]) in wanted
        and sha256 in paths
        and sha256 not in checked
        and sha256 not in of_pages
        and (only is None or sha256 in only)
    ]
    return {**_kept(hub, Batch(decisions, SUGGESTED, wish.client), paths), "answers": state}


@router.get("/queue", tags=["labels"])
def queue(
    hub: TheHub,
    limit: Annotated[int, Query(description="How many documents, at most 100.")] = 10,
    skip: Annotated[str, Query(max_length=200_000, description="Documents that are left out, with commas.")] = "",
    first: Annotated[str, Query(max_length=100, description="One that comes first, where it has no label.")] = "",
) -> dict[str, Any]:
    """Documents whose labels teach most, with the types that they may be of, and the labelled ones they look like."""
    passed = [document_of(one) for one in skip.split(",") if one][:_SKIPPED]
    count = whole(limit, 1, _MOST_QUESTIONS)
    state, asked = hub.use_ranking(lambda ranking: (ranking.ask(count, passed, first), ranking.left))
    questions, left = asked if asked is not None else ([], 0)
    guessed = hub.scribe.labels().guessed
    items = [{**as_json(one), "suggested": guessed.get(one.document_sha256)} for one in questions]
    return {"answers": state, "left": left, "items": items}


@router.get("/families", tags=["labels"])
def families(
    hub: TheHub,
    threshold: Annotated[float, Query(description="Least mean cosine of two first pages of a family.")] = 0.8,
    least: Annotated[int, Query(description="Documents of the smallest family.")] = 2,
    refresh: Annotated[bool, Query(description="Start a job where the result is not up to date.")] = True,
) -> dict[str, Any]:
    """Families of documents whose first pages have one layout, those with most unlabelled ones first."""
    of = {"threshold": round(clamped(threshold, 0.3, 0.999), 3), "least": whole(least, 1, 1000)}
    space = hub.space()
    values, data = hub.result("families", "families of documents", of, {**of, "space": space}, "", refresh=refresh)
    labels, (_, found) = hub.scribe.labels(), hub.survey()
    (checked, of_pages), guessed = labels.known, labels.guessed
    rows = []
    for row in data["families"] if data else ():
        members: list[str] = row["documents"]
        labelled, suggested = _counts(members, checked), _counts(members, guessed)
        rows.append(
            {
                "representative": {"document": members[0], "page": row["page"]},
                "coherence": row["coherence"],
                "documents": members,
                "unlabelled": sum(sha256 not in checked and sha256 not in of_pages for sha256 in members),
                "labelled": labelled,
                "suggested": suggested,
                "type": next(iter(labelled), None),
                "guess": _guess(members, found),
            }
        )
    rows.sort(key=lambda row: (-row["unlabelled"], -len(row["documents"])))
    return {**values, "families": [{"family": number, **row} for number, row in enumerate(rows, 1)]}


def _counts(members: list[str], labels: dict[str, str]) -> dict[str, int]:
    """How many of some documents have each label, most first."""
    return dict(Counter(labels[sha256] for sha256 in members if sha256 in labels).most_common())


def _guess(members: list[str], found: Any) -> str | None:
    """The type that the classifier gives most of some documents."""
    if found is None or not found.answered:
        return None
    rows = [found.rows[sha256] for sha256 in members if sha256 in found.rows]
    return found.classes[int(found.probabilities[rows].mean(axis=0).argmax())] if rows else None
