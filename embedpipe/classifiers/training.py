"""Labels and stored features to classifiers, and to figures of their quality. Never loads torch."""

import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.pipeline import Pipeline

from embedpipe.classifiers.bundles import (
    CUES,
    PICTURES,
    WORDS,
    Blocks,
    ClassifierBundle,
    FittedParts,
    build_classifier,
    fit_classifier,
)
from embedpipe.classifiers.calibration.confidence import HeldOutScores, nested_decisions
from embedpipe.classifiers.calibration.decisions import Rule
from embedpipe.classifiers.evaluation import (
    LEARNT,
    HeldOut,
    LabelledPages,
    at_once,
    cross_validate,
    document_answers,
    document_scores,
    fit_whole,
    grouped_folds,
    page_answers,
)
from embedpipe.classifiers.finetuned import seen_pages
from embedpipe.classifiers.gains import Gain, gain_of
from embedpipe.classifiers.group_guesses import separated
from embedpipe.classifiers.lessons import missing, variants
from embedpipe.classifiers.lessons.drawn import by_few_threads, drawn_folds
from embedpipe.classifiers.lessons.held_out import held_out_of
from embedpipe.classifiers.metrics import confusion, metrics_of, per_class
from embedpipe.classifiers.parts import Part, Plan, plan
from embedpipe.classifiers.saved.on_disk import brief
from embedpipe.classifiers.scores.fusion import Fusion
from embedpipe.classifiers.text.words import BUCKETS, shrunk
from embedpipe.classifiers.unknowns import (
    Strangers,
    distances_and_strangers,
    fit_detector,
    folds_of_all,
    guard,
    limited,
    together,
)
from embedpipe.core import versions
from embedpipe.core.errors import ArtifactError, LabelsError, UsageError
from embedpipe.core.records import SAYS_NOTHING
from embedpipe.core.threads import beside_each_other
from embedpipe.embedding.cue_table import CuedStore
from embedpipe.embedding.kind_table import known_kinds
from embedpipe.embedding.streaming import Settings
from embedpipe.pages.cues import UNKNOWN
from embedpipe.pages.extras.word_rows import folded, have_words
from embedpipe.pages.rendering import Selection
from embedpipe.store import page_extras
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import NONE
from embedpipe.store.workspace import Workspace

if TYPE_CHECKING:  # only variants need the network
    from embedpipe.backbones.engines import Backbone

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrainingRecipe:
    """What a classifier is made from, apart from features and labels.

    Attributes:
        kind: Key in `bundles.CLASSIFIERS`.
        settings: Hyper-parameters as text.
        pages: Which pages of each document are used, as `Selection.parse` reads it.
        cues: Learn from the cues of each page in any case.
        augment: Learn also from so many variants of each page, which `make_variants` makes.
        seed: Of the variants.
        blocks: What it learns from: `pictures`, `layout`, `cues`, `words`, `document`, networks or blocks of the space;
            None for pictures, and words, layout and whole documents where they help, as held-out documents show.
    """

    kind: str
    settings: Mapping[str, str] = field(default_factory=dict)
    pages: str = "all"
    cues: bool = False
    augment: int = 0
    seed: int = 0
    blocks: tuple[str, ...] | None = None

    @classmethod
    def of(cls, fitted_on: Mapping[str, Any]) -> "TrainingRecipe":
        """The recipe of a fitted classifier, from its `fitted_on`: with the blocks that it has."""
        augment, seed = (int(fitted_on.get(key) or 0) for key in ("augment", "seed"))
        cues = bool(fitted_on.get("cues"))
        before = (PICTURES, CUES) if cues else (PICTURES,)  # of earlier versions
        blocks = tuple(fitted_on.get("blocks", before))
        return cls(fitted_on["kind"], fitted_on["settings"], fitted_on["selection"], cues, augment, seed, blocks)

    @classmethod
    def as_asked(cls, fitted_on: Mapping[str, Any]) -> "TrainingRecipe":
        """The same, but choosing anew where the classifier had chosen its blocks itself."""
        recipe = cls.of(fitted_on)
        if "asked" not in fitted_on:
            return recipe
        return replace(recipe, blocks=None, cues=CUES in fitted_on["asked"])

    @property
    def takes_cues(self) -> bool:
        """Whether it learns from cues in any case."""
        return self.cues or CUES in (self.blocks or ())

    def features_of(self, workspace: Workspace, store: FeatureStore) -> FeatureStore:
        """The store with what this recipe adds to its features.

        Cues are not chosen by themselves: they gain on documents of the labelled sources, and lose much on others.
        """
        return CuedStore(workspace, store) if self.takes_cues and not isinstance(store, CuedStore) else store

    def plan(self, blocks: Blocks, pages: LabelledPages) -> Plan:
        """The parts that its classifier may have, on pages of `learnt_pages`, with features in these blocks."""
        forced = (CUES,) if self.cues else ()
        asked = None if self.blocks is None else tuple(dict.fromkeys([*self.blocks, *forced]))
        return plan(self.kind, blocks, self.settings, asked, forced=forced, words=pages.words is not None)


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
        return pages


def _words(store: FeatureStore, pages: LabelledPages) -> csr_array | None:
    """The words of pages; None where none are kept."""
    root = store.origin.path.parents[1]
    keys = list(zip(pages.documents.tolist(), pages.page_indices.tolist(), strict=True))
    table = page_extras.words_table(root)
    kept = table.kept()
    lacking = sum(index not in kept.get(sha256, ()) for sha256, index in keys)
    words = folded(page_extras.words_in(table, keys), BUCKETS, spare=True, heads=True)  # once, for all folds
    if not have_words(words).any():
        return None
    if lacking:
        log.warning(
            "the words of %d of %d labelled pages are not kept: run `embed` on their files again", lacking, len(keys)
        )
    return words


def _without_cues(store: FeatureStore, pages: LabelledPages) -> int:
    """How many pages would be learnt from with zeros in place of their cues."""
    cues = pages.X[:, store.origin.dim :]
    return int(np.all(cues == np.asarray(UNKNOWN, np.float32), axis=1).sum()) if cues.shape[1] else 0


def none_pages(
    workspace: Workspace, store: FeatureStore, recipe: TrainingRecipe, known: LabelledPages
) -> LabelledPages | None:
    """The pages that are labelled as none of the types, with what the known ones have; None without any."""
    if not workspace.labels().none:
        return None
    with contextlib.suppress(LabelsError):
        pages = _read_labelled(workspace, store, Selection.parse(recipe.pages), none=True)
        seen = None if known.seen is None else np.zeros(len(pages.y), bool)
        return replace(pages, seen=seen, words=None if known.words is None else _words(store, pages))
    return None


def _read_labelled(
    workspace: Workspace, store: FeatureStore, selection: Selection, *, none: bool = False
) -> LabelledPages:
    """As `labelled_pages`, of what can be read; or the pages that are labelled as none of the types."""
    pages = store.pages().sort_values(["document_sha256", "page_index"], ignore_index=True)
    labels = workspace.labels().of_pages(pages)
    wanted = labels["label"].notna() & ((labels["label"] == NONE) == none) & ~pages["outcome"].isin(SAYS_NOTHING)
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
    """The labelled pages that a recipe learns from, with their words and variants where it wants some.

    Raises:
        LabelsError: No page is labelled.
        ArtifactError: The variants have not been made; or labelled documents have lost features, and that is not
            allowed.
    """
    pages = labelled_pages(workspace, store, Selection.parse(recipe.pages), allow_missing=allow_missing)
    if recipe.takes_cues and not allow_missing and (unknown := _without_cues(store, pages)):
        raise ArtifactError(
            f"the cues of {unknown} labelled pages are not known, for their files are not where they were: put "
            "them back and run `embed` on them, fit without --with-cues, or go on without: --allow-missing"
        )
    if recipe.blocks is None or WORDS in recipe.blocks:
        pages = replace(pages, words=_words(store, pages))
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
            | {"cues_of_pages": _without_cues(store, pages) if CUES in held.plan.names else 0},
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


def _whole(held: "Rehearsal") -> tuple[Pipeline | None, Fusion | None]:
    """The part that judges documents, fitted on all of them, and its weights."""
    part, fusion = held.plan.whole, held.held_out.document_fusion
    fitted = None if part is None else fit_whole(part, held.known, words=WORDS in held.plan.names)
    return (None, None) if fitted is None else (fitted, fusion)


def documents_by_type(pages: LabelledPages) -> dict[str, int]:
    """How many documents have pages of each type."""
    return {str(kind): len(set(pages.documents[pages.y == kind])) for kind in np.unique(pages.y)}


def _blocks(recipe: TrainingRecipe, held: "Rehearsal") -> dict[str, Any]:
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


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A classifier's answers for the labelled pages, each by one that had seen nothing of the page's group.

    Attributes:
        known: All labelled pages, in groups that share no source, as given or guessed, nor nearly the same picture.
        folds: Of `lessons.drawn.drawn_folds`, for each of these.
        pages: Those that were held out: all, unless there are many or the network itself was trained on some.
        held_out: Their scores.
        of_pages: What decisions on pages are learnt from.
        of_documents: What decisions on documents are learnt from, in the order of `evaluation.document_scores`.
        everything: The known pages, then those that are labelled as none of the types.
        none_distances: How far the pages of these are from the labelled pages of other folds, (m,).
        strangers: Answers about documents of types left out in turn; None where there are too few types.
        plan: The parts of the classifier that is fitted on all pages.
        offered: Names of the parts that it could have had.
    """

    known: LabelledPages
    folds: NDArray[np.int64]
    pages: LabelledPages
    held_out: HeldOut
    of_pages: HeldOutScores
    of_documents: HeldOutScores
    everything: LabelledPages
    none_distances: NDArray[np.float64]
    strangers: Strangers | None
    plan: Plan
    offered: list[str]

    @property
    def gain(self) -> Gain | None:
        """What the other parts add to the first one, on documents that were held out; None where there is no other."""
        if self.held_out.alone is None or len(self.held_out.names) == 1:
            return None
        pages, held_out = self.held_out.measured(self.pages)
        return gain_of(pages, held_out)

    def measured_documents(self) -> NDArray[np.bool_]:
        """Which rows of `of_documents` figures are of: those whose type was learnt while they were held out, (n,)."""
        rows = document_scores(self.pages, self.held_out).rows
        return np.ones(len(rows), bool) if self.held_out.measurable is None else self.held_out.measurable[rows]


@by_few_threads
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
    found = learnt_pages(workspace, store, recipe, allow_missing=allow_missing)
    everything = apart(workspace, store, together(found, none_pages(workspace, store, recipe, found)))
    everything = replace(everything, kinds=known_kinds(workspace, everything.documents, everything.kinds))
    known = everything.take(everything.y != NONE) if len(everything.y) > len(found.y) else everything
    folds = drawn_folds(known, seed)
    offered = recipe.plan(store.blocks, known)
    held_out = cross_validate(offered, known, folds)
    chosen = offered.only(held_out.names)
    all_folds = folds_of_all(everything, folds)
    far, strangers = distances_and_strangers(chosen, held_out, everything, all_folds)
    rest = replace(known, X=known.X[:, :0], words=None, variants=None) if (folds == LEARNT).any() else known
    pages, distances = held_out_of(rest, folds), far[: len(folds)][folds != LEARNT]  # figures need no features
    of_pages, of_documents = page_answers(pages, held_out, distances), document_answers(pages, held_out, distances)
    if strangers is not None:
        of_pages, of_documents = limited(of_pages, strangers.pages), limited(of_documents, strangers.documents)
    answers = of_pages, of_documents, everything, far[len(folds) :], strangers
    return Rehearsal(known, folds, pages, held_out, *answers, chosen, offered.names)


def apart(workspace: Workspace, store: FeatureStore, pages: LabelledPages) -> LabelledPages:
    """The pages in groups that share no source, as given or guessed, nor nearly the same picture."""
    plain = store.origin
    own = separated(workspace, replace(pages, X=pages.X[:, : plain.dim]), plain.blocks)
    return replace(own, X=pages.X)


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
