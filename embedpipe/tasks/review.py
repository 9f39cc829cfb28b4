"""What a person should look at: documents that a classifier is not sure of, to be filled in and given to `label`."""

import os
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedpipe.backbones.onnx.orientation import turned
from embedpipe.classifiers.reasons.evidence import Examples
from embedpipe.core.display import display, path_to_text, text_to_path
from embedpipe.core.errors import LabelsError
from embedpipe.core.records import SAYS_NOTHING, SHOWN, Document, Example, FeatureBatch, PageInfo, PageRef
from embedpipe.core.tables import read_numbered
from embedpipe.drawing.pictures import jpeg_bytes, thumbnail
from embedpipe.drawing.reviews import Card, Look, write_review
from embedpipe.drawing.workbook import Book, Column, Picture, Sheet, Value
from embedpipe.embedding.cue_table import CuedStore
from embedpipe.embedding.kind_table import read_kinds
from embedpipe.embedding.page_pictures import large_pictures, page_jpegs
from embedpipe.pages.documents import Limits
from embedpipe.pages.walking import FoundFile, identify
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import NONE
from embedpipe.store.page_extras import PageWords
from embedpipe.store.page_table import Key
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.classify import Answers, DocumentVerdict, best_of_each_document, reason

if TYPE_CHECKING:
    from embedpipe.classifiers.bundles import ClassifierBundle
    from embedpipe.classifiers.saved.answering import Answerer

STATUSES = ("ok", "ambiguous", "novel", "blank")
"""Of answers for stored documents."""
DOUBTFUL = ("ambiguous", "novel")
MOST = 200
"""Documents of one review, if not asked otherwise: about an hour's work, and 10 MB of HTML."""

_FEWEST_CANDIDATES, _MOST_CANDIDATES = 3, 9
_LARGE = 900
"""Pixels of the long side of a page that a person has to read."""
_SMALL = 192
_QUALITY = 55
_CAPTION = 20
"""Letters below a picture in a workbook."""
_LISTED = 5
"""Candidates that a cell has room for."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A document to decide about.

    Attributes:
        document_sha256: The document.
        path: Where it is.
        status: Of the answer.
        reason: Why a person should look.
        candidates: Types, best first, with their probabilities where these are known.
        margin: How much more probable the first type is than the second one.
        novelty: How unlike the labelled ones it is.
        page_index: Of the page to show.
        pages: How many it has; 0 where that is not known.
        looks: The labelled pages that look most like it.
    """

    document_sha256: str
    path: str
    status: str
    reason: str
    candidates: tuple[tuple[str, float | None], ...]
    margin: float = 0.0
    novelty: float = 0.0
    page_index: int = 0
    pages: int = 0
    looks: tuple[Example, ...] = ()


@dataclass(frozen=True, slots=True)
class Review:
    """What is to be decided.

    Attributes:
        doubts: The documents, those that teach most first.
        types: All types that there are.
        asked: How many documents were looked at.
        left_out: How many more there are of these statuses.
        others: Documents that are not stored, to be drawn from their files.
    """

    doubts: tuple[Doubt, ...]
    types: tuple[str, ...]
    asked: int
    left_out: int = 0
    others: Mapping[str, Document] = field(default_factory=dict)


def find(
    workspace: Workspace,
    store: FeatureStore,
    bundle: "ClassifierBundle | Answerer",
    statuses: Sequence[str] = DOUBTFUL,
    limit: int = MOST,
) -> Review:
    """The stored documents without a label that a classifier is not sure of, as `classify` would answer for them.

    Args:
        workspace: Where labels and documents are.
        store: The features.
        bundle: The classifier, of the store's space.
        statuses: Which answers a person should look at.
        limit: Most documents.

    Raises:
        LabelsError: Every document is labelled.
    """
    places = unlabelled(workspace, store)
    if not places:
        raise LabelsError("every stored document has a label: run `embed` on more of them, or give --from answers.csv")
    found = answers(workspace, store, bundle, places)
    doubts = [doubt for doubt in found if doubt.status in statuses]
    shown = in_turn(doubts)[:limit]
    return Review(
        doubts=tuple(_with_looks(workspace, store, shown)),
        types=all_types(workspace, bundle),
        asked=len(found),
        left_out=len(doubts) - len(shown),
    )


def unlabelled(workspace: Workspace, store: FeatureStore) -> dict[str, str]:
    """The stored documents of which neither all nor a page has a label, and where they are, by SHA-256."""
    labelled = {sha256 for sha256, _ in workspace.labels().rows}
    pages, sources = store.table(), workspace.sources()
    stored = zip(pages["document_sha256"].to_pylist(), pages["source"].to_pylist(), strict=True)
    return {
        sha256: sources.path_of(sha256, text_to_path(source))
        for sha256, source in dict(stored).items()
        if sha256 not in labelled
    }


def answers(
    workspace: Workspace, store: FeatureStore, bundle: "ClassifierBundle | Answerer", places: Mapping[str, str]
) -> list[Doubt]:
    """What `classify` answers for stored documents; neither files nor single pages are looked at.

    Args:
        workspace: Where they are stored.
        store: Their features, read part by part.
        bundle: The classifier.
        places: Where they are, by SHA-256.
    """
    told = Answers(bundle, neighbours=0, each_page=False)
    shown: dict[str, tuple[bool, int, int]] = {}
    for batch in _stored(workspace, store, places, cues=bundle.cues, words=bundle.words):
        told.take(batch)
        for info in batch.pages:
            silent = info.outcome in SAYS_NOTHING
            place = silent, info.ref.page_index, info.page_count
            shown[info.ref.document_sha256] = min(shown.get(info.ref.document_sha256, place), place)
    documents = [Document(places[sha256], sha256, 0, 0, "") for sha256 in shown]
    sources = workspace.sources()
    there = filter(None, (sources.document(document.sha256) for document in told.of_unknown_kind(documents)))
    told.tell_kinds(read_kinds(workspace, there))
    told.compare(documents)
    return [_doubt(told.verdict(document), *shown[document.sha256][1:]) for document in documents]


def _stored(
    workspace: Workspace, store: FeatureStore, wanted: Container[str], *, cues: bool, words: bool
) -> Iterator[FeatureBatch]:
    """The pages of some stored documents as `classify` takes them."""
    names = ["page_id", "document_sha256", "source", "page_index", "page_count", "width", "height", "ink", "outcome"]
    rows = store.table().select([*names, "message", "source_kind", "turned"]).to_pylist()
    known = {row.pop("page_id"): row for row in rows if row["document_sha256"] in wanted}
    of_pages = PageWords(store) if words else None
    for page_ids, X in (CuedStore(workspace, store) if cues else store).batches():
        here = [number for number, page_id in enumerate(page_ids.tolist()) if page_id in known]
        if not here:
            continue
        infos = []
        for page_id in page_ids[here].tolist():
            row = dict(known[page_id])
            ref = PageRef(row.pop("document_sha256"), row.pop("page_index"), text_to_path(row.pop("source")))
            infos.append(PageInfo(ref, **row))
        yield FeatureBatch(tuple(infos), X[here], of_pages.of(page_ids[here]) if of_pages else None)


def _with_looks(workspace: Workspace, store: FeatureStore, doubts: Sequence[Doubt]) -> list[Doubt]:
    """Documents with the labelled pages that look most like one of their own."""
    if not workspace.labels().rows:
        return list(doubts)
    examples, found = Examples(workspace, store), defaultdict[str, list[Example]](list)
    for batch in _stored(workspace, store, {doubt.document_sha256 for doubt in doubts}, cues=False, words=False):
        if not (says := [number for number, info in enumerate(batch.pages) if info.outcome not in SAYS_NOTHING]):
            continue
        documents = [batch.pages[number].ref.document_sha256 for number in says]
        for sha256, looks in zip(documents, examples.nearest(batch.X[says], documents), strict=True):
            found[sha256] += looks
    return [
        replace(doubt, looks=tuple(best_of_each_document(found[doubt.document_sha256])[:SHOWN])) for doubt in doubts
    ]


def _doubt(verdict: DocumentVerdict, page_index: int, pages: int) -> Doubt:
    told = verdict.prediction
    candidates = dict(told.candidates[:_MOST_CANDIDATES])
    for kind, share in told.ranking:
        if len(candidates) < _FEWEST_CANDIDATES:
            candidates.setdefault(kind, share)
    return Doubt(
        document_sha256=verdict.document_sha256,
        path=verdict.path,
        status=told.status,
        reason=reason(verdict),
        candidates=tuple(candidates.items()),
        margin=told.margin,
        novelty=told.novelty,
        page_index=page_index,
        pages=pages,
    )


def in_turn(doubts: Iterable[Doubt]) -> list[Doubt]:
    """Those that teach most first: close decisions, and what is most unlike the labelled, each by its share."""
    kinds: dict[str, list[Doubt]] = {}
    for doubt in doubts:
        kinds.setdefault(doubt.status, []).append(doubt)
    placed = []
    for status, own in kinds.items():
        own.sort(key=lambda d: (-d.novelty, d.path) if status == "novel" else (d.margin, d.path))
        placed += [((place + 0.5) / len(own), doubt) for place, doubt in enumerate(own)]
    return [doubt for _, doubt in sorted(placed, key=lambda pair: (pair[0], pair[1].status))]


def all_types(workspace: Workspace, bundle: "ClassifierBundle | Answerer | None" = None) -> tuple[str, ...]:
    """The types that are labelled, and those that a classifier knows."""
    return tuple(sorted({*workspace.labels().types(), *(bundle.classes if bundle else ())}))


def from_answers(
    workspace: Workspace,
    file: Path,
    store: FeatureStore | None = None,
    statuses: Sequence[str] = DOUBTFUL,
    limit: int = MOST,
) -> Review:
    """The doubtful answers of a CSV that `classify` wrote; stored documents are shown with what they look like.

    Raises:
        LabelsError: It is no such CSV, or holds no such answers.
    """
    rows = read_numbered(file)
    if not rows or not {"path", "type", "status", "document"} <= rows[0][1].keys():
        raise LabelsError(f"{file} holds no answers: --from takes what `classify --csv FILE` wrote")
    named = {row["type"] for _, row in rows} - {""}
    types, labels = tuple(sorted({*all_types(workspace), *named})), workspace.labels()
    open_rows = [row for _, row in rows if row["document"] and not row.get("label", "").strip()]
    doubts = [
        _answered(row, types)
        for row in open_rows
        if row["status"] in statuses and (row["document"], 0) not in labels.rows
    ]
    shown, stored = in_turn(doubts)[:limit], workspace.sources().known()
    others = {doubt.document_sha256: doubt.path for doubt in shown if doubt.document_sha256 not in stored}
    if store is not None:
        shown = _with_looks(workspace, store, shown)
    return Review(tuple(shown), types, len(rows), len(doubts) - len(shown), _there(others))


def _answered(row: Mapping[str, str], types: Sequence[str]) -> Doubt:
    """An answer as it stands in a CSV: types may have spaces in them, so known ones are looked for first."""
    confidence, rest = _number(row.get("confidence", "")), f" {row.get('candidates', '')} "
    named = []
    for kind in sorted({*types, row["type"]}, key=len, reverse=True):
        if kind and (place := rest.find(f" {kind} ")) >= 0:
            named.append((place, kind))
            rest = rest.replace(f" {kind} ", f" {' ' * len(kind)} ", 1)
    others = [kind for _, kind in sorted(named) if kind != row["type"]]
    first = ((row["type"], confidence),) if row["type"] else ()
    said = row.get("reason") or (f"may also be {', '.join(others[:SHOWN])}" if others else row["status"])
    pages = row.get("pages", "")
    return Doubt(
        document_sha256=row["document"],
        path=text_to_path(row["path"]),
        status=row["status"],
        reason=display(said),
        candidates=(*first, *((kind, None) for kind in others))[:_MOST_CANDIDATES],
        margin=_number(row.get("margin", "")) or 0.0,
        novelty=_number(row.get("novelty", "")) or 0.0,
        pages=int(pages) if pages.isdecimal() else 0,
    )


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _there(places: Mapping[str, str]) -> dict[str, Document]:
    """The documents whose files are there with the same content."""
    found = {}
    for sha256, path in places.items():
        if os.path.isfile(path):
            status = os.stat(path)
            document = identify(
                FoundFile(path, status.st_size, status.st_mtime_ns, named=True, type_folder=None), Limits()
            )
            if isinstance(document, Document) and document.sha256 == sha256:
                found[sha256] = document
    return found


def write(
    workspace: Workspace, store: FeatureStore | None, review: Review, file: Path, facts: Mapping[str, str]
) -> None:
    """Writes a review as HTML or as a workbook, by the end of the file's name.

    Raises:
        ArtifactError: The file cannot be written.
    """
    if file.suffix.lower() == ".xlsx":
        write_workbook(workspace, review, file)
        return
    pictures = _large(workspace, store, review)
    pictures |= {_name(key): picture for key, picture in page_jpegs(workspace, _looks(review)).items() if picture}
    cards = [
        Card(
            doubt.document_sha256,
            doubt.path,
            doubt.pages,
            doubt.status,
            doubt.reason,
            doubt.candidates,
            [Look(e.label, e.page.source, e.page.page_number, e.score, _name(_page(e))) for e in doubt.looks],
            _name(_own(doubt), "large"),
        )
        for doubt in review.doubts
    ]
    write_review(file, facts, cards, types=review.types, none=NONE, pictures=pictures)


def _large(workspace: Workspace, store: FeatureStore | None, review: Review) -> dict[str, bytes]:
    """Pages that people can read, upright where the store knows how they lie."""
    degrees: dict[Key, int] = {}
    if store is not None:
        pages = store.table()
        columns = (pages[name].to_pylist() for name in ("document_sha256", "page_index", "turned"))
        degrees = {(sha256, index): angle for sha256, index, angle in zip(*columns, strict=True) if angle}
    keys = [_own(doubt) for doubt in review.doubts if doubt.document_sha256 not in review.others]
    others = [(document, 0) for document in review.others.values()]
    return {
        _name(key, "large"): jpeg_bytes(thumbnail(turned(pixels, degrees.get(key, 0)), (_LARGE, _LARGE)), _QUALITY)
        for key, pixels in large_pictures(workspace, keys, _LARGE, others)
    }


def write_workbook(workspace: Workspace, review: Review, file: Path) -> None:
    """Writes a review as a workbook with a column to fill in."""
    pictures = page_jpegs(workspace, [*map(_own, review.doubts), *_looks(review)])
    pictures |= {
        (sha256, index): jpeg_bytes(thumbnail(pixels, (_SMALL, _SMALL)))
        for (sha256, index), pixels in large_pictures(
            workspace, (), _SMALL, [(document, 0) for document in review.others.values()]
        )
    }

    def picture(key: Key, text: str) -> Value:
        return Picture(pictures[key], text) if pictures.get(key) else text

    rows = [
        (
            picture(_own(doubt), ""),
            None,
            None,
            path_to_text(doubt.path),
            doubt.status,
            doubt.reason,
            in_words(doubt.candidates[:_LISTED]),
            doubt.pages or None,
            *(picture(_page(e), _caption(e)) for e in doubt.looks),
            *[None] * (SHOWN - len(doubt.looks)),
            doubt.document_sha256,
        )
        for doubt in review.doubts
    ]
    columns = [
        Column("first page"),
        Column("label", 22, fill_in=True, choices=(*review.types, NONE)),
        Column("group", 16, fill_in=True),
        Column("path", 44),
        Column("status", 12),
        Column("reason", 30),
        Column("candidates", 26),
        Column("pages", 7),
        *(Column(f"looks like {number}", 18) for number in range(1, SHOWN + 1)),
        Column("document", hidden=True),
    ]
    book = Book()
    book.add(Sheet("review", columns, rows))
    book.save(file)


def _caption(example: Example) -> str:
    """Type and file of a page, in the two lines that are below its picture."""
    name = display(os.path.basename(example.page.source))
    short = name if len(name) <= _CAPTION else f"{name[: _CAPTION // 2]}…{name[-_CAPTION // 2 + 1 :]}"
    return f"{display(example.label)[:_CAPTION]}\n{short}"


def in_words(candidates: Iterable[tuple[str, float | None]]) -> str:
    """Types with their probabilities, a line each."""
    return "\n".join(kind if share is None else f"{kind} {share:.0%}" for kind, share in candidates)


def _own(doubt: Doubt) -> Key:
    return doubt.document_sha256, doubt.page_index


def _page(example: Example) -> Key:
    return example.page.document_sha256, example.page.page_index


def _looks(review: Review) -> list[Key]:
    return [_page(example) for doubt in review.doubts for example in doubt.looks]


def _name(key: Key, size: str = "") -> str:
    return f"{key[0][:16]}-{key[1]}{size}"


def as_json(review: Review) -> dict[str, Any]:
    """As the command line prints it."""
    return {
        "asked": review.asked,
        "left_out": review.left_out,
        "documents": [
            {
                "path": doubt.path,
                "status": doubt.status,
                "reason": doubt.reason,
                "candidates": [{"type": kind, "confidence": share} for kind, share in doubt.candidates],
                "pages": doubt.pages,
                "looks_like": [example.to_json() for example in doubt.looks],
                "document": doubt.document_sha256,
            }
            for doubt in review.doubts
        ],
    }
