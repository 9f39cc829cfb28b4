"""Parquet and Arrow without pandas, which `pq.read_table`, `pa.array` and `to_numpy` load, and which takes long."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray


def read(file: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Columns of a Parquet file with their checksums, in the order asked for; all if not given.

    Raises:
        OSError: It cannot be read.
        ValueError: It lacks a column.
        pa.ArrowException: It is damaged.
    """
    with pq.ParquetFile(file, page_checksum_verification=True) as opened:
        names = opened.schema_arrow.names
        if lacking := [name for name in columns or () if name not in names]:
            raise ValueError(f"it lacks {', '.join(lacking)}")
        table = opened.read(columns)
    return table if columns is None else table.select(list(columns))


def array_of(column: pa.ChunkedArray | pa.Array) -> NDArray[Any]:
    """Numbers of a column without gaps, (n,); not to be written to."""
    if not len(column):
        return np.empty(0, column.type.to_pandas_dtype())
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return np.from_dlpack(whole)


def texts(values: Iterable[str]) -> pa.StringArray:
    """A column of texts."""
    encoded = [value.encode() for value in values]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.StringArray.from_buffers(len(encoded), pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded)))


def numbers(values: NDArray[np.int64]) -> pa.Int64Array:
    """A column of whole numbers, int64 (n,); rows to be taken, for instance."""
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(np.ascontiguousarray(values, np.int64))])


def repeated(value: str | float, kind: pa.DataType, n: int) -> pa.Array:
    """A column of one text or number, n times."""
    if isinstance(value, str):
        return texts([value] * n)
    values = np.full(n, value, kind.to_pandas_dtype())
    return pa.Array.from_buffers(kind, n, [None, pa.py_buffer(values)])


def empty(schema: pa.Schema) -> pa.Table:
    """A table without rows."""
    return pa.Table.from_batches([], schema)


def by_value(column: pa.ChunkedArray) -> tuple[list[str], NDArray[np.int64]]:
    """The distinct texts of a column in the order of their first rows, and which of them each row has, (n,)."""
    if not len(column):
        return [], np.empty(0, np.int64)
    encoded = column.combine_chunks().dictionary_encode()
    return encoded.dictionary.to_pylist(), array_of(encoded.indices).astype(np.int64)
