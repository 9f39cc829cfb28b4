"""Labels that are likely wrong, and look-alikes that contradict them or make figures too high."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from embedpipe.classifiers.calibration.probabilities import best_temperature
from embedpipe.classifiers.evaluation import cross_validate, document_scores
from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.classifiers.lessons import missing
from embedpipe.classifiers.lessons.drawn import judged_folds
from embedpipe.classifiers.lessons.held_out import held_out_of
from embedpipe.classifiers.lessons.missing import Missing
from embedpipe.classifiers.lessons.reading import learnt_pages
from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.classifiers.rehearsals import apart
from embedpipe.core.display import path_to_text
from embedpipe.core.records import WHOLE_FILE, PageRef
from embedpipe.core.tables import write_csv
from embedpipe.drawing.pictures import Tile, gallery
from embedpipe.embedding.page_pictures import page_pictures
from embedpipe.index.near_duplicates import NEAR_DUPLICATE, near_pairs
from embedpipe.index.page_index import fresh_index
from embedpipe.pages.rendering import Selection
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import Labels
from embedpipe.store.workspace import Sources, Workspace
from embedpipe.tasks.decide import is_confirmed

SHOWN = 20
"""Doubtful documents on the contact sheet; of look-alikes, half as many pairs."""

_WRITTEN = 0.02
"""Share of ink from which look-alikes count: all pages with only a heading and a page number look the same."""

_BLOCK = 4096

COLUMNS = ("problem", "path", "page", "label", "given", "suggested", "confidence", "other", "document")
"""Of the CSV; `label` is left empty, to be filled in and given to `label`."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A label that may be wrong.

    Attributes:
        page: The page; `page_index == WHOLE_FILE` for a document.
        label: What it is labelled.
        suggested: The most probable other type.
        self_confidence: Probability of the label by classifiers that never saw the page's group.
        suggested_confidence: Probability of the other type.
        likely: Whether confident learning counts it as wrong, see `off_diagonal`.
    """

    page: PageRef
    label: str
    suggested: str
    self_confidence: float
    suggested_confidence: float
    likely: bool


@dataclass(frozen=True, slots=True)
class Twins:
    """Two documents with pages that are nearly the same picture.

    Attributes:
        pages: The most similar page of each.
        labels: Their types.
        score: Cosine of the two pages.
        count: How many pairs of their pages are nearly the same.
    """

    pages: tuple[PageRef, PageRef]
    labels: tuple[str, str]
    score: float
    count: int


@dataclass(frozen=True, slots=True)
class Findings:
    """What `check` found, the worst first.

    Attributes:
        documents: Every document that was judged.
        pages: Every page that was judged.
        across_types: Near-duplicates with different labels: one of the two may be wrong.
        across_groups: Near-duplicates of one type in different groups: on both sides of a split they raise the score.
        unjudged: Types with one group of documents, which cannot be judged by others of their kind.
        seen_documents: Documents that were not judged, for the network itself was trained on their labels.
        missing: What labels lack; what was lost is neither judged nor judges others.
        confirmed: Documents that look wrong, but whose labels were confirmed: `unconfirmed` left them out.
    """

    documents: list[Doubt]
    pages: list[Doubt]
    across_types: list[Twins]
    across_groups: list[Twins]
    unjudged: list[str]
    seen_documents: int = 0
    missing: Missing | None = None
    confirmed: int = 0

    @property
    def likely(self) -> list[Doubt]:
        """The documents whose labels are likely wrong."""
        return [doubt for doubt in self.documents if doubt.likely]


def off_diagonal(probabilities: NDArray[np.float64], given: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which labels confident learning counts as wrong (Northcutt, Jiang and Chuang, 2021, arXiv:1911.00068).

    A type's threshold is the mean probability that rows with its label give it. A row counts as wrong if another
    type is the most probable one among those that reach their threshold: it is off the diagonal of the confident joint.

    Args:
        probabilities: Of classifiers that did not see the rows, (n, n_classes).
        given: Column of each row's label, (n,).
    """
    own = probabilities[np.arange(len(given)), given]
    counts = np.bincount(given, minlength=probabilities.shape[1])
    thresholds = np.bincount(given, weights=own, minlength=probabilities.shape[1]) / np.maximum(counts, 1)
    confident = (probabilities >= thresholds) & (counts > 0)
    best = np.where(confident, probabilities, -1.0).argmax(axis=1)
    wrong: NDArray[np.bool_] = confident.any(axis=1) & (best != given)
    return wrong


def check(workspace: Workspace, store: FeatureStore, recipe: TrainingRecipe) -> Findings:
    """Looks for labels that are likely wrong.

    Args:
        workspace: Where labels and sources are.
        store: The features.
        recipe: The classifier that judges; it is cross-validated in grouped folds.

    Raises:
        LabelsError: There are too few labels.
    """
    told = recipe.features_of(workspace, store)
    pages = learnt_pages(workspace, told, recipe)
    sources = workspace.sources()
    known = apart(workspace, told, pages)  # a copy would confirm a wrong label
    folds = judged_folds(known)
    held_out = cross_validate(recipe.plan(told.blocks, known), known, folds)
    judged, classes = held_out_of(known, folds), held_out.classes
    alone = [kind for kind in classes if len(set(known.groups[known.y == kind])) == 1]
    documents = document_scores(judged, held_out)
    whole = [_ref(sources, sha256, WHOLE_FILE) for sha256 in documents.documents]
    ink = store.pages().set_index("page_id").loc[pages.page_ids, "ink"].to_numpy()
    written = np.flatnonzero(ink >= _WRITTEN)
    unit = _unit_rows(workspace, store, pages, written)
    del known
    pages, judged = _without_features(pages), _without_features(judged)
    return Findings(
        _doubts(whole, documents.y, documents.log_scores, classes, alone),
        _doubts(_refs(sources, judged), judged.y, held_out.log_scores, classes, alone),
        *_twins(pages, _refs(sources, pages), unit, written),
        unjudged=alone,
        seen_documents=held_out.seen_documents,
        missing=missing.take(workspace, store, Selection.parse(recipe.pages)),
    )


def _unit_rows(
    workspace: Workspace, store: FeatureStore, pages: LabelledPages, written: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Some of the pages as the index compares them, (n_written, dim)."""
    index = fresh_index(store, workspace.index_path(store.identity.space))
    unit = np.empty((len(written), store.dim), np.float32)
    for first in range(0, len(written), _BLOCK):  # one copy of the pages is enough
        unit[first : first + _BLOCK] = index.unit(pages.X[written[first : first + _BLOCK], : store.dim])
    return unit


def _without_features(pages: LabelledPages) -> LabelledPages:
    """What else is known of pages: of many, features and words are nearly all that they take in memory."""
    return replace(pages, X=np.empty((len(pages.y), 0), np.float32), words=None, variants=None)


def _refs(sources: Sources, pages: LabelledPages) -> list[PageRef]:
    return [_ref(sources, d, int(i)) for d, i in zip(pages.documents, pages.page_indices, strict=True)]


def _ref(sources: Sources, sha256: str, index: int) -> PageRef:
    return PageRef(sha256, index, sources.path_of(sha256, otherwise=sha256))


def _doubts(
    refs: list[PageRef], y: NDArray[Any], scores: NDArray[np.float64], classes: list[str], alone: list[str]
) -> list[Doubt]:
    """Every row that can be judged, the most doubtful label first."""
    judged = np.flatnonzero(~np.isin(y, alone))
    if not len(judged):
        return []
    given = np.searchsorted(classes, y[judged])
    probabilities = softmax(scores[judged] / best_temperature(scores[judged], given), axis=1)
    rows = np.arange(len(judged))
    own = probabilities[rows, given]
    others = probabilities.copy()
    others[rows, given] = -1.0
    suggested = others.argmax(axis=1)
    likely = off_diagonal(probabilities, given)
    order = np.lexsort((own - others[rows, suggested], ~likely))
    return [
        Doubt(
            refs[judged[row]],
            classes[given[row]],
            classes[suggested[row]],
            float(own[row]),
            float(others[row, suggested[row]]),
            bool(likely[row]),
        )
        for row in order
    ]


def _twins(
    pages: LabelledPages, refs: list[PageRef], unit: NDArray[np.float32], written: NDArray[np.int64]
) -> tuple[list[Twins], list[Twins]]:
    """Documents with nearly the same written pages, across types and across the groups of one type.

    Args:
        pages: All pages.
        refs: Of these.
        unit: Rows of the written ones, of unit length.
        written: Which they are.
    """
    rows, scores = near_pairs(unit, NEAR_DUPLICATE)
    pairs = written[rows]
    one, other = pairs.T
    apart = (pages.y[one] != pages.y[other]) | (pages.groups[one] != pages.groups[other])
    apart &= pages.documents[one] != pages.documents[other]
    best = np.argsort(-scores[apart], kind="stable")
    pairs, scores = pairs[apart][best], scores[apart][best]
    _, owner = np.unique(pages.documents, return_inverse=True)
    low, high = np.sort(owner[pairs], axis=1).T
    _, first, counts = np.unique(low * (int(owner.max()) + 1) + high, return_index=True, return_counts=True)
    found: tuple[list[Twins], list[Twins]] = ([], [])
    for k in np.argsort(first):
        a, b = pairs[first[k]]
        labels = (str(pages.y[a]), str(pages.y[b]))
        twins = Twins((refs[a], refs[b]), labels, float(scores[first[k]]), int(counts[k]))
        found[labels[0] == labels[1]].append(twins)
    return found


def unconfirmed(confirmed: Labels, findings: Findings) -> Findings:
    """The same, but labels that somebody confirmed at the page of `serve` are not likely wrong.

    Args:
        confirmed: Of `decide.LabelBook`.
        findings: Of `check`.
    """

    def looked_at(doubts: list[Doubt]) -> list[Doubt]:
        return [
            replace(doubt, likely=doubt.likely and not is_confirmed(confirmed, *_place(doubt.page), doubt.label))
            for doubt in doubts
        ]

    found = replace(findings, documents=looked_at(findings.documents), pages=looked_at(findings.pages))
    return replace(found, confirmed=len(findings.likely) - len(found.likely))


def _place(page: PageRef) -> tuple[str, int]:
    return page.document_sha256, page.page_number


def as_json(findings: Findings) -> dict[str, Any]:
    """As the command line prints it: likely wrong labels, and look-alikes."""
    return {
        "documents_checked": len(findings.documents),
        "pages_checked": len(findings.pages),
        "documents": [_doubt_json(doubt) for doubt in findings.likely],
        "pages": [_doubt_json(doubt) for doubt in findings.pages if doubt.likely],
        "across_types": [_twins_json(twins) for twins in findings.across_types],
        "across_groups": [_twins_json(twins) for twins in findings.across_groups],
        "unjudged": findings.unjudged,
        "seen_documents": findings.seen_documents,
        "confirmed": findings.confirmed,
        "missing": findings.missing.as_json() if findings.missing else None,
    }


def _doubt_json(doubt: Doubt) -> dict[str, Any]:
    return {
        "path": doubt.page.source,
        "page": doubt.page.page_number or None,
        "label": doubt.label,
        "suggested": doubt.suggested,
        "self_confidence": round(doubt.self_confidence, 4),
        "suggested_confidence": round(doubt.suggested_confidence, 4),
    }


def _twins_json(twins: Twins) -> dict[str, Any]:
    return {
        "pages": [{"path": p.source, "page": p.page_number, "label": k} for p, k in zip(*_sides(twins), strict=True)],
        "score": round(twins.score, 4),
        "count": twins.count,
    }


def _sides(twins: Twins) -> tuple[tuple[PageRef, PageRef], tuple[str, str]]:
    return twins.pages, twins.labels


def save(findings: Findings, file: Path) -> None:
    """Writes what is likely wrong as a CSV whose empty `label` column can be filled in and given to `label`."""
    write_csv(file, COLUMNS, _rows(findings))


def _rows(findings: Findings) -> Iterator[dict[str, object]]:
    for what, doubts in (("document", findings.documents), ("page", findings.pages)):
        for doubt in doubts:
            if doubt.likely:
                row = _row(f"{what} may be another type", doubt.page, doubt.label)
                yield row | {"suggested": doubt.suggested, "confidence": round(doubt.suggested_confidence, 4)}
    for what, all_twins in (("type", findings.across_types), ("group", findings.across_groups)):
        for twins in all_twins:
            for page, label, other in zip(twins.pages, twins.labels, twins.pages[::-1], strict=True):
                row = _row(f"looks the same in another {what}", page, label) | {"page": None}
                yield row | {"confidence": round(twins.score, 4), "other": path_to_text(str(other))}


def _row(problem: str, page: PageRef, given: str) -> dict[str, object]:
    return {
        "problem": problem,
        "path": path_to_text(page.source),
        "page": page.page_number or None,
        "given": given,
        "document": page.document_sha256,
    }


def draw(workspace: Workspace, findings: Findings, file: Path) -> None:
    """Draws the most doubtful documents and the look-alikes across types and groups, as a PNG."""
    doubts = findings.likely[:SHOWN]
    types, groups = findings.across_types[: SHOWN // 2], findings.across_groups[: SHOWN // 2]
    first_pages = [PageRef(d.page.document_sha256, 0, d.page.source) for d in doubts]
    pixels = _pixels(workspace, [*first_pages, *(page for twins in types + groups for page in twins.pages)])

    def tile(page: PageRef, detail: str) -> Tile:
        picture = pixels.get((page.document_sha256, page.page_index))
        return Tile(picture, f"{os.path.basename(page.source)} p. {page.page_number}", detail)

    def both(all_twins: Iterable[Twins]) -> list[Tile]:
        sides = [(p, k, twins.score) for twins in all_twins for p, k in zip(twins.pages, twins.labels, strict=True)]
        return [tile(page, f"{label} · {score:.3f}") for page, label, score in sides]

    sections = [
        (
            "Labelled so, but looking like another type",
            [
                tile(page, f"{d.label}, or {d.suggested}? ({d.suggested_confidence:.0%})")
                for page, d in zip(first_pages, doubts, strict=True)
            ],
        ),
        ("Pages that look the same, of documents of two types", both(types)),
        ("Pages that look the same, of documents of one type in two groups", both(groups)),
    ]
    gallery([section for section in sections if section[1]], file, "Labels to look at")


def _pixels(workspace: Workspace, pages: Iterable[PageRef]) -> dict[tuple[str, int], NDArray[np.uint8]]:
    return page_pictures(workspace, [(page.document_sha256, page.page_index) for page in pages])
