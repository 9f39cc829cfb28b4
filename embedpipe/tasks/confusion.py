"""Which labelled documents are taken for which type by classifiers that never saw them, and labels likely wrong."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.store.features import FeatureStore
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.check_labels import Doubt, Findings, check
from embedpipe.tasks.heap import rounded
from embedpipe.tasks.suggest import Pile, gather


@dataclass(frozen=True, slots=True)
class Confusion:
    """How documents were judged while they were held out.

    Attributes:
        types: Of the rows, which are labels, and of the columns, which are answers.
        matrix: How many documents, (n_types, n_types).
        cells: The documents of each cell that has any.
        findings: As of `check_labels`.
        alike: For each label that is likely wrong the document of the suggested type that looks most like it, with
            the cosine, by SHA-256.
    """

    types: tuple[str, ...]
    matrix: NDArray[np.int64]
    cells: dict[tuple[str, str], list[str]]
    findings: Findings
    alike: dict[str, tuple[str, float]]

    @property
    def accuracy(self) -> float | None:
        """Share of the judged documents whose label is the answer; None where none was judged."""
        total = int(self.matrix.sum())
        return float(np.trace(self.matrix)) / total if total else None


def judge(workspace: Workspace, store: FeatureStore, recipe: TrainingRecipe) -> Confusion:
    """Judges all labelled documents, each by a classifier that has seen nothing of its group.

    Args:
        workspace: Where labels and sources are.
        store: The features.
        recipe: The classifier that judges.

    Raises:
        LabelsError: There are too few labels.
    """
    findings = check(workspace, store, recipe)
    told = [(doubt, answer_of(doubt)) for doubt in findings.documents]
    types = tuple(sorted({doubt.label for doubt, _ in told} | {answer for _, answer in told}))
    place = {kind: number for number, kind in enumerate(types)}
    matrix = np.zeros((len(types), len(types)), np.int64)
    cells: dict[tuple[str, str], list[str]] = {}
    for doubt, answer in told:
        matrix[place[doubt.label], place[answer]] += 1
        cells.setdefault((doubt.label, answer), []).append(doubt.page.document_sha256)
    likely = findings.likely
    alike = _look_alikes(workspace, gather(workspace, store, None), likely) if likely else {}
    return Confusion(types, matrix, cells, findings, alike)


def answer_of(doubt: Doubt) -> str:
    """The most probable type of a document that was held out."""
    return doubt.label if doubt.self_confidence >= doubt.suggested_confidence else doubt.suggested


def _look_alikes(workspace: Workspace, pile: Pile, likely: list[Doubt]) -> dict[str, tuple[str, float]]:
    """The document of the suggested type that looks most like each of some."""
    rows = {str(sha256): row for row, sha256 in enumerate(pile.documents)}
    members: dict[str, list[str]] = {}
    for (sha256, page), label in workspace.labels().rows.items():
        if not page and sha256 in rows:
            members.setdefault(label.label, []).append(sha256)
    found = {}
    for doubt in likely:
        own = doubt.page.document_sha256
        others = [sha256 for sha256 in members.get(doubt.suggested, ()) if sha256 != own]
        if not others or own not in rows:
            continue
        cosines = pile.vectors[[rows[sha256] for sha256 in others]] @ pile.vectors[rows[own]]
        best = int(cosines.argmax())
        found[own] = (others[best], float(cosines[best]))
    return found


def as_json(found: Confusion) -> dict[str, Any]:
    """As the page shows it."""
    return {
        "types": list(found.types),
        "matrix": found.matrix.tolist(),
        "cells": [
            {"label": label, "answer": answer, "documents": documents}
            for (label, answer), documents in sorted(found.cells.items())
        ],
        "accuracy": rounded(found.accuracy),
        "likely_wrong": [_doubt_json(doubt, found.alike) for doubt in found.findings.likely],
        "unjudged": found.findings.unjudged,
        "seen_documents": found.findings.seen_documents,
    }


def _doubt_json(doubt: Doubt, alike: dict[str, tuple[str, float]]) -> dict[str, Any]:
    sha256 = doubt.page.document_sha256
    other = alike.get(sha256)
    return {
        "document": sha256,
        "path": doubt.page.source,
        "name": os.path.basename(doubt.page.source),
        "label": doubt.label,
        "suggested": doubt.suggested,
        "self_confidence": rounded(doubt.self_confidence),
        "suggested_confidence": rounded(doubt.suggested_confidence),
        "look_alike": None if other is None else {"document": other[0], "page": 1, "score": rounded(other[1])},
    }
