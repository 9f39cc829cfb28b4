"""Which pages each part of a store was written with, kept beside the part: what a damaged part held can be named.

    features/<space>/contents-<n>.parquet   document, page, number of pages and outcome of each row of part n

A table is written after its part and before the manifest lists that; it stays when the part is damaged, put aside or
deleted, and goes only when its documents are forgotten. Tables of parts that are whole are never read.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from embedpipe.core.files import replacing
from embedpipe.store import columns

SCHEMA = pa.schema(
    {"document_sha256": pa.string(), "page_index": pa.int32(), "page_count": pa.int32(), "outcome": pa.string()}
)
_NAME = re.compile(r"contents-(\d{6})\.parquet")


def path_of(folder: Path, number: int) -> Path:
    """Where the contents of a part are."""
    return folder / f"contents-{number:06d}.parquet"


def numbers(folder: Path) -> set[int]:
    """Numbers of the parts whose contents are kept."""
    names = (_NAME.fullmatch(file.name) for file in folder.glob("contents-*"))
    return {int(match[1]) for match in names if match}


def write(folder: Path, number: int, rows: pa.Table) -> None:
    """Keeps the contents of a part.

    Args:
        folder: Of the store.
        number: Of the part.
        rows: With the columns of `SCHEMA`, and maybe others.

    Raises:
        ArtifactError: The disk is full or cannot be written.
    """
    own = rows.select(SCHEMA.names).replace_schema_metadata().cast(SCHEMA)
    with replacing(path_of(folder, number)) as temporary:
        pq.write_table(own, temporary, compression="zstd", write_page_checksum=True)


def read(folder: Path, number: int) -> pa.Table | None:
    """The contents of a part, as `SCHEMA`; None where they are not kept or cannot be read."""
    return salvage(path_of(folder, number))


def salvage(file: Path) -> pa.Table | None:
    """These columns of a table, as `SCHEMA`: of a damaged part others may be torn. None where they cannot be read."""
    try:
        table = columns.read(file, SCHEMA.names)
    except (OSError, ValueError, pa.ArrowException):
        return None
    table = table.replace_schema_metadata()
    return table if table.schema == SCHEMA else None


def forget(folder: Path, sha256s: Iterable[str]) -> None:
    """Removes documents from all tables; one that cannot be read may hold them, and goes as a whole.

    Raises:
        ArtifactError: The disk is full or cannot be written.
    """
    import pyarrow.compute as pc  # noqa: PLC0415 - see `columns`

    forgotten = pa.array(list(sha256s), pa.string())
    for number in numbers(folder):
        table = read(folder, number)
        if table is None:
            path_of(folder, number).unlink(missing_ok=True)
            continue
        kept = table.filter(pc.invert(pc.is_in(table["document_sha256"], forgotten)))
        if kept.num_rows < table.num_rows:
            write(folder, number, kept)
