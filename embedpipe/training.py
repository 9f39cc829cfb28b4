"""Labels and stored features to classifiers, and to figures that say how good they are. Never loads torch."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from embedpipe import versions
from embedpipe.classifiers import ClassifierBundle, build_classifier, calibrated, fit_classifier
from embedpipe.errors import LabelsError
from embedpipe.evaluation import (
    DocumentScores,
    HeldOut,
    LabelledPages,
    best_temperature,
    confusion,
    cross_validate,
    document_scores,
    grouped_folds,
    metrics_of,
    per_class,
)
from embedpipe.features import FeatureStore
from embedpipe.rendering import Selection
from embedpipe.workspace import Workspace


@dataclass(frozen=True, slots=True)
class TrainingRecipe:
    """What a classifier is made from, apart from features and labels.

    Attributes:
        kind: Key in `classifiers.CLASSIFIERS`.
        settings: Hyper-parameters as text.
        pages: Which pages of each document are used, as `Selection.parse` reads it.
    """

    kind: str
    settings: Mapping[str, str] = field(default_factory=dict)
    pages: str = "all"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A held-out document: what it is, what was told, and with which probability."""

    document_sha256: str
    truth: str
    predicted: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Held-out quality.

    Attributes:
        metrics: Of pages and documents, see `evaluation.metrics_of`.
        per_class: Of documents, a row per type.
        classes: Types, sorted.
        matrix: Documents by true type (rows) and told type (columns).
        verdicts: One per document.
        pages: How many pages were used.
    """

    metrics: dict[str, Any]
    per_class: list[dict[str, Any]]
    classes: list[str]
    matrix: NDArray[np.int64]
    verdicts: list[Verdict]
    pages: int


def labelled_pages(workspace: Workspace, store: FeatureStore, selection: Selection) -> LabelledPages:
    """Features and labels of the labelled pages; blank pages have no type and are left out.

    Raises:
        LabelsError: No page is labelled.
    """
    pages = store.pages()
    labels = workspace.labels().of_pages(pages)
    wanted = labels["label"].notna() & (pages["outcome"] != "blank")
    if selection.ranges:
        counts = {int(n): set(selection.indices(int(n))) for n in pages["page_count"].unique()}
        wanted &= pd.Series([i in counts[n] for i, n in zip(pages["page_index"], pages["page_count"], strict=True)])
    if not wanted.any():
        raise LabelsError(
            f"none of the {len(pages)} pages is labelled: use `embed DIR --label-by folder`, where the folders below "
            "DIR are the types, or `label FILE.csv` with the columns path,label"
        )
    ids = pages.loc[wanted, "page_id"].to_numpy(np.int64)
    return LabelledPages(
        page_ids=ids,
        X=store.features(ids),
        y=labels.loc[wanted, "label"].to_numpy(object),
        documents=pages.loc[wanted, "document_sha256"].to_numpy(object),
        groups=labels.loc[wanted, "group"].to_numpy(object),
        page_indices=pages.loc[wanted, "page_index"].to_numpy(np.int64),
    )


def fit(workspace: Workspace, store: FeatureStore, recipe: TrainingRecipe, name: str | None = None) -> ClassifierBundle:
    """Cross-validates, fits on everything, and saves a classifier.

    Args:
        workspace: Where labels are, and where the classifier goes.
        store: The features.
        recipe: What to fit.
        name: Of the classifier; None for its kind.

    Raises:
        LabelsError: There are too few labels.
        UnknownNameError: There is no such classifier or hyper-parameter.
    """
    begin = time.perf_counter()
    pages = labelled_pages(workspace, store, Selection.parse(recipe.pages))
    held_out = _held_out(store, recipe, pages)
    documents = document_scores(pages, held_out.log_scores)
    pipeline = build_classifier(recipe.kind, store.blocks, recipe.settings)
    bundle = ClassifierBundle(
        name=name or recipe.kind,
        pipeline=fit_classifier(pipeline, pages.X, pages.y, pages.weights),
        identity=store.identity,
        classes=held_out.classes,
        page_temperature=best_temperature(held_out.log_scores, np.searchsorted(held_out.classes, pages.y)),
        document_temperature=_document_temperature(held_out, documents),
        metrics=metrics_of(pages, held_out),
        fitted_on={
            "kind": recipe.kind,
            "settings": dict(recipe.settings),
            "selection": recipe.pages,
            "pages": len(pages.y),
            "documents": len(set(pages.documents)),
            "parts": [part.name for part in store.parts],
        },
    )
    bundle.fitted_on["time"] = datetime.now().astimezone().isoformat(timespec="seconds")
    bundle.fitted_on["seconds"] = time.perf_counter() - begin
    with (
        workspace.writing(f"fit-{recipe.kind}"),
        versions.adding(workspace.classifier_folder(bundle.name)) as folder,
    ):
        bundle.save(folder)
    return bundle


def evaluate(workspace: Workspace, store: FeatureStore, recipe: TrainingRecipe) -> Evaluation:
    """Measures a classifier on documents that it was not fitted on, in grouped folds.

    Raises:
        LabelsError: There are too few labels.
    """
    pages = labelled_pages(workspace, store, Selection.parse(recipe.pages))
    held_out = _held_out(store, recipe, pages)
    documents = document_scores(pages, held_out.log_scores)
    probabilities = calibrated(documents.log_scores, _document_temperature(held_out, documents))
    classes = held_out.classes
    predicted = np.asarray(classes, object)[probabilities.argmax(axis=1)]
    verdicts = [
        Verdict(*row)
        for row in zip(documents.documents, documents.y, predicted, probabilities.max(axis=1).tolist(), strict=True)
    ]
    return Evaluation(
        metrics=metrics_of(pages, held_out),
        per_class=per_class(documents.y, predicted, classes),
        classes=classes,
        matrix=confusion(documents.y, predicted, classes),
        verdicts=verdicts,
        pages=len(pages.y),
    )


def _held_out(store: FeatureStore, recipe: TrainingRecipe, pages: LabelledPages) -> HeldOut:
    folds = grouped_folds(pages)
    return cross_validate(lambda: build_classifier(recipe.kind, store.blocks, recipe.settings), pages, folds)


def _document_temperature(held_out: HeldOut, documents: DocumentScores) -> float:
    if not len(documents.y):
        return 1.0
    return best_temperature(documents.log_scores, np.searchsorted(held_out.classes, documents.y))
