"""Writes features to a store, part by part, and heals what a killed writer or a failing disk left."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embedpipe.core.display import path_to_text
from embedpipe.core.files import replacing, sha256_of
from embedpipe.core.records import WHOLE_FILE, FeatureBatch, PageFailure
from embedpipe.store import part_contents
from embedpipe.store.failure_table import (
    DIGEST,
    FAILURE_COLUMNS,
    FAILURES_FILE,
    Key,
    as_utf8,
    digest_of,
    failure_key,
    failure_row,
)
from embedpipe.store.features import FeatureStore
from embedpipe.store.joining.healing import heal
from embedpipe.store.parts import COLUMNS, ROW_BITS, ROWS_PER_GROUP, Part, number_after, revised_name, suspicion

log = logging.getLogger(__name__)

ROWS_PER_PART = 2048


@dataclass(slots=True)
class _Buffer:
    infos: list[dict[str, Any]] = field(default_factory=list)
    rows: list[NDArray[np.float16]] = field(default_factory=list)


class FeatureWriter:
    """Appends to a store; there must be one at a time (`files.writing`). Call `flush` at the end.

    Args:
        store: Its damaged parts are put aside first, so that their pages are embedded again.
        knobs: Engine, device, precision, and by what documents were converted: recorded in every part that is written.
    """

    def __init__(self, store: FeatureStore, knobs: dict[str, str]) -> None:
        self.store = store
        self._knobs = knobs
        self._buffer = _Buffer()
        heal(store)
        self._keep_contents()
        self._failures: dict[Key | str, PageFailure] = {failure_key(f): f for f in store.failures()}
        self._failures_changed = False
        pages = store.pages()
        self.page_counts: dict[str, int] = dict(zip(pages["document_sha256"], pages["page_count"], strict=True))
        self.known: dict[str, set[int]] = {}
        for sha256, index in zip(pages["document_sha256"], pages["page_index"], strict=True):
            self.known.setdefault(sha256, set()).add(index)

    def _keep_contents(self) -> None:
        """Keeps what each part holds, where an earlier version or a killed run did not, or the table is damaged."""
        store, known = self.store, part_contents.numbers(self.store.path)
        suspected = [number for number in known if suspicion(part_contents.path_of(store.path, number)).exists()]
        missing = [part for part in store.parts if part.number not in known or part.number in suspected]
        if missing:
            pages = store.pages()
            owners = pages["page_id"].to_numpy(np.int64) >> ROW_BITS
            for part in missing:
                rows = pages.loc[owners == part.number, part_contents.SCHEMA.names]
                part_contents.write(store.path, part.number, pa.Table.from_pandas(rows, preserve_index=False))
        for number in suspected:
            suspicion(part_contents.path_of(store.path, number)).unlink(missing_ok=True)

    def documents(self) -> set[str]:
        """SHA-256 of all documents that the store knows: with features, with failures, and those that were lost."""
        failed = {failure.page.document_sha256 for failure in self._failures.values()}
        return {*self.known, *failed, *self.store.lost().pages["document_sha256"].to_pylist()} - {""}

    def failed(self, key: Key | str) -> PageFailure | None:
        """What is known of the failure of a page, (sha256, index), or of a file that could not be hashed, its path."""
        return self._failures.get(key)

    def unread(self) -> list[str]:
        """Paths of the files that could not be hashed."""
        return [key for key in self._failures if isinstance(key, str)]

    def drop_failures(self, paths: Iterable[str]) -> None:
        """Forgets that some files could not be hashed: they are gone, or can be read now."""
        for path in paths:
            self._failures_changed = bool(self._failures.pop(path, None)) or self._failures_changed

    def failures_of(self, sha256: str) -> list[PageFailure]:
        """All failures of a document."""
        return [f for f in self._failures.values() if f.page.document_sha256 == sha256]

    def append(self, batch: FeatureBatch) -> None:
        """Takes the features of some pages; writes a part when enough have come.

        Raises:
            ArtifactError: The disk is full or cannot be written; everything before stays.
        """
        for info, row in zip(batch.pages, batch.X.astype(np.float16), strict=True):
            ref = info.ref
            self._buffer.infos.append(
                {
                    "document_sha256": ref.document_sha256,
                    "page_index": ref.page_index,
                    "page_count": info.page_count,
                    "source": path_to_text(ref.source),
                    "width": info.width,
                    "height": info.height,
                    "ink": info.ink,
                    "outcome": info.outcome,
                    "message": as_utf8(info.message),
                    "source_kind": info.source_kind,
                    "turned": info.turned,
                }
            )
            self._buffer.rows.append(row)
            for key in ((ref.document_sha256, ref.page_index), (ref.document_sha256, WHOLE_FILE), ref.source):
                if self._failures.pop(key, None):
                    self._failures_changed = True
        if len(self._buffer.rows) >= ROWS_PER_PART:
            self.flush()

    def fail(self, failure: PageFailure) -> None:
        """Records a page, or a file, without features."""
        self._failures[failure_key(failure)] = failure
        self._failures_changed = True

    def forget(self, sha256s: set[str]) -> int:
        """Removes documents: their parts are written again without them, under another name, then listed.

        A kill in between leaves either the old parts or the new ones listed; the next writer removes the others.

        Returns:
            How many pages and failures were removed.
        """
        store, forgotten = self.store, list(sha256s)
        part_contents.forget(store.path, forgotten)
        parts, removed = [], 0
        for part in store.parts:
            table = store.read(part, [*COLUMNS, "embedding"], whole=True)
            if table is None:
                continue  # it may hold the documents: it goes with what is not listed
            hit = pc.is_in(table["document_sha256"], pa.array(forgotten, pa.string()))
            if not pc.any(hit).as_py():
                parts.append(part)
                continue
            counting = part.counting(table.num_rows)
            kept = table.filter(pc.invert(hit) if counting is None else pc.and_(pc.invert(hit), pa.array(counting)))
            removed += part.rows - kept.num_rows
            parts.append(self._write_table(revised_name(part.name, store.path), kept))
        store.replace_parts(parts)
        listed = {part.name for part in parts}
        for file in store.path.glob("part-*"):  # damaged parts that were put aside may hold the documents as well
            if file.name not in listed:
                file.unlink()
        gone = [key for key, failure in self._failures.items() if failure.page.document_sha256 in sha256s]
        for key in gone:
            del self._failures[key]
        self._failures_changed = self._failures_changed or bool(gone)
        self.flush()
        return removed + len(gone)

    def flush(self) -> None:
        """Writes what has come as a part, and the failures."""
        if self._buffer.rows:
            self._write_part()
        if self._failures_changed:
            rows = [failure_row(f) for f in self._failures.values()]
            metadata = {DIGEST: digest_of(rows)}
            table = pa.Table.from_pylist(rows, schema=pa.schema(list(FAILURE_COLUMNS.items()), metadata))
            with replacing(self.store.path / FAILURES_FILE) as temporary:
                pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)
            self._failures_changed = False

    def _write_part(self) -> None:
        store = self.store
        number = max(store.next_number, number_after(file.name for file in store.path.glob("part-[0-9]*")))
        name = f"part-{number:06d}.parquet"
        infos = self._buffer.infos
        first_id = number << ROW_BITS
        columns: dict[str, Any] = {"page_id": pa.array(range(first_id, first_id + len(infos)), pa.int64())}
        for column, kind in list(COLUMNS.items())[1:]:
            columns[column] = pa.array([info[column] for info in infos], kind)
        flat = pa.array(np.concatenate(self._buffer.rows))
        columns["embedding"] = pa.FixedSizeListArray.from_arrays(flat, store.dim)
        table = pa.table(columns).replace_schema_metadata({"space": store.identity.space, **self._knobs})
        part = self._write_table(name, table)
        part_contents.write(store.path, number, table)
        store.replace_parts([*store.listed, part])
        self._buffer = _Buffer()

    def _write_table(self, name: str, table: pa.Table) -> Part:
        with replacing(self.store.path / name) as temporary:
            pq.write_table(
                table,
                temporary,
                compression=dict.fromkeys(COLUMNS, "zstd"),
                use_dictionary=list(COLUMNS)[1:],
                write_page_checksum=True,
                row_group_size=ROWS_PER_GROUP,
            )
            return Part.of(temporary, table.num_rows, sha256_of(temporary), name)
