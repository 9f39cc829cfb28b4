"""How well documents of no known type are told from others, with and without the examples that were labelled so."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedpipe.classifiers.calibration.confidence import HeldOutScores
from embedpipe.classifiers.evaluation import document_answers
from embedpipe.classifiers.folds import LEARNT
from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.classifiers.rehearsals import Rehearsal
from embedpipe.classifiers.unknowns import (
    answers_of,
    auroc,
    decided,
    distances_and_strangers,
    fit_detector,
    fitted_parts,
    measured,
)
from embedpipe.store.labels import NONE


def novelty_figures(held: Rehearsal) -> dict[str, Any] | None:
    """Areas under the ROC curve of novelty, against held-out documents of known types.

    Returns:
        `left_out`: of documents of types left out in turn; `none`: of documents labelled as none of the types, each by
        a detector that had not seen its group. `auroc` is with what the other examples teach, `auroc_without` without;
        None where it is not known. None where there is nothing to measure on.
    """
    if not len(held.of_documents.truth) or not held.measured_documents().any():
        return None
    found: dict[str, Any] = {"left_out": None, "none": None}
    examples = held.everything.take(held.everything.y == NONE)
    examples = examples.take(~np.isnan(held.none_distances))
    plain, others = held.of_documents, held.strangers
    if len(examples.y):  # as it would be without them
        far, without = distances_and_strangers(held.plan, held.held_out, held.known, held.folds)
        plain, others = document_answers(held.pages, held.held_out, far[held.folds != LEARNT]), without or others
    if held.strangers is not None and others is not None:
        found["left_out"] = {
            "documents": len(others.documents.truth),
            "auroc": auroc(held.of_documents, held.strangers.documents),
            "auroc_without": auroc(plain, others.documents),
        }
    if len(examples.y):
        found["none"] = _of_examples(held, examples, plain)
    return found


def _of_examples(held: Rehearsal, examples: LabelledPages, plain: HeldOutScores) -> dict[str, Any]:
    """Of examples; they are answered by the classifier of all known pages, which learns nothing from them."""
    fitted, base = fitted_parts(held.plan, held.known), held.plan.parts[0]
    classes = held.held_out.classes
    answers = answers_of(held.plan, held.held_out, fitted, examples, classes)
    unaware = measured(fitted[base.name], fit_detector(fitted[base.name], held.plan, held.known), base, examples)

    def asked(distances: NDArray[np.float64]) -> HeldOutScores:
        named = replace(examples, y=np.full(len(examples.y), classes[0], object))  # of none of these, whatever it says
        return document_answers(named, answers, distances)

    aware = asked(held.none_distances[~np.isnan(held.none_distances)])
    statuses = decided(held.of_documents.calibration(), aware).status
    return {
        "documents": len(aware.truth),
        "auroc": auroc(held.of_documents, aware),
        "auroc_without": auroc(plain, asked(unaware)),
        **{status: float(np.mean(statuses == status)) for status in ("ok", "ambiguous", "novel")},
    }
