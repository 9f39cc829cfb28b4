"""Labels and stored features to classifiers, and to figures of their quality. Never loads torch."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from embedpipe.classifiers import missing, variants
from embedpipe.classifiers.bundles import ClassifierBundle, brief, build_classifier, fit_classifier, fit_novelty
from embedpipe.classifiers.calibration.confidence import HeldOutScores, nested_decisions
from embedpipe.classifiers.calibration.decisions import Rule
from embedpipe.classifiers.evaluation import (
    HeldOut,
    LabelledPages,
    confusion,
    cross_validate,
    document_answers,
    document_scores,
    grouped_folds,
    held_out_distances,
    metrics_of,
    page_answers,
    per_class,
)
from embedpipe.classifiers.finetuned import seen_pages
from embedpipe.classifiers.group_guesses import separated
from embedpipe.classifiers.held_out import held_out_of, honest_folds
from embedpipe.core import versions
from embedpipe.core.errors import ArtifactError, LabelsError, UsageError
from embedpipe.core.records import SAYS_NOTHING
from embedpipe.embedding.cue_table import CuedStore
from embedpipe.embedding.kind_table import known_kinds
from embedpipe.embedding.streaming import Settings
from embedpipe.pages.cues import UNKNOWN
from embedpipe.pages.rendering import Selection
from embedpipe.store.features import FeatureStore
from embedpipe.store.workspace import Workspace

if TYPE_CHECKING:  # only variants need the network
    from embedpipe.backbones.engines import Backbone


@dataclass(frozen=True, slots=True)
class TrainingRecipe:
    """What a classifier is made from, apart from features and labels.

    Attributes:
        kind: Key in `bundles.CLASSIFIERS`.
        settings: Hyper-parameters as text.
        pages: Which pages of each document are used, as `Selection.parse` reads it.
        cues: Learn also from the cues of each page.
        augment: Learn also from so many variants of each page, which `make_variants` makes.
        seed: Of the variants.
    """

    kind: str
    settings: Mapping[str, str] = field(default_factory=dict)
    pages: str = "all"
    cues: bool = False
    augment: int = 0
    seed: int = 0

    @classmethod
    def of(cls, fitted_on: Mapping[str, Any]) -> "TrainingRecipe":
        """The recipe of a fitted classifier, from its `fitted_on`."""
        augment, seed = (int(fitted_on.get(key) or 0) for key in ("augment", "seed"))
        cues = bool(fitted_on.get("cues"))
        return cls(fitted_on["kind"], fitted_on["settings"], fitted_on["selection"], cues, augment, seed)

    def features_of(self, workspace: Workspace, store: FeatureStore) -> FeatureStore:
        """The store with what this recipe adds to its features."""
        return CuedStore(workspace, store) if self.cues and not isinstance(store, CuedStore) else store


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
        metrics: Of pages and documents, see `evaluation.metrics_of`.
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


def labelled_pages(
    workspace: Workspace, store: FeatureStore, selection: Selection, *, allow_missing: bool = True
) -> LabelledPages:
    """Features and labels of the labelled pages; blank pages have no type and are left out.

    They come in the order of documents and pages, so that what is learnt does not depend on what was embedded first.

    Args:
        workspace: Where the labels are.
        store: The features.
        selection: Which pages of each document.
        allow_missing: Only warn where labelled documents have lost features; see `missing`.

    Raises:
        LabelsError: No page is labelled.
        ArtifactError: Labelled documents have lost features, and that is not allowed.
    """
    while True:
        damaged = len(store.origin.damaged)
        try:
            pages = _read_labelled(workspace, store, selection)
        except (ArtifactError, LabelsError):
            if len(store.origin.damaged) > damaged:
                continue  # a part was found damaged just now: once more without it
            missing.take(workspace, store, selection).require(allow=allow_missing)
            raise
        missing.take(workspace, store, selection).require(allow=allow_missing)
        if not allow_missing and (unknown := _without_cues(store, pages)):
            raise ArtifactError(
                f"the cues of {unknown} labelled pages are not known, for their files are not where they were: put "
                "them back and run `embed` on them, fit without --with-cues, or go on without: --allow-missing"
            )
        return pages


def _without_cues(store: FeatureStore, pages: LabelledPages) -> int:
    """How many pages would be learnt from with zeros in place of their cues."""
    cues = pages.X[:, store.origin.dim :]
    return int(np.all(cues == np.asarray(UNKNOWN, np.float32), axis=1).sum()) if cues.shape[1] else 0


def _read_labelled(workspace: Workspace, store: FeatureStore, selection: Selection) -> LabelledPages:
    """As `labelled_pages`, of what can be read."""
    pages = store.pages().sort_values(["document_sha256", "page_index"], ignore_index=True)
    labels = workspace.labels().of_pages(pages)
    wanted = labels["label"].notna() & ~pages["outcome"].isin(SAYS_NOTHING)
    if selection.ranges:
        counts = {int(n): set(selection.indices(int(n))) for n in pages["page_count"].unique()}
        wanted &= pd.Series([i in counts[n] for i, n in zip(pages["page_index"], pages["page_count"], strict=True)])
    if not wanted.any():
        raise LabelsError(
            f"none of the {len(pages)} pages is labelled: use `embed DIR --label-by folder`, where the folders below "
            "DIR are the types, or `label FILE.csv` with the columns path,label"
        )
    ids = pages.loc[wanted, "page_id"].to_numpy(np.int64)
    documents, groups = (
        table.loc[wanted, name].to_numpy(object) for table, name in ((pages, "document_sha256"), (labels, "group"))
    )
    return LabelledPages(
        page_ids=ids,
        X=store.features(ids),
        y=labels.loc[wanted, "label"].to_numpy(object),
        documents=documents,
        groups=groups,
        page_indices=pages.loc[wanted, "page_index"].to_numpy(np.int64),
        seen=seen_pages(workspace, store.identity, documents, groups),
        paths=pages.loc[wanted, "source"].to_numpy(object),
        kinds=pages.loc[wanted, "source_kind"].to_numpy(object),
    )


def learnt_pages(
    workspace: Workspace, store: FeatureStore, recipe: TrainingRecipe, *, allow_missing: bool = True
) -> LabelledPages:
    """The labelled pages that a recipe learns from, with their variants where it wants some.

    Raises:
        LabelsError: No page is labelled.
        ArtifactError: The variants have not been made; or labelled documents have lost features, and that is not
            allowed.
    """
    pages = labelled_pages(workspace, store, Selection.parse(recipe.pages), allow_missing=allow_missing)
    if not recipe.augment:
        return pages
    return replace(pages, variants=variants.read(store, pages, recipe.augment, recipe.seed))


def make_variants(
    workspace: Workspace,
    store: FeatureStore,
    recipe: TrainingRecipe,
    backbone: "Callable[[], Backbone]",
    *,
    settings: Settings | None = None,
    watch: variants.Watch | None = None,
    allow_missing: bool = False,
) -> None:
    """Embeds the variants that a recipe wants of the labelled pages and that are not there yet.

    Args:
        workspace: Where labels and documents are.
        store: The features of the pages themselves, without cues.
        recipe: Which pages, how many variants, and their seed.
        backbone: Loads the backbone; called only when a variant is missing.
        settings: How documents are read.
        watch: Receives progress and notices.
        allow_missing: As for `fit`.

    Raises:
        LabelsError: There are too few labels.
        ArtifactError: Labelled documents have lost features, and that is not allowed.
        UnknownNameError: There is no such classifier or hyper-parameter; nothing is made for one.
        SpaceMismatchError: The backbone is not the store's.
        KeyboardInterrupt: Ctrl-C; the variants made so far are kept.
    """
    build_classifier(recipe.kind, store.blocks, recipe.settings)
    pages = labelled_pages(workspace, store, Selection.parse(recipe.pages), allow_missing=allow_missing)
    grouped_folds(pages)
    wanted = variants.Wanted(recipe.augment, recipe.seed)
    variants.make(workspace, store, pages, wanted, backbone, settings=settings, watch=watch)


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
    pages, lessons = held.known, held.known.lessons()
    pipeline = build_classifier(recipe.kind, store.blocks, recipe.settings)
    fit_classifier(pipeline, *lessons)
    bundle = ClassifierBundle(
        name=name or recipe.kind,
        pipeline=pipeline,
        identity=store.identity,
        classes=held.held_out.classes,
        novelty=fit_novelty(pipeline, *lessons),
        pages=held.of_pages.calibration(),
        documents=held.of_documents.calibration(),
        metrics=metrics_of(held.pages, held.held_out),
        fitted_on={
            "kind": recipe.kind,
            "settings": dict(recipe.settings),
            "selection": recipe.pages,
            "cues": recipe.cues,
            **_augmented(recipe, len(lessons.y) - len(pages.y)),
            "pages": len(pages.y),
            "documents": len(set(pages.documents)),
            "types": _documents_by_type(pages),
            "missing": missing.take(workspace, store, Selection.parse(recipe.pages)).as_json()
            | {"cues_of_pages": _without_cues(store, pages)},
            "parts": [part.name for part in store.origin.parts],
        },
        learnt=frozenset(map(brief, pages.documents)),
    )
    bundle.fitted_on["time"] = datetime.now().astimezone().isoformat(timespec="seconds")
    bundle.fitted_on["seconds"] = time.perf_counter() - begin
    with (
        workspace.writing(f"fit-{recipe.kind}"),
        versions.adding(workspace.classifier_folder(bundle.name)) as folder,
    ):
        bundle.save(folder)
    return bundle


def _documents_by_type(pages: LabelledPages) -> dict[str, int]:
    return {str(kind): len(set(pages.documents[pages.y == kind])) for kind in np.unique(pages.y)}


def _augmented(recipe: TrainingRecipe, rows: int) -> dict[str, Any]:
    """What is noted of the variants that were learnt from."""
    if not recipe.augment:
        return {}
    return {"augment": recipe.augment, "seed": recipe.seed, "variants": rows, "augmentation": variants.KEY}


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A classifier's answers for the labelled pages, each by one that had seen nothing of the page's group.

    Attributes:
        known: All labelled pages, in groups that share no source, as given or guessed, nor nearly the same picture.
        folds: Of `evaluation.honest_folds`, for each of these.
        pages: Those that were held out: all, unless the network itself was trained on some.
        held_out: Their scores.
        of_pages: What decisions on pages are learnt from.
        of_documents: What decisions on documents are learnt from, in the order of `evaluation.document_scores`.
    """

    known: LabelledPages
    folds: NDArray[np.int64]
    pages: LabelledPages
    held_out: HeldOut
    of_pages: HeldOutScores
    of_documents: HeldOutScores

    def measured_documents(self) -> NDArray[np.bool_]:
        """Which rows of `of_documents` figures are of: those whose type was learnt while they were held out, (n,)."""
        rows = document_scores(self.pages, self.held_out.log_scores).rows
        return np.ones(len(rows), bool) if self.held_out.measurable is None else self.held_out.measurable[rows]


def rehearse(
    workspace: Workspace, store: FeatureStore, recipe: TrainingRecipe, *, allow_missing: bool = False, seed: int = 0
) -> Rehearsal:
    """Cross-validates a recipe on the labelled pages, with groups, given or guessed, and near copies kept together.

    Args:
        workspace: The artifacts.
        store: The features.
        recipe: What is measured.
        allow_missing: Measure without what labelled documents have lost.
        seed: Of the division into folds.

    Raises:
        LabelsError: There are too few labels.
        ArtifactError: Labelled documents have lost features, and that is not allowed.
        UnknownNameError: There is no such classifier or hyper-parameter.
    """
    store = recipe.features_of(workspace, store)

    def build() -> Pipeline:
        return build_classifier(recipe.kind, store.blocks, recipe.settings)

    known = separated(workspace, learnt_pages(workspace, store, recipe, allow_missing=allow_missing), store.blocks)
    known = replace(known, kinds=known_kinds(workspace, known.documents, known.kinds))
    folds = honest_folds(known, seed)
    held_out = cross_validate(build, known, folds)
    distances = held_out_distances(build, known, folds)
    pages = held_out_of(known, folds)
    answers = page_answers(pages, held_out, distances), document_answers(pages, held_out, distances)
    return Rehearsal(known, folds, pages, held_out, *answers)


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
    documents = document_scores(pages, held_out.log_scores)
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
