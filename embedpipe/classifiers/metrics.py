"""Figures of held-out answers: accuracy, macro-F1, calibration error and confusion, of pages and of documents."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
)

from embedpipe.classifiers.calibration.confidence import (
    HeldOutScores,
    expected_calibration_error,
    nested_decisions,
    standard_error,
)
from embedpipe.classifiers.calibration.decisions import Rule
from embedpipe.classifiers.evaluation import DocumentScores, HeldOut, document_answers, document_scores, page_answers
from embedpipe.classifiers.folds import rounds_of
from embedpipe.classifiers.labelled_pages import GIVEN, GUESSED, OWN, UNGUESSED, LabelledPages

_FIGURES = ("accuracy", "balanced_accuracy", "macro_f1", "top5_accuracy", "calibration_error")

TOP = 5
"""How many of the most probable types `top5_accuracy` looks at."""


def metrics_of(pages: LabelledPages, held_out: HeldOut) -> dict[str, Any]:
    """Accuracy, balanced accuracy and macro-F1 of pages and documents, and how the folds were made.

    Args:
        pages: Those that were held out.
        held_out: Their scores.

    Returns:
        Figures by name, of the documents whose type was learnt while they were held out; each is None where there
        are none.
    """
    how = _how_held_out(pages, held_out)
    pages, held_out = held_out.measured(pages)
    how["measured_documents"] = len(set(pages.documents))
    if held_out.undrawn_documents:
        how["sample"] = {"of_documents": how["held_out_documents"] + held_out.undrawn_documents, "standard_error": None}
    if not len(pages.y):
        return dict.fromkeys((*_FIGURES, *(f"document_{name}" for name in _FIGURES))) | how
    predicted = np.asarray(held_out.classes, object)[held_out.log_scores.argmax(axis=1)]
    documents = document_scores(pages, held_out)
    verdicts = np.asarray(held_out.classes, object)[documents.log_scores.argmax(axis=1)]
    unknown = np.full(len(pages.y), np.nan)  # no distance changes a probability
    if "sample" in how and len(documents.y):
        how["sample"]["standard_error"] = standard_error(verdicts == documents.y, pages.groups[documents.rows])
    return {
        "accuracy": float(accuracy_score(pages.y, predicted)),
        "balanced_accuracy": _balanced_accuracy(pages.y, predicted),
        "macro_f1": _macro_f1(pages.y, predicted),
        "top5_accuracy": top_accuracy(held_out.log_scores, np.searchsorted(held_out.classes, pages.y)),
        "calibration_error": _calibration_error(page_answers(pages, held_out, unknown)),
        **_document_metrics(documents, verdicts, held_out.classes),
        "document_calibration_error": _calibration_error(document_answers(pages, held_out, unknown)),
        **how,
    }


def _how_held_out(pages: LabelledPages, held_out: HeldOut) -> dict[str, Any]:
    """How many were held out and how, and what has no figure."""
    groups = {kind: len(set(pages.groups[pages.y == kind])) for kind in held_out.classes}
    learnt = set(pages.y if held_out.measurable is None else pages.y[held_out.measurable])  # with undrawn ones of it
    learnt = learnt if held_out.undrawn_documents else set()
    alone = (kind for kind, count in groups.items() if count == 1 and kind not in held_out.seen_types | learnt)
    return {
        "folds": len(np.unique(rounds_of(held_out.folds))),
        "groups": len(set(pages.groups)),
        "held_out_documents": len(set(pages.documents)),
        "seen_documents": held_out.seen_documents,
        "types_with_one_group": sorted(alone),
        "types_not_held_out": sorted(kind for kind, count in groups.items() if count == 0),
        **group_origins(pages),
    }


def group_origins(pages: LabelledPages) -> dict[str, int]:
    """How many documents have a group of each origin; nothing before any was guessed."""
    if pages.origins is None:
        return {}
    _, first = np.unique(pages.documents, return_index=True)
    names = {"in_given_groups": GIVEN, "in_guessed_groups": GUESSED, "alone": OWN, "without_guess": UNGUESSED}
    return {f"documents_{name}": int(np.sum(pages.origins[first] == origin)) for name, origin in names.items()}


def _document_metrics(documents: DocumentScores, verdicts: NDArray[Any], classes: list[str]) -> dict[str, float | None]:
    """None where every document holds pages of several types."""
    keys = _FIGURES[:-1]
    if not len(documents.y):
        return {f"document_{key}": None for key in keys}
    figures = (
        float(accuracy_score(documents.y, verdicts)),
        _balanced_accuracy(documents.y, verdicts),
        _macro_f1(documents.y, verdicts),
        top_accuracy(documents.log_scores, np.searchsorted(classes, documents.y)),
    )
    return {f"document_{key}": figure for key, figure in zip(keys, figures, strict=True)}


def _calibration_error(answers: HeldOutScores) -> float | None:
    """Of probabilities that were learnt from the other folds; None without any row."""
    if not len(answers.truth):
        return None
    probabilities = nested_decisions(answers, Rule()).probabilities
    return expected_calibration_error(probabilities.max(axis=1), probabilities.argmax(axis=1) == answers.truth)


def top_accuracy(scores: NDArray[np.float64], truth: NDArray[np.int64], k: int = TOP) -> float:
    """How often the true type is among the k most probable ones; 1 where there are no more than k types.

    Args:
        scores: (n, n_classes).
        truth: Column of each row's type, (n,).
        k: How many types may be named.
    """
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return float(np.mean((best == truth[:, None]).any(axis=1)))


def _macro_f1(truth: NDArray[Any], predicted: NDArray[Any]) -> float:
    return float(f1_score(truth, predicted, average="macro", labels=sorted(set(truth)), zero_division=0.0))


def _balanced_accuracy(truth: NDArray[Any], predicted: NDArray[Any]) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a type that is predicted but never true has no recall
        return float(balanced_accuracy_score(truth, predicted))


def per_class(truth: NDArray[Any], predicted: NDArray[Any], classes: list[str]) -> list[dict[str, Any]]:
    """Precision, recall, F1 and number of documents of each type; what there are no documents to measure on is None."""
    if not len(truth):
        return []
    table = precision_recall_fscore_support(truth, predicted, labels=classes, zero_division=0.0)
    told = set(predicted)
    return [
        {
            "type": kind,
            "precision": float(p) if n or kind in told else None,
            "recall": float(r) if n else None,
            "f1": float(f) if n else None,
            "documents": int(n),
        }
        for kind, p, r, f, n in zip(classes, *table, strict=True)
    ]


def confusion(truth: NDArray[Any], predicted: NDArray[Any], classes: list[str]) -> NDArray[np.int64]:
    """Documents of each type (rows) by predicted type (columns), (n_classes, n_classes)."""
    if not len(truth):
        return np.zeros((len(classes), len(classes)), np.int64)
    matrix: NDArray[np.int64] = confusion_matrix(truth, predicted, labels=classes)
    return matrix
