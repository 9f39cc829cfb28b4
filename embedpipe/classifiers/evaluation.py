"""Honest figures: labelled pages in grouped folds, and what classifiers say of those held out."""

import itertools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import Pipeline

from embedpipe.classifiers.bundles import PICTURES, WORDS, fit_classifier, fit_novelty, part_scores, taken
from embedpipe.classifiers.calibration.confidence import HeldOutScores
from embedpipe.classifiers.documents.labelled import Rows, owners
from embedpipe.classifiers.documents.rows import document_kinds
from embedpipe.classifiers.parts import Part, Plan, as_plan
from embedpipe.classifiers.saved.combining import DOCUMENT, means_of_parts
from embedpipe.classifiers.scores.fusion import IMPOSSIBLE, Evidence, Fusion, Scores, choose, learn
from embedpipe.classifiers.scores.pooling import effective_pages, mean_log_scores, page_weights, weighted_means
from embedpipe.classifiers.text.words import FIRST_PAGES, MOST_PAGES
from embedpipe.core.errors import LabelsError
from embedpipe.core.machine import available_cores
from embedpipe.core.threads import beside_each_other
from embedpipe.pages.extras.word_rows import have_words
from embedpipe.pages.source_kinds import codes

_T = TypeVar("_T")

FOLDS = 5
GIVEN, GUESSED, OWN, UNGUESSED = "given", "guessed", "own", "unguessed"
"""Where a document's group comes from: its label; a guess that joins it with others, or that found no others; or
nowhere, for nothing could be guessed, and it is one alone."""

_MANY_PAGES = 20_000
"""Of more pages one fold is fitted at a time, which uses all cores by itself: each holds two copies of its pages."""

_ASKED = 8192
"""Pages of a fold whose features are copied at a time to be judged."""

LEARNT = -1
"""In place of a fold: the page is always learnt from and never held out."""

ROUNDS = 100
"""Folds whose numbers differ by a multiple of this are held out in one round, see `rounds_of`."""


class Lessons(NamedTuple):
    """Rows to learn from: features float32 (n, dim) or counts of words, types (n,), and what each row counts (n,)."""

    X: NDArray[np.float32] | csr_array
    y: NDArray[Any]
    weights: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LabelledPages:
    """Features with labels, ready to fit and to split.

    Attributes:
        page_ids: (n,), of the store.
        X: float32 (n, dim).
        y: Types, (n,).
        documents: SHA-256 of each page's document, (n,).
        groups: What must stay on one side of a split, (n,).
        page_indices: Where each page is in its document, from 0, (n,).
        seen: Pages of groups that the network itself was trained on, (n,); None for a frozen network, which saw none.
        variants: Features of changed copies of each page, float16 (n, k, dim), NaN for one that is not there. They
            are learnt from with their page and never held out; None without any.
        paths: Where each page's document was when it was embedded, (n,); None where that is not known.
        origins: Where each page's group comes from: `GIVEN` and so on, (n,); None before any was guessed.
        kinds: Kind of source of each page, of `source_kinds.KINDS` or "", (n,); None where kinds are not distinguished.
        words: Counts of the n-grams of each page, sparse float32 (n, n_buckets); None where they were not asked for.
    """

    page_ids: NDArray[np.int64]
    X: NDArray[np.float32]
    y: NDArray[Any]
    documents: NDArray[Any]
    groups: NDArray[Any]
    page_indices: NDArray[np.int64]
    seen: NDArray[np.bool_] | None = None
    variants: NDArray[np.float16] | None = None
    paths: NDArray[Any] | None = None
    origins: NDArray[Any] | None = None
    kinds: NDArray[Any] | None = None
    words: csr_array | None = None

    def take(self, rows: NDArray[Any]) -> Self:
        """Some of the pages: by their numbers, in that order, or by a mask; a mask of all copies nothing."""
        if rows.dtype == bool and len(rows) == len(self.y) and rows.all():
            return self
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: column[rows] for name, column in columns.items() if column is not None})

    def lessons(self, rows: NDArray[Any] | None = None) -> Lessons:
        """What a classifier learns from some of the pages, or from all: the pages, then their variants."""
        weights = self.weights  # of all pages, also where some of a document are left out
        pages, weights = (self, weights) if rows is None else (replace(self, words=None).take(rows), weights[rows])
        if pages.variants is None:
            return Lessons(pages.X, pages.y, weights)
        there = ~np.isnan(pages.variants[:, :, 0])
        owner = np.nonzero(there)[0]
        shares = weights / (1 + there.sum(axis=1))
        X = np.concatenate([pages.X, pages.variants[there].astype(np.float32)])
        return Lessons(X, np.concatenate([pages.y, pages.y[owner]]), np.concatenate([shares, shares[owner]]))

    def columns_of(self, part: Part) -> Self:
        """The pages with only those features that a part learns from."""
        if part.columns is None:
            return self
        variants = None if self.variants is None else taken(self.variants, part.columns)
        return replace(self, X=taken(self.X, part.columns), variants=variants)

    def lessons_of(self, part: Part, rows: NDArray[Any] | None = None) -> Lessons:
        """What a part learns from some of the pages, or from all; words from the first pages of each document."""
        if part.name != WORDS or self.words is None:
            return self.columns_of(part).lessons(rows)
        chosen = np.arange(len(self.y)) if rows is None else np.arange(len(self.y))[rows]
        chosen = chosen[have_words(self.words)[chosen] & (self.page_indices[chosen] < FIRST_PAGES)]
        if len(chosen) > MOST_PAGES:
            drawn = np.random.default_rng(0).permutation(chosen)
            chosen = np.sort(drawn[np.argsort(self.page_indices[drawn], kind="stable")[:MOST_PAGES]])
        return Lessons(self.words[chosen], self.y[chosen], self.weights[chosen])

    def inputs_of(self, part: Part) -> NDArray[np.float32] | csr_array:
        """What a part judges the pages by, a row each."""
        return self.words if part.name == WORDS and self.words is not None else taken(self.X, part.columns)

    @property
    def weights(self) -> NDArray[np.float64]:
        """What each page counts: `page_weights`, adding up to 1 for each document, (n,)."""
        _, owner = np.unique(self.documents, return_inverse=True)
        weights = page_weights(self.page_indices)
        shares: NDArray[np.float64] = weights / np.bincount(owner, weights=weights)[owner]
        return shares


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


def grouped_folds(pages: LabelledPages, n_folds: int = FOLDS, seed: int = 0) -> NDArray[np.int64]:
    """Which fold holds each page out: groups stay together, types are spread evenly, (n,).

    Raises:
        LabelsError: There are fewer than two types, or fewer than two groups.
    """
    types = np.unique(pages.y)
    if len(types) < 2:  # noqa: PLR2004
        raise LabelsError(f"all labelled pages are of the type {types[0]!r}: label documents of another type as well")
    if len(np.unique(pages.groups)) < 2:  # noqa: PLR2004
        raise LabelsError("all labelled pages are of one group: label more documents")
    largest = max(int(np.sum(pages.y == kind)) for kind in types)
    n_folds = min(n_folds, len(np.unique(pages.groups)), max(largest, 2))
    if largest < 2:  # noqa: PLR2004
        raise LabelsError("each type has one labelled page only: label more documents")
    folds = np.zeros(len(pages.y), np.int64)
    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a type with fewer groups than folds is said in the metrics
        for fold, (_, held_out) in enumerate(splitter.split(pages.X, pages.y, pages.groups)):
            folds[held_out] = fold
    return folds


def rounds_of(folds: NDArray[np.int64]) -> NDArray[np.int64]:
    """In which round each page is held out, (n,).

    One classifier answers for all pages of a round, and has learnt from none of them. Each fold is a round of its own,
    but where folds of many pages share one (`lessons.drawn`): weights and calibrations are then learnt in the other
    folds as ever, from answers of a classifier that saw none of these pages.

    Args:
        folds: Of `grouped_folds` or of the functions of `held_out`, (n,).
    """
    return np.where(folds == LEARNT, LEARNT, folds % ROUNDS)


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
    if rows is None or len(rows) <= _MANY_PAGES or part.name == WORDS or pages.variants is not None:
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


def in_each_fold(
    work: Callable[..., None],
    folds: NDArray[np.int64],
    parts: Sequence[Part] = (),
    others: Sequence[Callable[[], Any]] = (),
) -> list[Any]:
    """Calls a function for each fold, and each part where there are any; several at a time.

    Args:
        work: The function; takes the number of a fold, and a part where there are any.
        folds: Of pages, (n,).
        parts: For each of these in each fold.
        others: What is called besides, so that no core is idle at the end; what these give is returned.
    """
    numbers = [int(fold) for fold in np.unique(folds) if fold != LEARNT]
    jobs = [(number, part) for number in numbers for part in parts] if parts else [(number,) for number in numbers]
    if len(folds) <= _MANY_PAGES:
        return beside_each_other([*(partial(work, *job) for job in jobs), *others], FOLDS)[len(jobs) :]
    for number in numbers:
        if parts:
            at_once(partial(work, number), parts)
        else:
            work(number)
    return beside_each_other(others, FOLDS) if others else []


def at_once(work: Callable[[Part], _T], parts: Sequence[Part]) -> list[_T]:
    """What a function gives for each part; words beside the others, which are done one after the other.

    Copies of all features for several parts would be too large, but words are learnt from some pages only.
    """
    words, others = ([part for part in parts if (part.name == WORDS) == those] for those in (True, False))

    def several(some: Sequence[Part]) -> list[_T]:
        return [work(part) for part in some]

    sides = Parallel(n_jobs=min(available_cores(), 2), prefer="threads")(
        delayed(several)(some) for some in (others, words) if some
    )
    found = dict(zip([part.name for part in (*others, *words)], itertools.chain(*sides), strict=True))
    return [found[part.name] for part in parts]


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
