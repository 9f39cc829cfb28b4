"""Kinds of documents that an earlier version stored without: read from their files, and kept in `kinds.parquet`."""

import contextlib
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embedpipe.core.errors import ArtifactError
from embedpipe.core.files import copied, replacing
from embedpipe.core.machine import render_workers
from embedpipe.core.records import Document, PageImage
from embedpipe.pages.documents import ReadOptions
from embedpipe.pages.rendering import Job, Renderer, Selection
from embedpipe.pages.source_kinds import UNKNOWN
from embedpipe.store.columns import read
from embedpipe.store.workspace import Workspace

log = logging.getLogger(__name__)

_SCHEMA = pa.schema({"document_sha256": pa.string(), "source_kind": pa.string()})


def read_kinds(
    workspace: Workspace, documents: Iterable[Document], options: ReadOptions | None = None
) -> dict[str, str]:
    """The kind of the first page of documents, by SHA-256; those that cannot be read now are missing.

    Args:
        workspace: Where kinds are kept, so that a file is looked at once.
        documents: Where they are.
        options: Limits and passwords.
    """
    wanted, given = {document.sha256: document for document in documents}, options or ReadOptions()
    if not wanted:
        return {}
    known = _load(workspace)
    missing = [document for sha256, document in wanted.items() if sha256 not in known]
    if missing:
        known |= _read(missing, ReadOptions(limits=given.limits, passwords=given.passwords))
        with contextlib.suppress(ArtifactError), workspace.writing("kinds"):  # others may read them again
            _save(workspace, known)
    return {sha256: known[sha256] for sha256 in wanted if sha256 in known}


def known_kinds(workspace: Workspace, documents: NDArray[Any], stored: NDArray[Any] | None) -> NDArray[np.object_]:
    """The kind of each labelled page, "" where it cannot be known any more, (n,).

    Of documents that an earlier version stored the first page is read again, and counts for the others.

    Args:
        workspace: Where the documents are.
        documents: SHA-256 of each page's document, (n,).
        stored: Kind of each page as it was stored, (n,); None where none was.
    """
    kinds = np.full(len(documents), UNKNOWN, object) if stored is None else stored.astype(object)
    unknown = kinds == UNKNOWN
    if not unknown.any():
        return kinds
    sources = workspace.sources()
    wanted = np.unique(documents[unknown].astype(str))
    found = read_kinds(workspace, (document for sha256 in wanted if (document := sources.document(sha256))))
    kinds[unknown] = [found.get(sha256, UNKNOWN) for sha256 in documents[unknown]]
    if missing := len(wanted) - len(found):
        log.warning("whether %d labelled documents are scans is not known, for their files are gone", missing)
    return kinds


def copy(workspace: Workspace, aside: Workspace) -> None:
    """Gives a workspace aside what is known of kinds, and where documents are."""
    for name in (_file(workspace).name, "sources.parquet"):
        with contextlib.suppress(FileNotFoundError):
            copied(workspace.root / name, aside.root / name)


def forget(workspace: Workspace, sha256s: set[str]) -> None:
    """Removes the kinds of documents, for the one writer; a table that cannot be read goes as a whole."""
    known = _load(workspace)
    kept = {sha256: kind for sha256, kind in known.items() if sha256 not in sha256s}
    if not known:
        _file(workspace).unlink(missing_ok=True)
    elif len(kept) < len(known):
        _save(workspace, kept)


def _file(workspace: Workspace) -> Path:
    return workspace.root / "kinds.parquet"


def _load(workspace: Workspace) -> dict[str, str]:
    """What is known; a damaged table is read again from the documents."""
    with contextlib.suppress(OSError, ValueError, pa.ArrowException):
        table = read(_file(workspace))
        if table.schema.remove_metadata() == _SCHEMA:
            return dict(zip(*table.to_pydict().values(), strict=True))
    return {}


def _save(workspace: Workspace, known: Mapping[str, str]) -> None:
    columns = [pa.array(list(values), pa.string()) for values in (known.keys(), known.values())]
    with replacing(_file(workspace)) as temporary:
        pq.write_table(pa.table(columns, schema=_SCHEMA), temporary, compression="zstd", write_page_checksum=True)


def _read(documents: list[Document], options: ReadOptions) -> dict[str, str]:
    workers = max(1, min(render_workers(), len(documents)))
    with Renderer(options, workers) as renderer:
        return {
            page.info.ref.document_sha256: page.info.source_kind
            for rendered in renderer.render(Job(document, Selection(((1, 1),))) for document in documents)
            for page in rendered.results
            if isinstance(page, PageImage)
        }
