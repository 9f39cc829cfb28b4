"""A new type, or more examples of a known one: embedded, labelled and learnt in one go, with what changes by it.

Everything is worked out in a folder aside. Labels and classifier are only replaced at the end, the classifier last, by
one renamed file: whoever is interrupted keeps both as they were.
"""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embedpipe import kindtable, variants, versions
from embedpipe.classifiers import ClassifierBundle, build_classifier
from embedpipe.errors import LabelsError
from embedpipe.evaluation import (
    LabelledPages,
    cross_validate,
    document_scores,
    isolated,
    mean_log_scores,
    page_weights,
    per_class,
)
from embedpipe.features import FeatureStore
from embedpipe.finetuned import MANIFEST
from embedpipe.intake import Intake, Report
from embedpipe.labels import Label, Labels
from embedpipe.pipeline import embed
from embedpipe.records import Document
from embedpipe.rendering import Selection
from embedpipe.streaming import Settings
from embedpipe.training import TrainingRecipe, fit, labelled_pages, learnt_pages
from embedpipe.unseen import held_out_of, honest_folds
from embedpipe.workspace import FINETUNED, Workspace

if TYPE_CHECKING:  # examples that are stored need no network
    from embedpipe.engines import Backbone

ENOUGH = 5
"""Examples that a type should have at least, better from several sources; docs/quality.md says what they bring."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is to be taught.

    Attributes:
        name: The type.
        inputs: Files and folders with examples of it.
        group: What the examples have in common, such as their sender; "" where each is on its own.
        relabel: Whether examples that have another label get this one.
        keep: Whether anything is kept; if not, it is only shown what would change.
    """

    name: str
    inputs: tuple[str, ...]
    group: str = ""
    relabel: bool = False
    keep: bool = True


@dataclass(frozen=True, slots=True)
class Change:
    """A stored document that the new classifier tells another type; `label` is what it is labelled, if it is."""

    path: str
    before: str
    after: str
    label: str | None


@dataclass(slots=True)
class Outcome:
    """What `add_type` did.

    Attributes:
        documents: Examples given now, and not failed.
        pages: Their pages with features.
        examples: Documents of the type that were learnt from, with those labelled before.
        before: Share of each type's held-out documents told right without the examples; None if not measured.
        after: The same with them.
        changed: Earlier answers that are others now; never the examples themselves.
        version: Of the new classifier; None if nothing was kept.
        report: What was embedded, and what failed.
        seconds: Of it all.
    """

    documents: int
    pages: int
    examples: int
    before: dict[str, float | None]
    after: dict[str, float | None]
    changed: list[Change]
    version: int | None = None
    report: Report = field(default_factory=Report)
    seconds: float = 0.0


def add_type(
    workspace: Workspace,
    bundle: ClassifierBundle,
    lesson: Lesson,
    backbone: "Callable[[], Backbone]",
    settings: Settings | None = None,
) -> Outcome:
    """Embeds the examples that the store lacks, labels them, and fits the classifier again as it was fitted.

    Args:
        workspace: The artifacts.
        bundle: The classifier in use.
        lesson: What is to be taught.
        backbone: Loads the backbone; called only when there are new pages.
        settings: How documents are read.

    Raises:
        LabelsError: An example has another label, or no example has a page with features; nothing is changed then.
        SpaceMismatchError: The backbone is not the one of the classifier.
        KeyboardInterrupt: Embedding was interrupted; new features are kept, labels and classifier are as before.
    """
    begin = time.perf_counter()
    settings, report = settings or Settings(), Report()
    found = list(Intake(lesson.inputs, settings, workspace.sources(), report))
    examples = [item for item in found if isinstance(item, Document)]
    new = [Label(d.sha256, d.path, lesson.name, group=lesson.group) for d in examples]
    labels = _with(workspace.labels(), new, relabel=lesson.relabel)
    with tempfile.TemporaryDirectory(prefix="embedpipe-") as folder:
        aside = Workspace(folder)
        target = workspace if lesson.keep else _linked(workspace, bundle.identity.space, aside)
        store = FeatureStore.open(target.store_path(bundle.identity.space))
        if not all(_is_stored(store, document) for document in examples) or len(examples) < len(found):
            report = _embed(target, bundle, lesson, backbone, settings)
            store = FeatureStore.open(store.path)
        labels.save(aside.labels_file)
        kindtable.copy(workspace, aside)
        _tell_what_was_seen(workspace, aside, bundle.identity.backbone)
        _make_variants(target, aside, store, bundle, backbone, settings)
        outcome = _learn(workspace, aside, store, bundle, {document.sha256 for document in examples})
        if lesson.keep:
            outcome.version = _keep(workspace, aside, bundle.name, new, relabel=lesson.relabel)
    outcome.examples = labels.types()[lesson.name]
    outcome.report, outcome.seconds = report, time.perf_counter() - begin
    return outcome


def _with(labels: Labels, new: list[Label], *, relabel: bool) -> Labels:
    """Labels with the new ones; pages of the examples have no label of their own any more."""
    names = {label.document_sha256: label for label in new}
    others = [row for key, row in labels.rows.items() if key[0] in names and row.label != names[key[0]].label]
    if others and not relabel:
        first = names[others[0].document_sha256]
        more = f" (and {len(others) - 1} more)" if len(others) > 1 else ""
        raise LabelsError(
            f"{first.path} is labelled {others[0].label!r}{more}: leave it out, or say --relabel to make it "
            f"{first.label!r}"
        )
    for row in others:
        del labels.rows[row.document_sha256, row.page_number]
    labels.add(new)
    return labels


def _linked(workspace: Workspace, space: str, aside: Workspace) -> Workspace:
    """Makes a store aside that holds what the store holds, without copying it where links can be made."""
    folder = aside.store_path(space)
    folder.mkdir(parents=True)
    whole = workspace.store_path(space)
    for file in (path for path in whole.rglob("*") if path.is_file()):  # with the variants of its pages
        copy = folder / file.relative_to(whole)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".parquet":
            with contextlib.suppress(OSError):
                os.symlink(file.absolute(), copy)
        if not copy.exists():
            shutil.copy2(file, copy)
    return aside


def _make_variants(
    target: Workspace,
    aside: Workspace,
    store: FeatureStore,
    bundle: ClassifierBundle,
    backbone: "Callable[[], Backbone]",
    settings: Settings,
) -> None:
    """Variants of the examples, for a classifier that learns from variants."""
    recipe = TrainingRecipe.of(bundle.fitted_on)
    if recipe.augment:
        pages = labelled_pages(aside, store, Selection.parse(recipe.pages))
        wanted = variants.Wanted(recipe.augment, recipe.seed)
        variants.make(target, store, pages, wanted, backbone, settings=settings)


def _tell_what_was_seen(workspace: Workspace, aside: Workspace, backbone: str) -> None:
    """Copies what a fine-tuned network was trained on, so that figures aside leave it out as well."""
    name = backbone.removeprefix(FINETUNED)
    file = workspace.backbone_path(name) / MANIFEST
    if backbone.startswith(FINETUNED) and file.exists():
        aside.backbone_path(name).mkdir(parents=True)
        shutil.copy2(file, aside.backbone_path(name) / MANIFEST)


def _is_stored(store: FeatureStore, document: Document) -> bool:
    pages = store.pages()
    rows = pages[pages["document_sha256"] == document.sha256]
    return len(rows) > 0 and len(rows) == rows["page_count"].iloc[0]


def _embed(
    target: Workspace, bundle: ClassifierBundle, lesson: Lesson, backbone: "Callable[[], Backbone]", settings: Settings
) -> Report:
    loaded = backbone()
    bundle.require(loaded.identity)
    report = embed(target, lesson.inputs, loaded, settings=settings)
    if report.interrupted:
        raise KeyboardInterrupt
    return report


def _learn(
    workspace: Workspace, aside: Workspace, store: FeatureStore, bundle: ClassifierBundle, examples: set[str]
) -> Outcome:
    """Fits aside, and compares with the classifier in use."""
    pages = store.pages()
    rows = pages[pages["document_sha256"].isin(examples)]
    if not (rows["outcome"] != "blank").any():
        raise LabelsError("no example has a page that is not blank: nothing can be learnt from them")
    recipe = TrainingRecipe.of(bundle.fitted_on)
    store = recipe.features_of(workspace, store)
    new = fit(aside, store, recipe, bundle.name)
    before, after = _recalls(workspace, aside, store, recipe)
    return Outcome(
        documents=rows["document_sha256"].nunique(),
        pages=len(rows),
        examples=0,
        before=before,
        after=after,
        changed=_changes(workspace, store, bundle, new, examples),
    )


def _recalls(
    workspace: Workspace, aside: Workspace, store: FeatureStore, recipe: TrainingRecipe
) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """Held-out recall of each type's documents without and with the examples.

    Both are measured in the same folds: what differs is due to the examples, and not to the draw of the folds.
    """
    old, new = learnt_pages(workspace, store, recipe), learnt_pages(aside, store, recipe)
    folds = honest_folds(isolated(new, store.blocks))
    order = np.argsort(new.page_ids)
    kept = folds[order[np.searchsorted(new.page_ids, old.page_ids, sorter=order)]]
    return _recall(store, recipe, old, kept), _recall(store, recipe, new, folds)


def _recall(
    store: FeatureStore, recipe: TrainingRecipe, pages: LabelledPages, folds: NDArray[np.int64]
) -> dict[str, float | None]:
    """By type; None for types of one group, which are never learnt and tested at once, and those not held out."""
    held_out = cross_validate(lambda: build_classifier(recipe.kind, store.blocks, recipe.settings), pages, folds)
    documents = document_scores(held_out_of(pages, folds), held_out.log_scores)
    told = np.asarray(held_out.classes, object)[documents.log_scores.argmax(axis=1)]
    alone = {kind for kind in held_out.classes if len(set(pages.groups[pages.y == kind])) == 1}
    recalls: dict[str, float | None] = dict.fromkeys(held_out.classes)
    rows = per_class(documents.y, told, held_out.classes)
    recalls |= {r["type"]: r["recall"] for r in rows if r["documents"] and r["type"] not in alone}
    return recalls


def _changes(
    workspace: Workspace, store: FeatureStore, old: ClassifierBundle, new: ClassifierBundle, examples: set[str]
) -> list[Change]:
    pages = store.pages()
    kinds = workspace.labels().of_pages(pages)["label"]
    labels = dict(zip(pages["document_sha256"][::-1], kinds[::-1], strict=True))
    paths = dict(zip(pages["document_sha256"], pages["source"], strict=True))
    sources = workspace.sources()
    before, after = _told(store, (old, new))
    return [
        Change(sources.path_of(sha256, otherwise=paths[sha256]), told, after[sha256], labels[sha256])
        for sha256, told in before.items()
        if told != after[sha256] and sha256 not in examples
    ]


def _told(store: FeatureStore, bundles: Iterable[ClassifierBundle]) -> list[dict[str, str]]:
    """The most probable type of every stored document that is not blank, by each classifier."""
    bundles = list(bundles)
    scores: list[list[NDArray[np.float64]]] = [[] for _ in bundles]
    ids = []
    for page_ids, X in store.batches():  # never the whole matrix
        ids.append(page_ids)
        for bundle, rows in zip(bundles, scores, strict=True):
            rows.append(bundle.log_scores(X))
    pages = store.pages().set_index("page_id").loc[np.concatenate(ids)]
    voting = (pages["outcome"] != "blank").to_numpy()
    documents, owner = np.unique(pages["document_sha256"].to_numpy(object)[voting], return_inverse=True)
    weights = page_weights(pages["page_index"].to_numpy(np.int64)[voting])
    told = []
    for bundle, rows in zip(bundles, scores, strict=True):
        best = mean_log_scores(np.concatenate(rows)[voting], weights, owner).argmax(axis=1)
        told.append({str(sha256): bundle.classes[k] for sha256, k in zip(documents, best, strict=True)})
    return told


def _keep(workspace: Workspace, aside: Workspace, name: str, new: list[Label], *, relabel: bool) -> int:
    """Makes labels and classifier those in use: files first, then the labels, and the classifier's switch last."""
    with workspace.writing("add-type"):
        folder = workspace.classifier_folder(name)
        labels = _with(workspace.labels(), new, relabel=relabel)  # read again: somebody may have labelled meanwhile
        with versions.adding(folder) as version:
            for file in aside.classifier_path(name).iterdir():
                shutil.copy2(file, version / file.name)
            labels.save(workspace.labels_file)
        return versions.current(folder)


def as_json(lesson: Lesson, outcome: Outcome) -> dict[str, Any]:
    """As the command line prints it."""
    return {
        "type": lesson.name,
        "documents": outcome.documents,
        "pages": outcome.pages,
        "examples": outcome.examples,
        "seconds": round(outcome.seconds, 3),
        "before": _rounded(outcome.before),
        "after": _rounded(outcome.after),
        "changed": [{"path": c.path, "before": c.before, "after": c.after, "label": c.label} for c in outcome.changed],
        "kept": lesson.keep,
        "version": outcome.version,
        "enough": outcome.examples >= ENOUGH,
    }


def _rounded(recalls: dict[str, float | None]) -> dict[str, float | None]:
    return {kind: None if recall is None else round(recall, 4) for kind, recall in recalls.items()}
