"""Labels and stored features to classifiers, and to figures of their quality. Never loads torch."""

import time
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from embedpipe.classifiers.bundles import CUES, PICTURES, WORDS, ClassifierBundle, FittedParts, fit_classifier
from embedpipe.classifiers.calibration.confidence import nested_decisions
from embedpipe.classifiers.calibration.decisions import Rule
from embedpipe.classifiers.evaluation import document_scores, fit_whole
from embedpipe.classifiers.folds import at_once
from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.classifiers.lessons import missing, variants
from embedpipe.classifiers.lessons.drawn import by_few_threads
from embedpipe.classifiers.lessons.reading import without_cues
from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.classifiers.metrics import confusion, metrics_of, per_class
from embedpipe.classifiers.parts import Part
from embedpipe.classifiers.rehearsals import Rehearsal, rehearse
from embedpipe.classifiers.saved.on_disk import brief
from embedpipe.classifiers.scores.fusion import Fusion
from embedpipe.classifiers.text.words import shrunk
from embedpipe.classifiers.unknowns import fit_detector, guard
from embedpipe.core import versions
from embedpipe.core.errors import UsageError
from embedpipe.core.threads import beside_each_other
from embedpipe.pages.rendering import Selection
from embedpipe.store.features import FeatureStore
from embedpipe.store.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Verdict:
    """A held-out document: its type, the predicted type, the second choice, and the probabilities of both."""

    document_sha256: str
    truth: str
    predicted: str
    confidence: float
    second: str
    second_confidence: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Held-out quality.

    Attributes:
        metrics: Of pages and documents, see `metrics.metrics_of`.
        per_class: Of documents, a row per type.
        classes: Types, sorted.
        matrix: Documents by true type (rows) and predicted type (columns).
        verdicts: One per document that was measured.
        pages: How many pages were used.
    """

    metrics: dict[str, Any]
    per_class: list[dict[str, Any]]
    classes: list[str]
    matrix: NDArray[np.int64]
    verdicts: list[Verdict]
    pages: int


@by_few_threads
def fit(
    workspace: Workspace,
    store: FeatureStore,
    recipe: TrainingRecipe,
    name: str | None = None,
    *,
    allow_missing: bool = False,
) -> ClassifierBundle:
    """Cross-validates, fits on everything, and saves a classifier.

    Args:
        workspace: Where labels are, and where the classifier goes.
        store: The features.
        recipe: What to fit.
        name: Of the classifier; None for its kind.
        allow_missing: Fit without what labelled documents have lost; the manifest says in any case what was missing.

    Raises:
        LabelsError: There are too few labels.
        ArtifactError: Labelled documents have lost features, and that is not allowed.
        UnknownNameError: There is no such classifier or hyper-parameter.
        UsageError: The name cannot be a folder's: it would lie elsewhere, where no command finds it.
    """
    if name and (name.startswith(".") or "/" in name or "\\" in name):
        raise UsageError(f"--name {name}: no slashes, and no dot at its beginning: it becomes a folder's name")
    begin, store = time.perf_counter(), recipe.features_of(workspace, store)
    held = rehearse(workspace, store, recipe, allow_missing=allow_missing)
    pages, base = held.known, held.plan.parts[0]
    lessons = pages.lessons_of(base)
    fitted = dict(zip(held.plan.names, at_once(partial(_fitted, pages), held.plan.parts), strict=False))
    novelty, metrics = beside_each_other(
        [
            partial(fit_detector, fitted[PICTURES], held.plan, held.everything),
            partial(metrics_of, held.pages, held.held_out),
        ],
        2,
    )
    bundle = ClassifierBundle(
        name=name or recipe.kind,
        pipeline=fitted[PICTURES],
        identity=store.identity,
        classes=held.held_out.classes,
        novelty=novelty,
        pages=held.of_pages.calibration(),
        documents=held.of_documents.calibration(),
        metrics=metrics,
        fitted_on={
            "kind": recipe.kind,
            "settings": dict(recipe.settings),
            "selection": recipe.pages,
            **_blocks(recipe, held),
            **_augmented(recipe, len(lessons.y) - len(pages.y)),
            "pages": len(pages.y),
            "documents": len(set(pages.documents)),
            "types": documents_by_type(pages),
            "none": len(set(held.everything.documents[len(pages.y) :])),
            "guard": guard(held.of_documents, held.strangers, documents_by_type(pages)),
            "missing": missing.take(workspace, store, Selection.parse(recipe.pages)).as_json()
            | {"cues_of_pages": without_cues(store, pages) if CUES in held.plan.names else 0},
            "parts": [part.name for part in store.origin.parts],
        },
        learnt=frozenset(map(brief, pages.documents)),
        parts=FittedParts(
            {name: shrunk(part) if name == WORDS else part for name, part in fitted.items() if name != PICTURES},
            {name: columns for name, columns in held.plan.columns.items() if columns is not None},
            held.held_out.fusion,
            *_whole(held),
        ),
    )
    bundle.fitted_on["time"] = datetime.now().astimezone().isoformat(timespec="seconds")
    bundle.fitted_on["seconds"] = time.perf_counter() - begin
    with (
        workspace.writing(f"fit-{recipe.kind}"),
        versions.adding(workspace.classifier_folder(bundle.name)) as folder,
    ):
        bundle.save(folder)
    return bundle


def _fitted(pages: LabelledPages, part: Part) -> Pipeline:
    return fit_classifier(part.build(), *pages.lessons_of(part))


def _whole(held: Rehearsal) -> tuple[Pipeline | None, Fusion | None]:
    """The part that judges documents, fitted on all of them, and its weights."""
    part, fusion = held.plan.whole, held.held_out.document_fusion
    fitted = None if part is None else fit_whole(part, held.known, words=WORDS in held.plan.names)
    return (None, None) if fitted is None else (fitted, fusion)


def documents_by_type(pages: LabelledPages) -> dict[str, int]:
    """How many documents have pages of each type."""
    return {str(kind): len(set(pages.documents[pages.y == kind])) for kind in np.unique(pages.y)}


def _blocks(recipe: TrainingRecipe, held: Rehearsal) -> dict[str, Any]:
    """What is noted of the blocks that were learnt from."""
    names = held.plan.names
    found: dict[str, Any] = {"cues": CUES in names, "blocks": held.plan.blocks()}
    if recipe.blocks is None:
        found |= {"asked": [CUES] if recipe.cues else [], "measured": held.offered}
    return found | ({} if held.gain is None else {"gain": held.gain.as_json()})


def _augmented(recipe: TrainingRecipe, rows: int) -> dict[str, Any]:
    """What is noted of the variants that were learnt from."""
    if not recipe.augment:
        return {}
    return {"augment": recipe.augment, "seed": recipe.seed, "variants": rows, "augmentation": variants.KEY}


def evaluate(
    workspace: Workspace, store: FeatureStore, recipe: TrainingRecipe, *, allow_missing: bool = False
) -> Evaluation:
    """Measures a classifier on documents that it was not fitted on, in grouped folds.

    Raises:
        LabelsError: There are too few labels.
        ArtifactError: Labelled documents have lost features, and that is not allowed.
    """
    return evaluate_held(rehearse(workspace, store, recipe, allow_missing=allow_missing))


def evaluate_held(held: Rehearsal) -> Evaluation:
    """Quality of what was held out, and whose type was learnt meanwhile."""
    classes = held.held_out.classes
    pages, held_out = held.held_out.measured(held.pages)
    documents = document_scores(pages, held_out)
    probabilities = nested_decisions(held.of_documents, Rule()).probabilities[held.measured_documents()]
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :2]
    best = np.take_along_axis(probabilities, order, axis=1).tolist()
    names = np.asarray(classes, object)[order]
    predicted = names[:, 0]
    verdicts = [
        Verdict(document, truth, told, high, second, low)
        for document, truth, (told, second), (high, low) in zip(
            documents.documents, documents.y, names, best, strict=True
        )
    ]
    return Evaluation(
        metrics=metrics_of(held.pages, held.held_out),
        per_class=per_class(documents.y, predicted, classes),
        classes=classes,
        matrix=confusion(documents.y, predicted, classes),
        verdicts=verdicts,
        pages=len(pages.y),
    )
