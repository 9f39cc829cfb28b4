"""What to label next: the documents whose labels are most useful, by their stored features."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedpipe.classifiers.bundles import ClassifierBundle
from embedpipe.classifiers.scores.pooling import page_weights
from embedpipe.classifiers.stored_answers import DocumentAnswers
from embedpipe.core.display import path_to_text
from embedpipe.core.errors import LabelsError
from embedpipe.core.records import SAYS_NOTHING
from embedpipe.core.tables import write_csv
from embedpipe.embedding.cue_table import CuedStore
from embedpipe.index.page_index import fresh_index
from embedpipe.index.row_neighbours import RowIndex
from embedpipe.store.features import FeatureStore
from embedpipe.store.page_extras import PageWords
from embedpipe.store.workspace import Workspace

COLUMNS = ("path", "label", "group", "guess", "otherwise", "pages", "document")
"""Of the CSV; `label` is left empty, to be filled in and given to `label`."""

_MOST = 20_000
"""Documents that are compared with each other: of more, those that the classifier is least sure of."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A document that is worth a label.

    Attributes:
        document_sha256: The document.
        path: Where it is.
        pages: How many pages it has.
        guesses: The two most probable types, best first; none without a classifier.
    """

    document_sha256: str
    path: str
    pages: int
    guesses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pile:
    """The documents of a store that are not blank.

    Attributes:
        documents: SHA-256, (n,).
        vectors: Mean of the scaled pages, of unit length, float32 (n, dim).
        scores: Log probabilities, (n, n_classes); None without a classifier.
    """

    documents: NDArray[Any]
    vectors: NDArray[np.float32]
    scores: NDArray[np.float64] | None


def suggest(workspace: Workspace, store: FeatureStore, n: int, bundle: ClassifierBundle | None) -> list[Suggestion]:
    """Chooses unlabelled documents that are uncertain, unlike the labelled ones, and unlike each other.

    Args:
        workspace: Where labels, sources and the index are.
        store: The features.
        n: How many.
        bundle: Says how uncertain a document is; without one, only how unlike it is counts.

    Returns:
        The most useful first.

    Raises:
        LabelsError: Every document is labelled.
    """
    pile = gather(workspace, store, bundle)
    labelled = np.isin(pile.documents, [sha256 for sha256, _ in workspace.labels().rows])
    if labelled.all():
        raise LabelsError(f"all {len(labelled)} documents are labelled: run `embed` on more of them")
    uncertainty = np.ones(len(labelled)) if pile.scores is None else margins(pile.scores)
    open_rows = np.flatnonzero(~labelled)
    open_rows = open_rows[np.argsort(-uncertainty[open_rows], kind="stable")[:_MOST]]
    chosen = open_rows[choose(pile.vectors[open_rows], uncertainty[open_rows], pile.vectors[labelled], n)]
    pages = store.pages()
    places = dict(zip(pages["document_sha256"], zip(pages["source"], pages["page_count"], strict=True), strict=True))
    sources = workspace.sources()
    suggestions = []
    for row in chosen:
        sha256 = str(pile.documents[row])
        guesses: tuple[str, ...] = ()
        if pile.scores is not None and bundle is not None:
            guesses = tuple(bundle.classes[k] for k in np.argsort(-pile.scores[row], kind="stable")[:2])
        source, count = places[sha256]
        suggestions.append(Suggestion(sha256, sources.path_of(sha256, source), int(count), guesses))
    return suggestions


def margins(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Uncertainty: one minus the margin between the two most probable types (Scheffer et al., 2001), (n,).

    Args:
        scores: Log probabilities, (n, n_classes).
    """
    best = np.sort(np.exp(scores), axis=1)
    uncertainty: NDArray[np.float64] = 1.0 - (best[:, -1] - best[:, -2])
    return uncertainty


def choose(
    vectors: NDArray[np.float32], uncertainty: NDArray[np.float64], known: NDArray[np.float32], n: int
) -> NDArray[np.int64]:
    """Chooses rows one after the other, each time the one with the greatest uncertainty times distance.

    The distance is to the nearest row that is known or already chosen. With equal uncertainties this is the greedy
    k-centre (Gonzalez, 1985), the core-set of Sener and Savarese (2018, arXiv:1708.00489); the product of the two
    follows BADGE (Ash et al., 2020, arXiv:1906.03671), but without its draw, so that the answer is always the same.

    Args:
        vectors: To choose from, of unit length, float32 (m, dim).
        uncertainty: Of these, (m,).
        known: What is labelled already, of unit length, float32 (k, dim); k may be 0.
        n: How many; fewer where there are fewer.

    Returns:
        Rows of `vectors`, in the order chosen.
    """
    return spread(vectors, uncertainty, nearest(vectors, known), n)


def spread(
    vectors: NDArray[np.float32], uncertainty: NDArray[np.float64], cosines: NDArray[np.float32] | None, n: int
) -> NDArray[np.int64]:
    """As `choose`, where the cosine of each row with the nearest known one is known, (m,); None without known ones."""
    distances = _typical(vectors) if cosines is None else distances_of(cosines)
    chosen: list[int] = []
    for _ in range(min(n, len(vectors))):
        worth = uncertainty * distances
        worth[chosen] = -1.0
        row = int(worth.argmax())
        to_row = np.sqrt(np.maximum(2.0 - 2.0 * (vectors @ vectors[row]), 0.0))
        distances = to_row if not chosen and cosines is None else np.minimum(distances, to_row)
        chosen.append(row)
    return np.array(chosen, np.int64)


def _typical(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """What comes first where nothing is known, (m,)."""
    found: NDArray[np.float64] = 2.0 + vectors @ vectors.mean(axis=0, dtype=np.float64)
    return found


def distances_of(cosines: NDArray[np.float32]) -> NDArray[np.float64]:
    """How far rows of unit length are from those with which they have these cosines, (m,)."""
    found: NDArray[np.float64] = np.sqrt(np.maximum(2.0 - 2.0 * cosines.astype(np.float64), 0.0))
    return found


def nearest(vectors: NDArray[np.float32], known: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Greatest cosine of each row with a known one, (m,); of many known ones, of those in the nearest lists."""
    if not len(known):
        return None
    index = RowIndex(known)
    if not index.exact:
        return index.search(vectors, 1)[0][:, 0]
    return np.concatenate([(vectors[k : k + 1024] @ known.T).max(axis=1) for k in range(0, len(vectors), 1024)])


def gather(workspace: Workspace, store: FeatureStore, bundle: ClassifierBundle | None) -> Pile:
    """Walks the store once: the matrix of all pages is never in memory."""
    index = fresh_index(store, workspace.index_path(store.identity.space))
    pages = store.pages()
    pages = pages[~pages["outcome"].isin(SAYS_NOTHING)].sort_values("page_id")
    known, indices = pages["page_id"].to_numpy(np.int64), pages["page_index"].to_numpy(np.int64)
    documents, owners = np.unique(pages["document_sha256"].to_numpy(object), return_inverse=True)
    kinds = pages["source_kind"].to_numpy(object)
    sums = np.zeros((len(documents), store.dim), np.float32)
    answers = None if bundle is None else DocumentAnswers(bundle, np.bincount(owners, minlength=len(documents)))
    told = CuedStore(workspace, store) if bundle is not None and bundle.cues else store
    words = PageWords(store) if bundle is not None and bundle.words else None
    for page_ids, X in told.batches():
        places = np.searchsorted(known, page_ids).clip(max=max(len(known) - 1, 0))
        here = np.flatnonzero(known[places] == page_ids) if len(known) else np.empty(0, np.int64)
        if not len(here):
            continue
        owner, weights = owners[places[here]], page_weights(indices[places[here]])
        np.add.at(sums, owner, index.unit(X[here, : store.dim]) * weights[:, None].astype(np.float32))
        if answers is not None:
            counts = words.of(page_ids[here]) if words else None
            answers.take(X[here], counts, indices[places[here]], kinds[places[here]].tolist(), owner)
    vectors = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return Pile(documents, vectors, answers.scores if answers is not None and len(documents) else None)


def save(suggestions: Sequence[Suggestion], file: Path) -> None:
    """Writes a CSV whose empty `label` column is to be filled in and given to `label`."""
    write_csv(
        file,
        COLUMNS,
        (
            {
                "path": path_to_text(s.path),
                **dict(zip(("guess", "otherwise"), s.guesses, strict=False)),
                "pages": s.pages,
                "document": s.document_sha256,
            }
            for s in suggestions
        ),
    )


def as_json(suggestions: Sequence[Suggestion]) -> dict[str, Any]:
    """As the command line prints it."""
    return {
        "suggestions": [
            {"path": s.path, "pages": s.pages, "guesses": list(s.guesses), "document": s.document_sha256}
            for s in suggestions
        ]
    }
