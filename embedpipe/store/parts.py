"""The Parquet parts of a store: their columns, names, revisions, and what was put aside."""

import base64
import contextlib
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embedpipe.core.files import sha256_of
from embedpipe.store.columns import read, repeated, rows_at

ROWS_PER_GROUP = 64
"""Arrow needs about fourteen times the size of a group of rows to write it."""
PART_NAME = re.compile(r"part-(\d{6})(\.r\d+)?\.parquet")
"""`.rN` marks a part that was written again without some documents. Copies that people make have other names."""
ROW_BITS = 32
"""Of a page id: its number within the part; the rest is the number of the part."""
COLUMNS = {
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
    "turned": pa.int16(),
}
ADDED: dict[str, str | float] = {"source_kind": "", "turned": 0}
"""Columns that parts of earlier versions lack, and what they are read as."""
_MERGED = ("omitted", "linked")
FORMAT_MERGED = 2
"""Format of manifests that list such parts: earlier versions would count their rows twice."""
ASIDE = ".damaged"
"""Ends the name of what a writer has put aside."""


@dataclass(frozen=True, slots=True)
class Part:
    """A finished file of rows, as the manifest lists it; its size and time say whether it has to be hashed again.

    Attributes:
        name: Of the file.
        rows: How many of its rows count.
        sha256: Of the file.
        size: Bytes.
        mtime_ns: Time of the last change, nanoseconds.
        omitted: Which of its rows do not count, for their pages are in other parts: see `without`. "" for none. So
            stores are merged without writing a part again.
        linked: Whether it was made for another store, and its rows' page ids begin with another number.
    """

    name: str
    rows: int
    sha256: str
    size: int = -1
    mtime_ns: int = -1
    omitted: str = ""
    linked: bool = False

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
        return (same and not suspicion(file).exists()) or sha256_of(file) == self.sha256

    def renewed(self, folder: Path) -> "Part | None":
        """The part with its file's present size and time, for the one writer; None where the file is not whole.

        The note beside it is removed: it has been looked at now.
        """
        whole = self.is_whole(folder)
        suspicion(folder / self.name).unlink(missing_ok=True)
        if not whole:
            return None
        now = Part.of(folder / self.name, self.rows, self.sha256)
        return replace(now, omitted=self.omitted, linked=self.linked)

    def without(self, omitted: NDArray[np.bool_]) -> "Part":
        """The part of which some rows do not count.

        Args:
            omitted: Which rows of the file, (n,); those that did not count before are among them.
        """
        bits = np.packbits(omitted, bitorder="little").tobytes()
        text = base64.b64encode(zlib.compress(bits, 9)).decode("ascii") if omitted.any() else ""
        return replace(self, rows=int((~omitted).sum()), omitted=text)

    def counting(self, rows: int) -> NDArray[np.bool_] | None:
        """Which of the rows of its file count, (rows,); None where all do.

        Raises:
            ValueError: The file has other rows than the manifest says.
        """
        if not self.omitted:
            return None
        bits = np.frombuffer(zlib.decompress(base64.b64decode(self.omitted)), np.uint8)
        if len(bits) != (rows + 7) // 8:
            raise ValueError("it has other rows than its manifest says")
        counting: NDArray[np.bool_] = np.unpackbits(bits, count=rows, bitorder="little") == 0
        return counting

    def counted(self, table: pa.Table) -> pa.Table:
        """The rows of its file that count; raises ValueError as `counting`."""
        counting = self.counting(table.num_rows)
        return table if counting is None else rows_at(table, np.flatnonzero(counting))

    def as_json(self) -> dict[str, Any]:
        """As manifests list it: what merged parts alone have is left out of others, which earlier versions read."""
        values = asdict(self)
        return {name: value for name, value in values.items() if name not in _MERGED or value}

    @property
    def number(self) -> int:
        """The part's number, which also begins its rows' page ids; a part that was written again keeps it."""
        return part_number(self.name)


def verify_parts(folder: Path, parts: Iterable[Part]) -> list[str]:
    """Compares parts with what their manifest says of them, to the last byte; returns what is wrong, a line each."""
    problems = []
    for part in parts:
        file = folder / part.name
        problem = "" if file.exists() else "missing"
        if not problem and sha256_of(file) != part.sha256:
            problem = "damaged"
        if problem:
            suspect(file)
            problems.append(f"{file}: {problem} ({part.rows} pages); run `embed` again on their files")
    return problems


def put_aside(file: Path) -> None:
    """Gives what was found damaged the name of a file that is none of the store's, where it is there at all."""
    if file.exists():
        file.rename(file.with_name(f"{file.name}{ASIDE}"))


def read_columns(file: Path, columns: Sequence[str]) -> pa.Table:
    """Columns of a part with their checksums, in the order asked for."""
    added = [name for name in ADDED if name in columns]
    if added:
        there = pq.read_schema(file).names
        added = [name for name in added if name not in there]
    table = read(file, [name for name in columns if name not in added])
    for name in added:
        table = table.append_column(name, repeated(ADDED[name], COLUMNS[name], table.num_rows))
    return table.select(list(columns)) if added else table


def aside(folder: Path) -> list[Path]:
    """What writers have put aside in the folder of a store: damaged parts and manifests."""
    return sorted(folder.glob(f"*{ASIDE}"))


def manifest_format(parts: Iterable[Part]) -> dict[str, int]:
    """What a manifest says of its format beside that of all manifests, where it lists parts of other stores."""
    return {"format": FORMAT_MERGED} if any(part.omitted or part.linked for part in parts) else {}


def part_number(name: str) -> int:
    """Number of a part, also of one that was put aside; -1 for other files."""
    match = PART_NAME.match(name)
    return int(match[1]) if match else -1


def suspicion(part: Path) -> Path:
    """The file beside a part that says that it was found damaged."""
    return part.with_name(f"{part.name}.suspect")


def suspect(part: Path) -> None:
    """Notes beside a part, where that can be written, that it was found damaged: the next writer is to hash it."""
    with contextlib.suppress(OSError):
        suspicion(part).touch()


def number_after(names: Iterable[str]) -> int:
    """The number after those of some parts."""
    return 1 + max(map(part_number, names), default=-1)


def revised_name(name: str, folder: Path) -> str:
    """A name for a part that is written again: none that it has had, for readers may know the old file by it."""
    number = part_number(name)
    revision = 1 + max((_revision(file.name) for file in folder.glob(f"part-{number:06d}*")), default=1)
    return f"part-{number:06d}.r{revision}.parquet"


def _revision(name: str) -> int:
    match = PART_NAME.match(name)
    return int(match[2][2:]) if match and match[2] else 1


def part_files(folder: Path) -> list[Path]:
    """Parts, listed or not, by number and revision."""
    files = (file for file in folder.iterdir() if PART_NAME.fullmatch(file.name))
    return sorted(files, key=lambda file: (part_number(file.name), _revision(file.name)))


def readable_rows(file: Path, space: str) -> int | None:
    """Rows of a part of this space if it can be read to the end, else None."""
    try:
        table = pq.read_table(file, page_checksum_verification=True)
    except (OSError, ValueError, pa.ArrowException):
        return None
    metadata = table.schema.metadata or {}
    return table.num_rows if metadata.get(b"space") == space.encode() else None
