"""A new type, or more examples of a known one: embedded, labelled and learnt in one go, with what changes by it.

Everything is worked out in a folder aside. Labels and classifier are only replaced at the end, the classifier last, by
one renamed file: an interrupted run leaves both as they were.
"""

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embedpipe.classifiers.bundles import ClassifierBundle
from embedpipe.classifiers.calibration.decisions import ERROR_RATE
from embedpipe.classifiers.calibration.shift import advice, never_ok
from embedpipe.classifiers.evaluation import cross_validate, document_scores
from embedpipe.classifiers.finetuned import MANIFEST, parts_of
from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.classifiers.lessons import missing, variants
from embedpipe.classifiers.lessons.held_out import held_out_of, honest_folds
from embedpipe.classifiers.lessons.missing import Missing
from embedpipe.classifiers.lessons.reading import labelled_pages, learnt_pages
from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.classifiers.metrics import per_class
from embedpipe.classifiers.rehearsals import apart
from embedpipe.classifiers.stored_answers import decided_by_each, statuses, total
from embedpipe.classifiers.training import fit
from embedpipe.core import versions
from embedpipe.core.cache_folder import Aside
from embedpipe.core.display import name_of
from embedpipe.core.errors import LabelsError
from embedpipe.core.files import copied
from embedpipe.core.records import SAYS_NOTHING, Document
from embedpipe.embedding import kind_table
from embedpipe.embedding.intake import Intake, Report
from embedpipe.embedding.streaming import Settings
from embedpipe.pages.rendering import Selection
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import NONE, Label, Labels, is_none
from embedpipe.store.workspace import FINETUNED, Sources, Workspace
from embedpipe.tasks.embed import embed

if TYPE_CHECKING:  # examples that are stored need no network
    from embedpipe.backbones.engines import Backbone

ENOUGH = 5
"""Examples that a type should have at least, better from several sources; docs/quality.md says what they bring."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is to be taught.

    Attributes:
        name: The type; `labels.NONE` for documents of no type.
        inputs: Files and folders with examples of it.
        group: What the examples have in common, such as their sender; "" where each is on its own.
        relabel: Whether examples that have another label get this one.
        keep: Whether anything is kept; if not, it is only shown what would change.
        allow_missing: Whether to go on without what other labelled documents have lost.
    """

    name: str
    inputs: tuple[str, ...]
    group: str = ""
    relabel: bool = False
    keep: bool = True
    allow_missing: bool = False

    def __post_init__(self) -> None:
        """Writes the names as labels have them."""
        name = name_of(self.name)
        object.__setattr__(self, "name", NONE if is_none(name) else name)
        object.__setattr__(self, "group", name_of(self.group))


@dataclass(frozen=True, slots=True)
class Change:
    """A stored document whose predicted type or status changes with the new classifier.

    Attributes:
        path: Where it is.
        before: The type predicted before.
        after: The type predicted now.
        label: What it is labelled, if it is.
        status_before: How sure the answer was: `ok`, `ambiguous` or `novel`.
        status_after: How sure it is now.
    """

    path: str
    before: str
    after: str
    label: str | None
    status_before: str = ""
    status_after: str = ""


@dataclass(slots=True)
class Outcome:
    """What `add_type` did.

    Attributes:
        documents: Examples given now, and not failed.
        pages: Their pages with features.
        examples: Documents of the type that were learnt from, with those labelled before.
        before: Share of each type's held-out documents predicted correctly without the examples; None if not measured.
        after: The same with them.
        changed: Earlier answers of another type now; never the examples themselves.
        status_changed: Earlier answers that are more or less sure now, of whatever type; never the examples.
        statuses_before: How many stored documents were `ok`, `ambiguous` and `novel`, by the type predicted before,
            without the examples.
        statuses_after: The same by the type predicted now.
        advice: Where fewer answers are sure, or none: why, and what to do, a line each.
        missing: What labels lack, and so was not learnt from.
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
    status_changed: list[Change] = field(default_factory=list)
    statuses_before: dict[str, dict[str, int]] = field(default_factory=dict)
    statuses_after: dict[str, dict[str, int]] = field(default_factory=dict)
    advice: list[str] = field(default_factory=list)
    missing: Missing | None = None
    version: int | None = None
    report: Report = field(default_factory=Report)
    seconds: float = 0.0

    @property
    def sure(self) -> tuple[int, int]:
        """How many stored documents had a sure answer before, and have one now."""
        return total(self.statuses_before)["ok"], total(self.statuses_after)["ok"]

    @property
    def less_sure(self) -> bool:
        """Whether fewer answers are sure now, or none of them."""
        return self.sure[1] < max(self.sure[0], 1)


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
        ArtifactError: Other labelled documents have lost features, and that is not allowed; likewise.
        SpaceMismatchError: The backbone is not the one of the classifier.
        KeyboardInterrupt: Embedding was interrupted; new features are kept, labels and classifier are as before.
    """
    begin = time.perf_counter()
    settings, report = settings or Settings(), Report()
    sources = workspace.sources()
    found = list(Intake(lesson.inputs, settings, sources, report))
    examples = [item for item in found if isinstance(item, Document)]
    new = [Label(d.sha256, d.path, lesson.name, group=lesson.group) for d in examples]
    labels = _with(workspace.labels(), new, relabel=lesson.relabel)
    with Aside("examples") as folder:
        aside = Workspace(folder)
        aside.claim()
        target = workspace if lesson.keep else _linked(workspace, bundle.identity.space, aside)
        store = _current(target, bundle, sources)
        lacking = missing.take(workspace, store, Selection.parse(bundle.fitted_on["selection"]))
        lacking.without({d.sha256 for d in examples}).require(allow=lesson.allow_missing)
        if not all(_is_stored(store, document) for document in examples) or len(examples) < len(found):
            report = _embed(target, bundle, lesson, backbone, settings)
            store = _current(target, bundle, sources)
        Labels(labels.rows).save(aside.labels_file)
        kind_table.copy(workspace, aside)
        for one in parts_of(bundle.identity):
            _tell_what_was_seen(workspace, aside, one.backbone)
        _make_variants((target, aside), store, bundle, lesson, backbone, settings)
        outcome = _learn((workspace, aside), store, bundle, lesson, {document.sha256 for document in examples})
        if lesson.keep:
            outcome.version = _keep(workspace, aside, bundle.name, new, relabel=lesson.relabel)
    outcome.examples = sum(row.label == lesson.name for row in labels.rows.values())
    outcome.report, outcome.seconds = report, time.perf_counter() - begin
    return outcome


def _current(target: Workspace, bundle: ClassifierBundle, sources: Sources) -> FeatureStore:
    """The store without documents that are not current; the examples are, as they were found just now."""
    return FeatureStore.open(target.store_path(bundle.identity.space)).only_current(lambda: sources.standing)


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
    aside.store_path(space).mkdir(parents=True)
    folders = workspace.store_path(space), workspace.root / "pages"  # with variants of its pages, and their words
    for file in (path for folder in folders for path in folder.rglob("*") if path.is_file()):
        copy = aside.root / file.relative_to(workspace.root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".parquet":
            with contextlib.suppress(OSError):
                os.symlink(file.absolute(), copy)
        if not copy.exists():
            copied(file, copy)
    return aside


def _make_variants(
    places: tuple[Workspace, Workspace],
    store: FeatureStore,
    bundle: ClassifierBundle,
    lesson: Lesson,
    backbone: "Callable[[], Backbone]",
    settings: Settings,
) -> None:
    """Variants of the examples, for a classifier that learns from variants."""
    target, aside = places
    recipe = TrainingRecipe.of(bundle.fitted_on)
    if recipe.augment:
        pages = labelled_pages(aside, store, Selection.parse(recipe.pages), allow_missing=lesson.allow_missing)
        wanted = variants.Wanted(recipe.augment, recipe.seed)
        variants.make(target, store, pages, wanted, backbone, settings=settings)


def _tell_what_was_seen(workspace: Workspace, aside: Workspace, backbone: str) -> None:
    """Copies what a fine-tuned network was trained on, so that figures aside leave it out as well."""
    name = backbone.removeprefix(FINETUNED)
    file = workspace.backbone_path(name) / MANIFEST
    if backbone.startswith(FINETUNED) and file.exists():
        aside.backbone_path(name).mkdir(parents=True)
        copied(file, aside.backbone_path(name) / MANIFEST)


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
    places: tuple[Workspace, Workspace],
    store: FeatureStore,
    bundle: ClassifierBundle,
    lesson: Lesson,
    examples: set[str],
) -> Outcome:
    """Fits aside, and compares with the classifier in use."""
    workspace, aside = places
    pages = store.pages()
    rows = pages[pages["document_sha256"].isin(examples)]
    if rows["outcome"].isin(SAYS_NOTHING).all():
        raise LabelsError("no example has a page that is not blank: nothing can be learnt from them")
    recipe = TrainingRecipe.of(bundle.fitted_on)
    store = recipe.features_of(workspace, store)
    new = fit(aside, store, recipe, bundle.name, allow_missing=lesson.allow_missing)
    before, after = _recalls(workspace, aside, store, recipe)
    outcome = Outcome(
        documents=rows["document_sha256"].nunique(), pages=len(rows), examples=0, before=before, after=after, changed=[]
    )
    _compare(workspace, store, (bundle, new), examples, outcome)
    outcome.missing = missing.take(aside, store, Selection.parse(recipe.pages))
    return outcome


def _recalls(
    workspace: Workspace, aside: Workspace, store: FeatureStore, recipe: TrainingRecipe
) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """Held-out recall of each type's documents without and with the examples.

    Both are measured in the same folds: what differs is due to the examples, and not to the draw of the folds.
    """
    old, new = learnt_pages(workspace, store, recipe), learnt_pages(aside, store, recipe)
    folds = honest_folds(apart(workspace, store, new))
    order = np.argsort(new.page_ids)
    kept = folds[order[np.searchsorted(new.page_ids, old.page_ids, sorter=order)]]
    return _recall(store, recipe, old, kept), _recall(store, recipe, new, folds)


def _recall(
    store: FeatureStore, recipe: TrainingRecipe, pages: LabelledPages, folds: NDArray[np.int64]
) -> dict[str, float | None]:
    """By type; None for types of one group, which are never learnt and tested at once, and those not held out."""
    held_out = cross_validate(recipe.plan(store.blocks, pages), pages, folds)
    documents = document_scores(held_out_of(pages, folds), held_out)
    told = np.asarray(held_out.classes, object)[documents.log_scores.argmax(axis=1)]
    alone = {kind for kind in held_out.classes if len(set(pages.groups[pages.y == kind])) == 1}
    recalls: dict[str, float | None] = dict.fromkeys(held_out.classes)
    rows = per_class(documents.y, told, held_out.classes)
    recalls |= {r["type"]: r["recall"] for r in rows if r["documents"] and r["type"] not in alone}
    return recalls


def _compare(
    workspace: Workspace,
    store: FeatureStore,
    bundles: tuple[ClassifierBundle, ClassifierBundle],
    examples: set[str],
    outcome: Outcome,
) -> None:
    """Records where the answers of new and old classifier about stored documents differ, in type or status."""
    found = decided_by_each(store, bundles)
    before, after = ({} if one is None else one.answers(own.classes) for one, own in zip(found, bundles, strict=True))
    pages = store.pages()
    kinds = workspace.labels().of_pages(pages)["label"]
    labels = dict(zip(pages["document_sha256"][::-1], kinds[::-1], strict=True))
    paths = dict(zip(pages["document_sha256"], pages["source"], strict=True))
    sources = workspace.sources()
    for sha256, old in before.items():
        new = after[sha256]
        if sha256 in examples or old == new:
            continue
        path = sources.path_of(sha256, otherwise=paths[sha256])
        change = Change(path, old.kind, new.kind, labels[sha256], old.status, new.status)
        if old.kind != new.kind:
            outcome.changed.append(change)
        if old.status != new.status:
            outcome.status_changed.append(change)
    others = [sha256 for sha256 in before if sha256 not in examples]
    outcome.statuses_before = statuses(before[sha256] for sha256 in others)
    outcome.statuses_after = statuses(after[sha256] for sha256 in others)
    bundle, now = bundles[1], found[1]
    if now is not None and outcome.less_sure:
        reasons = never_ok(bundle.documents, bundle.classes, ERROR_RATE)
        outcome.advice = reasons or advice(now.shift, bundle.name, ERROR_RATE)


def _keep(workspace: Workspace, aside: Workspace, name: str, new: list[Label], *, relabel: bool) -> int:
    """Makes labels and classifier those in use: files first, then the labels, and the classifier's switch last."""
    with workspace.writing("add-type"), workspace.changing_labels():
        folder = workspace.classifier_folder(name)
        labels = _with(workspace.labels(), new, relabel=relabel)  # read again: they may have changed meanwhile
        with versions.adding(folder) as version:
            for file in aside.classifier_path(name).iterdir():
                copied(file, version / file.name)
            workspace.keep_labels(labels, f"add-type {new[0].label}" if new else "add-type")
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
        "changed": [_change_json(change) for change in outcome.changed],
        "status_changed": [_change_json(change) for change in outcome.status_changed],
        "statuses": {
            "documents": sum(total(outcome.statuses_before).values()),
            "before": total(outcome.statuses_before),
            "after": total(outcome.statuses_after),
            "before_by_type": outcome.statuses_before,
            "after_by_type": outcome.statuses_after,
        },
        "fewer_sure": outcome.sure[1] < outcome.sure[0],
        "advice": outcome.advice,
        "missing": outcome.missing.as_json() if outcome.missing else None,
        "kept": lesson.keep,
        "version": outcome.version,
        "enough": outcome.examples >= ENOUGH,
    }


def _change_json(change: Change) -> dict[str, Any]:
    return {
        "path": change.path,
        "before": change.before,
        "after": change.after,
        "label": change.label,
        "status_before": change.status_before,
        "status_after": change.status_after,
    }


def _rounded(recalls: dict[str, float | None]) -> dict[str, float | None]:
    return {kind: None if recall is None else round(recall, 4) for kind, recall in recalls.items()}
