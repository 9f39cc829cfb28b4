"""The index: exact neighbours of the scaled features, and a cache that heals itself."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from embedpipe import index as module
from embedpipe.errors import ArtifactError, SpaceMismatchError
from embedpipe.features import FeatureStore, FeatureWriter
from embedpipe.index import PageIndex, fresh_index, verify
from embedpipe.records import FeatureBatch, Identity, PageInfo, PageRef, Recipe
from embedpipe.scaling import BlockScaler

BLOCKS = [("wide", 0, 12), ("narrow", 12, 16)]
IDENTITY = Identity("made_up", "ab" * 32, Recipe(), ("wide", "narrow"))


def features(n: int, seed: int = 0) -> NDArray[np.float32]:
    """Features of two blocks of different ranges, as float16 can hold them."""
    X = np.random.default_rng(seed).normal(1, 1, (n, 16)) * np.r_[np.full(12, 100), np.full(4, 0.1)]
    return X.astype(np.float16).astype(np.float32)


def grow(store: FeatureStore, X: NDArray[np.float32], document: str) -> None:
    """Appends a document as a part of its own."""
    writer = FeatureWriter(store, {})
    refs = [PageRef(document * 32, i, f"/{document}.pdf") for i in range(len(X))]
    writer.append(FeatureBatch(tuple(PageInfo(ref, len(X), 595.0, 842.0, 0.1) for ref in refs), X))
    writer.flush()


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """A store of two documents in two parts."""
    made = FeatureStore.create(tmp_path / "features", IDENTITY, BLOCKS)
    grow(made, features(40, seed=1), "a1")
    grow(made, features(25, seed=2), "b2")
    return FeatureStore.open(tmp_path / "features")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the index goes."""
    return tmp_path / "index"


def brute_force(store: FeatureStore, queries: NDArray[np.float32], k: int) -> tuple[Any, Any]:
    """Cosines of the scaled features and page ids, by numpy in double precision."""
    ids = store.pages()["page_id"].to_numpy()
    X = store.features(ids).astype(np.float64)
    scaler = BlockScaler([(start, stop) for _, start, stop in BLOCKS]).fit(X)
    rows, wanted = scaler.transform(X), scaler.transform(queries.astype(np.float64))
    cosines = wanted @ rows.T / np.linalg.norm(wanted, axis=1)[:, None] / np.linalg.norm(rows, axis=1)
    order = np.argsort(-cosines, axis=1)[:, :k]
    return np.take_along_axis(cosines, order, axis=1), ids[order]


def test_neighbours_are_those_of_brute_force(store: FeatureStore) -> None:
    """Cosines and page ids are what numpy finds by comparing every page."""
    queries = features(30, seed=3)
    cosines, ids = PageIndex.build(store).search(queries, 7)
    expected_cosines, expected_ids = brute_force(store, queries, 7)
    np.testing.assert_allclose(cosines, expected_cosines, atol=1e-5)
    np.testing.assert_array_equal(ids, expected_ids)


def test_a_stored_page_is_its_own_nearest(store: FeatureStore) -> None:
    """Each page of every part finds itself first, with cosine 1 and its own id."""
    ids = store.pages()["page_id"].to_numpy()
    cosines, found = PageIndex.build(store).search(store.features(ids), 1)
    np.testing.assert_array_equal(found[:, 0], ids)
    np.testing.assert_allclose(cosines, 1, atol=1e-5)


def test_fewer_pages_than_wanted_are_all_given(store: FeatureStore) -> None:
    """Asked for more pages than there are, the index gives each of them once."""
    cosines, ids = PageIndex.build(store).search(features(1), 1000)
    assert ids.shape == cosines.shape == (1, 65)
    assert sorted(ids[0]) == store.pages()["page_id"].tolist()
    assert (np.diff(cosines[0]) <= 0).all()


def test_a_filter_gives_the_nearest_of_what_it_allows(store: FeatureStore) -> None:
    """With a filter the answer is that of brute force over the allowed pages, as many as were asked for."""
    ids = store.pages()["page_id"].to_numpy()
    allowed = np.r_[ids[::7], np.int64(10**15)]
    queries = features(9, seed=3)
    cosines, found = PageIndex.build(store).search(queries, 6, allowed=allowed)
    everything = brute_force(store, queries, len(ids))[1]
    np.testing.assert_array_equal(found, [row[np.isin(row, allowed)][:6] for row in everything])
    assert (np.diff(cosines) <= 0).all()
    assert PageIndex.build(store).search(queries, 6, allowed=np.empty(0, np.int64))[1].shape == (9, 0)


def test_a_range_holds_every_page_above_the_threshold(store: FeatureStore) -> None:
    """A range search finds what brute force finds above a cosine, best first, and nothing for a strange page."""
    queries = features(9, seed=3)
    cosines, ids = brute_force(store, queries, 65)
    limits, found_cosines, found = PageIndex.build(store).range_search(queries, 0.2)
    for number in range(len(queries)):
        here = slice(limits[number], limits[number + 1])
        np.testing.assert_array_equal(found[here], ids[number][cosines[number] >= 0.2])
        assert (np.diff(found_cosines[here]) <= 0).all()
    assert 0 < len(found) < 9 * 65


def test_the_scale_may_be_learnt_from_a_part(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are many pages, the scale is learnt from the first ones, and all of them are still in the index."""
    monkeypatch.setattr(module, "_SCALING_ROWS", 30)
    built = PageIndex.build(store)
    scaler = BlockScaler([(0, 12), (12, 16)]).fit(store.features(store.pages()["page_id"].to_numpy()[:30]))
    np.testing.assert_allclose(built.scaler.mean_, scaler.mean_, rtol=1e-6)
    assert len(built.page_ids) == built.faiss_index.ntotal == 65


def test_an_empty_store_says_what_to_do(tmp_path: Path) -> None:
    """An index over no pages is refused with the command that makes some."""
    empty = FeatureStore.create(tmp_path / "empty", IDENTITY, BLOCKS)
    with pytest.raises(ArtifactError, match="run `embed` on your documents first"):
        PageIndex.build(empty)


def test_a_saved_index_answers_alike(store: FeatureStore, folder: Path) -> None:
    """What is saved and loaded gives the very same answers and knows its snapshot."""
    built = PageIndex.build(store)
    built.save(folder)
    loaded = PageIndex.load(folder, IDENTITY)
    queries = features(5, seed=4)
    for one, other in zip(built.search(queries, 9), loaded.search(queries, 9), strict=True):
        np.testing.assert_array_equal(one, other)
    assert loaded.is_of(store)
    assert verify(folder, json.loads((folder / "manifest.json").read_text())) == []


def count_builds(monkeypatch: pytest.MonkeyPatch) -> list[FeatureStore]:
    """Notes each store that an index is built for."""
    built: list[FeatureStore] = []
    build = PageIndex.build

    def noted(store: FeatureStore) -> PageIndex:
        built.append(store)
        return build(store)

    monkeypatch.setattr(PageIndex, "build", noted)
    return built


def test_the_index_is_built_once(store: FeatureStore, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first use builds and saves the index, the next one reads it."""
    built = count_builds(monkeypatch)
    fresh_index(store, folder)
    assert len(built) == 1
    again = fresh_index(store, folder)
    assert len(built) == 1
    np.testing.assert_array_equal(again.page_ids, store.pages()["page_id"])


def test_the_index_follows_the_store(store: FeatureStore, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the store has grown, the index is built again, holds the new pages, and is saved."""
    fresh_index(store, folder)
    grow(store, features(10, seed=5), "c3")
    built = count_builds(monkeypatch)
    index = fresh_index(store, folder)
    assert len(index.page_ids) == 75
    new = store.pages()["page_id"].to_numpy()[-10:]
    np.testing.assert_array_equal(index.search(store.features(new), 1)[1][:, 0], new)
    fresh_index(FeatureStore.open(store.path), folder)
    assert len(built) == 1


def change_byte(name: str) -> Callable[[Path], None]:
    """Changes one byte in the middle of a file."""

    def change(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)

    return change


def remove(name: str) -> Callable[[Path], None]:
    """Removes a file."""
    return lambda folder: (folder / name).unlink()


def edit(**changes: Any) -> Callable[[Path], None]:
    """Changes the manifest; None removes an entry."""

    def change(folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text()) | changes
        kept = {key: value for key, value in manifest.items() if value is not None}
        (folder / "manifest.json").write_text(json.dumps(kept))

    return change


DAMAGES = {
    "index": change_byte("faiss.index"),
    "arrays": change_byte("pages.npz"),
    "no index": remove("faiss.index"),
    "no arrays": remove("pages.npz"),
    "no manifest": remove("manifest.json"),
    "half a manifest": lambda folder: (folder / "manifest.json").write_text('{"format": 1, "id'),
    "no identity": edit(identity=None),
    "no parts": edit(parts=None),
    "newer": edit(format=99),
    "other identity": edit(identity=Identity("other", "cd" * 32, Recipe(), ("wide",)).to_json()),
    "identity of another version": edit(identity={**IDENTITY.to_json(), "new_field": 1}),
    "recipe of another version": edit(identity={**IDENTITY.to_json(), "recipe": {"new_field": 1}}),
    "identity of another kind": edit(identity="made_up"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_index_is_built_again(
    store: FeatureStore, folder: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None]
) -> None:
    """Whatever is missing, changed or strange, the index is built again, answers rightly, and is whole on disk."""
    fresh_index(store, folder)
    damage(folder)
    built = count_builds(monkeypatch)
    queries = features(5, seed=4)
    np.testing.assert_array_equal(fresh_index(store, folder).search(queries, 3)[1], brute_force(store, queries, 3)[1])
    assert len(built) == 1
    assert PageIndex.load(folder, IDENTITY).is_of(store)


def test_damage_is_named(store: FeatureStore, folder: Path) -> None:
    """A changed and a missing file are each named in a line, and loading them is refused."""
    fresh_index(store, folder)
    change_byte("pages.npz")(folder)
    with pytest.raises(ArtifactError, match=r"pages\.npz: damaged; it is built again when needed"):
        PageIndex.load(folder, IDENTITY)
    remove("faiss.index")(folder)
    problems = verify(folder, json.loads((folder / "manifest.json").read_text()))
    assert [problem.partition(": ")[2].partition(";")[0] for problem in problems] == ["missing", "damaged"]


def test_another_space_is_refused(store: FeatureStore, folder: Path) -> None:
    """An index of another space is refused with both names, even where the widths agree."""
    PageIndex.build(store).save(folder)
    other = Identity("made_up", "cd" * 32, Recipe(), ("wide", "narrow"))
    with pytest.raises(SpaceMismatchError) as caught:
        PageIndex.load(folder, other)
    assert IDENTITY.space in str(caught.value)
    assert other.space in str(caught.value)


def test_a_folder_that_cannot_be_made_does_not_matter(store: FeatureStore, tmp_path: Path) -> None:
    """Where no folder for the index can be made, the index is built and used all the same."""
    (tmp_path / "file").write_text("in the way")
    index = fresh_index(store, tmp_path / "file" / "index")
    assert len(index.page_ids) == 65


def test_saving_that_is_refused_does_not_matter(
    store: FeatureStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index that the package cannot save is used all the same."""

    def refuse(_index: PageIndex, path: Path) -> None:
        raise ArtifactError(f"cannot write {path}")

    monkeypatch.setattr(PageIndex, "save", refuse)
    assert len(fresh_index(store, folder).page_ids) == 65


def test_a_read_only_folder_does_not_matter(store: FeatureStore, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the index's folder exists but FAISS may not write to it, the index is built and used all the same."""
    folder.mkdir()
    write = faiss.write_index
    # root may write anywhere: what a read-only folder does to FAISS is had by a folder that does not exist
    monkeypatch.setattr(module.faiss, "write_index", lambda index, path: write(index, f"{folder}/none/{path}"))
    assert len(fresh_index(store, folder).page_ids) == 65
    assert list(folder.iterdir()) == []
