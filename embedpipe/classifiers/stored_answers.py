"""Answers of classifiers for every stored document, and their counts by kind."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedpipe.classifiers.bundles import ClassifierBundle
from embedpipe.classifiers.calibration.decisions import Rule
from embedpipe.classifiers.scores.pooling import effective_pages, mean_log_scores, page_weights, weighted_means
from embedpipe.core.records import SAYS_NOTHING
from embedpipe.pages.source_kinds import KINDS, codes
from embedpipe.store.features import FeatureStore
from embedpipe.store.page_extras import PageWords

STATUSES = ("ok", "ambiguous", "novel")
"""Of `decisions.Status`, in the order in which they are shown."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A classifier's answer for a stored document: the most probable type, and `ok`, `ambiguous` or `novel`."""

    kind: str
    status: str


def told(store: FeatureStore, bundles: Iterable[ClassifierBundle]) -> list[dict[str, Answer]]:
    """The answer of each classifier for every stored document that is not blank, by SHA-256, as `classify` would.

    Args:
        store: The features, as the classifiers take them; read part by part.
        bundles: The classifiers, all of the store's space.
    """
    bundles = list(bundles)
    scores: list[list[NDArray[np.float64]]] = [[] for _ in bundles]
    distances: list[list[NDArray[np.float64]]] = [[] for _ in bundles]
    ids = []
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
    kinds = kinds_of_documents(pages["source_kind"][voting].tolist(), weights, owner)
    found = []
    for bundle, rows, far in zip(bundles, scores, distances, strict=True):
        decided = bundle.documents.decide(
            mean_log_scores(np.concatenate(rows)[voting], weights, owner),
            weighted_means(np.concatenate(far)[voting], weights, owner),
            Rule(),
            effective_pages(weights, owner),
            kinds=kinds,
        )
        kinds = [bundle.classes[k] for k in decided.probabilities.argmax(axis=1)]
        answers = (Answer(kind, str(status)) for kind, status in zip(kinds, decided.status, strict=True))
        found.append(dict(zip(map(str, documents), answers, strict=True)))
    return found


def kinds_of_documents(
    kinds: Sequence[str], weights: NDArray[np.float64], owners: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The kind of source of each document as `source_kinds.document_kind` finds it, (n_documents,); -1 if unknown.

    Args:
        kinds: Of the pages, (n,).
        weights: What each page counts, (n,).
        owners: The number of its document, (n,).
    """
    numbers = codes(kinds)
    known = numbers >= 0
    sums = np.zeros((int(owners.max(initial=-1)) + 1, len(KINDS)))
    np.add.at(sums, (owners[known], numbers[known]), weights[known])
    last = len(KINDS) - 1 - sums[:, ::-1].argmax(axis=1)  # of two that weigh the same the later one
    return np.where(sums.any(axis=1), last, -1)


def statuses(answers: Iterable[Answer]) -> dict[str, dict[str, int]]:
    """How many answers there are of each type and status."""
    counts: dict[str, dict[str, int]] = {}
    for answer in answers:
        counts.setdefault(answer.kind, dict.fromkeys(STATUSES, 0))[answer.status] += 1
    return dict(sorted(counts.items()))


def total(counts: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """How many answers there are of each status, of whatever type."""
    return {status: sum(own[status] for own in counts.values()) for status in STATUSES}
