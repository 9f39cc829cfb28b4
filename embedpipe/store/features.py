"""The feature store: Parquet parts and a manifest. Indexes and classifiers are derived from it.

A part is written aside, synced and renamed, and then listed in the manifest with its hash. Readers see the parts that
the manifest lists, so they always see a consistent state. A part that was renamed but not yet listed when its writer
was killed is adopted by the next writer.
"""

import logging
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedpipe.core.display import text_to_path
from embedpipe.core.errors import ArtifactError, SpaceMismatchError
from embedpipe.core.files import read_json, write_json
from embedpipe.core.records import WHOLE_FILE, Identity, PageFailure, PageRef
from embedpipe.store import part_contents
from embedpipe.store.columns import array_of, by_value, empty, numbers, rows_at, texts, texts_at
from embedpipe.store.failure_table import FAILURES_FILE, key_of, read_failures
from embedpipe.store.parts import (
    COLUMNS,
    ROW_BITS,
    Part,
    aside,
    manifest_format,
    number_after,
    part_files,
    part_number,
    read_columns,
    suspect,
    verify_parts,
)

if TYPE_CHECKING:  # what only counts or looks up pages does without
    import pandas as pd

log = logging.getLogger(__name__)
_MANIFEST = "manifest.json"
_REMEDY = "; move it away and run `embed` again, which lists the parts anew"
_NO_IDS = np.empty(0, np.int64)
_COLUMNS = pa.schema(list(COLUMNS.items()))
_ASIDE = pa.schema({"page_id": pa.int64(), "document_sha256": pa.string(), "standing": pa.string()})


@dataclass(frozen=True, slots=True)
class Lost:
    """Pages whose features a store had and cannot give any more; each comes back when its file is embedded again.

    Attributes:
        pages: Rows of `part_contents.SCHEMA`; neither pages that are there again nor those that are known to fail.
        files: The damaged, put aside or missing parts that they were in.
        counts: How many pages of how many documents were in each of these.
        unread: Parts of which it is not even known which pages they held.
    """

    pages: pa.Table
    files: list[Path] = field(default_factory=list)
    unread: list[Path] = field(default_factory=list)
    counts: list[tuple[int, int]] = field(default_factory=list)


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
            self.next_number = max(int(manifest.get("next_number", 0)), number_after(part.name for part in self.parts))
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"{path / _MANIFEST} is damaged: {type(error).__name__}{_REMEDY}") from error
        self._table: pa.Table | None = None
        self._pages: pd.DataFrame | None = None
        self._standing: Callable[[], Callable[[str, str], str]] | None = None
        self._set_aside = empty(_ASIDE)

    def only_current(self, standing: "Callable[[], Callable[[str, str], str]]") -> Self:
        """The same snapshot, without the pages of documents that are not current.

        Args:
            standing: Gives, when pages are read, what tells the standing of a document from its SHA-256 and source;
                "" if it is current, see `store.sources`.
        """
        self._standing = standing
        self._read_anew()
        return self

    def _read_anew(self) -> None:
        self._table, self._pages = None, None

    def set_aside(self) -> pa.Table:
        """The pages that are stored and not given, for their documents are not current.

        Columns: page_id, document_sha256, standing.
        """
        if self._table is None and self._pages is None:
            self.table()
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
        self.parts, self.damaged = parts, []
        self._read_anew()
        self.next_number = max(self.next_number, number_after(part.name for part in parts))
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
                "parts": [part.as_json() for part in self.parts],
                **manifest_format(self.parts),
            },
        )

    def pages(self) -> "pd.DataFrame":
        """One row per page, without the features, in the order of the parts.

        Columns: page_id, document_sha256, page_index, page_count, source, width, height, ink, outcome, message,
        source_kind ("" where an earlier version stored the page), turned (degrees clockwise, 0 where it was not).
        """
        found = self._pages  # other threads may have it read anew meanwhile
        if found is None:
            found = self._pages = _frame(self.table())
            self._table = None
        return found

    def table(self) -> pa.Table:
        """As `pages`, without pandas, which takes long to load; sources are as `display.path_to_text` writes them."""
        found = self._table
        if found is None:
            tables = [table for part in self.parts if (table := self.read(part, list(COLUMNS))) is not None]
            found = pa.concat_tables([empty(_COLUMNS), *tables])
            found = self._table = found if self._standing is None else self._current(found, self._standing())
        return found

    def _current(self, pages: pa.Table, standing: "Callable[[str, str], str]") -> pa.Table:
        """The pages of documents that are current; notes the others."""
        documents, own = by_value(pages["document_sha256"])
        sources = texts_at(pages["source"], np.unique(own, return_index=True)[1])
        told = [standing(sha256, text_to_path(source)) for sha256, source in zip(documents, sources, strict=True)]
        away = np.flatnonzero(np.array([bool(text) for text in told], bool)[own])
        gone = rows_at(pages.select(["page_id", "document_sha256"]), away)
        self._set_aside = gone.append_column("standing", texts(told[number] for number in own[away].tolist()))
        return rows_at(pages, np.setdiff1d(np.arange(len(pages)), away)) if len(away) else pages

    def batches(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Yields (page ids, features float32 (n, dim)) part by part: the matrix is never whole in memory."""
        aside = array_of(self.set_aside()["page_id"]) if self._standing is not None else _NO_IDS
        for part in self.parts:
            table = self.read(part, ["page_id", "embedding"])
            if table is None:
                continue
            ids, X = array_of(table["page_id"]), self.matrix(table)
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
            ids = array_of(table["page_id"])
            rows = np.searchsorted(ids, page_ids[wanted]).clip(max=len(ids) - 1)
            if not np.array_equal(ids[rows], page_ids[wanted]):
                raise ArtifactError(f"{self.path / part.name} lacks pages that were asked for" if part else "")
            X[wanted] = self.matrix(table)[rows]
        pa.default_memory_pool().release_unused()  # as much again as the features in the parts
        return X

    def pages_of(self, page_ids: NDArray[np.int64]) -> "pd.DataFrame":
        """As `pages`, of some pages, in the order asked for: reads only their parts.

        Raises:
            ArtifactError: A page is not in the store, or its part is damaged.
        """
        found = empty(_COLUMNS)
        if len(page_ids):
            wanted = [part for part in self.parts if part.number in set(page_ids >> ROW_BITS)]
            tables = [table for part in wanted if (table := self.read(part, list(COLUMNS))) is not None]
            table = pa.concat_tables([empty(_COLUMNS), *tables])
            import pyarrow.compute as pc  # noqa: PLC0415 - see `columns`

            places = pc.index_in(numbers(page_ids), table["page_id"])
            if places.null_count:
                raise ArtifactError(
                    f"{places.null_count} pages are missing in {self.path}: run embed again on their files"
                )
            found = table.take(places)
        return _frame(found)

    def raw_features(self, name: str) -> NDArray[np.float16]:
        """All features of a part, as stored, float16 (n, dim); raises ArtifactError where they cannot be read."""
        table = next((self.read(part, ["embedding"]) for part in self.parts if part.name == name), None)
        if table is None:
            raise ArtifactError(f"{self.path / name} cannot be read")
        return self.matrix(table)

    def matrix(self, table: pa.Table) -> NDArray[np.float16]:
        """The features of a table that `read` gave, as stored, float16 (n, dim)."""
        X: NDArray[np.float16] = array_of(table["embedding"].combine_chunks().flatten()).reshape(-1, self.dim)
        return X

    def read(self, part: Part, columns: Sequence[str], *, whole: bool = False) -> pa.Table | None:
        """Reads columns of a part with their checksums; None for a damaged one.

        That is named in a warning and left out of this snapshot as a whole: else some of its columns would be used.

        Args:
            part: Which.
            columns: Their names.
            whole: Also the rows that do not count.
        """
        try:
            table = _as_listed(part, read_columns(self.path / part.name, columns), whole=whole)
            expected = COLUMNS | {"embedding": pa.list_(pa.float16(), self.dim)}
            if {field.name: field.type for field in table.schema} != {name: expected[name] for name in columns}:
                raise ValueError("its columns are not those of a store")  # their description has no checksum
        except (OSError, ValueError, pa.ArrowException) as error:
            log.warning(
                "%s is damaged (%s): its %d pages are left out; run embed again on their files to heal it",
                self.path / part.name,
                str(error).partition("\n")[0][:80],
                part.rows,
            )
            self.parts = [other for other in self.parts if other != part]
            self._read_anew()
            self.damaged.append(part)
            suspect(self.path / part.name)
            return None
        return table

    def lost(self) -> Lost:
        """The pages whose features were lost, as far as parts have been read; see `Lost`."""
        self.set_aside()  # reads the parts
        lost = self._lost_parts()
        if not lost:
            return Lost(empty(part_contents.SCHEMA))
        pages = self.table()
        there = set(zip(pages["document_sha256"].to_pylist(), pages["page_index"].to_pylist(), strict=True))
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
            gone = [row for row in table.to_pylist() if not there & {key_of(row), (row["document_sha256"], WHOLE_FILE)}]
            if standing is not None:
                gone = [row for row in gone if not standing(row["document_sha256"], "")]
            if gone:
                files.append(file)
                counts.append((len(gone), len({row["document_sha256"] for row in gone})))
                rows += gone
                there |= {key_of(row) for row in gone}
        return Lost(pa.Table.from_pylist(rows, part_contents.SCHEMA), files, unread, counts)

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
        file = self.path / FAILURES_FILE
        if not file.exists():
            return []
        try:
            rows = read_failures(file)
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
        problems = verify_parts(self.path, self.listed)
        file = self.path / FAILURES_FILE
        if file.exists():
            try:
                read_failures(file)
            except (OSError, ValueError, pa.ArrowException):
                problems.append(f"{file}: damaged; run `embed` again on all files: those that fail are tried again")
        for number in sorted(part_contents.numbers(self.path)):
            if part_contents.read(self.path, number) is None:
                suspect(part_contents.path_of(self.path, number))
                problems.append(
                    f"{part_contents.path_of(self.path, number)}: damaged; the next `embed` writes it again"
                )
        return problems


def _as_listed(part: Part, table: pa.Table, *, whole: bool) -> pa.Table:
    """The rows of a part that count, with page ids by its number here: one of another store has those of its own."""
    place = table.schema.get_field_index("page_id")
    if part.linked and place >= 0:
        ids = (array_of(table["page_id"]) & ((1 << ROW_BITS) - 1)) | (part.number << ROW_BITS)
        table = table.set_column(place, "page_id", numbers(ids))
    return table if whole else part.counted(table)


def _frame(table: pa.Table) -> "pd.DataFrame":
    """Pages as a data frame; their sources as paths, which Arrow could not hold: not all are UTF-8."""
    import pandas as pd  # noqa: PLC0415 - see `table`

    paths = [text_to_path(text) for text in table["source"].to_pylist()]
    frame: pd.DataFrame = table.to_pandas()
    frame["source"] = pd.Series(paths, frame.index, dtype=object)
    return frame


def unlisted(store: FeatureStore) -> list[Path]:
    """Finished parts that the manifest does not list, as a killed writer leaves them."""
    listed = {part.name for part in store.listed}
    return [file for file in part_files(store.path) if file.name not in listed]
