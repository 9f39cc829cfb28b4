"""The feature store: Parquet parts and a manifest. Indexes and classifiers are derived from it.

A part is written aside, synced and renamed, and then listed in the manifest with its hash. Readers see the parts that
the manifest lists, so they always see a consistent state. A part that was renamed but not yet listed when its writer
was killed is adopted by the next writer.
"""

import contextlib
import hashlib
import json
import logging
import platform
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embedpipe.core.display import path_to_text, text_to_path
from embedpipe.core.errors import ArtifactError, SpaceMismatchError
from embedpipe.core.files import read_json, replacing, sha256_of, write_json
from embedpipe.core.records import WHOLE_FILE, FeatureBatch, Identity, PageFailure, PageRef
from embedpipe.store import part_contents

log = logging.getLogger(__name__)

ROWS_PER_PART = 2048
_ROWS_PER_GROUP = 64
"""Arrow needs about fourteen times the size of a group of rows to write it."""

_PART_NAME = re.compile(r"part-(\d{6})(\.r\d+)?\.parquet")
"""`.rN` marks a part that was written again without some documents. Copies that people make have other names."""

_MANIFEST = "manifest.json"
_REMEDY = "; move it away and run `embed` again, which lists the parts anew"
_FAILURES = "failures.parquet"
_DIGEST = "rows_sha256"
ROW_BITS = 32
"""Of a page id: its number within the part; the rest is the number of the part."""
_COLUMNS = {
    "page_id": pa.int64(),
    "document_sha256": pa.string(),
    "page_index": pa.int32(),
    "page_count": pa.int32(),
    "source": pa.string(),
    "width": pa.float32(),
    "height": pa.float32(),
    "ink": pa.float32(),
    "outcome": pa.string(),
    "message": pa.string(),
    "source_kind": pa.string(),
}
_ADDED = ("source_kind",)
"""Columns that parts of earlier versions lack; they are read as empty texts."""
_FAILURE_COLUMNS = {
    "document_sha256": pa.string(),
    "page_index": pa.int32(),
    "source": pa.string(),
    "kind": pa.string(),
    "message": pa.string(),
}
Key = tuple[str, int]
_NO_IDS = np.empty(0, np.int64)
_ASIDE = ".damaged"
"""Ends the name of what a writer has put aside."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Pages whose features a store had and cannot give any more; each comes back when its file is embedded again.

    Attributes:
        pages: Rows as in `part_contents.SCHEMA`; neither pages that are there again nor those that are known to fail.
        files: The damaged, put aside or missing parts that they were in.
        counts: How many pages of how many documents were in each of these.
        unread: Parts of which it is not even known which pages they held.
    """

    pages: pd.DataFrame
    files: list[Path] = field(default_factory=list)
    unread: list[Path] = field(default_factory=list)
    counts: list[tuple[int, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Part:
    """A finished file of rows, as the manifest lists it; its size and time say whether it has to be hashed again."""

    name: str
    rows: int
    sha256: str
    size: int = -1
    mtime_ns: int = -1

    @classmethod
    def of(cls, file: Path, rows: int, sha256: str, name: str = "") -> "Part":
        """What the manifest records of a file, also under the name that it will have."""
        status = file.stat()
        return cls(name or file.name, rows, sha256, status.st_size, status.st_mtime_ns)

    def is_whole(self, folder: Path) -> bool:
        """Whether its file is as it was written: by size and time, and by its hash where these differ."""
        file = folder / self.name
        try:
            status = file.stat()
        except OSError:
            return False
        same = (status.st_size, status.st_mtime_ns) == (self.size, self.mtime_ns)
        return (same and not _suspicion(file).exists()) or sha256_of(file) == self.sha256

    @property
    def number(self) -> int:
        """The part's number, which also begins its rows' page ids; a part that was written again keeps it."""
        return part_number(self.name)


class FeatureStore:
    """The pages of one space with their features. Open one with `open` or `create`.

    Attributes:
        path: The folder.
        identity: What the features were made with.
        dim: Their width.
        blocks: Where each layer's features lie, as (name, start, stop).
        parts: The parts of this snapshot; those that could not be read are not among them any more.
        damaged: The parts that could not be read.
        next_number: The number of the next part: higher than that of any part there ever was.
    """

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path = path
        try:
            self.identity = Identity.from_json(manifest["identity"])
            self.dim = int(manifest["dim"])
            self.blocks = [(str(n), int(a), int(b)) for n, a, b in manifest["blocks"]]
            self.parts, self.damaged = [Part(**part) for part in manifest["parts"]], list[Part]()
            self.next_number = max(int(manifest.get("next_number", 0)), _after(part.name for part in self.parts))
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"{path / _MANIFEST} is damaged: {type(error).__name__}{_REMEDY}") from error
        self._pages: pd.DataFrame | None = None
        self._standing: Callable[[], Callable[[str, str], str]] | None = None
        self._set_aside = pd.DataFrame({"page_id": np.empty(0, np.int64), "document_sha256": [], "standing": []})

    def only_current(self, standing: "Callable[[], Callable[[str, str], str]]") -> Self:
        """The same snapshot, without the pages of documents that are not current.

        Args:
            standing: Gives, when pages are read, what tells the standing of a document from its SHA-256 and source;
                "" if it is current, see `store.sources`.
        """
        self._standing, self._pages = standing, None
        return self

    def set_aside(self) -> pd.DataFrame:
        """The pages that are stored and not given, for their documents are not current.

        Columns: page_id, document_sha256, standing.
        """
        self.pages()
        return self._set_aside

    @classmethod
    def open(cls, path: Path) -> "FeatureStore":
        """Opens a snapshot; raises ArtifactError where there is none."""
        return cls(path, read_json(path / _MANIFEST, _REMEDY))

    @classmethod
    def create(cls, path: Path, identity: Identity, blocks: Sequence[tuple[str, int, int]]) -> "FeatureStore":
        """Opens the store of an identity, or begins it.

        Raises:
            SpaceMismatchError: The folder holds another identity.
        """
        if (path / _MANIFEST).exists():
            store = cls.open(path)
            if store.identity != identity:
                raise SpaceMismatchError(f"the store {path}", store.identity, identity)
            return store
        manifest = {"identity": identity.to_json(), "dim": blocks[-1][2], "blocks": list(blocks), "parts": []}
        store = cls(path, manifest)
        store.replace_parts([])
        return store

    @property
    def origin(self) -> "FeatureStore":
        """The store whose parts are read."""
        return self

    @property
    def listed(self) -> list[Part]:
        """The parts of this snapshot, also damaged ones."""
        return sorted([*self.parts, *self.damaged], key=lambda part: part.number)

    def replace_parts(self, parts: list[Part]) -> None:
        """Makes these the parts of the store, for the one writer."""
        self.parts, self.damaged, self._pages = parts, [], None
        self.next_number = max(self.next_number, _after(part.name for part in parts))
        libraries = ("embedpipe", "torch", "timm", "torchvision", "pymupdf", "pillow", "pyarrow")
        write_json(
            self.path / _MANIFEST,
            {
                "identity": self.identity.to_json(),
                "space": self.identity.space,
                "dim": self.dim,
                "blocks": self.blocks,
                "versions": {"python": platform.python_version()} | {name: version(name) for name in libraries},
                "next_number": self.next_number,
                "parts": [asdict(part) for part in self.parts],
            },
        )

    def pages(self) -> pd.DataFrame:
        """One row per page, without the features, in the order of the parts.

        Columns: page_id, document_sha256, page_index, page_count, source, width, height, ink, outcome, message,
        source_kind ("" where an earlier version stored the page).
        """
        if self._pages is None:
            tables = [table for part in self.parts if (table := self.read(part, list(_COLUMNS))) is not None]
            empty = pa.schema(list(_COLUMNS.items())).empty_table()
            self._pages = pa.concat_tables([empty, *tables]).to_pandas()
            paths = [text_to_path(text) for text in self._pages["source"]]
            self._pages["source"] = pd.Series(paths, self._pages.index, dtype=object)  # Arrow strings hold only UTF-8
            if self._standing is not None:
                self._pages = self._current(self._pages, self._standing())
        return self._pages

    def _current(self, pages: pd.DataFrame, standing: "Callable[[str, str], str]") -> pd.DataFrame:
        """The pages of documents that are current; notes the others."""
        documents = pages.drop_duplicates("document_sha256")
        told = {s: standing(s, p) for s, p in zip(documents["document_sha256"], documents["source"], strict=True)}
        standings = pages["document_sha256"].map(told).astype(object)
        current = (standings == "").to_numpy(bool)
        aside = pages.loc[~current, ["page_id", "document_sha256"]]
        self._set_aside = aside.assign(standing=standings[~current]).reset_index(drop=True)
        return pages if current.all() else pages[current].reset_index(drop=True)

    def batches(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Yields (page ids, features float32 (n, dim)) part by part: the matrix is never whole in memory."""
        aside = self.set_aside()["page_id"].to_numpy(np.int64) if self._standing is not None else _NO_IDS
        for part in self.parts:
            table = self.read(part, ["page_id", "embedding"])
            if table is None:
                continue
            ids, X = table["page_id"].to_numpy(), self.matrix(table)
            current = ~np.isin(ids, aside) if len(aside) else slice(None)
            if len(ids[current]):
                yield ids[current], X[current].astype(np.float32)

    def features(self, page_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Features of some pages, float32 (len(page_ids), dim), in the order asked for.

        Raises:
            ArtifactError: A page is not in the store, or its part is damaged.
        """
        X = np.empty((len(page_ids), self.dim), np.float32)
        numbers = page_ids >> ROW_BITS
        by_number = {part.number: part for part in self.parts}
        for number in np.unique(numbers):
            wanted = np.flatnonzero(numbers == number)
            part = by_number.get(int(number))
            table = self.read(part, ["page_id", "embedding"]) if part else None
            if table is None:
                raise ArtifactError(f"{len(wanted)} pages are missing in {self.path}: run embed again on their files")
            ids = table["page_id"].to_numpy()
            rows = np.searchsorted(ids, page_ids[wanted]).clip(max=len(ids) - 1)
            if not np.array_equal(ids[rows], page_ids[wanted]):
                raise ArtifactError(f"{self.path / part.name} lacks pages that were asked for" if part else "")
            X[wanted] = self.matrix(table).astype(np.float32)[rows]
        return X

    def pages_of(self, page_ids: NDArray[np.int64]) -> pd.DataFrame:
        """As `pages`, of some pages, in the order asked for: reads only their parts.

        Raises:
            ArtifactError: A page is not in the store, or its part is damaged.
        """
        found = pd.DataFrame(columns=list(_COLUMNS))
        if len(page_ids):
            wanted = [part for part in self.parts if part.number in set(page_ids >> ROW_BITS)]
            tables = [table for part in wanted if (table := self.read(part, list(_COLUMNS))) is not None]
            table = pa.concat_tables([pa.schema(list(_COLUMNS.items())).empty_table(), *tables])
            places = pc.index_in(pa.array(page_ids), table["page_id"])
            if places.null_count:
                raise ArtifactError(
                    f"{places.null_count} pages are missing in {self.path}: run embed again on their files"
                )
            found = table.take(places).to_pandas()
        found["source"] = pd.Series([text_to_path(text) for text in found["source"]], found.index, dtype=object)
        return found

    def raw_features(self, name: str) -> NDArray[np.float16]:
        """All features of a part, as stored, float16 (n, dim); raises ArtifactError where they cannot be read."""
        table = next((self.read(part, ["embedding"]) for part in self.parts if part.name == name), None)
        if table is None:
            raise ArtifactError(f"{self.path / name} cannot be read")
        return self.matrix(table)

    def matrix(self, table: pa.Table) -> NDArray[np.float16]:
        """The features of a table that `read` gave, as stored, float16 (n, dim)."""
        flat = table["embedding"].combine_chunks().flatten()
        X: NDArray[np.float16] = flat.to_numpy(zero_copy_only=False).reshape(-1, self.dim)
        return X

    def read(self, part: Part, columns: Sequence[str]) -> pa.Table | None:
        """Reads columns of a part with their checksums; None for a damaged one.

        That is named in a warning and left out of this snapshot as a whole: else some of its columns would be used.
        """
        try:
            table = _read_columns(self.path / part.name, columns)
            expected = _COLUMNS | {"embedding": pa.list_(pa.float16(), self.dim)}
            if {field.name: field.type for field in table.schema} != {name: expected[name] for name in columns}:
                raise ValueError("its columns are not those of a store")  # their description has no checksum
        except (OSError, ValueError, pa.ArrowException) as error:
            log.warning(
                "%s is damaged (%s): its %d pages are left out; run embed again on their files to heal it",
                self.path / part.name,
                str(error).partition("\n")[0][:80],
                part.rows,
            )
            self.parts, self._pages = [other for other in self.parts if other != part], None
            self.damaged.append(part)
            _suspect(self.path / part.name)
            return None
        return table

    def lost(self) -> Lost:
        """The pages whose features were lost, as far as parts have been read; see `Lost`."""
        pages = self.pages()
        lost = self._lost_parts()
        if not lost:
            return Lost(pd.DataFrame(columns=part_contents.SCHEMA.names))
        there = set(zip(pages["document_sha256"], pages["page_index"].tolist(), strict=True))
        there |= {(failure.page.document_sha256, failure.page.page_index) for failure in self.failures()}
        rows: list[dict[str, Any]] = []
        files, unread, counts = [], [], []
        standing = self._standing() if self._standing is not None else None
        for number, file in lost.items():
            table = part_contents.read(self.path, number)
            table = part_contents.salvage(file) if table is None else table
            if table is None:
                unread.append(file)
                continue
            gone = [row for row in table.to_pylist() if not there & {_key(row), (row["document_sha256"], WHOLE_FILE)}]
            if standing is not None:
                gone = [row for row in gone if not standing(row["document_sha256"], "")]
            if gone:
                files.append(file)
                counts.append((len(gone), len({row["document_sha256"] for row in gone})))
                rows += gone
                there |= {_key(row) for row in gone}
        return Lost(pd.DataFrame(rows, columns=part_contents.SCHEMA.names), files, unread, counts)

    def _lost_parts(self) -> dict[int, Path]:
        """The parts that this snapshot lacks: damaged, put aside, or gone; by number, with their files."""
        found = {number: self.path / f"part-{number:06d}.parquet" for number in part_contents.numbers(self.path)}
        found |= {part_number(file.name): file for file in aside(self.path) if part_number(file.name) >= 0}
        found |= {part.number: self.path / part.name for part in self.damaged}
        whole = {part.number for part in self.parts}
        # parts from this number on are being written by another process
        return {n: file for n, file in sorted(found.items()) if n < self.next_number and n not in whole}

    def failures(self) -> list[PageFailure]:
        """The pages and files without features."""
        file = self.path / _FAILURES
        if not file.exists():
            return []
        try:
            rows = _read_failures(file)
        except (OSError, ValueError, pa.ArrowException):
            log.warning("%s is damaged and ignored: its pages will be tried again", file)
            return []
        failures = [
            PageFailure(
                PageRef(r["document_sha256"], r["page_index"], text_to_path(r["source"])), r["kind"], r["message"]
            )
            for r in rows
        ]
        if self._standing is None:
            return failures
        standing = self._standing()
        pages = ((failure, failure.page) for failure in failures)
        return [f for f, page in pages if not (page.document_sha256 and standing(page.document_sha256, page.source))]

    def verify(self) -> list[str]:
        """Compares every part with the manifest; returns what is wrong, a line each."""
        problems = []
        for part in self.listed:
            file = self.path / part.name
            problem = "" if file.exists() else "missing"
            if not problem and sha256_of(file) != part.sha256:
                problem = "damaged"
            if problem:
                _suspect(file)
                problems.append(f"{file}: {problem} ({part.rows} pages); run `embed` again on their files")
        file = self.path / _FAILURES
        if file.exists():
            try:
                _read_failures(file)
            except (OSError, ValueError, pa.ArrowException):
                problems.append(f"{file}: damaged; run `embed` again on all files: those that fail are tried again")
        for number in sorted(part_contents.numbers(self.path)):
            if part_contents.read(self.path, number) is None:
                _suspect(part_contents.path_of(self.path, number))
                problems.append(
                    f"{part_contents.path_of(self.path, number)}: damaged; the next `embed` writes it again"
                )
        return problems


@dataclass(slots=True)
class _Buffer:
    infos: list[dict[str, Any]] = field(default_factory=list)
    rows: list[NDArray[np.float16]] = field(default_factory=list)


class FeatureWriter:
    """Appends to a store; there must be one at a time (`files.writing`). Call `flush` at the end.

    Args:
        store: Its damaged parts are put aside first, so that their pages are embedded again.
        knobs: Engine, device, precision: recorded in every part.
    """

    def __init__(self, store: FeatureStore, knobs: dict[str, str]) -> None:
        self.store = store
        self._knobs = knobs
        self._buffer = _Buffer()
        self._heal()
        self._keep_contents()
        self._failures: dict[Key | str, PageFailure] = {_failure_key(f): f for f in store.failures()}
        self._failures_changed = False
        pages = store.pages()
        self.page_counts: dict[str, int] = dict(zip(pages["document_sha256"], pages["page_count"], strict=True))
        self.known: dict[str, set[int]] = {}
        for sha256, index in zip(pages["document_sha256"], pages["page_index"], strict=True):
            self.known.setdefault(sha256, set()).add(index)

    def _heal(self) -> None:
        """Puts damaged parts aside and adopts those that a killed writer had finished but not listed.

        A part whose size and time are as noted is hashed only where a reader has found it damaged: on a large store
        that took longer than the run.
        """
        store = self.store
        listed = {part.name for part in store.listed}
        good = []
        for part in store.listed:
            file = store.path / part.name
            whole = part.is_whole(store.path)
            _suspicion(file).unlink(missing_ok=True)
            if whole:
                good.append(Part.of(file, part.rows, part.sha256))
                continue
            log.warning("%s is damaged: put aside; its %d pages are embedded again when met", file, part.rows)
            self._remember(part.number, file)
            if file.exists():
                file.rename(file.with_name(f"{file.name}{_ASIDE}"))
        numbers = {part.number for part in store.listed}
        unlisted = [file for file in _part_files(store.path) if file.name not in listed]
        for file in [file for file in unlisted if part_number(file.name) in numbers]:
            file.unlink()  # what `forget` replaced, or did not come to list
            unlisted.remove(file)
        rows = {file: _readable_rows(file, store.identity.space) for file in unlisted}
        found = {part_number(file.name): file for file, count in rows.items() if count is not None}  # newest last
        good += [Part.of(file, rows[file] or 0, sha256_of(file)) for file in found.values()]
        after = 1 + max(part_contents.numbers(store.path), default=-1)  # also where manifest and last part are gone
        if good != store.listed or after > store.next_number:
            store.next_number = max(after, store.next_number)
            store.replace_parts(good)

    def _remember(self, number: int, file: Path) -> None:
        """Keeps what a damaged part held, where an earlier version did not and it can still be read."""
        if part_contents.read(self.store.path, number) is None:
            rows = part_contents.salvage(file)
            if rows is not None:
                part_contents.write(self.store.path, number, rows)

    def _keep_contents(self) -> None:
        """Keeps what each part holds, where an earlier version or a killed run did not, or the table is damaged."""
        store, known = self.store, part_contents.numbers(self.store.path)
        suspected = [number for number in known if _suspicion(part_contents.path_of(store.path, number)).exists()]
        missing = [part for part in store.parts if part.number not in known or part.number in suspected]
        if missing:
            pages = store.pages()
            owners = pages["page_id"].to_numpy(np.int64) >> ROW_BITS
            for part in missing:
                rows = pages.loc[owners == part.number, part_contents.SCHEMA.names]
                part_contents.write(store.path, part.number, pa.Table.from_pandas(rows, preserve_index=False))
        for number in suspected:
            _suspicion(part_contents.path_of(store.path, number)).unlink(missing_ok=True)

    def documents(self) -> set[str]:
        """SHA-256 of all documents that the store knows: with features, with failures, and those that were lost."""
        failed = {failure.page.document_sha256 for failure in self._failures.values()}
        return {*self.known, *failed, *self.store.lost().pages["document_sha256"]} - {""}

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
                    "message": _as_utf8(info.message),
                    "source_kind": info.source_kind,
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
        self._failures[_failure_key(failure)] = failure
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
            table = store.read(part, [*_COLUMNS, "embedding"])
            if table is None:
                continue  # it may hold the documents: it goes with what is not listed
            kept = table.filter(pc.invert(pc.is_in(table["document_sha256"], pa.array(forgotten, pa.string()))))
            if kept.num_rows == table.num_rows:
                parts.append(part)
                continue
            removed += table.num_rows - kept.num_rows
            parts.append(self._write_table(_revised(part.name, store.path), kept))
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
            rows = [_failure_row(f) for f in self._failures.values()]
            metadata = {_DIGEST: _digest(rows)}
            table = pa.Table.from_pylist(rows, schema=pa.schema(list(_FAILURE_COLUMNS.items()), metadata))
            with replacing(self.store.path / _FAILURES) as temporary:
                pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)
            self._failures_changed = False

    def _write_part(self) -> None:
        store = self.store
        number = max(store.next_number, _after(file.name for file in store.path.glob("part-[0-9]*")))
        name = f"part-{number:06d}.parquet"
        infos = self._buffer.infos
        first_id = number << ROW_BITS
        columns: dict[str, Any] = {"page_id": pa.array(range(first_id, first_id + len(infos)), pa.int64())}
        for column, kind in list(_COLUMNS.items())[1:]:
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
                compression=dict.fromkeys(_COLUMNS, "zstd"),
                use_dictionary=list(_COLUMNS)[1:],
                write_page_checksum=True,
                row_group_size=_ROWS_PER_GROUP,
            )
            return Part.of(temporary, table.num_rows, sha256_of(temporary), name)


def _read_columns(file: Path, columns: Sequence[str]) -> pa.Table:
    """Columns of a part with their checksums, in the order asked for."""
    added = [name for name in _ADDED if name in columns]
    if added:
        there = pq.read_schema(file).names
        added = [name for name in added if name not in there]
    wanted = [name for name in columns if name not in added]
    table = pq.read_table(file, columns=wanted, page_checksum_verification=True)
    for name in added:
        table = table.append_column(name, pa.array([""] * table.num_rows, _COLUMNS[name]))
    return table.select(list(columns)) if added else table


def _failure_key(failure: PageFailure) -> Key | str:
    page = failure.page
    return (page.document_sha256, page.page_index) if page.document_sha256 else page.source


def _failure_row(failure: PageFailure) -> dict[str, Any]:
    page = failure.page
    return {
        "document_sha256": page.document_sha256,
        "page_index": page.page_index,
        "source": path_to_text(page.source),
        "kind": failure.kind,
        "message": _as_utf8(failure.message),
    }


def _digest(rows: list[dict[str, Any]]) -> str:
    """Checksum of failures: those that Parquet makes leave out what describes the table."""
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()


def _read_failures(file: Path) -> list[dict[str, Any]]:
    """Rows of failures.parquet; raises OSError, ValueError or ArrowException where it is damaged."""
    table = pq.read_table(file, page_checksum_verification=True)
    if table.schema.remove_metadata() != pa.schema(list(_FAILURE_COLUMNS.items())):
        raise ValueError("its columns are not those of failures")
    rows: list[dict[str, Any]] = table.to_pylist()
    noted = (table.schema.metadata or {}).get(_DIGEST.encode())
    if noted is not None and noted.decode("ascii", "replace") != _digest(rows):
        raise ValueError("its checksum is not that of its rows")
    return rows


def _as_utf8(message: str) -> str:
    return message.encode("utf-8", "backslashreplace").decode()


def _key(row: Mapping[str, Any]) -> Key:
    return row["document_sha256"], row["page_index"]


def aside(folder: Path) -> list[Path]:
    """What writers have put aside in the folder of a store: damaged parts and manifests."""
    return sorted(folder.glob(f"*{_ASIDE}"))


def unlisted(store: FeatureStore) -> list[Path]:
    """Finished parts that the manifest does not list, as a killed writer leaves them."""
    listed = {part.name for part in store.listed}
    return [file for file in _part_files(store.path) if file.name not in listed]


def part_number(name: str) -> int:
    """Number of a part, also of one that was put aside; -1 for other files."""
    match = _PART_NAME.match(name)
    return int(match[1]) if match else -1


def _suspicion(part: Path) -> Path:
    return part.with_name(f"{part.name}.suspect")


def _suspect(part: Path) -> None:
    """Notes beside a part, where that can be written, that it was found damaged: the next writer is to hash it."""
    with contextlib.suppress(OSError):
        _suspicion(part).touch()


def _after(names: Iterable[str]) -> int:
    """The number after those of some parts."""
    return 1 + max(map(part_number, names), default=-1)


def _revised(name: str, folder: Path) -> str:
    """A name for a part that is written again: none that it has had, for readers may know the old file by it."""
    number = part_number(name)
    revision = 1 + max((_revision(file.name) for file in folder.glob(f"part-{number:06d}*")), default=1)
    return f"part-{number:06d}.r{revision}.parquet"


def _revision(name: str) -> int:
    match = _PART_NAME.match(name)
    return int(match[2][2:]) if match and match[2] else 1


def _part_files(folder: Path) -> list[Path]:
    """Parts, listed or not, by number and revision."""
    files = (file for file in folder.iterdir() if _PART_NAME.fullmatch(file.name))
    return sorted(files, key=lambda file: (part_number(file.name), _revision(file.name)))


def _readable_rows(file: Path, space: str) -> int | None:
    """Rows of a part of this space if it can be read to the end, else None."""
    try:
        table = pq.read_table(file, page_checksum_verification=True)
    except (OSError, ValueError, pa.ArrowException):
        return None
    metadata = table.schema.metadata or {}
    return table.num_rows if metadata.get(b"space") == space.encode() else None
