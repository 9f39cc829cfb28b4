"""The cues of stored pages: read once by render workers, kept in `cues.parquet`, and joined to the features."""

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embedpipe.core.errors import ArtifactError
from embedpipe.core.files import read_json, replacing
from embedpipe.core.machine import render_workers
from embedpipe.core.records import Document, PageImage, Recipe
from embedpipe.pages.cues import CUES, UNKNOWN, as_block
from embedpipe.pages.documents import ReadOptions
from embedpipe.pages.rendering import Job, Renderer, Selection
from embedpipe.store.columns import read
from embedpipe.store.features import FeatureStore
from embedpipe.store.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

Key = tuple[str, int]
_SCHEMA = pa.schema(
    {"document_sha256": pa.string(), "page_index": pa.int32(), "cues": pa.list_(pa.float32(), len(CUES))}
)
_SMALL = Recipe(size=32)  # the picture is not used


def cues_of(workspace: Workspace, keys: Sequence[Key], options: ReadOptions | None = None) -> NDArray[np.float32]:
    """The cues of pages; of those that are not known yet, their documents are read where they were last seen.

    Args:
        workspace: Where cues are kept, and which knows where documents are.
        keys: SHA-256 and index of each page.
        options: How documents are read: limits and passwords.

    Returns:
        float32 (n, len(CUES)); zeros for pages that cannot be read now, which are tried again the next time.
    """
    known = _load(workspace)
    missing = dict.fromkeys(sha256 for sha256, index in keys if (sha256, index) not in known)
    sources = workspace.sources()
    documents = [document for sha256 in missing if (document := sources.document(sha256))]
    if documents:
        known |= _read(documents, options or ReadOptions())
        with contextlib.suppress(ArtifactError), workspace.writing("cues"):  # others may read them again
            _save(workspace, known)
    unknown = sum(key not in known for key in keys)
    if unknown:
        log.warning("the cues of %d pages are not known, for their files are not where they were", unknown)
    return as_block([known.get(key, UNKNOWN) for key in keys])


def is_damaged(workspace: Workspace) -> bool:
    """Whether there is a table that cannot be read."""
    try:
        read(_file(workspace))
    except FileNotFoundError:
        return False
    except (OSError, ValueError, pa.ArrowException):
        return True
    return False


def documents(workspace: Workspace) -> set[str]:
    """SHA-256 of the documents whose cues are kept."""
    return {sha256 for sha256, _ in _load(workspace)}


def forget(workspace: Workspace, sha256s: set[str]) -> None:
    """Removes the cues of documents, for the one writer; a table that cannot be read goes as a whole."""
    known = _load(workspace)
    kept = {key: cues for key, cues in known.items() if key[0] not in sha256s}
    if not known:
        _file(workspace).unlink(missing_ok=True)
    elif len(kept) < len(known):
        _save(workspace, kept)


def _file(workspace: Workspace) -> Path:
    return workspace.root / "cues.parquet"


def _load(workspace: Workspace) -> dict[Key, tuple[float, ...]]:
    """What is known; a damaged table, or one of other cues, is read again from the documents."""
    with contextlib.suppress(OSError, ValueError, pa.ArrowException):
        table = read(_file(workspace))
        if table.schema.remove_metadata() == _SCHEMA and table.schema.metadata == {b"cues": ",".join(CUES).encode()}:
            rows = table.to_pydict()
            keys = zip(rows["document_sha256"], rows["page_index"], strict=True)
            return {key: tuple(cues) for key, cues in zip(keys, rows["cues"], strict=True)}
    return {}


def _save(workspace: Workspace, known: Mapping[Key, tuple[float, ...]]) -> None:
    columns = [[key[0] for key in known], [key[1] for key in known], list(known.values())]
    schema = _SCHEMA.with_metadata({"cues": ",".join(CUES)})
    arrays = [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)]
    with replacing(_file(workspace)) as temporary:
        pq.write_table(pa.table(arrays, schema=schema), temporary, compression="zstd", write_page_checksum=True)


def _read(documents: Sequence[Document], options: ReadOptions) -> dict[Key, tuple[float, ...]]:
    options = ReadOptions(_SMALL, limits=options.limits, passwords=options.passwords, cues=True)
    with Renderer(options, render_workers()) as renderer:
        return {
            (page.info.ref.document_sha256, page.info.ref.page_index): page.info.cues
            for rendered in renderer.render(Job(document, Selection()) for document in documents)
            for page in rendered.results
            if isinstance(page, PageImage)
        }


class CuedStore(FeatureStore):
    """A store whose features have the cues of each page as one more block.

    Args:
        workspace: Where cues are kept.
        store: The features.
    """

    def __init__(self, workspace: Workspace, store: FeatureStore) -> None:
        super().__init__(store.path, read_json(store.path / "manifest.json"))
        self._workspace = workspace
        self._plain = store
        self.dim = store.dim + len(CUES)
        self.blocks = [*store.blocks, ("cues", store.dim, self.dim)]

    @property
    def origin(self) -> FeatureStore:
        """The store whose parts are read."""
        return self._plain

    def pages(self) -> "pd.DataFrame":
        """Those of the store."""
        return self._plain.pages()

    def table(self) -> pa.Table:
        """Those of the store."""
        return self._plain.table()

    def features(self, page_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Features and cues of some pages, float32 (len(page_ids), dim), in the order asked for."""
        return self._joined(page_ids, self._plain.features(page_ids))

    def batches(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Yields (page ids, features and cues) part by part."""
        self.pages()  # parts that cannot be read are left out as a whole
        for page_ids, X in self._plain.batches():
            yield page_ids, self._joined(page_ids, X)

    def _joined(self, page_ids: NDArray[np.int64], X: NDArray[np.float32]) -> NDArray[np.float32]:
        table = self.pages().set_index("page_id").loc[page_ids]
        keys = list(zip(table["document_sha256"], table["page_index"].tolist(), strict=True))
        return np.hstack([X, cues_of(self._workspace, keys)])
