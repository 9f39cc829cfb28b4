"""Doubtful documents one after the other, those first whose labels teach most: as `suggest`, while somebody labels."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedpipe.classifiers.stored_answers import STATUSES
from embedpipe.store.labels import NONE
from embedpipe.tasks.heap import Stock, Survey, rounded
from embedpipe.tasks.suggest import distances_of, nearest, spread

CANDIDATES = 9
"""Types that are offered for a document: as many as there are digits on a keyboard."""

SHOWN = 3
"""Labelled documents that are shown with it."""

_MOST = 5_000
"""Documents that are compared with each other: of more, those that would teach most on their own."""


@dataclass(frozen=True, slots=True)
class Question:
    """A document that is worth a label.

    Attributes:
        document_sha256: The document.
        path: Where it is.
        pages: How many pages it has.
        candidates: Types with their probabilities, best first; without a classifier None instead of these.
        margin: Between the two most probable types; None without a classifier.
        novelty: As of the classifier's answer; None where it is not known.
        status: `ok`, `ambiguous` or `novel`; None without a classifier.
        doubt: How much its label would teach: uncertainty times the distance to the nearest labelled document.
        nearest: The labelled documents that look most like it: SHA-256, type, cosine.
    """

    document_sha256: str
    path: str
    pages: int
    candidates: tuple[tuple[str, float | None], ...]
    margin: float | None
    novelty: float | None
    status: str | None
    doubt: float
    nearest: tuple[tuple[str, str, float], ...]


class Ranking:
    """How much the label of each document would teach, kept up while labels come; not for two threads at once.

    Args:
        found: What was computed of all documents.
        held: Where they are.
        before: The ranking before: how far documents lie from labelled ones stays, where only the answers are others.
    """

    def __init__(self, found: Survey, held: Stock, before: "Ranking | None" = None) -> None:
        self._found, self._held = found, held
        self._labels: dict[str, str] = {}
        self._cosines: NDArray[np.float32] | None = None
        self._labelled: set[str] = set()
        self._doubts: dict[str, float] | None = None
        if before is not None and before.is_of(found):
            self._labels, self._cosines, self._labelled = before.known()

    def known(self) -> tuple[dict[str, str], NDArray[np.float32] | None, set[str]]:
        """Labels, the greatest cosine of each document with a labelled one, and which these are."""
        return self._labels, self._cosines, self._labelled

    def is_of(self, found: Survey) -> bool:
        """Whether it is of the same documents, with the same features."""
        own = self._found
        return own.documents == found.documents and np.array_equal(own.vectors, found.vectors)

    def tell(self, labels: Mapping[str, str], others: Collection[str] = ()) -> None:
        """Takes the labels as they are now; new ones cost little, and where some are gone all is computed again.

        Args:
            labels: Of whole documents, by SHA-256.
            others: Documents of which only pages are labelled.
        """
        labelled = {*labels, *others} & self._found.rows.keys()
        added, removed = labelled - self._labelled, self._labelled - labelled
        vectors = self._found.vectors
        if removed or self._cosines is None:
            self._cosines = nearest(vectors, vectors[self._rows(labelled)])
        elif added:
            more = nearest(vectors, vectors[self._rows(added)])
            self._cosines = self._cosines if more is None else np.maximum(self._cosines, more)
        if added or removed:
            self._doubts = None
        self._labels, self._labelled = dict(labels), labelled

    def _rows(self, documents: Collection[str]) -> NDArray[np.int64]:
        return np.array(sorted(self._found.rows[sha256] for sha256 in documents), np.int64)

    def _worth(self) -> NDArray[np.float64]:
        """What each label would teach on its own, (n,)."""
        if self._cosines is None:
            return self._found.uncertainty
        return self._found.uncertainty * distances_of(self._cosines)

    def doubts(self) -> dict[str, float]:
        """What the label of each document without one would teach, by SHA-256; the same mapping until that changes."""
        if self._doubts is None:
            told = zip(self._found.documents, self._worth().tolist(), strict=True)
            self._doubts = {sha256: worth for sha256, worth in told if sha256 not in self._labelled}
        return self._doubts

    @property
    def left(self) -> int:
        """How many documents have no label."""
        return len(self._found.documents) - len(self._labelled)

    def ask(self, n: int, skip: Collection[str] = (), first: str = "") -> list[Question]:
        """The documents whose labels teach most, each unlike those before it; as `suggest.choose`.

        Args:
            n: How many.
            skip: Documents that are left out.
            first: One that comes before all others, where it has no label.
        """
        found, worth = self._found, self._worth()
        ahead = [found.rows[first]] if first in found.rows and first not in self._labelled else []
        passed = self._labelled.union(skip, [first])
        rows = np.array([row for row, sha256 in enumerate(found.documents) if sha256 not in passed], np.int64)
        if len(rows) and n > len(ahead):
            rows = rows[np.argsort(-worth[rows], kind="stable")[:_MOST]]
            cosines = None if self._cosines is None else self._cosines[rows]
            order = spread(found.vectors[rows], found.uncertainty[rows], cosines, n - len(ahead))
            rows = np.array([*ahead, *rows[order]], np.int64)
        else:
            rows = np.array(ahead[:n], np.int64)
        near = self._nearest(rows)
        return [self._question(row, float(worth[row]), own) for row, own in zip(rows.tolist(), near, strict=True)]

    def _question(self, row: int, worth: float, near: tuple[tuple[str, str, float], ...]) -> Question:
        found = self._found
        sha256 = found.documents[row]
        place = self._held.rows.get(sha256)
        probabilities = found.probabilities[row] if found.answered else None
        return Question(
            sha256,
            sha256 if place is None else self._held.paths[place],
            1 if place is None else int(self._held.pages[place]),
            self._candidates(probabilities, near),
            None if probabilities is None else float(1.0 - found.uncertainty[row]),
            None if np.isnan(found.novelty[row]) else float(found.novelty[row]),
            STATUSES[found.status[row]] if found.status[row] >= 0 else None,
            worth,
            near[:SHOWN],
        )

    def _nearest(self, rows: NDArray[np.int64]) -> list[tuple[tuple[str, str, float], ...]]:
        """The labelled documents that look most like each of some."""
        known = [sha256 for sha256 in self._labels if sha256 in self._found.rows]
        if not known:
            return [() for _ in rows]
        vectors = self._found.vectors
        cosines = vectors[rows] @ vectors[[self._found.rows[sha256] for sha256 in known]].T
        best = np.argsort(-cosines, axis=1, kind="stable")[:, :CANDIDATES]
        return [
            tuple((known[k], self._labels[known[k]], float(own[k])) for k in places)
            for own, places in zip(cosines, best.tolist(), strict=True)
        ]

    def _candidates(
        self, probabilities: NDArray[np.float32] | None, near: tuple[tuple[str, str, float], ...]
    ) -> tuple[tuple[str, float | None], ...]:
        """The types of the classifier; without one, those of the nearest documents, then the most frequent ones."""
        if probabilities is not None:
            best = np.argsort(-probabilities, kind="stable")[:CANDIDATES]
            return tuple((self._found.classes[k], float(probabilities[k])) for k in best.tolist())
        counts: dict[str, int] = {}
        for kind in self._labels.values():
            counts[kind] = counts.get(kind, 0) + 1
        frequent = sorted(counts, key=lambda kind: (-counts[kind], kind))
        kinds = dict.fromkeys([*(kind for _, kind, _ in near), *frequent])
        return tuple((kind, None) for kind in kinds if kind != NONE)[:CANDIDATES]


def as_json(question: Question) -> dict[str, Any]:
    """A question as the page asks it."""
    return {
        "document": question.document_sha256,
        "path": question.path,
        "name": os.path.basename(question.path),
        "pages": question.pages,
        "candidates": [{"type": kind, "confidence": rounded(p)} for kind, p in question.candidates],
        "margin": rounded(question.margin),
        "novelty": rounded(question.novelty),
        "status": question.status,
        "doubt": rounded(question.doubt),
        "nearest": [
            {"document": sha256, "page": 1, "type": kind, "score": rounded(score)}
            for sha256, kind, score in question.nearest
        ],
    }
