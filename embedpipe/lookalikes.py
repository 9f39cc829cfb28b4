"""Pages that look like a page: the query's features from the store or the network, the neighbours from the index."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embedpipe.documents import Limits
from embedpipe.errors import DocumentError, EmbedpipeError, SpaceMismatchError
from embedpipe.features import FeatureStore
from embedpipe.index import fresh_index
from embedpipe.pictures import Tile, contact_sheet
from embedpipe.records import Document, FeatureBatch, Neighbour, PageRef
from embedpipe.rendering import Job, Selection
from embedpipe.streaming import PageStream, Settings, render_pages
from embedpipe.walking import FoundFile, identify
from embedpipe.workspace import Workspace

if TYPE_CHECKING:  # a page that the store holds needs no network
    from embedpipe.engines import Backbone


@dataclass(frozen=True, slots=True)
class LookAlikes:
    """A query page and the pages nearest to it, best first.

    Attributes:
        query: The page asked for.
        document: Its document as it lies on disk.
        neighbours: Never the query itself; the same content at another place counts as the query.
        labels: Type of each neighbour, or None.
    """

    query: PageRef
    document: Document
    neighbours: list[Neighbour]
    labels: list[str | None]


def parse_query(text: str) -> tuple[str, int]:
    """Reads `FILE#page=N`, or just a file for its first page.

    Returns:
        The path and the page index, from 0.

    Raises:
        EmbedpipeError: N is no page number.
    """
    path, mark, number = text.rpartition("#page=")
    if not mark or (os.path.exists(text) and not os.path.exists(path)):
        return text, 0
    if not number.isdigit() or int(number) < 1:
        raise EmbedpipeError(f"{text}: after #page= comes a page number, counted from 1")
    return path, int(number) - 1


def similar(
    workspace: Workspace,
    store: FeatureStore,
    query: str,
    backbone: "Callable[[], Backbone]",
    *,
    k: int = 10,
    settings: Settings | None = None,
) -> LookAlikes:
    """Finds the pages of the store that look most like a page.

    Args:
        workspace: Where index and labels are.
        store: The features.
        query: `FILE#page=N`, in the store or not.
        backbone: Loads the backbone; called only when the store does not hold the page.
        k: How many neighbours.
        settings: How the query's document is read.

    Raises:
        DocumentError: The query cannot be read or has no such page.
        SpaceMismatchError: The backbone is not the store's.
    """
    path, index = parse_query(query)
    document = identify_query(path)
    page = PageRef(document.sha256, index, document.path)
    X = _stored_features(store, page)
    if X is None:
        X = _new_features(store, Job(document, Selection(((index + 1, index + 1),))), backbone, settings or Settings())
    scores, ids = fresh_index(store, workspace.index_path(store.identity.space)).search(X, k + 1)
    pages = store.pages().set_index("page_id").loc[ids[0]].reset_index()
    labels = workspace.labels().of_pages(pages)["label"]
    sources = workspace.sources()
    neighbours, types = [], []
    for row, score, label in zip(pages.itertuples(), scores[0], labels, strict=True):
        ref = PageRef(row.document_sha256, row.page_index, sources.path_of(row.document_sha256, row.source))
        if (ref.document_sha256, ref.page_index) != (page.document_sha256, index):
            neighbours.append(Neighbour(ref, float(score)))
            types.append(label)
    return LookAlikes(page, document, neighbours[:k], types[:k])


def identify_query(path: str) -> Document:
    """The document at a path; raises DocumentError where there is none."""
    absolute = os.path.abspath(path)
    try:
        status = os.stat(absolute)
    except OSError as error:
        raise DocumentError("unreadable", f"cannot read {path}: {error.strerror or error}") from error
    item = identify(FoundFile(absolute, status.st_size, status.st_mtime_ns, named=True, type_folder=None), Limits())
    if not isinstance(item, Document):
        reason = getattr(item, "message", "it is no document")
        raise DocumentError("not_a_document", f"{path}: {reason}")
    return item


def _stored_features(store: FeatureStore, page: PageRef) -> NDArray[np.float32] | None:
    pages = store.pages()
    row = pages[(pages["document_sha256"] == page.document_sha256) & (pages["page_index"] == page.page_index)]
    return store.features(row["page_id"].to_numpy(np.int64)) if len(row) else None


def _new_features(
    store: FeatureStore, job: Job, backbone: "Callable[[], Backbone]", settings: Settings
) -> NDArray[np.float32]:
    loaded = backbone()
    if loaded.identity != store.identity:
        raise SpaceMismatchError("the store", store.identity, loaded.identity)
    for item in PageStream(loaded, settings, 1).run([job]):
        if isinstance(item, FeatureBatch):
            return item.X.astype(np.float16).astype(np.float32)
        raise DocumentError(item.kind, f"{item.page}: {item.message}")
    number = job.selection.ranges[0][0]
    raise DocumentError("page_error", f"{job.document.path} has no page {number}")


def draw(workspace: Workspace, found: LookAlikes, file: Path) -> None:
    """Draws the query and its neighbours side by side, as a PNG."""
    sources = workspace.sources()
    wanted: list[tuple[Document, int]] = [(found.document, found.query.page_index)]
    for neighbour in found.neighbours:
        document = sources.document(neighbour.page.document_sha256)
        if document is not None:
            wanted.append((document, neighbour.page.page_index))
    pixels = render_pages(wanted, size=420)

    def tile(page: PageRef, detail: str) -> Tile:
        name = f"{os.path.basename(page.source)} p. {page.page_number}"
        return Tile(pixels.get((page.document_sha256, page.page_index)), name, detail)

    tiles = [
        tile(neighbour.page, " · ".join(filter(None, [f"{neighbour.score:.3f}", label])))
        for neighbour, label in zip(found.neighbours, found.labels, strict=True)
    ]
    contact_sheet(tile(found.query, "query"), tiles, file)


def as_json(found: LookAlikes) -> dict[str, Any]:
    """As the command line prints it."""
    return {
        "query": {"path": found.query.source, "page": found.query.page_number},
        "neighbours": [
            {"path": n.page.source, "page": n.page.page_number, "score": round(n.score, 5), "label": label}
            for n, label in zip(found.neighbours, found.labels, strict=True)
        ],
    }
