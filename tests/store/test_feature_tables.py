"""Features for other programs, read back by them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from embedpipe.backbones.building import Backbone
from embedpipe.core.errors import EmbedpipeError
from embedpipe.store.feature_tables import export_features
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import Label, Labels
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.embed import embed


@pytest.fixture
def labelled(tiny: Backbone, make_pdf: Callable[..., Path], workspace: Workspace) -> tuple[FeatureStore, Labels]:
    """Three pages of two documents, one of them labelled."""
    first, second = make_pdf("a.pdf", ["one", "two"]), make_pdf("b.pdf", ["three"])
    embed(workspace, [str(first), str(second)], tiny)
    labels = Labels()
    labels.add([Label(str(workspace.sources().sha256_at(str(first))), "a.pdf", "letter")])
    return workspace.store(), labels


def stored(store: FeatureStore) -> np.ndarray:
    """All features in the order of the pages."""
    return store.features(store.pages()["page_id"].to_numpy(np.int64))


def test_pandas_reads_parquet_and_csv(labelled: tuple[FeatureStore, Labels], tmp_path: Path) -> None:
    """Pages, labels and features come back as they are stored."""
    store, labels = labelled
    assert export_features(store, labels, tmp_path / "f.parquet", "parquet") == 3
    table = pd.read_parquet(tmp_path / "f.parquet")
    np.testing.assert_array_equal(np.stack(table["embedding"].to_numpy()), stored(store))
    assert sorted(table["label"].dropna()) == ["letter", "letter"]
    export_features(store, labels, tmp_path / "f.csv", "csv")
    rows = pd.read_csv(tmp_path / "f.csv")
    np.testing.assert_allclose(rows[[f"f{i}" for i in range(store.dim)]].to_numpy(), stored(store), rtol=1e-6)
    assert rows["page"].tolist() == table["page"].tolist()


def test_numpy_reads_npy_with_its_pages_beside_it(labelled: tuple[FeatureStore, Labels], tmp_path: Path) -> None:
    """The rows of the array are those of the CSV; it can be mapped into memory."""
    store, labels = labelled
    export_features(store, labels, tmp_path / "f.npy", "npy")
    np.testing.assert_array_equal(np.load(tmp_path / "f.npy", mmap_mode="r"), stored(store))
    assert pd.read_csv(tmp_path / "f.pages.csv")["page_id"].tolist() == store.pages()["page_id"].tolist()


def test_polars_reads_them(labelled: tuple[FeatureStore, Labels], tmp_path: Path) -> None:
    """Where polars is installed."""
    polars = pytest.importorskip("polars")
    store, labels = labelled
    export_features(store, labels, tmp_path / "f.parquet", "parquet")
    table = polars.read_parquet(tmp_path / "f.parquet")
    np.testing.assert_array_equal(np.stack(table["embedding"].to_list()), stored(store))


def test_duckdb_reads_them(labelled: tuple[FeatureStore, Labels], tmp_path: Path) -> None:
    """Where DuckDB is installed."""
    duckdb = pytest.importorskip("duckdb")
    store, labels = labelled
    export_features(store, labels, tmp_path / "f.parquet", "parquet")
    file = tmp_path / "f.parquet"
    rows = duckdb.sql(f"select label, count(*), max(len(embedding)) from '{file}' group by label order by 2").fetchall()
    assert rows == [(None, 1, store.dim), ("letter", 2, store.dim)]


def test_an_unknown_format_is_refused(labelled: tuple[FeatureStore, Labels], tmp_path: Path) -> None:
    """The message lists those that there are."""
    with pytest.raises(EmbedpipeError, match="parquet, csv, npy"):
        export_features(*labelled, tmp_path / "f.xls", "xls")
