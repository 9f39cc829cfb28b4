"""Honest figures: labelled pages in grouped folds, and what classifiers say of those held out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from embedpipe.classifiers.bundles import PICTURES, WORDS, fit_classifier, fit_novelty, part_scores
from embedpipe.classifiers.calibration.confidence import HeldOutScores
from embedpipe.classifiers.documents.labelled import Rows, owners
from embedpipe.classifiers.documents.rows import document_kinds
from embedpipe.classifiers.folds import LEARNT, MANY_PAGES, in_each_fold, rounds_of
from embedpipe.classifiers.labelled_pages import LabelledPages, Lessons
from embedpipe.classifiers.parts import Part, Plan, as_plan
from embedpipe.classifiers.saved.combining import DOCUMENT, means_of_parts
from embedpipe.classifiers.scores.fusion import IMPOSSIBLE, Evidence, Fusion, Scores, choose, learn
from embedpipe.classifiers.scores.pooling import effective_pages, mean_log_scores, page_weights, weighted_means
from embedpipe.pages.source_kinds import codes

_ASKED = 8192
"""Pages of a fold whose features are copied at a time to be judged."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Scores of pages by classifiers that saw neither them nor anything of their group.

    Attributes:
        classes: Types, sorted.
        log_scores: Raw, (n, n_classes).
        folds: Which fold each page was held out in, (n,).
        seen_documents: How many more there are, which have no score: the network was trained on their groups.
        seen_types: Types of these.
        measurable: Rows whose type the other folds hold, (n,); the others were never learnt and tested at once, so
            that their answers do not measure the classifier. None for all.
        fusion: How the parts of a classifier are weighted that is fitted on all pages; None for one part alone.
        alone: Scores of the first part alone, (n, n_classes); None where there is no other.
        whole: Scores of the document of each page, (n, n_classes), where a part judges documents; None where a document
            is judged by its pages alone.
        document_fusion: How that part is weighted; None without.
        undrawn_documents: How many more there are, which have no score because others were drawn to be held out.
    """

    classes: list[str]
    log_scores: NDArray[np.float64]
    folds: NDArray[np.int64]
    seen_documents: int = 0
    seen_types: frozenset[str] = frozenset()
    measurable: NDArray[np.bool_] | None = None
    fusion: Fusion | None = None
    alone: NDArray[np.float64] | None = None
    whole: NDArray[np.float64] | None = None
    document_fusion: Fusion | None = None
    undrawn_documents: int = 0

    @property
    def names(self) -> list[str]:
        """The parts that are used."""
        pages = [PICTURES] if self.fusion is None else [*self.fusion.names]
        return pages if self.document_fusion is None else [*pages, DOCUMENT]

    def measured(self, pages: LabelledPages) -> tuple[LabelledPages, Self]:
        """The pages that figures are of, with their scores."""
        if self.measurable is None:
            return pages, self
        rows = self.measurable
        alone, whole = (None if scores is None else scores[rows] for scores in (self.alone, self.whole))
        own = replace(self, log_scores=self.log_scores[rows], folds=self.folds[rows], measurable=None)
        return pages.take(rows), replace(own, alone=alone, whole=whole)


@dataclass(frozen=True, slots=True)
class DocumentScores:
    """Documents with their types and the logarithms of their pages' mean probabilities.

    Attributes:
        documents: SHA-256, (n,).
        y: Types, (n,).
        log_scores: (n, n_classes).
        rows: One page of each document, as its place in the pages: for what all its pages share, (n,).
    """

    documents: NDArray[Any]
    y: NDArray[Any]
    log_scores: NDArray[np.float64]
    rows: NDArray[np.int64]


def cross_validate(
    build: Callable[[], Pipeline] | Plan,
    pages: LabelledPages,
    folds: NDArray[np.int64],
    most_documents: int | None = None,
    seed: int = 0,
) -> HeldOut:
    """Scores every page with a classifier that was fitted on the other folds.

    Of several parts each is fitted once for each fold. Which of them are used, and what they count, is learnt from the
    pages of the other folds (see `fusion`), as for a new document.

    Args:
        build: Gives an unfitted classifier; or the parts that it may have.
        pages: What is held out in turn.
        folds: Of `grouped_folds` or `held_out.honest_folds`, (n,).
        most_documents: How many documents of each type are learnt from; all if not given.
        seed: Which documents these are.

    Returns:
        The scores of `held_out.held_out_of(pages, folds)`.
    """
    plan = as_plan(build)
    first, scores = score_parts(plan, pages, folds, most_documents, seed)
    found = combined(plan, pages.take(folds != LEARNT), first, scores)
    return with_documents(plan, pages, folds, found, scores, most_documents=most_documents, seed=seed)


def score_parts(
    plan: Plan, pages: LabelledPages, folds: NDArray[np.int64], most_documents: int | None = None, seed: int = 0
) -> tuple[HeldOut, dict[str, NDArray[np.float64]]]:
    """Scores by the first part, and by each of the parts, of what `cross_validate` holds out; see there."""
    classes = sorted(set(pages.y))
    scores = {part.name: np.full((len(pages.y), len(classes)), IMPOSSIBLE) for part in plan.parts}
    measurable, rounds = np.zeros(len(pages.y), bool), rounds_of(folds)

    def score(fold: int, part: Part) -> None:
        train, test = _few_documents(pages, rounds != fold, most_documents, seed), np.flatnonzero(rounds == fold)
        if part is plan.parts[0]:
            measurable[test] = np.isin(pages.y[test].astype(str), np.unique(pages.y[train]).astype(str))
        lessons, rows = part_lessons(pages, part, train)
        types = np.unique(lessons.y)
        if len(types) < 2:  # noqa: PLR2004
            scores[part.name][test] = np.nan if part.name == WORDS else IMPOSSIBLE
            if part.name != WORDS:
                scores[part.name][test[:, None], np.searchsorted(classes, types)] = 0.0
            return
        fitted = fit_classifier(part.build(), *lessons, rows)
        del lessons  # may be as large as nearly all pages
        own = pages.inputs_of(part)
        for some in np.split(test, range(_ASKED, len(test), _ASKED)):
            scores[part.name][some] = part_scores(part.name, fitted, own[some], list(types), classes)

    in_each_fold(score, rounds, plan.parts)
    held_out = folds != LEARNT
    seen, undrawn = _left_out(pages, held_out)
    known = len(set(pages.documents[seen])), frozenset(pages.y[seen])
    own = {name: values[held_out] for name, values in scores.items()}
    found = HeldOut(classes, own[plan.parts[0].name], folds[held_out], *known, measurable[held_out])
    return replace(found, undrawn_documents=len(set(pages.documents[undrawn]))), own


def part_lessons(
    pages: LabelledPages, part: Part, rows: NDArray[np.int64] | None = None
) -> tuple[Lessons, NDArray[np.int64] | None]:
    """As `LabelledPages.lessons_of`; of many pages without variants all features, and the rows that are learnt from."""
    if rows is None or len(rows) <= MANY_PAGES or part.name == WORDS or pages.variants is not None:
        return pages.lessons_of(part, rows), None
    return Lessons(pages.columns_of(part).X, pages.y[rows], pages.weights[rows]), rows


def _left_out(pages: LabelledPages, held_out: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Pages that are never held out: those that the network was trained on, and those that were not drawn."""
    if pages.seen is None:
        return np.zeros(len(held_out), bool), ~held_out
    seen = np.isin(pages.groups, pages.groups[pages.seen]) | (not held_out.any())
    return ~held_out & seen, ~held_out & ~seen


def combined(plan: Plan, pages: LabelledPages, found: HeldOut, scores: dict[str, NDArray[np.float64]]) -> HeldOut:
    """The scores of all parts together, with weights, and the choice of parts, from the other folds.

    Args:
        plan: Which parts there may be.
        pages: Those that were held out.
        found: Scores of the first part, of `score_parts`.
        scores: Of each part.
    """
    if len(plan.parts) == 1:
        return found
    truth = np.searchsorted(found.classes, pages.y)
    weights = page_weights(pages.page_indices)
    groups = np.unique(pages.groups, return_inverse=True)[1]
    evidence = Evidence(scores, truth, owners(pages.documents, pages.y), weights, groups, frozenset({WORDS}))
    names = [part.name for part in plan.parts]
    fusion, fused = _fused(names, sorted(plan.forced.intersection(names)), plan, evidence, found.folds)
    if fused is None:
        return replace(found, alone=found.log_scores)
    return replace(found, log_scores=fused, fusion=fusion, alone=found.log_scores)


def _fused(
    names: list[str], forced: list[str], plan: Plan, evidence: Evidence, folds: NDArray[np.int64]
) -> tuple[Fusion, NDArray[np.float64] | None]:
    """The weights of those of some parts that help, and scores by weights from the other folds; None of one part."""

    def decided(rows: NDArray[np.bool_]) -> Fusion:
        known = evidence.take(rows)
        return learn(choose(names, forced, known) if plan.open else names, known)

    fusion = decided(np.ones(len(folds), bool))
    if len(fusion.names) == 1:
        return fusion, None
    fused = np.empty_like(evidence.scores[names[0]])
    for fold in np.unique(folds):
        rows = folds == fold
        fused[rows] = decided(~rows).apply({name: values[rows] for name, values in evidence.scores.items()})
    return fusion, fused


def with_documents(
    plan: Plan,
    pages: LabelledPages,
    folds: NDArray[np.int64],
    found: HeldOut,
    parts: Scores,
    *,
    most_documents: int | None = None,
    seed: int = 0,
) -> HeldOut:
    """Held-out scores with those of the part that judges documents, where the plan has one, and where it helps.

    Args:
        plan: Which parts there may be.
        pages: Those that are held out in turn, and learnt from.
        folds: Of `held_out.honest_folds`, (n,).
        found: Of `combined`.
        parts: Scores of pages by each part, of `score_parts`.
        most_documents: As for `cross_validate`.
        seed: Likewise.
    """
    part = plan.whole
    if part is None:
        return found
    words = WORDS in found.names
    scores, rounds = np.zeros((len(pages.y), len(found.classes))), rounds_of(folds)

    def score(fold: int) -> None:
        train, test = _few_documents(pages, rounds != fold, most_documents, seed), np.flatnonzero(rounds == fold)
        fitted = fit_whole(part, pages, train, words=words)
        if fitted is not None:
            scores[test] = whole_scores(part, fitted, pages, test, found.classes, words=words)

    in_each_fold(score, rounds)
    held, own = pages.take(folds != LEARNT), scores[folds != LEARNT]
    owner = owners(held.documents, held.y)
    _, first = np.unique(owner, return_index=True)
    judges = [name for name in found.names if name in parts]
    means = means_of_parts({name: parts[name] for name in judges}, page_weights(held.page_indices), owner)
    truth = np.searchsorted(found.classes, held.y[first])
    groups = np.unique(held.groups[first], return_inverse=True)[1]
    each = np.arange(len(first))
    scored = {**means, DOCUMENT: own[first]}
    evidence = Evidence(scored, truth, each, np.ones(len(first)), groups, frozenset({WORDS}))
    forced = [*judges, *({DOCUMENT} & plan.forced)]
    fusion, fused = _fused([*judges, DOCUMENT], forced, plan, evidence, found.folds[first])
    if fused is None or fusion.names[-1] != DOCUMENT:
        return found
    alone = found.log_scores if found.alone is None else found.alone
    return replace(found, whole=fused[owner], document_fusion=fusion, alone=alone)


def _rows(part: Part, pages: LabelledPages, *, words: bool) -> Rows:
    return Rows(pages, part.build()[-1].blocks, part.columns, words=words)


def fit_whole(
    part: Part, pages: LabelledPages, rows: NDArray[np.int64] | None = None, *, words: bool
) -> Pipeline | None:
    """Fits the part that judges documents; None where there is one type only.

    Args:
        part: `Plan.whole`.
        pages: Labelled ones.
        rows: Which of them are learnt from; all if not given.
        words: Learn from their words as well.
    """
    rows = np.arange(len(pages.y)) if rows is None else rows
    if len(np.unique(pages.y[rows])) < 2:  # noqa: PLR2004
        return None
    lessons, y = _rows(part, pages, words=words).lessons(rows)
    return fit_classifier(part.build(), lessons, y, np.ones(len(y))) if len(np.unique(y)) > 1 else None


def whole_scores(
    part: Part, fitted: Pipeline, pages: LabelledPages, rows: NDArray[np.int64], classes: Sequence[str], *, words: bool
) -> NDArray[np.float64]:
    """Log scores of the document of each page, by all those of its pages that are asked about, (n_rows, n_classes).

    Args:
        part: `Plan.whole`.
        fitted: Of `fit_whole`.
        pages: Labelled ones.
        rows: Which of them are asked about, (n_rows,).
        classes: All types, sorted.
        words: As when it was fitted.
    """
    found = np.empty((len(rows), len(classes)))
    for some, owner, wholes in _rows(part, pages, words=words).asked(rows):
        found[some] = part_scores(DOCUMENT, fitted, wholes, list(fitted.classes_), classes)[owner]
    return found


def _few_documents(pages: LabelledPages, among: NDArray[np.bool_], most: int | None, seed: int) -> NDArray[np.int64]:
    """The chosen pages of at most so many documents of each type, always the same ones."""
    if most is None:
        return np.flatnonzero(among)
    chosen = np.zeros(len(among), bool)
    owner = np.unique(pages.documents, return_inverse=True)[1]  # numbers in the order of the hashes: quick to compare
    for kind in np.unique(pages.y[among]):
        own = among & (pages.y == kind)
        documents = np.random.default_rng(seed).permutation(np.unique(owner[own]))
        chosen |= own & np.isin(owner, documents[:most])
    return np.flatnonzero(chosen)


def held_out_distances(
    build: Callable[[], Pipeline], pages: LabelledPages, folds: NDArray[np.int64]
) -> NDArray[np.float64]:
    """How far each of `held_out.held_out_of(pages, folds)` is from the pages of the other folds, (n,); `novelty`."""
    distances, rounds = np.empty(len(pages.y)), rounds_of(folds)

    def measure(fold: int) -> None:
        lessons, test = pages.lessons(rounds != fold), rounds == fold
        scaling = build()
        scaling[:-1].fit(lessons.X)
        detector = fit_novelty(scaling, *lessons)
        distances[test] = detector.distances(scaling[:-1].transform(pages.X[test]))

    in_each_fold(measure, rounds)
    held_out: NDArray[np.float64] = distances[folds != LEARNT]
    return held_out


def document_scores(pages: LabelledPages, scores: HeldOut | NDArray[np.float64]) -> DocumentScores:
    """Scores of each document whose pages all have one type.

    Args:
        pages: Labelled ones.
        scores: What was held out; or scores of pages, (n, n_classes), of whose probabilities the means are taken.
    """
    documents, first, owner = np.unique(pages.documents, return_index=True, return_inverse=True)
    if isinstance(scores, HeldOut) and scores.whole is not None:
        means = scores.whole[first]
    else:
        own = scores.log_scores if isinstance(scores, HeldOut) else scores
        means = mean_log_scores(own, page_weights(pages.page_indices), owner)
    y = pages.y[first]
    mixed = np.zeros(len(documents), bool)
    np.logical_or.at(mixed, owner, pages.y != y[owner])
    return DocumentScores(documents[~mixed], y[~mixed], means[~mixed], first[~mixed])


def page_answers(pages: LabelledPages, held_out: HeldOut, distances: NDArray[np.float64]) -> HeldOutScores:
    """Held-out pages as decisions are learnt from; the pages of a document share one document's weight."""
    _, owner, counts = np.unique(pages.documents, return_inverse=True, return_counts=True)
    truth = np.searchsorted(held_out.classes, pages.y)
    weights = 1.0 / counts[owner]
    ones, kinds = np.ones(len(truth)), None if pages.kinds is None else codes(pages.kinds.tolist())
    return HeldOutScores(held_out.log_scores, truth, distances, held_out.folds, weights, ones, kinds)


def document_answers(pages: LabelledPages, held_out: HeldOut, distances: NDArray[np.float64]) -> HeldOutScores:
    """Held-out documents of one type as decisions are learnt from, in the order of `document_scores`."""
    documents = document_scores(pages, held_out)
    truth = np.searchsorted(held_out.classes, documents.y)
    _, owner = np.unique(pages.documents, return_inverse=True)
    weights, own = page_weights(pages.page_indices), owner[documents.rows]
    return HeldOutScores(
        scores=documents.log_scores,
        truth=truth,
        distances=weighted_means(distances, weights, owner)[own],
        folds=held_out.folds[documents.rows],
        weights=np.ones(len(truth)),
        pages=effective_pages(weights, owner)[own],
        kinds=None if pages.kinds is None else codes(document_kinds(pages.kinds, weights, owner))[own],
        groups=pages.groups[documents.rows],
    )
