"""Answers of classifiers for every stored document, and their counts by kind."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from embedpipe.classifiers.bundles import ClassifierBundle
from embedpipe.classifiers.calibration.decisions import Decisions, Rule
from embedpipe.classifiers.calibration.shift import Asked, compare
from embedpipe.classifiers.documents.rows import Assembly, Gathered, document_kinds
from embedpipe.classifiers.saved.on_disk import brief
from embedpipe.classifiers.scores.pooling import effective_pages, page_weights, weighted_means
from embedpipe.core.records import SAYS_NOTHING, Shift
from embedpipe.embedding.kind_table import known_kinds
from embedpipe.pages.source_kinds import codes
from embedpipe.store.features import FeatureStore
from embedpipe.store.page_extras import PageWords
from embedpipe.store.workspace import Workspace

STATUSES = ("ok", "ambiguous", "novel")
"""Of `decisions.Status`, in the order in which they are shown."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A classifier's answer for a stored document: the most probable type, and `ok`, `ambiguous` or `novel`."""

    kind: str
    status: str


class DocumentAnswers:
    """Scores of documents whose pages come in any order.

    Args:
        bundle: The classifier.
        counts: How many pages each document has, by its number, (n_documents,).

    Attributes:
        scores: Log scores, (n_documents, n_classes), of those whose pages have all come.
    """

    def __init__(self, bundle: ClassifierBundle, counts: NDArray[np.int64]) -> None:
        self._bundle, self._assembly = bundle, Assembly(counts)
        self.scores = np.zeros((len(counts), len(bundle.classes)))

    def take(
        self,
        X: NDArray[np.float32],
        words: csr_array | None,
        indices: NDArray[np.int64],
        kinds: Sequence[str],
        owner: NDArray[np.int64],
    ) -> None:
        """Takes pages that say something; arguments as of `rows.Gathered`, whose owners are numbers of documents."""
        parts = self._bundle.scores_of_parts(X, words)
        scores = self._bundle.parts.fused(parts)
        if not self._bundle.judges_documents:
            X, words, parts = X[:, :0], None, {}
        whole = self._assembly.add(Gathered(scores, parts, X.astype(np.float16), words, indices, kinds, owner))
        if whole is not None:
            numbers, pages = whole
            self.scores[numbers] = self._bundle.document_scores(pages)


@dataclass(frozen=True, slots=True)
class Decided:
    """A classifier's answers for all stored documents that are not blank.

    Attributes:
        documents: SHA-256, (n,).
        kinds: Kind of source of each, of `source_kinds.codes`, (n,).
        told: Column of the most probable type, (n,).
        decisions: With candidates, statuses, and whether their error rate was measured.
        shifted: Whether documents of its kind are, as a batch, unlike the labelled ones, (n,).
        shift: What that is known by.
    """

    documents: list[str]
    kinds: NDArray[np.int64]
    told: NDArray[np.int64]
    decisions: Decisions
    shifted: NDArray[np.bool_]
    shift: Shift

    def answers(self, classes: Sequence[str]) -> dict[str, Answer]:
        """By SHA-256, of a classifier of these types."""
        answers = (Answer(classes[k], str(s)) for k, s in zip(self.told, self.decisions.status, strict=True))
        return dict(zip(self.documents, answers, strict=True))


@dataclass(frozen=True, slots=True)
class _Scored:
    """Scores and distances of all documents that are not blank, by each classifier."""

    documents: NDArray[Any]
    pages: NDArray[np.float64]
    kinds: list[str]
    scores: list[NDArray[np.float64]]
    distances: list[NDArray[np.float64]]


def _scored(store: FeatureStore, bundles: Sequence[ClassifierBundle]) -> _Scored:
    """Reads the store part by part."""
    pages = store.pages()
    pages = pages[~pages["outcome"].isin(SAYS_NOTHING)].sort_values("page_id")
    known, indices = pages["page_id"].to_numpy(np.int64), pages["page_index"].to_numpy(np.int64)
    documents, owners = np.unique(pages["document_sha256"].to_numpy(object), return_inverse=True)
    kinds, weights = pages["source_kind"].to_numpy(object), page_weights(indices)
    answers = [DocumentAnswers(bundle, np.bincount(owners, minlength=len(documents))) for bundle in bundles]
    distances = [np.zeros(len(known)) for _ in bundles]
    kept = PageWords(store) if any(bundle.words for bundle in bundles) else None
    for page_ids, X in store.batches():  # never the whole matrix
        here = np.flatnonzero(np.isin(page_ids, known))
        if not len(here):
            continue
        rows, own = np.searchsorted(known, page_ids[here]), X[here]
        words = None if kept is None else kept.of(page_ids[here])
        for bundle, answer, far in zip(bundles, answers, distances, strict=True):
            answer.take(own, words, indices[rows], kinds[rows].tolist(), owners[rows])
            far[rows] = bundle.distances(own, words)
    if not len(documents):
        return _Scored(documents, np.zeros(0), [], [], [])
    return _Scored(
        documents,
        effective_pages(weights, owners),
        document_kinds(kinds, weights, owners),
        [answer.scores for answer in answers],
        [weighted_means(far, weights, owners) for far in distances],
    )


def decided(workspace: Workspace, store: FeatureStore, bundle: ClassifierBundle) -> Decided | None:
    """The answers for all stored documents, as `classify` would give them; None where all pages are blank.

    Args:
        workspace: Where kinds of documents are looked up that an earlier version stored without.
        store: The features, as the classifier takes them; read part by part.
        bundle: The classifier.
    """
    scored = _scored(store, [bundle])
    if not len(scored.documents):
        return None
    kinds = codes(known_kinds(workspace, scored.documents, np.array(scored.kinds, object)).tolist())
    return _decided(scored, 0, bundle, kinds)


def _decided(scored: _Scored, number: int, bundle: ClassifierBundle, kinds: NDArray[np.int64]) -> Decided:
    """What the classifier of a number decides, all documents that it did not learn being a batch."""
    scores, distances, rule = scored.scores[number], scored.distances[number], Rule()
    probabilities = np.exp(bundle.documents.scale.log_probabilities(scores, scored.pages))
    told = probabilities.argmax(axis=1)
    fresh = np.array([brief(sha256) not in bundle.learnt for sha256 in scored.documents], bool)
    asked = Asked(distances[fresh], told[fresh], probabilities[fresh].max(axis=1), kinds[fresh])
    shift = compare(bundle.documents, asked, rule.error_rate)
    shifted = np.isin(kinds, codes(sorted(shift.shifted)))
    found = bundle.documents.decide(scores, distances, rule, scored.pages, kinds=kinds, shifted=shifted)
    return Decided([str(sha256) for sha256 in scored.documents], kinds, told, found, shifted, shift)


def told(store: FeatureStore, bundles: Sequence[ClassifierBundle]) -> list[dict[str, Answer]]:
    """The answer of each classifier for every stored document that is not blank, by SHA-256, as `classify` would."""
    found = decided_by_each(store, bundles)
    return [one.answers(own.classes) if one else {} for one, own in zip(found, bundles, strict=True)]


def decided_by_each(store: FeatureStore, bundles: Sequence[ClassifierBundle]) -> list[Decided | None]:
    """As `decided`, of several classifiers of the store's space, with kinds of documents as they are stored."""
    kinds = codes((scored := _scored(store, bundles)).kinds)
    return [_decided(scored, n, own, kinds) if len(kinds) else None for n, own in enumerate(bundles)]


def statuses(answers: Iterable[Answer]) -> dict[str, dict[str, int]]:
    """How many answers there are of each type and status."""
    counts: dict[str, dict[str, int]] = {}
    for answer in answers:
        counts.setdefault(answer.kind, dict.fromkeys(STATUSES, 0))[answer.status] += 1
    return dict(sorted(counts.items()))


def total(counts: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """How many answers there are of each status, of whatever type."""
    return {status: sum(own[status] for own in counts.values()) for status in STATUSES}
