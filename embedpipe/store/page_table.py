"""What is kept of pages besides their features: tables of Parquet parts, whose rows are known by document and page.

    pages/<table>-<n>.parquet    rows of pages; where a page has several, the one written last counts
    pages/<table>.json           the parts with their SHA-256, and the number of the next one

They do not depend on a network, so all spaces share them, and they outlast the loss of features. A part is written
aside, synced, renamed and then listed, as those of features are; what a kill left unlisted is taken in by the next
writer. A part that cannot be read is left out with a warning: its pages count as not kept, and come back when their
files are met.
"""

import functools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embedpipe.core.errors import ArtifactError
from embedpipe.core.files import read_json, replacing, sha256_of, write_json
from embedpipe.store.columns import array_of, by_value, empty, rows_at
from embedpipe.store.parts import ASIDE, Part, manifest_format, put_aside, suspect, verify_parts

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

Key = tuple[str, int]
"""SHA-256 of the document, and index of the page from 0."""

KEY = {"document_sha256": pa.string(), "page_index": pa.int32()}
POSITION = "position"
ROWS_PER_PART = 2048
_ROWS_PER_GROUP = 64


class PageTable:
    """A table of pages, as it was when it was opened.

    Args:
        folder: Where its parts are; it need not exist.
        name: Begins the names of its files.
        columns: Those beside the key, in their order.

    Attributes:
        parts: Those that are listed and could be read so far.
        damaged: Those that could not.
        next_number: Of the next part: higher than any there ever was.
    """

    def __init__(self, folder: Path, name: str, columns: Mapping[str, pa.DataType]) -> None:
        self.folder, self.name, self.columns = folder, name, dict(columns)
        self.parts: list[Part] = []
        self.damaged: list[Part] = []
        self.next_number = 0
        self._places: pd.DataFrame | None = None
        self._index: pd.MultiIndex | None = None
        self.manifest_damage = ""
        try:
            manifest = read_json(self.manifest)
            self.parts = [Part(**part) for part in manifest["parts"]]
            self.next_number = int(manifest["next_number"])
        except ArtifactError as error:
            if self.manifest.exists():
                self.manifest_damage = str(error)
                log.warning("%s: the next `embed` lists the parts anew", error)
        except (LookupError, TypeError, ValueError):
            self.manifest_damage = f"{self.manifest} is damaged"
            log.warning("%s: the next `embed` lists the parts anew", self.manifest_damage)

    @property
    def manifest(self) -> Path:
        """The file that lists the parts."""
        return self.folder / f"{self.name}.json"

    @property
    def schema(self) -> pa.Schema:
        """Of a part."""
        return pa.schema([*KEY.items(), *self.columns.items()])

    def files(self) -> list[Path]:
        """Parts in the folder, listed or not, by number."""
        return sorted(file for file in self.folder.glob(f"{self.name}-*.parquet") if self.number_of(file) >= 0)

    def number_of(self, file: Path) -> int:
        """Number of a part; -1 for other files."""
        digits = file.name.removeprefix(f"{self.name}-").removesuffix(".parquet")
        return int(digits) if len(digits) == 6 and digits.isdecimal() else -1  # noqa: PLR2004 - as `part_file` writes

    def part_file(self, number: int) -> Path:
        """Where a part is."""
        return self.folder / f"{self.name}-{number:06d}.parquet"

    def places(self) -> "pd.DataFrame":
        """Where the row of each page is: columns document_sha256, page_index, part (position in `parts`), row."""
        import pandas as pd  # noqa: PLC0415 - who only counts does without it

        if self._places is None:
            frames: list[pd.DataFrame] = []
            readable: list[Part] = []
            for part in self.parts:
                table = self._read_part(part, [*KEY])
                if table is None:
                    continue
                frame = table.to_pandas().assign(part=len(readable), row=np.arange(table.num_rows))
                counting = part.counting(table.num_rows)
                frames.append(frame if counting is None else frame[counting])
                readable.append(part)
            self.parts = readable
            empty = pd.DataFrame({"document_sha256": [], "page_index": [], "part": [], "row": []})
            places = pd.concat(frames, ignore_index=True) if frames else empty
            self._places = places.drop_duplicates([*KEY], keep="last", ignore_index=True)
            self._index = pd.MultiIndex.from_frame(self._places[[*KEY]])
        return self._places

    def kept(self) -> dict[str, set[int]]:
        """Page indices that have a row, by document."""
        found: dict[str, set[int]] = {}
        places = self.places()
        for sha256, index in zip(places["document_sha256"], places["page_index"].tolist(), strict=True):
            found.setdefault(sha256, set()).add(int(index))
        return found

    def read(self, keys: Sequence[Key], columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of some pages; those that are not kept are missing.

        Args:
            keys: Which pages.
            columns: Which columns beside the key; None for all.

        Returns:
            The columns with `POSITION` (int64), where in `keys` each row's page is, ascending.
        """
        while True:
            before = len(self.damaged)
            table = self._rows(keys, list(self.columns) if columns is None else list(columns))
            if len(self.damaged) == before:
                return table
            self._places = None  # a part was found damaged just now: once more without it

    def _rows(self, keys: Sequence[Key], columns: list[str]) -> pa.Table:
        places = self.places()
        schema = pa.schema([*((name, self.columns[name]) for name in columns), (POSITION, pa.int64())])
        if not len(keys) or places.empty or self._index is None:
            return schema.empty_table()
        import pandas as pd  # noqa: PLC0415 - likewise

        frame = pd.DataFrame({"document_sha256": [k[0] for k in keys], "page_index": [k[1] for k in keys]})
        found = self._index.get_indexer(pd.MultiIndex.from_frame(frame))
        positions = np.flatnonzero(found >= 0)
        own = places.iloc[found[positions]]
        tables = []
        parts, rows, readable = own["part"].to_numpy(np.int64), own["row"].to_numpy(np.int64), list(self.parts)
        for number in np.unique(parts).tolist():
            table = self._read_part(readable[number], columns, rows[parts == number])
            if table is not None:
                tables.append(table.append_column(POSITION, pa.array(positions[parts == number])))
        whole = pa.concat_tables(tables) if tables else schema.empty_table()
        return whole.sort_by(POSITION).combine_chunks()

    def newest(self, columns: Sequence[str]) -> pa.Table:
        """These columns of every page, of the row written last where a page has several; without pandas."""
        wanted = list(dict.fromkeys([*KEY, *columns]))
        tables = []
        for part in list(self.parts):
            table = self._read_part(part, wanted)
            if table is not None:
                tables.append(part.counted(table))
        if not tables:
            return empty(pa.schema([(name, (KEY | self.columns)[name]) for name in columns]))
        table = pa.concat_tables(tables)
        _, own = by_value(table["document_sha256"])
        keys = own * (1 + int(array_of(table["page_index"]).max(initial=0))) + array_of(table["page_index"])
        _, last = np.unique(keys[::-1], return_index=True)
        return rows_at(table.select(list(columns)), np.sort(len(keys) - 1 - last))

    def _read_part(self, part: Part, columns: list[str], rows: "NDArray[np.int64] | None" = None) -> pa.Table | None:
        """Columns of a part, or of some of its rows, ascending; None, and a note beside it, where it is damaged."""
        file = self.folder / part.name
        try:
            with pq.ParquetFile(file, page_checksum_verification=True) as opened:
                counting = part.counting(opened.metadata.num_rows)
                if part.rows != (opened.metadata.num_rows if counting is None else counting.sum()):
                    raise ValueError("it has other rows than its manifest says")
                if rows is None:
                    return opened.read(columns)
                groups = np.unique(rows // _ROWS_PER_GROUP)
                table = opened.read_row_groups(groups.tolist(), columns)
                within = np.searchsorted(groups, rows // _ROWS_PER_GROUP) * _ROWS_PER_GROUP + rows % _ROWS_PER_GROUP
                return table.take(pa.array(within))
        except (OSError, ValueError, pa.ArrowException) as error:
            reason = str(error).partition("\n")[0]
            log.warning("%s cannot be read (%s): what is kept of its %d pages is left out", file, reason, part.rows)
            suspect(file)
            self.damaged.append(part)
            self.parts = [other for other in self.parts if other != part]
            return None

    def verify(self) -> list[str]:
        """Compares every part with the manifest; returns what is wrong, a line each."""
        damage = [self.manifest_damage] if self.manifest_damage else []
        return [*damage, *verify_parts(self.folder, [*self.parts, *self.damaged])]


class PageTableWriter:
    """Appends rows to a table; there must be one at a time (`files.writing`). Call `flush` at the end.

    Args:
        table: Its damaged parts are put aside first; their pages are kept again when their files are met.
    """

    def __init__(self, table: PageTable) -> None:
        self.table = table
        self._rows: list[dict[str, Any]] = []
        self._heal()

    @functools.cached_property
    def kept(self) -> dict[str, set[int]]:
        """Page indices that have a row, by document."""
        kept = self.table.kept()
        if self.table.damaged:
            self._heal()
        return kept

    def _heal(self) -> None:
        """Puts damaged parts aside and takes in those that a killed writer had finished but not listed."""
        table = self.table
        good = []
        for part in [*table.parts, *table.damaged]:
            whole = part.renewed(table.folder)
            if whole is not None:
                good.append(whole)
                continue
            file = table.folder / part.name
            log.warning("%s is damaged: put aside; what it kept of pages is made again when they are met", file)
            put_aside(file)
        listed = {part.name for part in good}
        for file in (file for file in table.files() if file.name not in listed):
            rows = self._readable_rows(file) if table.number_of(file) >= table.next_number else None
            if rows is None:
                file.unlink()  # what was replaced, or is half written
            else:
                good.append(Part.of(file, rows, sha256_of(file)))
        changed = good != table.parts or bool(table.damaged) or bool(table.manifest_damage)
        after = 1 + max((table.number_of(table.folder / part.name) for part in good), default=-1)
        if changed:
            self.list_parts(sorted(good, key=lambda part: part.name), max(after, table.next_number))

    def _readable_rows(self, file: Path) -> int | None:
        try:
            table = pq.read_table(file, page_checksum_verification=True)
        except (OSError, ValueError, pa.ArrowException):
            return None
        return table.num_rows if table.schema.remove_metadata().equals(self.table.schema) else None

    def list_parts(self, parts: list[Part], next_number: int) -> None:
        """Makes these the parts of the table."""
        table = self.table
        values = {"parts": [part.as_json() for part in parts], "next_number": next_number}
        write_json(table.manifest, values | manifest_format(parts))
        table.parts, table.damaged, table.next_number, table.manifest_damage = parts, [], next_number, ""
        table._places = None  # noqa: SLF001 - its own writer

    def append(self, key: Key, values: Mapping[str, Any]) -> None:
        """Takes the row of a page, in place of one that it has; writes a part when enough have come.

        Args:
            key: Which page.
            values: One for each column.

        Raises:
            ArtifactError: The disk is full or cannot be written; everything before stays.
        """
        self._rows.append({"document_sha256": key[0], "page_index": key[1], **values})
        self.kept.setdefault(key[0], set()).add(key[1])
        if len(self._rows) >= ROWS_PER_PART:
            self.flush()

    def flush(self) -> None:
        """Writes what has come as a part."""
        if not self._rows:
            return
        columns = [pa.array([row[name] for row in self._rows], kind) for name, kind in self._fields()]
        part = self._write(pa.table(columns, schema=self.table.schema))
        self.list_parts([*self.table.parts, part], self.table.next_number + 1)
        self._rows = []

    def _fields(self) -> list[tuple[str, pa.DataType]]:
        return [(field.name, field.type) for field in self.table.schema]

    def _write(self, table: pa.Table) -> Part:
        file = self.table.part_file(self.table.next_number)
        lists = [name for name, kind in self.table.columns.items() if pa.types.is_list(kind)]
        binary = [name for name, kind in self.table.columns.items() if pa.types.is_binary(kind)]
        deltas = {f"{name}.list.element": "DELTA_BINARY_PACKED" for name in lists}  # ascending columns: a third
        plain = dict.fromkeys(binary, "NONE")
        leaves = [f"{name}.list.element" if name in lists else name for name, _ in self._fields()]
        with replacing(file) as temporary:
            pq.write_table(
                table,
                temporary,
                compression={leaf: plain.get(leaf, "zstd") for leaf in leaves},
                use_dictionary=[leaf for leaf in leaves if leaf not in deltas and leaf not in binary],
                column_encoding=deltas or None,
                write_statistics=[*KEY],  # those of pictures would be pictures
                write_page_checksum=True,
                row_group_size=_ROWS_PER_GROUP,
            )
            return Part.of(temporary, table.num_rows, sha256_of(temporary), file.name)

    def forget(self, sha256s: Iterable[str]) -> int:
        """Removes documents: their parts are written again without them, and damaged parts go as a whole.

        Returns:
            How many rows were removed.
        """
        import pyarrow.compute as pc  # noqa: PLC0415 - see `columns`

        self.flush()
        table, forgotten = self.table, pa.array(list(sha256s), pa.string())
        places, parts, removed = table.places(), list(table.parts), 0
        owners, counting = places["part"].to_numpy(np.int64), places["row"].to_numpy(np.int64)
        gone, number = [], table.next_number
        for position, part in enumerate(list(table.parts)):
            rows = table._read_part(part, [*KEY, *table.columns])  # noqa: SLF001 - its own writer
            if rows is None:
                continue
            hit = pc.is_in(rows["document_sha256"], forgotten)
            if not pc.any(hit).as_py():
                continue
            removed += int(pc.sum(hit).as_py())
            # rows that others have replaced go as well: the new part would come after those
            mask = np.zeros(rows.num_rows, bool)
            mask[counting[owners == position]] = True
            kept = rows.filter(pc.and_(pc.invert(hit), pa.array(mask)))
            parts.remove(part)
            gone.append(table.folder / part.name)
            if kept.num_rows:
                table.next_number = number
                parts.append(self._write(kept))
                number += 1
        if gone:
            self.list_parts(parts, number)
        for file in [*gone, *table.folder.glob(f"{table.name}-*{ASIDE}")]:
            file.unlink(missing_ok=True)
        for sha256 in forgotten.to_pylist():
            self.kept.pop(sha256, None)
        return removed

    def documents(self) -> set[str]:
        """SHA-256 of the documents that have rows."""
        return set(self.kept)


def all_rows(
    table: PageTable, columns: Sequence[str], batch: int = ROWS_PER_PART
) -> Iterator[tuple[list[Key], pa.Table]]:
    """Every page of a table with some of its columns, a batch at a time, in the order in which they were written."""
    places = table.places()
    keys = list(zip(places["document_sha256"], places["page_index"].tolist(), strict=True))
    for start in range(0, len(keys), batch):
        own = keys[start : start + batch]
        found = table.read(own, columns)
        yield [own[i] for i in found[POSITION].to_pylist()], found
