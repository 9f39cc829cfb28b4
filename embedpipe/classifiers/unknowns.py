"""What a classifier makes of documents of no type that it knows: of types left out in turn, and of labelled examples.

Examples (documents labelled `labels.NONE`) teach the detector of novelty, and nothing else: no type is learnt from
them, and none is told for that they are there. Types left out in turn show what becomes of documents of types that
nobody labelled: how well they are told from known ones, and how many would be given a known type as "ok".
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import Pipeline

from embedpipe.classifiers.bundles import WORDS, fit_classifier, fit_novelty, part_scores
from embedpipe.classifiers.calibration.confidence import HeldOutScores
from embedpipe.classifiers.calibration.decisions import Calibration, Decisions, Rule
from embedpipe.classifiers.calibration.novelty import NoveltyDetector
from embedpipe.classifiers.documents.labelled import owners
from embedpipe.classifiers.evaluation import HeldOut, document_answers, fit_whole, page_answers, whole_scores
from embedpipe.classifiers.folds import FOLDS, LEARNT, in_each_fold, rounds_of
from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.classifiers.parts import Part, Plan
from embedpipe.classifiers.saved.combining import DOCUMENT, means_of_parts
from embedpipe.classifiers.scores.pooling import page_weights
from embedpipe.index.row_neighbours import EXACT_ROWS
from embedpipe.store.labels import NONE
from embedpipe.store.scaling import ScaledRows

GUARD = 0.05
"""Share of the documents of types left out that may be given one and the same known type as "ok"."""

_Answers = tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64] | None, NDArray[np.float64]]

_ROUNDS = 5
"""Times that some types are left out: each type once, several at a time where there are more."""

_FIRST_PAGES = 4
_MOST_DOCUMENTS = 1000
"""What is learnt from while types are left out: the first pages of some documents, for speed."""


@dataclass(frozen=True, slots=True)
class Strangers:
    """Answers about documents of types left out, by classifiers that had seen nothing of their type or group.

    Attributes:
        classes: All types, sorted; the truth of a row is one that its classifier did not know.
        documents: Of documents, as decisions are learnt from.
        pages: Of their pages.
    """

    classes: list[str]
    documents: HeldOutScores
    pages: HeldOutScores


def together(pages: LabelledPages, none: LabelledPages | None) -> LabelledPages:
    """Pages of types, then those of none."""
    if none is None:
        return pages
    return replace(pages, **{field.name: _joined(pages, none, field.name) for field in fields(pages)})


def _joined(pages: LabelledPages, none: LabelledPages, name: str) -> Any:
    """A column of both; None where the known pages have none."""
    own, other = getattr(pages, name), getattr(none, name)
    if own is None:
        return None
    if name == "variants":  # examples of no type are learnt from as they are
        other = np.full((len(none.y), *own.shape[1:]), np.nan, own.dtype)
    if name == "words":
        empty = csr_array((len(none.y), own.shape[1]), dtype=np.float32)
        return vstack([own, empty if other is None else other]).tocsr()
    return None if other is None else np.concatenate([own, other])


def folds_of_all(pages: LabelledPages, folds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Folds of pages of types, and of those of none: with their group, or spread evenly, (n,).

    Where there is one round, of a part of all pages, others of none are learnt from.

    Args:
        pages: Of `together`.
        folds: Of the pages of types, (n_types,).
    """
    known = dict(zip(pages.groups[: len(folds)], folds.tolist(), strict=True))
    numbers = sorted({fold for fold in known.values() if fold != LEARNT}) or [LEARNT]
    if len(np.unique(rounds_of(np.array(numbers)))) == 1:
        numbers += [LEARNT] * (FOLDS - 1) * len(numbers)
    others = [group for group in dict.fromkeys(pages.groups[len(folds) :]) if group not in known]
    order = np.random.default_rng(0).permutation(len(others))
    known |= {others[place]: numbers[k % len(numbers)] for k, place in enumerate(order)}
    return np.array([known[group] for group in pages.groups], np.int64)


def fit_detector(
    scaling: Pipeline, plan: Plan, pages: LabelledPages, rows: NDArray[np.bool_] | None = None
) -> NoveltyDetector:
    """Fits what measures how far pages are from the labelled ones, also from those of no type.

    Args:
        scaling: The fitted pipeline of the part that judges every page; only its scaling is used.
        plan: The parts of the classifier; words are learnt from where they are among these.
        pages: Of `together`.
        rows: Which of the pages are learnt from; all if not given, (n,).
    """
    own = replace(pages, X=pages.X[:, :0])  # the features are copied below
    own = own if rows is None else own.take(rows)
    base = pages.columns_of(plan.parts[0])
    if pages.variants is None and len(own.y) > EXACT_ROWS:  # of many they are not
        X = ScaledRows(scaling[0], base.X, None if rows is None else np.flatnonzero(rows))
        weights = pages.weights if rows is None else pages.weights[rows]
        return fit_novelty(scaling, X, own.y, weights, own.words if WORDS in plan.names else None)
    lessons = base.lessons(rows)
    counts = own.words if WORDS in plan.names else None
    if counts is not None and own.variants is not None:  # the words of a variant are those of its page
        owner = np.nonzero(~np.isnan(own.variants[:, :, 0]))[0]
        counts = vstack([counts, counts[owner]]).tocsr()
    return fit_novelty(scaling, *lessons, counts, spare=rows is not None and not rows.all())


def distances_and_strangers(
    plan: Plan, held: HeldOut, pages: LabelledPages, folds: NDArray[np.int64]
) -> tuple[NDArray[np.float64], Strangers | None]:
    """How far pages are from the labelled ones of the other folds, and answers about types left out in turn.

    Args:
        plan: The parts of the classifier.
        held: Says what they count.
        pages: Of `together`.
        folds: Of `folds_of_all`.

    Returns:
        Distances, NaN for pages that are not held out, (n,); strangers, None where fewer than two types would be left.
    """
    distances, part, rounds = np.full(len(pages.y), np.nan), plan.parts[0], rounds_of(folds)

    def measure(fold: int) -> None:
        known, test = (rounds != fold) & (pages.y != NONE), rounds == fold
        scaling = part.build()
        base = pages.columns_of(part)
        if pages.variants is None:
            scaling[0].fit_some(base.X, np.flatnonzero(known))
        else:
            scaling[:-1].fit(base.lessons(known).X)
        detector = fit_detector(scaling, plan, pages, rounds != fold)
        distances[test] = measured(scaling, detector, part, pages.take(test))

    some = _some(pages)
    found = in_each_fold(measure, rounds, others=_types_left_out(plan, held, some))
    return distances, _strangers(plan, some, found) if found else None


def measured(scaling: Pipeline, detector: NoveltyDetector, part: Part, pages: LabelledPages) -> NDArray[np.float64]:
    """How far pages are, (n,), by a detector and the fitted pipeline of the part that judges every page."""
    return detector.distances(scaling[:-1].transform(pages.inputs_of(part)), pages.words)


def _types_left_out(plan: Plan, held: HeldOut, pages: LabelledPages) -> list[Callable[[], _Answers]]:
    """Each leaves some types out, and asks about their documents; none where fewer than two types would be left.

    A group with documents of a type left out is not learnt from at all: its other documents would look alike.
    """
    classes = sorted(set(pages.y) - {NONE})
    left_out = (np.isin(pages.y.astype(str), kinds) for kinds in _sets(pages, classes))
    rounds = [(~np.isin(pages.groups, np.unique(pages.groups[asked])), asked) for asked in left_out]
    rounds = [(learnt, asked) for learnt, asked in rounds if len(set(pages.y[learnt]) - {NONE}) >= 2]  # noqa: PLR2004
    return [partial(_answers, plan, held, pages, one, classes) for one in rounds]


def _strangers(plan: Plan, pages: LabelledPages, found: Sequence[_Answers]) -> Strangers:
    rows, scores, wholes, distances = zip(*found, strict=True)
    classes = sorted(set(pages.y) - {NONE})
    everything = pages.take(np.concatenate([np.flatnonzero(asked) for asked in rows]))
    whole = None if plan.whole is None else np.concatenate(wholes)
    answers = HeldOut(classes, np.concatenate(scores), np.zeros(len(everything.y), np.int64), whole=whole)
    far = np.concatenate(distances)
    return Strangers(classes, document_answers(everything, answers, far), page_answers(everything, answers, far))


def _some(pages: LabelledPages) -> LabelledPages:
    """The first pages of at most so many documents, always the same ones, without variants."""
    rows = pages.page_indices < _FIRST_PAGES
    documents = np.unique(pages.documents)
    if len(documents) > _MOST_DOCUMENTS:
        rows &= np.isin(pages.documents, np.random.default_rng(0).permutation(documents)[:_MOST_DOCUMENTS])
    return replace(pages.take(rows), variants=None)


def _sets(pages: LabelledPages, classes: Sequence[str]) -> list[list[str]]:
    """Types that are left out together: the one with most documents alone, the others spread by size."""
    counts = {kind: len(set(pages.documents[pages.y == kind])) for kind in classes}
    order = sorted(classes, key=lambda kind: (-counts[kind], kind))
    rounds = max(1, min(_ROUNDS - 1, len(order) - 1))
    return [order[:1], *(order[1 + first :: rounds] for first in range(min(rounds, len(order) - 1)))]


def _answers(
    plan: Plan,
    held: HeldOut,
    pages: LabelledPages,
    rows: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    classes: list[str],
) -> _Answers:
    """Which pages were asked about, their log scores, those of their documents, and distances."""
    learnt, asked = rows
    typed, questions, base = learnt & (pages.y != NONE), pages.take(asked), plan.parts[0]
    fitted = fitted_parts(plan, pages, typed)
    told = answers_of(plan, held, fitted, questions, classes)
    detector = fit_detector(fitted[base.name], plan, pages, learnt)
    return asked, told.log_scores, told.whole, measured(fitted[base.name], detector, base, questions)


def fitted_parts(plan: Plan, pages: LabelledPages, rows: NDArray[np.bool_] | None = None) -> dict[str, Pipeline]:
    """The parts of a classifier by name, without those that fewer than two types can teach.

    Args:
        plan: The parts of the classifier.
        pages: Of types, or those of `together`.
        rows: Which of the pages are learnt from, all of types; all pages if not given, (n,).
    """
    lessons = ((part, pages.lessons_of(part, rows)) for part in plan.parts)
    fitted = {part.name: fit_classifier(part.build(), *own) for part, own in lessons if len(np.unique(own.y)) > 1}
    if plan.whole is not None:
        chosen = None if rows is None else np.flatnonzero(rows)
        whole = fit_whole(plan.whole, pages, chosen, words=WORDS in plan.names)
        fitted |= {} if whole is None else {DOCUMENT: whole}
    return fitted


def answers_of(
    plan: Plan, held: HeldOut, fitted: Mapping[str, Pipeline], pages: LabelledPages, classes: Sequence[str]
) -> HeldOut:
    """Scores of pages, and of their documents.

    Args:
        plan: The parts of the classifier.
        held: Says what they count.
        fitted: Of `fitted_parts`; words may be missing, where fewer than two types had any.
        pages: What is asked about.
        classes: All types, sorted; impossible where the parts have not learnt them.
    """
    scores = {part.name: np.full((len(pages.y), len(classes)), np.nan) for part in plan.parts}
    for part in plan.parts:
        if part.name in fitted:
            own = fitted[part.name]
            scores[part.name] = part_scores(part.name, own, pages.inputs_of(part), list(own.classes_), classes)
    fused = scores[plan.parts[0].name] if held.fusion is None else held.fusion.apply(scores)
    told = HeldOut(list(classes), fused, np.zeros(len(pages.y), np.int64))
    if plan.whole is None or held.document_fusion is None:
        return told
    owner = owners(pages.documents, pages.y)
    documents = np.zeros((int(owner.max(initial=-1)) + 1, len(classes)))
    if DOCUMENT in fitted:
        rows, first = np.arange(len(pages.y)), np.unique(owner, return_index=True)[1]
        words = WORDS in plan.names
        documents = whole_scores(plan.whole, fitted[DOCUMENT], pages, rows, classes, words=words)[first]
    means = means_of_parts(scores, page_weights(pages.page_indices), owner)
    return replace(told, whole=held.document_fusion.apply({**means, DOCUMENT: documents})[owner])


def auroc(known: HeldOutScores, strangers: HeldOutScores) -> float | None:
    """How well strangers are told from held-out documents of known types: the area under the ROC curve of novelty.

    Half is chance, and 1 is perfect; None where there are too few documents, or no distances.
    """
    calibration = known.calibration()
    both = [(calibration.strangeness(s.scores, s.distances, s.pages), s) for s in (known, strangers)]
    values = np.concatenate([value for value, _ in both])
    if not len(known.truth) or not len(strangers.truth) or np.isnan(values).any():
        return None
    return float(roc_auc_score(np.repeat([0, 1], [len(s.truth) for _, s in both]), values))


def limited(known: HeldOutScores, strangers: HeldOutScores) -> HeldOutScores:
    """Held-out answers with limits to how far an "ok" answer of a type may be from the labelled pages.

    They are so that no type is told as "ok" of more than `GUARD` of the strangers; most types need none.

    Args:
        known: Of documents, or of pages.
        strangers: The same of types left out.
    """
    if not len(strangers.truth) or not len(known.truth):
        return known
    found = decided(known.calibration(), strangers)
    told, sure = found.probabilities.argmax(axis=1), found.status == "ok"
    limits = np.full(strangers.scores.shape[1], np.inf)
    allowed = GUARD * float(strangers.weights.sum())
    for column in np.unique(told[sure]):
        rows = np.flatnonzero(sure & (told == column))
        rows = rows[np.argsort(strangers.distances[rows], kind="stable")]
        over = np.cumsum(strangers.weights[rows]) > allowed
        if over.any():
            limits[column] = np.nextafter(strangers.distances[rows[int(np.argmax(over))]], -np.inf)
    return replace(known, farthest=limits) if np.isfinite(limits).any() else known


def decided(calibration: Calibration, strangers: HeldOutScores, rule: Rule | None = None) -> Decisions:
    """The decisions about strangers."""
    s = strangers
    return calibration.decide(s.scores, s.distances, rule or Rule(), s.pages, kinds=s.kinds)


def guard(known: HeldOutScores, strangers: Strangers | None, counts: Mapping[str, int]) -> dict[str, Any] | None:
    """What becomes of documents of types left out, as the manifest keeps it; None where none could be.

    `largest_ok` is the share of them that would be given the largest type as "ok" (the largest but one, where it is
    the one that was left out), `any_ok` and `novel` those that would be "ok" with any type, and novel; `limited` names
    the types with a limit to how far such answers may be from the labelled pages.

    Args:
        known: Held-out documents, with limits.
        strangers: Answers about documents of types left out.
        counts: Documents of each type.
    """
    if strangers is None or not len(strangers.documents.truth) or not len(known.truth):
        return None
    asked = strangers.documents
    found = decided(known.calibration(), asked)
    told, sure = found.probabilities.argmax(axis=1), found.status == "ok"
    order = sorted(strangers.classes, key=lambda kind: (-counts.get(kind, 0), kind))
    largest, second = (strangers.classes.index(kind) for kind in order[:2])
    majority = np.where(asked.truth == largest, second, largest)
    limits = np.full(len(strangers.classes), np.inf) if known.farthest is None else known.farthest
    return {
        "types": len(set(asked.truth.tolist())),
        "documents": len(asked.truth),
        "largest": order[0],
        "largest_ok": float(np.mean(sure & (told == majority))),
        "any_ok": float(np.mean(sure)),
        "novel": float(np.mean(found.status == "novel")),
        "auroc": auroc(known, asked),
        "limited": [kind for kind, limit in zip(strangers.classes, limits, strict=True) if np.isfinite(limit)],
    }
