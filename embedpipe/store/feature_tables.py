"""Features with their pages and labels for pandas, polars and DuckDB: Parquet, CSV or npy, written part by part."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embedpipe.core.display import path_to_text
from embedpipe.core.errors import UsageError
from embedpipe.core.outputs import MAKER, pages_file, written
from embedpipe.core.tables import guard
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import Labels

_SCHEMA = {
    "page_id": pa.int64(),
    "document_sha256": pa.string(),
    "path": pa.string(),
    "page": pa.int32(),
    "page_count": pa.int32(),
    "width": pa.float32(),
    "height": pa.float32(),
    "ink": pa.float32(),
    "outcome": pa.string(),
    "label": pa.string(),
    "group": pa.string(),
}
COLUMNS = tuple(_SCHEMA)
"""Of each page, before its features."""


def export_features(store: FeatureStore, labels: Labels, file: Path, file_format: str) -> int:
    """Writes every page with its features; the matrix is never whole in memory.

    Args:
        store: The features.
        labels: Give the columns `label` and `group`.
        file: Replaced in one step. For npy the pages go to a CSV beside it, in the order of the rows.
        file_format: A key of `FORMATS`.

    Returns:
        How many pages were written.

    Raises:
        ArtifactError: The file cannot be written.
        UsageError: The format is unknown.
    """
    if file_format not in FORMATS:
        raise UsageError(f"--format {file_format}: write joblib, {', '.join(FORMATS)}")
    return FORMATS[file_format](store, labels, file)


def _described(store: FeatureStore, labels: Labels) -> pd.DataFrame:
    """Pages by id, with what people know of them."""
    pages = store.pages()
    known = labels.of_pages(pages)
    described = pages.assign(
        page=pages["page_index"] + 1,
        path=[path_to_text(source) for source in pages["source"]],
        label=known["label"],
        group=known["group"],
    )
    return described.set_index("page_id", drop=False)[list(COLUMNS)]


def _parquet(store: FeatureStore, labels: Labels, file: Path) -> int:
    described, rows = _described(store, labels), 0
    schema = pa.schema([*_SCHEMA.items(), ("embedding", pa.list_(pa.float32(), store.dim))], {MAKER: "features"})
    with written(file) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for page_ids, X in store.batches():
            own = described.loc[page_ids]
            columns: dict[str, Any] = {
                name: pa.array(own[name].tolist(), kind, from_pandas=True) for name, kind in _SCHEMA.items()
            }
            columns["embedding"] = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), store.dim)
            writer.write_table(pa.table(columns, schema=schema))
            rows += len(X)
    return rows


def _csv(store: FeatureStore, labels: Labels, file: Path) -> int:
    names = [f"f{number}" for number in range(store.dim)]
    return _write_rows(store, labels, file, names, lambda X: X)


def _npy(store: FeatureStore, labels: Labels, file: Path) -> int:
    rows = sum(len(page_ids) for page_ids, _ in store.batches())
    with written(file) as temporary, open(temporary, "wb") as whole:
        header = {"descr": "<f4", "fortran_order": False, "shape": (rows, store.dim)}
        np.lib.format.write_array_header_1_0(whole, header)
        whole.writelines(np.ascontiguousarray(X, "<f4").tobytes() for _, X in store.batches())
    return _write_rows(store, labels, pages_file(file), [], lambda X: X[:, :0])


def _write_rows(
    store: FeatureStore,
    labels: Labels,
    file: Path,
    names: list[str],
    values: Callable[[NDArray[np.float32]], NDArray[np.float32]],
) -> int:
    described, rows = _described(store, labels), 0
    with written(file) as temporary, open(temporary, "w", encoding="utf-8", newline="") as table:
        writer = csv.writer(table)
        writer.writerow([*described.columns, *names])
        for page_ids, X in store.batches():
            for page, row in zip(described.loc[page_ids].itertuples(index=False), values(X).tolist(), strict=True):
                known = (guard(cell) if isinstance(cell, str) else cell for cell in page)
                writer.writerow([*("" if pd.isna(cell) else cell for cell in known), *row])
            rows += len(X)
    return rows


FORMATS: dict[str, Callable[[FeatureStore, Labels, Path], int]] = {"parquet": _parquet, "csv": _csv, "npy": _npy}
"""How features are written."""
