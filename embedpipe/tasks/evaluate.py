"""Quality of a fitted classifier on documents that it has not seen, held out or from elsewhere, and the report."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from embedpipe.classifiers.bundles import ClassifierBundle
from embedpipe.classifiers.calibration.confidence import (
    FEWEST_GROUPS,
    Bootstrap,
    HeldOutScores,
    Interval,
    decision_metrics,
    nested_decisions,
    reliability,
    risk_coverage,
)
from embedpipe.classifiers.calibration.decisions import Decisions, Rule
from embedpipe.classifiers.calibration.expected import out_of_hundred, share_right
from embedpipe.classifiers.calibration.shift import promise
from embedpipe.classifiers.evaluation import cross_validate, document_scores
from embedpipe.classifiers.figures.learning_curves import learning_curves
from embedpipe.classifiers.figures.novelty_figures import novelty_figures
from embedpipe.classifiers.finetuned import trained_on
from embedpipe.classifiers.groups import describe
from embedpipe.classifiers.lessons import missing
from embedpipe.classifiers.lessons.drawn import careless_folds
from embedpipe.classifiers.lessons.held_out import FEWEST_UNSEEN, held_out_of
from embedpipe.classifiers.lessons.missing import Missing
from embedpipe.classifiers.lessons.reading import labelled_pages
from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.classifiers.metrics import confusion, metrics_of, per_class
from embedpipe.classifiers.reasons.evidence import Examples
from embedpipe.classifiers.rehearsals import Rehearsal, rehearse
from embedpipe.classifiers.training import Evaluation, documents_by_type, evaluate_held
from embedpipe.classifiers.unknowns import guard
from embedpipe.core.errors import LabelsError
from embedpipe.core.records import Example
from embedpipe.drawing.reports import Likeness, Mistake, ReportData, write_report
from embedpipe.embedding.intake import Report
from embedpipe.embedding.page_pictures import page_pictures
from embedpipe.embedding.streaming import Settings
from embedpipe.pages.rendering import Selection
from embedpipe.store.failure_table import Key
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import NONE
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import label
from embedpipe.tasks.classify import DocumentVerdict, classify

if TYPE_CHECKING:  # only new pages need the network
    from embedpipe.backbones.engines import Backbone

_Table = TypeVar("_Table", HeldOutScores, Decisions)

MISTAKES_SHOWN = 24
_COMPARED = ("accuracy", "macro_f1", "document_accuracy", "document_macro_f1")


@dataclass(frozen=True, slots=True)
class Assessment:
    """Held-out quality with what shows how far to trust it.

    Attributes:
        evaluation: Metrics, table and confusion of documents.
        intervals: Of the documents' metrics, from resampled groups.
        per_class_intervals: Of precision and recall, in the order of the types; None for too few groups.
        careless: What the metrics would be if pages were split at random.
        decisions: Coverage and kinds of answers, of documents and pages.
        reliability: Confidence and accuracy of documents, in bins.
        risk_coverage: Wrong answers by the share that is answered, of documents.
        learning_curve: Macro-F1 by the number of documents of each type.
        learning_curves: F1 of each type by the number of its documents, as of `learning_curves`.
        missing: What labels lack, and so was not measured on.
        promise: What `classify` promises, and of which documents; "" where nothing was held out.
        novelty: As of `novelty_figures`: how well documents of no known type are told from others.
        guard: As of `unknowns.guard`: what becomes of documents of types left out.
    """

    evaluation: Evaluation
    intervals: dict[str, Interval]
    per_class_intervals: list[dict[str, Interval | None]]
    careless: dict[str, Any]
    decisions: dict[str, dict[str, Any]]
    reliability: list[dict[str, float]]
    risk_coverage: list[dict[str, float]]
    learning_curve: list[dict[str, float]]
    missing: Missing
    promise: str = ""
    novelty: dict[str, Any] | None = None
    guard: dict[str, Any] | None = None
    learning_curves: list[dict[str, Any]] = field(default_factory=list)


def assess(
    workspace: Workspace,
    store: FeatureStore,
    bundle: ClassifierBundle,
    rule: Rule | None = None,
    *,
    allow_missing: bool = False,
) -> Assessment:
    """Measures a classifier made as this one was, in grouped folds over today's features and labels.

    Args:
        workspace: The artifacts.
        store: The features.
        bundle: The classifier; only what it was made from is used.
        rule: What is asked of the answers.
        allow_missing: Measure without what labelled documents have lost.

    Raises:
        LabelsError: There are too few labels.
        ArtifactError: Labelled documents have lost features, and that is not allowed.
    """
    recipe, rule = TrainingRecipe.as_asked(bundle.fitted_on), rule or Rule()
    store = recipe.features_of(workspace, store)
    held = rehearse(workspace, store, recipe, allow_missing=allow_missing)
    measured = held.measured_documents()
    probabilities = nested_decisions(held.of_documents, rule).probabilities[measured]
    told, truth = probabilities.argmax(axis=1), held.of_documents.truth[measured]
    confidence, right = probabilities.max(axis=1), told == truth
    groups = held.pages.groups[document_scores(held.pages, held.held_out).rows[measured]]
    bootstrap = Bootstrap(truth, told, groups, len(held.held_out.classes)) if len(truth) else None
    curves = learning_curves(held)
    careless = careless_folds(len(held.known.y))
    flattering = metrics_of(held_out_of(held.known, careless), cross_validate(held.plan, held.known, careless))
    return Assessment(
        evaluation=evaluate_held(held),
        intervals=bootstrap.metrics() if bootstrap else {},
        per_class_intervals=bootstrap.per_class() if bootstrap else [],
        careless={name: flattering[name] if len(truth) else None for name in _COMPARED},
        decisions=_decisions(held, rule),
        reliability=reliability(confidence, right) if len(truth) else [],
        risk_coverage=risk_coverage(confidence, right) if len(truth) else [],
        learning_curve=curves[0],
        learning_curves=curves[1],
        missing=missing.take(workspace, store, Selection.parse(recipe.pages)),
        promise=promise(held.of_documents.calibration(), rule.error_rate) if len(truth) else "",
        novelty=novelty_figures(held),
        guard=guard(held.of_documents, held.strangers, documents_by_type(held.known)),
    )


def _decisions(held: Rehearsal, rule: Rule) -> dict[str, dict[str, Any]]:
    everywhere = np.ones(len(held.of_pages.truth), bool)
    of_pages = everywhere if held.held_out.measurable is None else held.held_out.measurable
    levels = {"documents": (held.of_documents, held.measured_documents()), "pages": (held.of_pages, of_pages)}
    return {
        name: {
            "error_rate": rule.error_rate,
            **decision_metrics(_rows(scores, measured), decided := _rows(nested_decisions(scores, rule), measured)),
            **_when_ok(_rows(scores, measured), decided),
        }
        for name, (scores, measured) in levels.items()
        if measured.any()
    }


def _when_ok(scores: HeldOutScores, decided: Decisions) -> dict[str, Any]:
    """Between which shares of the sure answers the right ones lie, and of how many groups those answers are."""
    sure = decided.status == "ok"
    right = decided.probabilities.argmax(axis=1)[sure] == scores.truth[sure]
    groups = np.flatnonzero(sure) if scores.groups is None else scores.groups[sure]
    interval = share_right(right, np.unique(groups, return_inverse=True)[1])
    return {"ok_accuracy_interval": interval.to_json(), "ok_groups": len(np.unique(groups))}


def _rows(table: _Table, rows: NDArray[np.bool_]) -> _Table:
    """Some rows of all columns that there are."""
    columns = {column.name: getattr(table, column.name) for column in fields(table) if column.name != "farthest"}
    return replace(table, **{name: values[rows] for name, values in columns.items() if values is not None})


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Quality on documents from elsewhere.

    Attributes:
        metrics: Of documents: accuracy, balanced accuracy, macro-F1, top-5 accuracy, coverage, kinds of answers; and
            those about documents that are labelled as none of the types, which the others leave out.
        intervals: Of the first three, from resampled documents.
        per_class: A row per type.
        classes: The types of classifier and documents, sorted.
        matrix: Documents by true type (rows) and predicted type (columns).
        learnt: Paths of documents that were left out: they are labelled, or the network itself was trained on them.
        unknown: Types of the documents that the classifier does not know; their documents should be novel.
        report: What was read.
    """

    metrics: dict[str, Any]
    intervals: dict[str, Interval]
    per_class: list[dict[str, Any]]
    classes: list[str]
    matrix: Any
    learnt: list[str]
    unknown: list[str]
    report: Report


def measure_elsewhere(
    workspace: Workspace,
    bundle: ClassifierBundle,
    inputs: str,
    labels: str | None,
    backbone: "Callable[[], Backbone]",
    *,
    rule: Rule | None = None,
    settings: Settings | None = None,
) -> Elsewhere:
    """Measures a classifier on documents from elsewhere; neither their features nor their labels are kept.

    Args:
        workspace: The artifacts.
        bundle: The classifier as it was fitted.
        inputs: A folder; the folders in it are the types, unless there are labels.
        labels: A CSV with the columns path,label, or None.
        backbone: Loads the backbone; called only when there are new pages.
        rule: What is asked of the answers.
        settings: How documents are read.

    Raises:
        LabelsError: No document has a type, or all of them are known already.
    """
    types = label.read(workspace, labels or inputs)
    verdicts, report = classify(workspace, [inputs], bundle, backbone, rule=rule, settings=settings)
    known = {sha256 for sha256, _ in workspace.labels().rows} | (trained_on(workspace, bundle.identity) or (set(),))[0]
    answered = [v for v in verdicts if v.document_sha256 in types and v.prediction.label is not None]
    fresh = [v for v in answered if v.document_sha256 not in known]
    strangers = [v for v in fresh if types[v.document_sha256] == NONE and NONE not in bundle.classes]
    fresh = [v for v in fresh if types[v.document_sha256] != NONE or NONE in bundle.classes]
    if not fresh:
        raise LabelsError(f"{inputs} holds no document that has a type and is not labelled already: nothing to measure")
    classes = sorted({*bundle.classes, *(types[v.document_sha256] for v in fresh)})
    truth = np.array([types[v.document_sha256] for v in fresh], object)
    told = np.array([v.prediction.label for v in fresh], object)
    columns = np.searchsorted(classes, truth), np.searchsorted(classes, told)
    own = np.array([v.document_sha256 for v in fresh], object)
    intervals = Bootstrap(*columns, own, len(classes)).metrics()
    return Elsewhere(
        metrics={
            "documents": len(fresh),
            **{name: i.value for name, i in intervals.items()},
            **_shares(fresh, types, bundle),
            "none": {"documents": len(strangers), **_statuses(strangers)} if strangers else None,
        },
        intervals=intervals,
        per_class=per_class(truth, told, classes),
        classes=classes,
        matrix=confusion(truth, told, classes),
        learnt=[v.path for v in answered if v.document_sha256 in known],
        unknown=sorted(set(truth) - set(bundle.classes)),
        report=report,
    )


def _shares(
    verdicts: Sequence[DocumentVerdict], types: Mapping[str, str], bundle: ClassifierBundle
) -> dict[str, float | None]:
    """How often the truth is among the first five and among the candidates, and how many answers are of each kind."""

    def share(holds: Callable[[DocumentVerdict, str], bool]) -> float:
        return float(np.mean([holds(verdict, types[verdict.document_sha256]) for verdict in verdicts]))

    told = ((dict(v.prediction.candidates), types[v.document_sha256]) for v in verdicts)
    known = [truth in candidates for candidates, truth in told if truth in bundle.classes]
    return {
        "coverage_known_types": float(np.mean(known)) if known else None,
        "top5_accuracy": share(lambda v, truth: truth in dict(v.prediction.ranking)),
        "coverage": share(lambda v, truth: truth in dict(v.prediction.candidates)),
        **_statuses(verdicts),
    }


def _statuses(verdicts: Sequence[DocumentVerdict]) -> dict[str, float | None]:
    """Shares of the kinds of answers."""
    return {s: float(np.mean([v.prediction.status == s for v in verdicts])) for s in ("ok", "ambiguous", "novel")}


def in_a_sentence(found: Assessment) -> str:
    """What the figures mean, for somebody who knows none of their names; "" where nothing was measured."""
    accuracy = found.intervals.get("accuracy")
    if accuracy is None:
        return ""
    about, low, high = out_of_hundred(accuracy)
    said = f"Of 100 new documents about {about} get the right type (between {low} and {high})"
    documents = found.decisions["documents"]
    many = out_of_hundred(Interval(documents["ok"], documents["ok"], documents["ok"]))[0]
    if documents["ok_groups"] < FEWEST_GROUPS:
        return f"{said}; about {many} are marked ok, too few to say how many of those are right."
    right, worst, best = out_of_hundred(Interval(documents["ok_accuracy"], *documents["ok_accuracy_interval"]))
    return (
        f"{said}; about {many} are marked ok, and of 100 of those about {right} are right (between {worst} and {best})."
    )


def write(workspace: Workspace, bundle: ClassifierBundle, found: Assessment, file: Path) -> None:
    """Writes the HTML report, with the most confident mistakes as pictures, and what they look like."""
    result = found.evaluation
    fitted = bundle.fitted_on
    settings = ", ".join(f"{name}={value}" for name, value in fitted["settings"].items()) or "defaults"
    if fitted.get("augment"):
        settings += f", {fitted['augment']} variants of each page"
    facts = {
        "Classifier": f"{bundle.name} ({fitted['kind']}, {settings})",
        "Features": str(bundle.identity),
        "Documents": f"{len(result.verdicts):,}",
        "Pages": f"{result.pages:,}",
        "Measured on": f"{result.metrics['folds']} folds; no group of documents is on both sides of a fold",
    }
    if said := describe(result.metrics):
        facts["Groups"] = said
    if seen := result.metrics["seen_documents"]:
        facts["Left out"] = f"{seen:,} documents: the network itself was trained on them, or on their groups"
    if not result.verdicts:
        few = f"fewer than {FEWEST_UNSEEN} documents are left" if seen else "each type has one group of documents only"
        facts["Measured on"] = f"nothing: {few}"
    if found.promise:
        facts["Promised of new documents"] = found.promise
    data = ReportData(
        title=f"{bundle.name} on {bundle.identity.space}",
        facts=facts,
        metrics=result.metrics,
        per_class=_with_intervals(result.per_class, found.per_class_intervals),
        classes=result.classes,
        matrix=result.matrix,
        mistakes=_worst_mistakes(workspace, bundle, result),
        intervals={name: interval.to_json() for name, interval in found.intervals.items()},
        careless=found.careless,
        decisions=found.decisions,
        reliability=found.reliability,
        risk_coverage=found.risk_coverage,
        learning_curve=found.learning_curve,
        learning_curves=found.learning_curves,
        lead=in_a_sentence(found),
    )
    write_report(file, data)


def _worst_mistakes(workspace: Workspace, bundle: ClassifierBundle, result: Evaluation) -> list[Mistake]:
    """The most confident ones, each with the labelled pages of other documents that its first page looks like."""
    sources = workspace.sources()
    wrong = [verdict for verdict in result.verdicts if verdict.predicted != verdict.truth]
    worst = sorted(wrong, key=lambda verdict: -verdict.confidence)[:MISTAKES_SHOWN]
    first, examples = _first_pages(workspace, bundle, [verdict.document_sha256 for verdict in worst])
    shown = {*first, *(_key(example) for found in examples for example in found)}
    pixels = page_pictures(workspace, sorted(shown))

    def likeness(example: Example) -> Likeness:
        name = f"{os.path.basename(example.page.source)}, page {example.page.page_number}"
        return Likeness(name, example.label, example.score, pixels.get(_key(example)))

    return [
        Mistake(
            path=os.path.basename(sources.path_of(verdict.document_sha256, otherwise=verdict.document_sha256)),
            truth=verdict.truth,
            predicted=verdict.predicted,
            confidence=verdict.confidence,
            second=verdict.second,
            second_confidence=verdict.second_confidence,
            pixels=pixels.get(page),
            likenesses=[likeness(example) for example in found],
        )
        for verdict, page, found in zip(worst, first, examples, strict=True)
    ]


def _key(example: Example) -> Key:
    return example.page.document_sha256, example.page.page_index


def _first_pages(
    workspace: Workspace, bundle: ClassifierBundle, documents: Sequence[str]
) -> tuple[list[Key], list[list[Example]]]:
    """The first labelled page of each document, and the pages of others that it looks like."""
    if not documents:
        return [], []
    store = workspace.store(space=bundle.identity.space)
    pages = labelled_pages(workspace, store, Selection.parse(bundle.fitted_on["selection"]))
    order = np.lexsort((pages.page_indices, pages.documents))
    _, first = np.unique(pages.documents[order], return_index=True)
    rows = dict(zip(pages.documents[order[first]], order[first], strict=True))
    chosen = np.array([rows[document] for document in documents])
    keys = [(str(pages.documents[row]), int(pages.page_indices[row])) for row in chosen]
    return keys, Examples(workspace, store, pages).nearest(pages.X[chosen], documents)


def as_json(found: Assessment) -> dict[str, Any]:
    """As the command line prints it."""
    result = found.evaluation
    return {
        "summary": in_a_sentence(found),
        "metrics": result.metrics,
        "per_class": _with_intervals(result.per_class, found.per_class_intervals),
        "confusion": {"labels": result.classes, "matrix": result.matrix.tolist()},
        "intervals": {name: interval.to_json() for name, interval in found.intervals.items()},
        "careless": found.careless,
        "decisions": found.decisions,
        "reliability": found.reliability,
        "risk_coverage": found.risk_coverage,
        "learning_curve": found.learning_curve,
        "learning_curves": found.learning_curves,
        "missing": found.missing.as_json(),
        "promise": found.promise,
        "novelty": found.novelty,
        "guard": found.guard,
    }


def elsewhere_json(found: Elsewhere) -> dict[str, Any]:
    """As the command line prints it."""
    return {
        "metrics": found.metrics,
        "per_class": found.per_class,
        "confusion": {"labels": found.classes, "matrix": found.matrix.tolist()},
        "intervals": {name: interval.to_json() for name, interval in found.intervals.items()},
        "left_out": found.learnt,
        "unknown_types": found.unknown,
    }


def _with_intervals(
    rows: Sequence[Mapping[str, Any]], intervals: Sequence[Mapping[str, Interval | None]]
) -> list[dict[str, Any]]:
    """The table of types with a column `<figure>_interval` for each interval, and why one is missing."""
    reason = f"too few groups, fewer than {FEWEST_GROUPS}"
    return [
        {
            **row,
            **{f"{name}_interval": interval.to_json() if interval else None for name, interval in found.items()},
            "interval_reason": None if all(found.values()) else reason,
        }
        for row, found in zip(rows, intervals, strict=True)
    ]
