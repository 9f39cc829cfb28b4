"""Pages and documents that look like one: the query's features from the store or the network, the rest from the index.

Documents are compared by the mean of two means (a symmetric Chamfer similarity): of the best cosine of each page of the
query among the pages of the other, and of each page of the other among those of the query.
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from embedpipe.core.display import name_of, whole_number
from embedpipe.core.errors import ArtifactError, DocumentError, SpaceMismatchError, UsageError
from embedpipe.core.objects.places import exists
from embedpipe.core.objects.urls import absolute
from embedpipe.core.records import Document, FeatureBatch, Neighbour, PageRef
from embedpipe.embedding.streaming import PageStream, Settings, render_page
from embedpipe.index.page_index import fresh_index
from embedpipe.pages.documents import THUMBNAILS, Limits, Region
from embedpipe.pages.extras.words import as_rows
from embedpipe.pages.rendering import Job, Selection
from embedpipe.pages.unfolding import identify_at, look_up
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import Labels
from embedpipe.store.page_extras import words_in, words_table
from embedpipe.store.page_table import Key, PageTable
from embedpipe.store.workspace import Workspace

if TYPE_CHECKING:  # a page that the store holds needs no network
    from scipy.sparse import csr_array

    from embedpipe.backbones.building import Backbone
    from embedpipe.drawing.pictures import Tile
    from embedpipe.index.word_search import WordSearch

_PAGES_OF_A_DOCUMENT = 50
"""Neighbours of each page of a document by which other documents are found, before they are compared whole."""

_DOCUMENTS = 100
"""Documents that are compared whole: those with the best pages."""

PICTURES, WORDS, BOTH = BY = ("pictures", "words", "both")
"""What pages are compared by."""

_CANDIDATES = 500
"""Pages of each kind of likeness that are compared by both."""

_BOXES = 200
"""Pages whose box is looked at: those that look most like the query's page."""


@dataclass(frozen=True, slots=True)
class LookAlikes:
    """A query and what looks most like it, best first.

    Attributes:
        query: The page asked for; the first page for a whole document.
        document: Its document as it lies on disk.
        neighbours: Never the query itself; the same content at another place counts as the query. Of a document, the
            page that looks most like one of the query's.
        labels: Type of each neighbour, or None.
        thumbnail: Of the query, where the store does not hold it; else empty.
        artifacts: Where each neighbour was found, where there are several.
        thumbnails: Of neighbours in other artifacts than the first.
    """

    query: PageRef
    document: Document
    neighbours: list[Neighbour]
    labels: list[str | None]
    thumbnail: bytes = b""
    artifacts: Sequence[str] = ()
    thumbnails: Mapping[Key, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What may be found.

    Attributes:
        k: How many.
        label: Only pages of this type; None for all.
        other_documents: Leave out the pages of the query's own document.
        whole_document: Compare documents with all their pages, not pages.
        box: Compare this box of the pages that look most like the query's; None for whole pages.
        by: One of `BY`: what they look like, what they say, or the mean of the two cosines. Whole documents and boxes
            are compared by pictures.
    """

    k: int = 10
    label: str | None = None
    other_documents: bool = False
    whole_document: bool = False
    box: Region | None = None
    by: str = PICTURES


class NoSuchTypeError(UsageError):
    """No page has the type that was asked for.

    Args:
        label: The type.
        known: The types that there are.
    """

    def __init__(self, label: str, known: Iterable[str]) -> None:
        self.known = set(known)
        there = ", ".join(sorted(self.known)) or "none yet"
        super().__init__(f"--type {label}: no page in the store has this type; known: {there}")


def parse_query(text: str) -> tuple[str, int]:
    """Reads `FILE#page=N`, or just a file for its first page.

    Returns:
        The path and the page index, from 0.

    Raises:
        UsageError: N is no page number.
    """
    path, mark, number = text.rpartition("#page=")
    if not mark or (exists(text) and not exists(path)):
        return text, 0
    page = whole_number(number)
    if not page:
        raise UsageError(f"{text}: after #page= comes a page number, counted from 1")
    return path, page - 1


def similar(
    workspace: Workspace,
    store: FeatureStore,
    query: str,
    backbone: "Callable[[], Backbone]",
    *,
    k: int = 10,
    settings: Settings | None = None,
) -> LookAlikes:
    """Finds the pages of the store that look most like a page; `Finder` does more, and many queries faster.

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
    return Finder(workspace, store, backbone, settings or Settings()).find(query, Wanted(k))


@dataclass(eq=False)
class Finder:
    """Answers queries about a snapshot of a store; what they share is loaded once.

    Attributes:
        workspace: Where index and labels are.
        store: The features.
        backbone: Loads the backbone; called only for pages that the store does not hold, and once.
        settings: How the queries' documents are read.
        peers: Finders of other stores that are asked for the features of a query as well, see `similar_several`.
    """

    workspace: Workspace
    store: FeatureStore
    backbone: "Callable[[], Backbone]"
    settings: Settings = field(default_factory=Settings)
    peers: "Sequence[Finder]" = ()

    def __post_init__(self) -> None:
        """Opens the index."""
        self.index = fresh_index(self.store, self.workspace.index_path(self.store.identity.space))
        self.pages = self.store.pages().set_index("page_id", drop=False)
        self.sources = self.workspace.sources()
        self.drawn: dict[Key, bytes] = {}
        self._computed: dict[Job, NDArray[np.float32]] = {}

    def tell_labels(self, labels: Labels) -> None:
        """Takes the labels as they are now, where they have changed since they were read."""
        if self.__dict__.get("_labels") is labels:
            return
        self.__dict__.pop("_types", None)
        self.__dict__["_labels"] = labels

    def find(self, query: str, wanted: Wanted) -> LookAlikes:
        """What looks most like a query.

        Args:
            query: `FILE#page=N`, in the store or not; only the file where whole documents are compared.
            wanted: What may be found.

        Raises:
            DocumentError: The query cannot be read or has no such page.
            SpaceMismatchError: The backbone is not the store's.
            UsageError: No page has the type that was asked for.
        """
        path, index = parse_query(query)
        return self.find_like(identify_query(path, self.settings.limits), index, wanted)

    def find_stored(self, sha256: str, index: int, wanted: Wanted) -> LookAlikes:
        """As `find`, of a page that the store holds, whose file need not be there unless boxes are compared.

        Args:
            sha256: Its document.
            index: Of the page, from 0.
            wanted: What may be found.

        Raises:
            ArtifactError: The store does not hold it.
        """
        own = self.pages_of(sha256)
        row = np.flatnonzero(self.pages.loc[own, "page_index"].to_numpy() == index)
        if not len(row):
            raise ArtifactError(f"page {index + 1} of document {sha256[:12]} is not in the store")
        path = self.sources.path_of(sha256, str(self.pages.loc[own[row[0]], "source"]))
        there = self.sources.document(sha256) if wanted.box is not None or wanted.by != PICTURES else None
        return self.find_like(there or Document(path, sha256, 0, 0, ""), index, wanted)

    def find_like(self, document: Document, index: int, wanted: Wanted) -> LookAlikes:
        """The same, of a document that was looked into; `index` is that of its page."""
        if wanted.whole_document:
            return self._documents_like(document, wanted)
        page = PageRef(document.sha256, index, document.path)
        own = self.pages_of(document.sha256)
        left_out = own if wanted.other_documents else own[self.pages.loc[own, "page_index"].to_numpy() == index]
        if wanted.by != PICTURES:
            return self._answer(page, document, *self._by_words(page, document, wanted, left_out))
        X = self.features_of(page, document)
        if wanted.box is not None:
            _, candidates = self.nearest(X, max(_BOXES, wanted.k), wanted.label, left_out)
            return self._boxes_like(page, document, candidates[0], wanted.k, wanted.box)
        scores, ids = self.nearest(X, wanted.k, wanted.label, left_out)
        return self._answer(page, document, ids[0], scores[0])

    def nearest(
        self, X: NDArray[np.float32], k: int, label: str | None, left_out: NDArray[np.int64]
    ) -> tuple[list[NDArray[np.float32]], list[NDArray[np.int64]]]:
        """The k nearest pages of each query but for some; filters take nothing from what could be found.

        Args:
            X: Features, float32 (n, dim).
            k: How many pages.
            label: Only pages of this type; None for all.
            left_out: Ids of pages that are not wanted.

        Returns:
            Cosines, best first, and page ids; an array for each query.
        """
        allowed = None if label is None else self._of_type(label)
        # pages that are left out can only take so many of the first places
        cosines, ids = self.index.search(X, k + len(left_out), allowed=allowed)
        kept = (ids >= 0) & ~np.isin(ids, left_out)
        rows = [np.flatnonzero(row)[:k] for row in kept]
        return [c[r] for c, r in zip(cosines, rows, strict=True)], [i[r] for i, r in zip(ids, rows, strict=True)]

    def _by_words(
        self, page: PageRef, document: Document, wanted: Wanted, left_out: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Ids and scores of the pages that say most like a page, or that look and say most like it, best first."""
        words = self._words_of(page, document)
        allowed = None if wanted.label is None else self._of_type(wanted.label)
        k = wanted.k if wanted.by == WORDS else max(_CANDIDATES, wanted.k)
        scores, ids = self._word_search.search(words, k + len(left_out), allowed)
        kept = ~np.isin(ids, left_out)
        scores, ids = scores[kept], ids[kept]
        if wanted.by == BOTH:
            X = self.features_of(page, document)
            _, [seen] = self.nearest(X, k, wanted.label, left_out)
            ids = np.union1d(ids, seen)
            looks = self.index.unit(self.store.features(ids)) @ self.index.unit(X)[0]
            scores = (looks + self._word_search.cosines(words, ids)) / 2
        order = np.argsort(-scores, kind="stable")[: wanted.k]
        return ids[order], scores[order]

    @functools.cached_property
    def _word_search(self) -> "WordSearch":
        from embedpipe.index.word_search import WordSearch  # noqa: PLC0415 - pictures are compared without

        found = WordSearch(self.store)
        if not found.pages:
            raise ArtifactError("no words of stored pages are kept: run `embed` on their files, or use --by pictures")
        return found

    @functools.cached_property
    def _words_table(self) -> PageTable:
        return words_table(self.workspace.root)

    def _words_of(self, page: PageRef, document: Document) -> "csr_array":
        """Counts of the words of a page, kept or read now, sparse (1, n_buckets)."""
        words = words_in(self._words_table, [(page.document_sha256, page.page_index)])
        if not words.nnz:
            identity = self.store.identity
            drawn = render_page(
                document, page.page_index, identity.recipe, identity.interpolation, self.settings, words=True
            )
            words = as_rows([drawn.info.words])
        if not words.nnz:
            raise DocumentError("page_error", f"{page} has no words that could be compared: use --by pictures")
        return words

    def features_of(self, page: PageRef, document: Document) -> NDArray[np.float32]:
        """Features of a page from the store, else from the network, float32 (1, dim)."""
        for one in self.peers or [self]:
            own = one.pages_of(page.document_sha256)
            own = own[one.pages.loc[own, "page_index"].to_numpy() == page.page_index]
            if len(own):
                values, good = one.index.stored_rows(own)  # in place: the store would read all of their part
                return values.astype(np.float32) if good.all() else one.store.features(own)
        selection = Selection(((page.page_number, page.page_number),))
        return self.new_features(Job(document, selection))

    def holds(self, document: Document) -> bool:
        """Whether the store has pages of a document."""
        return len(self.pages_of(document.sha256)) > 0

    def _documents_like(self, document: Document, wanted: Wanted) -> LookAlikes:
        own, X = self.pages_of(document.sha256), self._features_of_all(document)
        cosines, ids = self.nearest(X, _PAGES_OF_A_DOCUMENT, wanted.label, own)
        found = pd.Series(np.concatenate(cosines), self.pages.loc[np.concatenate(ids), "document_sha256"].to_numpy())
        candidates = found.groupby(level=0).sum().nlargest(max(_DOCUMENTS, wanted.k)).index
        scores, best = [], []
        unit = self.index.unit(X)
        for sha256 in candidates:
            theirs = self.pages_of(sha256)
            matrix = unit @ self.index.unit(self.store.features(theirs)).T
            scores.append((matrix.max(axis=0).mean() + matrix.max(axis=1).mean()) / 2)
            best.append(theirs[matrix.max(axis=0).argmax()])
        order = np.argsort(-np.array(scores), kind="stable")[: wanted.k]
        query = PageRef(document.sha256, 0, document.path)
        return self._answer(query, document, np.array(best, np.int64)[order], np.array(scores, np.float32)[order])

    def _features_of_all(self, document: Document) -> NDArray[np.float32]:
        """Features of the pages of a document that say something, float32 (n, dim)."""
        holder = next((one for one in self.peers or [self] if one.holds(document)), None)
        if holder is None:
            return self.new_features(Job(document, self.settings.selection))
        own = holder.pages_of(document.sha256)
        X, seen = holder.store.features(own), (holder.pages.loc[own, "outcome"] != "blank").to_numpy(bool)
        return X[seen] if seen.any() else X

    def _boxes_like(
        self, query: PageRef, document: Document, candidates: NDArray[np.int64], k: int, box: Region
    ) -> LookAlikes:
        """Orders pages by how much a box of theirs looks like the query's; those whose file is gone are left out."""
        places = {
            (ref.document_sha256, ref.page_index): i for ref, i in zip(self.refs(candidates), candidates, strict=True)
        }
        documents = {sha256: self.sources.document(sha256) for sha256, _ in places}
        wanted = [(found, index) for sha256, index in places if (found := documents[sha256])]
        asked = (query.document_sha256, query.page_index)

        from embedpipe.embedding.regions import box_features  # noqa: PLC0415 - draws pages

        features = box_features(self.network, [(document, query.page_index), *wanted], box)
        if asked not in features:
            raise DocumentError("page_error", f"{query} cannot be rendered")
        [unit] = self.index.unit(as_stored(features.pop(asked)[None]))
        if not features:
            return self._answer(query, document, np.empty(0, np.int64), np.empty(0, np.float32))
        cosines = self.index.unit(as_stored(np.stack(list(features.values())))) @ unit
        order = np.argsort(-cosines, kind="stable")[:k]
        ids = np.array([places[key] for key in features], np.int64)
        return self._answer(query, document, ids[order], cosines[order])

    def _answer(
        self, query: PageRef, document: Document, ids: NDArray[np.int64], scores: NDArray[np.float32]
    ) -> LookAlikes:
        neighbours = [Neighbour(ref, float(score)) for ref, score in zip(self.refs(ids), scores, strict=True)]
        told = [self._labels.of_page(n.page.document_sha256, n.page.page_index) for n in neighbours]
        labels = [row.label if row else None for row in told]
        drawn = self.peers[0].drawn if self.peers else self.drawn
        thumbnail = drawn.get((query.document_sha256, query.page_index), b"")
        return LookAlikes(query, document, neighbours, labels, thumbnail)

    def refs(self, ids: Sequence[int] | NDArray[np.int64]) -> list[PageRef]:
        """Pages by their ids, with the places where their documents are now."""
        rows = self.pages.loc[np.asarray(ids, np.int64)]
        found = zip(rows["document_sha256"], rows["page_index"], rows["source"], strict=True)
        return [PageRef(sha256, int(index), self.sources.path_of(sha256, source)) for sha256, index, source in found]

    @functools.cached_property
    def _labels(self) -> Labels:
        return self.workspace.labels()

    @functools.cached_property
    def _ids_of_documents(self) -> dict[str, NDArray[np.int64]]:
        ids = self.pages.index.to_numpy(np.int64)
        return {str(sha256): ids[rows] for sha256, rows in self.pages.groupby("document_sha256").indices.items()}

    @functools.cached_property
    def _types(self) -> "pd.Series[Any]":
        types: pd.Series[Any] = self._labels.of_pages(self.pages)["label"]
        return types

    def pages_of(self, sha256: str) -> NDArray[np.int64]:
        """Ids of the stored pages of a document."""
        return self._ids_of_documents.get(sha256, np.empty(0, np.int64))

    def _of_type(self, label: str) -> NDArray[np.int64]:
        ids = self.pages.index.to_numpy(np.int64)[(self._types == name_of(label)).to_numpy(bool)]
        if not len(ids):
            raise NoSuchTypeError(label, map(str, self._types.dropna()))
        return ids

    @functools.cached_property
    def network(self) -> "Backbone":
        """The loaded backbone; raises SpaceMismatchError where it is not the store's."""
        loaded = self.backbone()
        if loaded.identity != self.store.identity:
            raise SpaceMismatchError("the store", self.store.identity, loaded.identity)
        return loaded

    def new_features(self, job: Job) -> NDArray[np.float32]:
        """Features from the network, computed once for all peers."""
        first = self.peers[0] if self.peers else self
        if first is not self:
            return first.new_features(job)
        if job not in self._computed:
            self._computed = {job: self._computed_now(job)}
        return self._computed[job]

    def _computed_now(self, job: Job) -> NDArray[np.float32]:
        rows: dict[int, NDArray[np.float32]] = {}
        for item in PageStream(self.network, self.settings, 1, extras=frozenset({THUMBNAILS})).run([job]):
            if not isinstance(item, FeatureBatch):
                raise DocumentError(item.kind, f"{item.page}: {item.message}")
            rows.update({info.ref.page_index: row for info, row in zip(item.pages, item.X, strict=True)})
            for info in item.pages:
                self.drawn[info.ref.document_sha256, info.ref.page_index] = info.thumbnail or b""
        if not rows:
            wanted = job.selection.ranges[0][0] if job.selection.ranges else 1
            raise DocumentError("page_error", f"{job.document.path} has no page {wanted}")
        return as_stored(np.stack([rows[index] for index in sorted(rows)]))


def key_of(page: PageRef) -> Key:
    """What a page is known by, wherever its document lies."""
    return page.document_sha256, page.page_index


def as_stored(X: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features as they come back from the store: rounded to float16, so that a page is the same stored or new."""
    return X.astype(np.float16).astype(np.float32)


def identify_query(path: str, limits: Limits | None = None) -> Document:
    """The document at a path, or that of a member, which may need a password; raises DocumentError."""
    try:
        found = look_up(absolute(path))
    except OSError as error:
        raise DocumentError("unreadable", f"cannot read {path}: {error.strerror or error}") from error
    item = identify_at(found, replace(limits or Limits(), texts=True))
    if not isinstance(item, Document):
        reason = getattr(item, "message", "it is no document")
        raise DocumentError("not_a_document", f"{path}: {reason}")
    return item


def as_json(found: LookAlikes) -> dict[str, Any]:
    """As the command line prints it."""
    return {
        "query": {"path": found.query.source, "page": found.query.page_number},
        "neighbours": [
            {"path": n.page.source, "page": n.page.page_number, "score": round(n.score, 5), "label": label}
            for n, label in zip(found.neighbours, found.labels, strict=True)
        ],
        **({"artifacts": list(found.artifacts)} if found.artifacts else {}),
    }


def _pages_with_details(found: LookAlikes) -> list[tuple[PageRef, str]]:
    """The query, then its neighbours."""
    details = [
        " · ".join(filter(None, [f"{neighbour.score:.3f}", label]))
        for neighbour, label in zip(found.neighbours, found.labels, strict=True)
    ]
    pages = [found.query, *(neighbour.page for neighbour in found.neighbours)]
    return list(zip(pages, ["query", *details], strict=True))


def _tiles(workspace: Workspace, answers: Sequence[LookAlikes]) -> "list[list[Tile]]":
    from embedpipe.drawing.galleries import MOST_PICTURES  # noqa: PLC0415 - most answers are not drawn
    from embedpipe.drawing.tiles import tile_groups  # noqa: PLC0415 - likewise

    new = {key_of(found.query): found.thumbnail for found in answers}
    for found in answers:
        new |= found.thumbnails
    return tile_groups(workspace, [_pages_with_details(found) for found in answers], most=MOST_PICTURES, known=new)


def draw(workspace: Workspace, found: LookAlikes, file: Path) -> None:
    """Draws a query and its neighbours side by side, as a PNG."""
    from embedpipe.drawing.pictures import contact_sheet  # noqa: PLC0415 - see `_tiles`

    [[query, *neighbours]] = _tiles(workspace, [found])
    contact_sheet(query, neighbours, file)


def write_html(workspace: Workspace, answers: Sequence[LookAlikes], facts: Mapping[str, str], file: Path) -> None:
    """Writes queries and their neighbours as one HTML file; `facts` say how they were asked."""
    from embedpipe.drawing.galleries import Group, write_gallery  # noqa: PLC0415 - see `_tiles`

    groups = [
        Group(str(found.query), "", tiles) for found, tiles in zip(answers, _tiles(workspace, answers), strict=True)
    ]
    write_gallery(file, "Look-alikes", facts, groups)
