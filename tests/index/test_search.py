"""Every kind of index finds what exact search finds, as far as it says, with filters and without."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from embedpipe.core.records import FeatureBatch, Identity, PageInfo, PageRef, Recipe
from embedpipe.index import page_index as module
from embedpipe.index import search
from embedpipe.index.page_index import PageIndex, Request, build, fresh_index, make
from embedpipe.index.plans import inner
from embedpipe.index.tuning import Truth
from embedpipe.store.feature_writer import FeatureWriter
from embedpipe.store.features import FeatureStore

DIM, PAGES, K = 32, 3000, 10
IDENTITY = Identity("made_up", "ab" * 32, Recipe(), ("all",))
KINDS = ("HNSW16", "IVF16,Flat", "PCA16,IVF16,SQ8", "OPQ4_16,IVF16,PQ4x4", "PQ8x4fs", "PCAR24,HNSW16_SQ8", "SQ8")


def features(n: int, seed: int) -> NDArray[np.float32]:
    """Pages around sixty layouts."""
    rng = np.random.default_rng(seed)
    layouts = np.random.default_rng(0).normal(1, 1, (60, DIM))
    return (layouts[rng.integers(60, size=n)] + 0.5 * rng.normal(size=(n, DIM))).astype(np.float16).astype(np.float32)


def refs(n: int) -> list[PageRef]:
    """Ten pages a document."""
    return [PageRef(f"{number // 10:064x}", number % 10, f"/{number // 10}.pdf") for number in range(n)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """A store of three parts."""
    made = FeatureStore.create(tmp_path_factory.mktemp("store"), IDENTITY, [("all", 0, DIM)])
    writer, X, pages = FeatureWriter(made, {}), features(PAGES, 1), refs(PAGES)
    for first in range(0, PAGES, 1000):
        here = slice(first, first + 1000)
        writer.append(FeatureBatch(tuple(PageInfo(p, 10, 595.0, 842.0, 0.1) for p in pages[here]), X[here]))
        writer.flush()
    return FeatureStore.open(made.path)


@pytest.fixture(scope="module")
def index_of(store: FeatureStore, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], PageIndex]:
    """Indexes by factory, saved and opened again, each made once."""
    made: dict[str, PageIndex] = {}

    def one(factory: str) -> PageIndex:
        if factory not in made:
            folder = tmp_path_factory.mktemp("index")
            make(store, folder, Request(factory, recall=0.95))
            made[factory] = fresh_index(store, folder)
            assert made[factory].segments[0].files
        return made[factory]

    return one


def recall(index: PageIndex, store: FeatureStore, Q: NDArray[np.float32], found: Any, among: Any = None) -> float:
    """Share of the nearest pages, by numpy, that were found."""
    ids = np.concatenate([ids for ids, _ in store.batches()])
    cosines = index.unit(Q) @ np.concatenate([index.unit(X) for _, X in store.batches()]).T
    if among is not None:
        cosines[:, ~np.isin(ids, among)] = -2
    nearest = ids[np.argsort(-cosines, axis=1)[:, :K]]
    return float(np.mean([np.isin(near, those).mean() for near, those in zip(nearest, found, strict=True)]))


@pytest.mark.parametrize("factory", KINDS)
def test_every_kind_keeps_its_word(factory: str, store: FeatureStore, index_of: Callable[[str], PageIndex]) -> None:
    """The recall on new pages is what the index measured of itself; cosines are exact whatever it keeps."""
    index, Q = index_of(factory), features(1000, 2)  # of 200, chance alone moves the recall by 0.02
    assert index.setting.factory == factory
    cosines, found = index.search(Q, K)
    assert index.setting.recall >= 0.95
    assert recall(index, store, Q, found) >= index.setting.recall - 0.03
    exact, good = index.exact_rows(found[:, 0])
    assert good.all()
    np.testing.assert_allclose(cosines[:, 0], (exact * index.unit(Q)).sum(axis=1), atol=1e-5)
    assert (np.diff(cosines, axis=1) <= 0).all()


@pytest.mark.parametrize("factory", KINDS)
def test_filters_do_not_break_the_recall(
    factory: str, store: FeatureStore, index_of: Callable[[str], PageIndex], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Among a part of the pages, or without some, as many of the nearest are found as among all."""
    monkeypatch.setattr(search, "_EXACT_PAGES", 100)  # else so few pages are all compared
    index, Q = index_of(factory), features(100, 3)
    allowed = index.page_ids[::7]
    found = index.search(Q, K, allowed=allowed)[1]
    assert found.shape == (100, K)
    assert np.isin(found, allowed).all()
    assert recall(index, store, Q, found, allowed) >= 0.93
    for excluded in (index.page_ids[:50], index.page_ids[:1000]):  # dropped from what is found, and masked
        found = index.search(Q, K, excluded=excluded)[1]
        assert not np.isin(found, excluded).any()
        assert recall(index, store, Q, found, np.setdiff1d(index.page_ids, excluded)) >= 0.93


@pytest.mark.parametrize("factory", ["IVF16,Flat", "PCA16,IVF16,SQ8", "HNSW16"])
def test_few_allowed_pages_are_all_compared(
    factory: str, store: FeatureStore, index_of: Callable[[str], PageIndex]
) -> None:
    """Among few pages, wherever they lie, the answer is exact, and more than there are cannot be had."""
    index, Q = index_of(factory), features(20, 4)
    allowed = np.r_[index.page_ids[::60], np.int64(10**15)]
    assert recall(index, store, Q, index.search(Q, K, allowed=allowed)[1], allowed) == 1
    assert index.search(Q, 70, allowed=allowed)[1].shape == (20, 50)


@pytest.mark.parametrize("factory", ["Flat", "HNSW16", "PCA16,IVF16,SQ8"])
def test_a_range_search_finds_the_near_pages(
    factory: str, store: FeatureStore, index_of: Callable[[str], PageIndex]
) -> None:
    """A kind that is not exact finds nearly all pages above a cosine, and none below it."""
    index, Q = index_of(factory), features(40, 5)
    limits, cosines, found = index.range_search(Q, 0.75)
    exact = index.unit(Q) @ np.concatenate([index.unit(X) for _, X in store.batches()]).T
    assert (cosines >= 0.75).all()
    assert limits[-1] == len(found)
    assert len(found) > 40
    assert len(found) >= 0.95 * (exact >= 0.75).sum()


def test_inverted_lists_stay_on_the_disk(index_of: Callable[[str], PageIndex]) -> None:
    """An opened index maps its lists; they need no memory of the process."""
    core = inner(index_of("IVF16,Flat").segments[0].faiss_index)
    assert isinstance(faiss.downcast_InvertedLists(core.invlists), faiss.OnDiskInvertedLists)


def test_ids_of_documents_come_in_the_order_of_pages(store: FeatureStore, index_of: Callable[[str], PageIndex]) -> None:
    """Documents are found by hash without reading the table of pages, and rows of pages by id."""
    index = index_of("Flat")
    ids = index.pages_of_documents([f"{7:064x}", f"{10**6:064x}", f"{3:064x}"])
    rows = store.pages_of(ids)
    assert rows["document_sha256"].tolist() == [f"{7:064x}"] * 10 + [f"{3:064x}"] * 10
    assert rows["page_index"].tolist() == [*range(10), *range(10)]


def test_a_damaged_row_is_left_out(store: FeatureStore, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Features that were changed after the index was made are noticed by their checksum and never ranked."""
    copied = FeatureStore.create(tmp_path / "store", IDENTITY, [("all", 0, DIM)])
    writer, X = FeatureWriter(copied, {}), features(200, 6)
    writer.append(FeatureBatch(tuple(PageInfo(p, 10, 595.0, 842.0, 0.1) for p in refs(200)), X))
    writer.flush()
    index = build(copied, Request("SQ8"))
    part = copied.path / copied.parts[0].name
    content = bytearray(part.read_bytes())
    content[int(index.spans[0].offsets[0]) + 2 * DIM * 5] ^= 1
    part.write_bytes(content)
    found = index.search(X[5:6], 50)[1]
    assert index.page_ids[5] not in found
    assert "left out" in caplog.text


def test_the_matrix_is_never_whole_in_memory(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build takes the store part by part: FAISS is never given more rows than a part has."""
    given: list[int] = []
    original = module.SegmentBuilder.add

    def add(builder: Any, unit: NDArray[np.float32], *columns: Any) -> None:
        given.append(len(unit))
        original(builder, unit, *columns)

    monkeypatch.setattr(module.SegmentBuilder, "add", add)
    monkeypatch.setattr(FeatureStore, "features", None)
    monkeypatch.setattr(FeatureStore, "batches", None)
    build(store, Request("IVF16,SQ8"))
    *rehearsed, first, second, third = given  # before the build, an index of few pages is tried
    assert (first, second, third) == (1000, 1000, 1000)
    assert max(rehearsed, default=0) < 1000


def test_the_truth_counts_pages_that_are_as_near_as_the_tenth() -> None:
    """Of many equal pages any ten are right; a page is never its own answer."""
    unit = np.zeros((40, 4), np.float32)
    unit[:, 0] = 1
    truth = Truth.of(np.arange(2), unit[:2])
    truth.look(np.arange(40), unit)
    assert not np.isin(truth.ids[0], [0]).any()
    assert truth.found(np.array([np.arange(20, 30), np.arange(20, 30)])).tolist() == [1, 1]
    assert truth.found(np.array([[0] * 10, [5, 6, 7, 8, 9] * 2])).tolist() == [0, 0.5]


@pytest.mark.parametrize("factory", ["Flat", "IVF16,Flat", "PCA16,IVF16,SQ8"])
def test_near_pages_are_told_without_reading_the_store(
    store: FeatureStore, index_of: Callable[[str], PageIndex], factory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nearly all pages above the cosine are among them, up to so many, and where there were more is said."""
    index, X = index_of(factory), features(50, 5)
    threshold = float(np.median(index_of("Flat").search(X, 40)[0][:, -1]))  # half of the queries have more
    limits, _, ids = index.range_search(X, threshold)
    monkeypatch.setattr(PageIndex, "exact_rows", lambda *_: pytest.fail("rows of the store were read"))
    found, more = index.near(X, 40, threshold)
    assert found.shape == (50, 40)
    assert more.any()
    for row in np.flatnonzero(~more):
        truth = set(ids[limits[row] : limits[row + 1]])
        assert len(truth & set(found[row])) >= 0.9 * len(truth)
    assert (found[more] >= 0).all()
