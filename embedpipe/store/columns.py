"""Parquet and Arrow without pandas, which `pq.read_table`, `pa.array` and `to_numpy` load, and which takes long.

Nor is `pyarrow.compute` loaded for some thousand rows, which tables load for whatever they filter: to make its three
hundred functions takes longer than to look at the rows one by one.
"""

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

_MANY_ROWS = 100_000
"""Of so many rows `pyarrow.compute` finds some sooner, the time to load it included."""

_MANY_RUNS = 1000
"""Of so many runs of rows likewise."""


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


def distinct(column: pa.ChunkedArray) -> list[str]:
    """The distinct texts of a column, in the order of their first rows."""
    if len(column) > _MANY_ROWS:
        return list(column.unique().to_pylist())
    return list(dict.fromkeys(column.to_pylist()))


def rows_with(table: pa.Table, name: str, wanted: Collection[Any], columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Values of some columns of those rows whose column `name` has one of the wanted values, in order.

    Args:
        table: The rows.
        name: Of a column of texts or whole numbers.
        wanted: What it may hold.
        columns: Names of the columns that are given.
    """
    values = table[name]
    if len(values) > _MANY_ROWS:
        import pyarrow.compute as pc  # noqa: PLC0415 - see above

        numeric = pa.types.is_integer(values.type)
        some = pa.array(list(wanted), values.type) if numeric else texts(wanted)
        table = table.filter(pc.is_in(values, some))
    lists = (table[column].to_pylist() for column in columns)
    chosen = (value in wanted for value in table[name].to_pylist())
    return itertools.compress(zip(*lists, strict=True), chosen)


def rows_at(table: pa.Table, places: NDArray[np.int64]) -> pa.Table:
    """Some rows of a table, in the order of their places, (n,)."""
    runs = np.split(places, np.flatnonzero(np.diff(places) != 1) + 1) if len(places) else []
    if len(runs) > _MANY_RUNS:
        return table.take(numbers(places))
    return pa.concat_tables([table.slice(0, 0), *(table.slice(int(run[0]), len(run)) for run in runs)])


def texts_at(column: pa.ChunkedArray, places: NDArray[np.int64]) -> list[str]:
    """The texts in some rows of a column, in the order of their places, (n,)."""
    if len(column) > _MANY_ROWS:
        return list(column.take(numbers(places)).to_pylist())
    values = column.to_pylist()
    return [values[place] for place in places.tolist()]


def by_value(column: pa.ChunkedArray) -> tuple[list[str], NDArray[np.int64]]:
    """The distinct texts of a column in the order of their first rows, and which of them each row has, (n,)."""
    if len(column) <= _MANY_ROWS:
        values = column.to_pylist()
        known = {value: number for number, value in enumerate(dict.fromkeys(values))}
        return list(known), np.fromiter(map(known.__getitem__, values), np.int64, len(values))
    encoded = column.combine_chunks().dictionary_encode()
    return encoded.dictionary.to_pylist(), array_of(encoded.indices).astype(np.int64)
