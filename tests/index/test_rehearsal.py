"""Whatever kind of index is asked for: it finds each page by itself, or one line says that it does not work."""

from collections.abc import Iterator
from pathlib import Path

import faiss
import numpy as np
import pytest
from index.test_page_index import BLOCKS, IDENTITY, features, grow

from embedpipe.core.errors import EmbedpipeError, UsageError
from embedpipe.index import rehearsal
from embedpipe.index.page_index import Request, fresh_index, make
from embedpipe.store.features import FeatureStore

WORKING = [
    *("Flat", "SQ8", "SQ4", "SQfp16", "PQ4x4", "PQ8x4fs", "RaBitQ", "RaBitQfs", "RaBitQ4", "RaBitQfs4", "RR8,Flat"),
    *("HNSW8", "HNSW8,SQ8", "IVF4,Flat", "IVF4,SQ8", "IVF4,PQ4x4", "IVF4,RaBitQ", "IVF4,RaBitQfs", "PCA8,Flat"),
    *("IVF4_HNSW8,Flat", "PCA8,IVF4,SQ8", "PCAR8,IVF4,PQ4x4", "PCAW8,Flat", "L2norm,Flat", "L2norm,PCA8,Flat"),
]
"""Kinds that work over ninety pages in every version of FAISS that may be installed, as far as that has them."""
OTHERS = [
    *("NSG8", "NSG16,Flat", "NSG16,SQ8", "PQ4", "PQ8x4fsr", "HNSW16_4+PQ4", "HNSW16_PQ4", "HNSW8,PQ4", "IVF4,PQ4"),
    *("IMI2x2,Flat", "LSH", "LSHrt", "ITQ,LSHt", "ITQ8,LSH", "IVF4,PQ4+4", "IVF4(IVF2,Flat),Flat", "OPQ4_8,PQ4"),
    *("IVF4(PCA8,Flat),Flat", "RQ2x4", "LSQ2x4", "PRQ2x2x4", "IVF4,RQ2x4", "IVF4,LSQ2x4", "RQ4x4fs", "IVF4,RQ4x4fs"),
    *("PQ4x12", "ZnLattice3x10_6", "IVF4,ZnLattice3x10_6", "Residual2x4", "IDMap,Flat", "IDMap2,Flat", "PQ4,RFlat"),
    *("IVF4,FlatDedup", "FlatPanorama4", "IVF4,FlatPanorama4", "HNSW", "HNSW0", "HNSW-1", "IVF0,Flat", "IVF4", "IVF,"),
    *(
        "PQ",
        "PQ0",
        "PCA0,Flat",
        "PCA8",
        ",",
        "Flat,Flat",
        "IVF4,IVF4,Flat",
        "BFlat",
        "BIVF4",
        "IVF1000,Flat",
        "Pad32,Flat",
    ),
    *(
        "IVF99999999999,Flat",
        "HNSW99999999",
        "PCA999999999,Flat",
        "IVF4_NSG8,Flat",
        "NNDescent8,Flat",
        "SVSVamana32",
        "Flatä",
        " ",
        "flat",
    ),
]
"""Kinds that need more pages, are none, or that FAISS makes and then cannot use."""


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(before)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """Ninety pages in two parts."""
    made = FeatureStore.create(tmp_path / "features", IDENTITY, BLOCKS)
    grow(made, features(60, seed=1), "a1")
    grow(made, features(30, seed=2), "b2")
    return FeatureStore.open(tmp_path / "features")


def finds_itself(store: FeatureStore, folder: Path, factory: str) -> bool:
    """Makes an index, opens it again, lets it follow the store, and asks it for stored pages."""
    make(store, folder, Request(factory))
    grow(store, features(5, seed=3), "c3")
    newer = FeatureStore.open(store.path)
    index = fresh_index(newer, folder)
    ids = newer.pages()["page_id"].to_numpy()
    _, found = index.search(newer.features(ids), 3)
    _, few = index.search(newer.features(ids[:2]), 3, allowed=ids[10:80])
    return bool((found[:, 0] == ids).all()) and bool(np.isin(few, ids[10:80]).all()) and len(index) == len(ids)


@pytest.mark.parametrize("factory", WORKING)
def test_a_kind_that_works(store: FeatureStore, tmp_path: Path, factory: str) -> None:
    """It finds every page by itself, also once it was opened again and has followed the store."""
    try:
        faiss.index_factory(store.dim, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError:
        pytest.skip("this version of FAISS has no such kind")
    assert finds_itself(store, tmp_path / "index", factory)


@pytest.mark.parametrize("factory", OTHERS)
def test_any_other_kind(store: FeatureStore, tmp_path: Path, factory: str) -> None:
    """It finds every page by itself, or one line names what was asked for."""
    said = None
    try:
        assert finds_itself(store, tmp_path / "index", factory)
    except EmbedpipeError as error:
        said = str(error)
    assert said is None or said.startswith(f"--index {factory}: ")
    assert said is None or ("\n" not in said and len(said) < 400)


def test_a_graph_of_all_pages_at_once(tmp_path: Path) -> None:
    """Kinds that take no second part are given all parts together; where too few pages are left, another is built."""
    made = FeatureStore.create(tmp_path / "features", IDENTITY, BLOCKS)
    for number in range(3):
        grow(made, features(60, seed=number), f"{number}a")
    store = FeatureStore.open(tmp_path / "features")
    assert finds_itself(store, tmp_path / "index", "NSG8")
    few = FeatureStore.create(tmp_path / "few", IDENTITY, BLOCKS)
    grow(few, features(60), "a1")
    few = FeatureStore.open(few.path)
    with pytest.raises(UsageError, match=r"^--index NSG8: FAISS cannot use it over 60 pages \(.*\); auto, Flat, "):
        make(few, tmp_path / "other", Request("NSG8"))


def test_a_kind_that_finds_nothing_is_refused(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index that works and answers with other pages is refused."""
    monkeypatch.setattr(rehearsal, "_share", lambda *_: 0.2)
    with pytest.raises(UsageError, match="--index SQ8: finds only 20% of the pages by themselves"):
        make(store, store.path.parent / "index", Request("SQ8"))
