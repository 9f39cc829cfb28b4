"""The table of pages and files without features, failures.parquet: its rows, keys and checksum."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from embedpipe.core.display import path_to_text
from embedpipe.core.records import PageFailure
from embedpipe.store.columns import read

FAILURES_FILE = "failures.parquet"
DIGEST = "rows_sha256"
FAILURE_COLUMNS = {
    "document_sha256": pa.string(),
    "page_index": pa.int32(),
    "source": pa.string(),
    "kind": pa.string(),
    "message": pa.string(),
}
Key = tuple[str, int]


def key_of(row: Mapping[str, Any]) -> Key:
    """What a row of pages or failures is of."""
    return row["document_sha256"], row["page_index"]


def failure_key(failure: PageFailure) -> Key | str:
    """What a failure is of: a page, or a file that could not be read."""
    page = failure.page
    return (page.document_sha256, page.page_index) if page.document_sha256 else page.source


def failure_row(failure: PageFailure) -> dict[str, Any]:
    """A failure as a row of the table."""
    page = failure.page
    return {
        "document_sha256": page.document_sha256,
        "page_index": page.page_index,
        "source": path_to_text(page.source),
        "kind": failure.kind,
        "message": as_utf8(failure.message),
    }


def digest_of(rows: list[dict[str, Any]]) -> str:
    """Checksum of failures: those that Parquet makes leave out what describes the table."""
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()


def read_failures(file: Path) -> list[dict[str, Any]]:
    """Rows of failures.parquet; raises OSError, ValueError or ArrowException where it is damaged."""
    table = read(file)
    if table.schema.remove_metadata() != pa.schema(list(FAILURE_COLUMNS.items())):
        raise ValueError("its columns are not those of failures")
    rows: list[dict[str, Any]] = table.to_pylist()
    noted = (table.schema.metadata or {}).get(DIGEST.encode())
    if noted is not None and noted.decode("ascii", "replace") != digest_of(rows):
        raise ValueError("its checksum is not that of its rows")
    return rows


def as_utf8(message: str) -> str:
    """A message without what UTF-8 cannot write."""
    return message.encode("utf-8", "backslashreplace").decode()
