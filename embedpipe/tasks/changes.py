"""What another version of a classifier changes: answers that are others, and types that are told better or worse.

Types are measured on documents that neither version had learnt from when it was asked: both are fitted again in the
same folds, the earlier one without what was labelled since, and asked about the documents that both have.
"""

import os
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from embedpipe.classifiers.bundles import ClassifierBundle
from embedpipe.classifiers.evaluation import cross_validate, document_scores
from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.classifiers.lessons.held_out import held_out_of, honest_folds
from embedpipe.classifiers.lessons.reading import learnt_pages
from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.classifiers.metrics import per_class
from embedpipe.classifiers.rehearsals import apart
from embedpipe.classifiers.saved.on_disk import brief
from embedpipe.classifiers.stored_answers import Answer, told
from embedpipe.core import versions
from embedpipe.core.errors import ArtifactError, LabelsError, UnknownNameError
from embedpipe.store.features import FeatureStore
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.heap import labels_of, rounded

_Z95 = 1.96
"""Standard errors on each side of an interval of 95 %."""


@dataclass(frozen=True, slots=True)
class Flip:
    """A stored document about which two versions say something else.

    Attributes:
        document_sha256: The document.
        path: Where it is.
        before: What the earlier version says.
        after: What the later one says.
        label: What it is labelled, if it is.
        learnt: Whether the later version learnt from it.
    """

    document_sha256: str
    path: str
    before: Answer
    after: Answer
    label: str | None
    learnt: bool


@dataclass(frozen=True, slots=True)
class TypeChange:
    """How well a type is told by two versions, on documents held out from both; None where that is not known.

    Attributes:
        name: The type.
        documents: Held-out documents of it.
        before: Precision, recall and F1 of the earlier version.
        after: The same of the later one.
    """

    name: str
    documents: int
    before: dict[str, float] | None
    after: dict[str, float] | None


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed between two versions.

    Attributes:
        name: Of the classifier.
        before: The earlier version.
        after: The later one.
        flips: Documents with another type, then those with another status.
        types: All types.
        accuracy: Share of the held-out documents told correctly, before and after; None where nothing was measured.
        note: Why types were not measured, or "".
        measured: How many documents were held out.
        chance: A smaller change of the accuracy may be chance (95 %); None where nothing was measured.
    """

    name: str
    before: int
    after: int
    flips: tuple[Flip, ...]
    types: tuple[TypeChange, ...] = ()
    accuracy: tuple[float | None, float | None] = (None, None)
    note: str = ""
    measured: int = 0
    chance: float | None = None


def compare(workspace: Workspace, name: str, before: int, after: int) -> Changes:
    """Compares two versions of a classifier.

    Args:
        workspace: The artifacts.
        name: Of the classifier.
        before: The earlier version.
        after: The later one.

    Raises:
        UnknownNameError: There is no such classifier.
        ArtifactError: There is no such version, or it is damaged.
        SpaceMismatchError: The versions are of different spaces.
    """
    known = workspace.classifiers()
    if name not in known:
        raise UnknownNameError("classifier", name, known)
    folder = workspace.classifier_folder(name)
    for number in (before, after):
        if number not in versions.numbers(folder):
            raise ArtifactError(
                f"{name} has no version {number}; it has {', '.join(map(str, versions.numbers(folder)))}"
            )
    old, new = (ClassifierBundle.load(versions.path_of(folder, number)) for number in (before, after))
    new.require(old.identity)
    recipe = TrainingRecipe.of(new.fitted_on)
    store = recipe.features_of(workspace, workspace.open_store(new.identity.space))
    flips = _flips(workspace, store, old, new)
    try:
        return Changes(name, before, after, flips, *_measured(workspace, store, recipe, old))
    except LabelsError as error:
        return Changes(name, before, after, flips, note=str(error))


def _flips(workspace: Workspace, store: FeatureStore, old: ClassifierBundle, new: ClassifierBundle) -> tuple[Flip, ...]:
    """Stored documents with another answer now: other types first."""
    if old.cues == new.cues:
        one, other = told(store, [old, new])
    else:
        plain = workspace.open_store(new.identity.space)
        [one] = told(TrainingRecipe.of(old.fitted_on).features_of(workspace, plain), [old])
        [other] = told(store, [new])
    labels, _ = labels_of(workspace.labels())
    sources = workspace.sources()
    found = [
        Flip(
            sha256,
            sources.path_of(sha256, sha256),
            answer,
            other[sha256],
            labels.get(sha256),
            brief(sha256) in new.learnt,
        )
        for sha256, answer in one.items()
        if other[sha256] != answer
    ]
    return tuple(sorted(found, key=lambda flip: (flip.before.kind == flip.after.kind, flip.path)))


def _measured(
    workspace: Workspace, store: FeatureStore, recipe: TrainingRecipe, old: ClassifierBundle
) -> tuple[tuple[TypeChange, ...], tuple[float | None, float | None], str, int, float | None]:
    """How well each type is told, without and with what was labelled since, in the same folds."""
    pages = learnt_pages(workspace, store, recipe)
    folds = honest_folds(apart(workspace, store, pages))
    kept = np.array([brief(str(sha256)) in old.learnt for sha256 in pages.documents], bool)
    if not kept.any():
        return (), (None, None), "none of the documents that the earlier version learnt from is labelled now", 0, None
    if kept.all():
        note = "no document was labelled since: both versions are measured as one"
        rows = _rows(store, recipe, pages, folds, kept)
        return _types(rows, rows), (rows.accuracy, rows.accuracy), note, len(rows.right), None
    before = _rows(store, recipe, pages.take(kept), folds[kept], np.ones(int(kept.sum()), bool))
    after = _rows(store, recipe, pages, folds, kept)
    return _types(before, after), (before.accuracy, after.accuracy), "", len(after.right), _chance(before, after)


class _Rows(NamedTuple):
    """Figures of each type on some held-out documents, and whether each of these was told correctly, by SHA-256."""

    figures: dict[str, dict[str, Any]]
    right: dict[str, bool]

    @property
    def accuracy(self) -> float | None:
        """The share that was told correctly."""
        return float(np.mean(list(self.right.values()))) if self.right else None


def _chance(before: _Rows, after: _Rows) -> float | None:
    """Half the 95 % interval of the difference of two shares of the same documents."""
    turns = [after.right[sha256] - right for sha256, right in before.right.items() if sha256 in after.right]
    return _Z95 * float(np.std(turns)) / len(turns) ** 0.5 if turns else None


def _rows(
    store: FeatureStore,
    recipe: TrainingRecipe,
    pages: LabelledPages,
    folds: NDArray[np.int64],
    asked: NDArray[np.bool_],
) -> _Rows:
    """How some of the held-out documents are told."""
    held_out = cross_validate(recipe.plan(store.blocks, pages), pages, folds)
    judged = held_out_of(pages, folds)
    documents = document_scores(judged, held_out)
    wanted = set(pages.documents[asked])
    rows = np.array([sha256 in wanted for sha256 in documents.documents], bool)
    truth = documents.y[rows]
    answers = np.asarray(held_out.classes, object)[documents.log_scores[rows].argmax(axis=1)]
    if not len(truth):
        return _Rows({}, {})
    figures = {row["type"]: row for row in per_class(truth, answers, held_out.classes) if row["documents"]}
    judgement = zip(documents.documents[rows], truth == answers, strict=True)
    return _Rows(figures, {str(sha256): bool(right) for sha256, right in judgement})


def _types(before: _Rows, after: _Rows) -> tuple[TypeChange, ...]:
    names = sorted({*before.figures, *after.figures})

    def figures(rows: _Rows, name: str) -> dict[str, float] | None:
        row = rows.figures.get(name)
        return None if row is None else {key: round(float(row[key]), 4) for key in ("precision", "recall", "f1")}

    return tuple(
        TypeChange(
            name,
            int((after.figures.get(name) or before.figures[name])["documents"]),
            figures(before, name),
            figures(after, name),
        )
        for name in names
    )


def as_json(found: Changes) -> dict[str, Any]:
    """As the page shows it."""
    return {
        "name": found.name,
        "from": found.before,
        "to": found.after,
        "flips": [_flip_json(flip) for flip in found.flips],
        "types": [
            {
                "type": change.name,
                "documents": change.documents,
                "before": change.before,
                "after": change.after,
                "change": round(change.after["f1"] - change.before["f1"], 4)
                if change.before and change.after
                else None,
            }
            for change in found.types
        ],
        "accuracy": dict(zip(("before", "after"), (rounded(value) for value in found.accuracy), strict=True)),
        "measured": found.measured,
        "chance": rounded(found.chance),
        "note": found.note,
    }


def _flip_json(flip: Flip) -> dict[str, Any]:
    return {
        "document": flip.document_sha256,
        "path": flip.path,
        "name": os.path.basename(flip.path),
        "before": {"type": flip.before.kind, "status": flip.before.status},
        "after": {"type": flip.after.kind, "status": flip.after.status},
        "label": flip.label,
        "learnt": flip.learnt,
    }
