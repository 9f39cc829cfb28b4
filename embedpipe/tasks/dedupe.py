"""Documents and pages that are there more than once: exact copies, and pages saved again or scanned twice.

Candidates come from the index, as the nearest pages above a cosine; then the pictures decide (`verification`), since
one form filled twice has nearly the same features. Nothing is ever deleted.
"""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from embedpipe.core.display import path_to_text
from embedpipe.core.records import PARTIAL, SAYS_NOTHING, PageRef
from embedpipe.core.tables import write_csv
from embedpipe.drawing.galleries import MOST_PICTURES, Group, write_gallery
from embedpipe.drawing.tiles import tile_groups
from embedpipe.index.page_index import PageIndex, fresh_index
from embedpipe.index.same_page.agreement import SAME_PICTURE
from embedpipe.index.same_page.verification import Verified, verify
from embedpipe.store.features import FeatureStore
from embedpipe.store.workspace import Sources, Workspace

CANDIDATE = 0.8
"""Cosine from which the pictures of two pages are compared: nearly all pages that were saved or scanned again."""

NEAREST = 100
"""Near pages of each page that are taken at most, those of its own document included: a million copies of one form do
not make a million times a million pairs."""

_FEW = 200
"""Among fewer pages every near one is a candidate: the scaling of so few says nothing about cosines."""

RULE = (
    "of identical files one with several names, then the oldest; else the page of the longest document, a PDF before a "
    "picture, then the largest page, the oldest file, the shortest path"
)
"""Which copy of a group is the one to keep."""

_KILOBYTES = 10_000
"""Bytes from which a size is given in megabytes."""

COLUMNS = ("group", "kind", "keep", "path", "page", "agreement")
"""Of the CSV."""


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
        candidates: Pairs of pages that the index named.
        compared: Those that were looked at closely; the others are one already, or their sketches differ.
        not_compared: Those that could not be, since a file is gone, was changed, or cannot be rendered.
        unreadable: Pages of the latter.
        blank: Pages with nothing on them; they are in no group.
        nearly_blank: Pages with next to nothing on them; they are the same only where all pixels are.
        stand_ins: Pages of documents that have more than their pages show, which makes nobody's copies; in no group.
        other_names: Further paths of files in groups of exact copies: hard links, links, folders under two names.
        cut: Pages with more than `NEAREST` candidates, of which only so many were taken.
    """

    groups: list[Duplicates] = field(default_factory=list)
    candidates: int = 0
    compared: int = 0
    not_compared: int = 0
    unreadable: int = 0
    blank: int = 0
    nearly_blank: int = 0
    cut: int = 0
    stand_ins: int = 0
    other_names: int = 0


def find(workspace: Workspace, store: FeatureStore, *, same_picture: float = SAME_PICTURE) -> Found:
    """Finds exact copies, and near-duplicates among the documents and pages of a store.

    The answer does not depend on the order in which documents were embedded, but where candidates are cut or estimated.

    Args:
        workspace: Where the documents and the index are.
        store: The features.
        same_picture: Least agreement of the pictures of two pages that count as one.
    """
    sources = workspace.sources()
    index = fresh_index(store, workspace.index_path(store.identity.space))
    pages = store.pages().sort_values(["document_sha256", "page_index"], ignore_index=True)
    pairs, cut = candidates(store, index, pages)
    keys = list(zip(pages["document_sha256"], pages["page_index"].tolist(), strict=True))
    verified = verify(workspace, keys, pairs, same_picture=same_picture)
    roots, least = verified.groups.roots(), _best_agreement(verified, len(pages))
    alike = _same_documents(pages, roots)
    exact, other_names = _exact_copies(sources)
    return Found(
        [
            *exact,
            *_document_groups(sources, pages, alike, least),
            *_page_groups(sources, pages, roots, alike, least),
        ],
        candidates=len(pairs),
        compared=verified.compared,
        not_compared=verified.not_compared,
        unreadable=len(verified.unreadable),
        blank=int((pages["outcome"] == "blank").sum()),
        nearly_blank=len(verified.nearly_blank),
        cut=cut,
        stand_ins=int(pages["outcome"].isin(PARTIAL).sum()) + len(verified.stand_ins),
        other_names=other_names,
    )


def _exact_copies(sources: Sources) -> tuple[list[Duplicates], int]:
    """Files of the same content, each named by its shortest path, and how many other paths lead to them.

    Paths that lead to one file are no copies: whoever removed one would remove the file, or a name that costs nothing.
    A file with several names is kept before one with a single name.
    """
    groups, more = [], 0
    for files in sources.copies():
        named = [min(names, key=lambda document: (len(document.path), document.path)) for names in files]
        order = sorted(
            zip(files, named, strict=True), key=lambda f: (len(f[0]) == 1, f[1].mtime_ns, len(f[1].path), f[1].path)
        )
        copies = [Copy(PageRef(d.sha256, 0, d.path), d.path, 1.0) for _, d in order]
        groups.append(Duplicates("exact", tuple(copies)))
        more += sum(map(len, files)) - len(files)
    return groups, more


def candidates(store: FeatureStore, index: PageIndex, pages: pd.DataFrame) -> tuple[NDArray[np.int64], int]:
    """Pairs of pages of different documents with nearly the same features, by the index.

    Args:
        store: The features.
        index: Of the store.
        pages: Its pages.

    Returns:
        Rows of `pages`, (m, 2), the smaller one first and in ascending order, and how many pages had more than
        `NEAREST` candidates.
    """
    n = len(pages)
    row_of = pd.Series(np.arange(n), pages["page_id"].to_numpy())
    document = pd.factorize(pages["document_sha256"])[0]
    written = ~pages["outcome"].isin((*SAYS_NOTHING, *PARTIAL)).to_numpy(bool)
    pairs, cut = [np.empty(0, np.int64)], 0
    for page_ids, X in store.batches():
        own = row_of[page_ids].to_numpy(np.int64)
        ids, more = index.near(X[written[own]], NEAREST + 1, CANDIDATE if n >= _FEW else -1.1)
        cut += int(more.sum())
        queries = own[written[own]].repeat((ids >= 0).sum(axis=1))
        others = row_of[ids[ids >= 0]].to_numpy(np.int64)
        wanted = (document[queries] != document[others]) & written[others]
        queries, others = queries[wanted], others[wanted]
        pairs.append(np.unique(np.minimum(queries, others) * n + np.maximum(queries, others)))
    return np.column_stack(np.divmod(np.unique(np.concatenate(pairs)), max(n, 1))), cut


def _best_agreement(verified: Verified, n: int) -> NDArray[np.float64]:
    """The best agreement of each page with another of its group, (n,)."""
    best = np.zeros(n)
    for pair, value in verified.agreements.items():
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
    """Groups of pages; of documents that are the same, only one counts, since they are reported already."""
    told = {sha256 for first, members in documents.items() for sha256 in members if sha256 != first}
    new = np.flatnonzero(~pages["document_sha256"].isin(told).to_numpy(bool))
    members = pd.Series(new).groupby(groups[new]).agg(list)
    found = []
    for rows in members[members.map(len) > 1]:
        if len(set(pages["document_sha256"].iloc[rows])) == 1:
            continue  # pages of one document were not compared, but for those with the same pixels
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


def left_out(found: Found) -> list[str]:
    """What was not compared, and why, a line for each reason."""
    lines = {
        f"{found.other_names} more paths lead to files that are listed: they are no copies, and not listed": (
            found.other_names
        ),
        f"{found.unreadable} pages could not be drawn, and {found.not_compared} pairs were not compared: a file is "
        "gone, was changed since `embed`, or cannot be rendered": found.unreadable,
        f"{found.blank} blank pages are in no group": found.blank,
        f"{found.nearly_blank} pages are nearly blank: they count as one only where all pixels are equal": (
            found.nearly_blank
        ),
        f"{found.stand_ins} pages stand for more than they show (dynamic forms, portfolios, covers of embedded files): "
        "they are in no group": found.stand_ins,
        f"{found.cut} pages have more than {NEAREST} near ones, of which only the nearest were compared": found.cut,
    }
    return [line for line, count in lines.items() if count]


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
    write_csv(file, COLUMNS, ({**row, "keep": "yes" if row["keep"] else "no"} for row in rows))


def write_html(workspace: Workspace, found: Found, facts: Mapping[str, str], file: Path) -> None:
    """Writes the groups as one HTML file; `facts` say how they were found."""
    titles = {"exact": "The same file", "document": "The same document", "page": "The same page"}
    members = [
        [
            (copy.page, _said("keep" if place == 0 else f"agreement {copy.agreement:.2f}", copy.path))
            for place, copy in enumerate(g.copies)
        ]
        for g in found.groups
    ]
    tiles = tile_groups(workspace, members, most=MOST_PICTURES)
    groups = [
        Group(f"{number}. {titles[group.kind]}, {len(group.copies)} times", group.copies[0].path, own)
        for number, (group, own) in enumerate(zip(found.groups, tiles, strict=True), 1)
    ]
    write_gallery(file, "Duplicates", facts, groups, empty="Nothing is there twice.")


def _said(what: str, path: str) -> str:
    """A copy with its size, its date and its folder; only the folder where it is gone."""
    facts = [what]
    with contextlib.suppress(OSError):
        status = os.stat(path)
        day = time.strftime("%Y-%m-%d", time.localtime(status.st_mtime))
        facts += [f"{status.st_size / 1e6:.2f} MB" if status.st_size >= _KILOBYTES else f"{status.st_size} bytes", day]
    return ", ".join([*facts, f"in {os.path.dirname(path)}"])
