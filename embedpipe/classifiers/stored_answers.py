"""Answers of classifiers for every stored document, and their counts by kind."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedpipe.classifiers.bundles import ClassifierBundle
from embedpipe.classifiers.calibration.decisions import Decisions, Rule
from embedpipe.classifiers.calibration.shift import Asked, compare
from embedpipe.classifiers.evaluation import document_kinds
from embedpipe.classifiers.saved.on_disk import brief
from embedpipe.classifiers.scores.pooling import effective_pages, mean_log_scores, page_weights, weighted_means
from embedpipe.core.records import SAYS_NOTHING
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


@dataclass(frozen=True, slots=True)
class Decided:
    """A classifier's answers for all stored documents that are not blank.

    Attributes:
        documents: SHA-256, (n,).
        kinds: Kind of source of each, of `source_kinds.codes`, (n,).
        told: Column of the most probable type, (n,).
        decisions: With candidates, statuses, and whether their error rate was measured.
        shifted: Whether documents of its kind are, as a batch, unlike the labelled ones, (n,).
    """

    documents: list[str]
    kinds: NDArray[np.int64]
    told: NDArray[np.int64]
    decisions: Decisions
    shifted: NDArray[np.bool_]


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
    scores: list[list[NDArray[np.float64]]] = [[] for _ in bundles]
    distances: list[list[NDArray[np.float64]]] = [[] for _ in bundles]
    ids = [np.empty(0, np.int64)]
    kept = PageWords(store) if any(bundle.words for bundle in bundles) else None
    for page_ids, X in store.batches():  # never the whole matrix
        ids.append(page_ids)
        words = None if kept is None else kept.of(page_ids)
        for bundle, rows, far in zip(bundles, scores, distances, strict=True):
            rows.append(bundle.log_scores(X, words))
            far.append(bundle.distances(X, words))
    pages = store.pages().set_index("page_id").loc[np.concatenate(ids)]
    voting = ~pages["outcome"].isin(SAYS_NOTHING).to_numpy()
    documents, owner = np.unique(pages["document_sha256"].to_numpy(object)[voting], return_inverse=True)
    weights = page_weights(pages["page_index"].to_numpy(np.int64)[voting])
    return _Scored(
        documents,
        effective_pages(weights, owner),
        document_kinds(pages["source_kind"].to_numpy(object)[voting], weights, owner) if len(documents) else [],
        [mean_log_scores(np.concatenate(rows)[voting], weights, owner) for rows in scores] if len(documents) else [],
        [weighted_means(np.concatenate(far)[voting], weights, owner) for far in distances] if len(documents) else [],
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
    (scores,), (distances,), rule = scored.scores, scored.distances, Rule()
    probabilities = np.exp(bundle.documents.scale.log_probabilities(scores, scored.pages))
    told = probabilities.argmax(axis=1)
    fresh = np.array([brief(sha256) not in bundle.learnt for sha256 in scored.documents], bool)
    asked = Asked(distances[fresh], told[fresh], probabilities[fresh].max(axis=1), kinds[fresh])
    shifted = np.isin(kinds, codes(sorted(compare(bundle.documents, asked, rule.error_rate).shifted)))
    found = bundle.documents.decide(scores, distances, rule, scored.pages, kinds=kinds, shifted=shifted)
    return Decided([str(sha256) for sha256 in scored.documents], kinds, told, found, shifted)


def told(store: FeatureStore, bundles: Iterable[ClassifierBundle]) -> list[dict[str, Answer]]:
    """The answer of each classifier for every stored document that is not blank, by SHA-256, as `classify` would.

    Args:
        store: The features, as the classifiers take them; read part by part.
        bundles: The classifiers, all of the store's space.
    """
    bundles = list(bundles)
    scored = _scored(store, bundles)
    found: list[dict[str, Answer]] = [] if len(scored.documents) else [{} for _ in bundles]
    for bundle, scores, distances in zip(bundles, scored.scores, scored.distances, strict=True):
        own = bundle.documents.decide(scores, distances, Rule(), scored.pages)
        kinds = [bundle.classes[k] for k in own.probabilities.argmax(axis=1)]
        answers = (Answer(kind, str(status)) for kind, status in zip(kinds, own.status, strict=True))
        found.append(dict(zip(map(str, scored.documents), answers, strict=True)))
    return found


def statuses(answers: Iterable[Answer]) -> dict[str, dict[str, int]]:
    """How many answers there are of each type and status."""
    counts: dict[str, dict[str, int]] = {}
    for answer in answers:
        counts.setdefault(answer.kind, dict.fromkeys(STATUSES, 0))[answer.status] += 1
    return dict(sorted(counts.items()))


def total(counts: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """How many answers there are of each status, of whatever type."""
    return {status: sum(own[status] for own in counts.values()) for status in STATUSES}
