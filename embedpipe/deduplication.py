"""Documents and pages that are there more than once: exact copies, and pages saved again or scanned twice.

Candidates come from the index, as the nearest pages above a cosine; then the pictures decide (`agreement`), since one
form filled twice has nearly the same features. Nothing is ever deleted.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from embedpipe.agreement import SAME_PICTURE, SIZE, agreement
from embedpipe.duplicates import connected
from embedpipe.features import FeatureStore
from embedpipe.galleries import MOST_PICTURES, Group, write_gallery
from embedpipe.index import PageIndex, fresh_index
from embedpipe.machine import available_cores
from embedpipe.records import Document, PageRef
from embedpipe.streaming import render_pages
from embedpipe.tables import write_csv
from embedpipe.texts import path_to_text
from embedpipe.tiles import tile_groups
from embedpipe.workspace import Sources, Workspace

CANDIDATE = 0.8
"""Cosine from which the pictures of two pages are compared: nearly all pages that were saved or scanned again."""

_NEAREST = 50
"""Candidates of each page at most, so that a million copies of one form do not make a million times a million pairs."""

_FEW = 200
"""Among fewer pages every near one is a candidate: the scaling of so few says nothing about cosines."""

_PICTURES = 256
"""Pages in memory at once while pictures are compared, half a gigabyte."""

_QUERIES = 4096
_COLUMNS = ("group", "kind", "keep", "path", "page", "agreement")


@dataclass(frozen=True, slots=True)
class Copy:
    """A document or page that is there again.

    Attributes:
        page: The page; the first one where whole documents are meant.
        path: Where it lies.
        agreement: Of its picture with another of the group where it agrees least; 1 for exact copies.
    """

    page: PageRef
    path: str
    agreement: float


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Copies that belong together; the first one is the one to keep.

    Attributes:
        kind: "exact": files of the same content; "document": all pages are the same pictures in the same order;
            "page": single pages of otherwise different documents.
        copies: At least two.
    """

    kind: str
    copies: tuple[Copy, ...]


@dataclass(slots=True)
class Found:
    """What `find` found.

    Attributes:
        groups: Exact copies, then documents, then pages.
        compared: Pairs of pictures that were compared.
        not_compared: Pairs that could not be, since a file is gone, was changed, or cannot be rendered.
    """

    groups: list[Duplicates] = field(default_factory=list)
    compared: int = 0
    not_compared: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """Pairs of rows of the table of pages, (m, 2), the nearest first."""

    rows: NDArray[np.int64]
    cosines: NDArray[np.float32]


def find(workspace: Workspace, store: FeatureStore, *, same_picture: float = SAME_PICTURE) -> Found:
    """Finds exact copies, and near-duplicates among the documents and pages of a store.

    Args:
        workspace: Where the documents and the index are.
        store: The features.
        same_picture: Least agreement of the pictures of two pages that count as one.
    """
    sources, found = workspace.sources(), Found()
    found.groups += _exact_copies(sources)
    index = fresh_index(store, workspace.index_path(store.identity.space))
    pages = store.pages().reset_index(drop=True)
    agreements = _same_pictures(sources, pages, _candidates(store, index, pages), same_picture, found)
    pairs = np.array(sorted(agreements), np.int64).reshape(-1, 2)
    groups = connected(pairs, len(pages))
    least = _least_agreement(agreements, len(pages))
    documents = _same_documents(pages, groups)
    found.groups += _document_groups(sources, pages, documents, least)
    found.groups += _page_groups(sources, pages, groups, documents, least)
    return found


def _exact_copies(sources: Sources) -> list[Duplicates]:
    groups = []
    for documents in sources.copies():
        kept, *others = sorted(documents, key=lambda document: (document.mtime_ns, len(document.path), document.path))
        copies = [Copy(PageRef(d.sha256, 0, d.path), d.path, 1.0) for d in (kept, *others)]
        groups.append(Duplicates("exact", tuple(copies)))
    return groups


def _candidates(store: FeatureStore, index: PageIndex, pages: pd.DataFrame) -> _Pairs:
    """Pairs of pages of different documents with nearly the same features, by the index."""
    row_of = pd.Series(np.arange(len(pages)), pages["page_id"].to_numpy())
    document = pd.factorize(pages["document_sha256"])[0]
    written = (pages["outcome"] != "blank").to_numpy(bool)
    least = CANDIDATE if len(pages) >= _FEW else -1.1
    best: dict[tuple[int, int], float] = {}
    for page_ids, X in store.batches():
        cosines, ids = index.search(X, _NEAREST + 1)
        near = (cosines >= least) & (ids >= 0)
        queries = row_of[np.repeat(page_ids, near.sum(axis=1))].to_numpy(np.int64)
        others = row_of[ids[near]].to_numpy(np.int64)
        wanted = (document[queries] != document[others]) & written[queries] & written[others]
        for query, other, cosine in zip(queries[wanted], others[wanted], cosines[near][wanted], strict=True):
            best[min(query, other), max(query, other)] = float(cosine)
    rows = np.array(list(best), np.int64).reshape(-1, 2)
    values = np.array(list(best.values()), np.float32)
    order = np.lexsort((rows[:, 1], rows[:, 0], -np.round(values, 2)))
    return _Pairs(rows[order], values[order])


def _same_pictures(
    sources: Sources, pages: pd.DataFrame, candidates: _Pairs, same_picture: float, found: Found
) -> dict[tuple[int, int], float]:
    """Agreement of the pairs whose pictures are the same; pairs that are joined already are not compared."""
    documents = {sha256: sources.document(sha256) for sha256 in set(pages["document_sha256"].iloc[_rows(candidates)])}
    agreements: dict[tuple[int, int], float] = {}
    groups = np.arange(len(pages))
    with ThreadPoolExecutor(available_cores()) as pool:
        for some in _chunks(candidates.rows):
            apart = some[groups[some[:, 0]] != groups[some[:, 1]]]
            pictures = _pictures(pages, documents, apart)
            shown = [pair for pair in map(tuple, apart.tolist()) if pair[0] in pictures and pair[1] in pictures]
            found.compared += len(shown)
            found.not_compared += len(apart) - len(shown)
            values = pool.map(lambda pair, p=pictures: agreement(p[pair[0]], p[pair[1]]), shown)
            agreements |= {pair: value for pair, value in zip(shown, values, strict=True) if value >= same_picture}
            groups = connected(np.array(list(agreements), np.int64).reshape(-1, 2), len(pages))
    return agreements


def _rows(candidates: _Pairs) -> NDArray[np.int64]:
    return np.unique(candidates.rows)


def _chunks(pairs: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Cuts pairs into runs of few pages, so that no more pictures are in memory at once."""
    start, seen = 0, set[int]()
    for number, pair in enumerate(pairs.tolist()):
        if len(seen) > _PICTURES - 2:
            yield pairs[start:number]
            start, seen = number, set()
        seen.update(pair)
    if start < len(pairs):
        yield pairs[start:]


def _pictures(
    pages: pd.DataFrame, documents: Mapping[str, Document | None], pairs: NDArray[np.int64]
) -> dict[int, NDArray[np.uint8]]:
    """Pictures of the pages of some pairs by their rows, where they can be had."""
    rows = np.unique(pairs)
    keys = list(zip(pages["document_sha256"].iloc[rows], pages["page_index"].iloc[rows], strict=True))
    wanted = [(found, int(index)) for sha256, index in keys if (found := documents[sha256])]
    pixels = render_pages(wanted, SIZE)
    return {int(row): pixels[key] for row, key in zip(rows, keys, strict=True) if key in pixels}


def _least_agreement(agreements: Mapping[tuple[int, int], float], n: int) -> NDArray[np.float64]:
    """The best agreement of each page with another of its group, (n,)."""
    best = np.zeros(n)
    for pair, value in agreements.items():
        best[list(pair)] = np.maximum(best[list(pair)], value)
    return best


def _same_documents(pages: pd.DataFrame, groups: NDArray[np.int64]) -> dict[str, list[str]]:
    """Documents by the first of those whose pages all are the same pictures, in order."""
    blank = (pages["outcome"] == "blank").to_numpy(bool)
    ordered = pages.assign(group=np.where(blank, -1, groups)).sort_values(["document_sha256", "page_index"])
    alike: dict[tuple[int, ...], list[str]] = {}
    for sha256, own in ordered.groupby("document_sha256"):
        signature = tuple(own["group"].tolist())
        if max(signature) >= 0 and len(own) == own["page_count"].iloc[0]:
            alike.setdefault(signature, []).append(str(sha256))
    return {members[0]: members for members in alike.values() if len(members) > 1}


def _document_groups(
    sources: Sources, pages: pd.DataFrame, documents: Mapping[str, Sequence[str]], least: NDArray[np.float64]
) -> list[Duplicates]:
    rows = {str(sha256): np.asarray(own, np.int64) for sha256, own in pages.groupby("document_sha256").indices.items()}
    written = (pages["outcome"] != "blank").to_numpy(bool)
    page_index = pages["page_index"].to_numpy()
    groups = []
    for members in documents.values():
        firsts = [int(rows[sha256][page_index[rows[sha256]].argmin()]) for sha256 in members]
        worst = {sha256: float(least[rows[sha256][written[rows[sha256]]]].min()) for sha256 in members}
        copies = [_copy(sources, pages, row, worst[pages["document_sha256"].iloc[row]]) for row in firsts]
        groups.append(_ranked("document", sources, pages, firsts, copies))
    return sorted(groups, key=lambda group: -len(group.copies))


def _page_groups(
    sources: Sources,
    pages: pd.DataFrame,
    groups: NDArray[np.int64],
    documents: Mapping[str, Sequence[str]],
    least: NDArray[np.float64],
) -> list[Duplicates]:
    """Groups of pages; of documents that are the same, only one counts, since they are told already."""
    told = {sha256 for first, members in documents.items() for sha256 in members if sha256 != first}
    new = np.flatnonzero(~pages["document_sha256"].isin(told).to_numpy(bool))
    members = pd.Series(new).groupby(groups[new]).agg(list)
    found = []
    for rows in members[members.map(len) > 1]:
        copies = [_copy(sources, pages, row, float(least[row])) for row in rows]
        found.append(_ranked("page", sources, pages, rows, copies))
    return sorted(found, key=lambda group: -len(group.copies))


def _copy(sources: Sources, pages: pd.DataFrame, row: int, agreed: float) -> Copy:
    page = pages.iloc[row]
    path = sources.path_of(page["document_sha256"], page["source"])
    return Copy(PageRef(page["document_sha256"], int(page["page_index"]), path), path, round(agreed, 4))


def _ranked(
    kind: str, sources: Sources, pages: pd.DataFrame, rows: Sequence[int], copies: Sequence[Copy]
) -> Duplicates:
    """The one to keep first: of the longest document, a PDF before a picture, the largest, oldest, shortest path."""

    def rank(copy: Copy, row: int) -> tuple[Any, ...]:
        page, document = pages.iloc[row], sources.document(copy.page.document_sha256)
        picture = document is not None and document.reader != "pdf"
        age = document.mtime_ns if document else 0
        return (-page["page_count"], picture, -page["width"] * page["height"], age, len(copy.path), copy.path)

    order = sorted(zip(copies, rows, strict=True), key=lambda item: rank(*item))
    return Duplicates(kind, tuple(copy for copy, _ in order))


def as_rows(groups: Sequence[Duplicates]) -> Iterator[dict[str, Any]]:
    """One row for each copy, as the command line and the CSV give them; `page` is None for whole documents."""
    for number, group in enumerate(groups, 1):
        for place, copy in enumerate(group.copies):
            yield {
                "group": number,
                "kind": group.kind,
                "keep": place == 0,
                "path": copy.path,
                "page": copy.page.page_number if group.kind == "page" else None,
                "agreement": copy.agreement,
            }


def write_table(found: Found, file: Path) -> None:
    """Writes the groups as a CSV."""
    rows = ({**row, "path": path_to_text(row["path"])} for row in as_rows(found.groups))
    write_csv(file, _COLUMNS, ({**row, "keep": "yes" if row["keep"] else "no"} for row in rows))


def write_html(workspace: Workspace, found: Found, facts: Mapping[str, str], file: Path) -> None:
    """Writes the groups as one HTML file; `facts` say how they were found."""
    titles = {"exact": "The same file", "document": "The same document", "page": "The same page"}
    members = [
        [
            (copy.page, "keep" if place == 0 else f"agreement {copy.agreement:.2f}")
            for place, copy in enumerate(g.copies)
        ]
        for g in found.groups
    ]
    tiles = tile_groups(workspace.sources(), members, most=MOST_PICTURES)
    groups = [
        Group(f"{number}. {titles[group.kind]}, {len(group.copies)} times", group.copies[0].path, own)
        for number, (group, own) in enumerate(zip(found.groups, tiles, strict=True), 1)
    ]
    write_gallery(file, "Duplicates", facts, groups, empty="Nothing is there twice.")
