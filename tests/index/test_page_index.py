"""The index: exact neighbours of the scaled features, and a cache that heals itself."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from embedpipe.core.errors import ArtifactError, EmbedpipeError, SpaceMismatchError
from embedpipe.core.files import writing
from embedpipe.core.records import FeatureBatch, Identity, PageInfo, PageRef, Recipe
from embedpipe.index import page_index as module
from embedpipe.index import storage
from embedpipe.index.inventory import verify
from embedpipe.index.page_index import PageIndex, Request, build, follow, fresh_index, make, update
from embedpipe.store.feature_writer import FeatureWriter
from embedpipe.store.features import FeatureStore
from embedpipe.store.scaling import BlockScaler

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
    cosines, ids = build(store).search(queries, 7)
    expected_cosines, expected_ids = brute_force(store, queries, 7)
    np.testing.assert_allclose(cosines, expected_cosines, atol=1e-5)
    np.testing.assert_array_equal(ids, expected_ids)


def test_a_stored_page_is_its_own_nearest(store: FeatureStore) -> None:
    """Each page of every part finds itself first, with cosine 1 and its own id."""
    ids = store.pages()["page_id"].to_numpy()
    cosines, found = build(store).search(store.features(ids), 1)
    np.testing.assert_array_equal(found[:, 0], ids)
    np.testing.assert_allclose(cosines, 1, atol=1e-5)


def test_fewer_pages_than_wanted_are_all_given(store: FeatureStore) -> None:
    """Asked for more pages than there are, the index gives each of them once."""
    cosines, ids = build(store).search(features(1), 1000)
    assert ids.shape == cosines.shape == (1, 65)
    assert sorted(ids[0]) == store.pages()["page_id"].tolist()
    assert (np.diff(cosines[0]) <= 0).all()


def test_a_filter_gives_the_nearest_of_what_it_allows(store: FeatureStore) -> None:
    """With a filter the answer is that of brute force over the allowed pages, as many as were asked for."""
    ids = store.pages()["page_id"].to_numpy()
    allowed = np.r_[ids[::7], np.int64(10**15)]
    queries = features(9, seed=3)
    cosines, found = build(store).search(queries, 6, allowed=allowed)
    everything = brute_force(store, queries, len(ids))[1]
    np.testing.assert_array_equal(found, [row[np.isin(row, allowed)][:6] for row in everything])
    assert (np.diff(cosines) <= 0).all()
    assert build(store).search(queries, 6, allowed=np.empty(0, np.int64))[1].shape == (9, 0)


def test_a_range_holds_every_page_above_the_threshold(store: FeatureStore) -> None:
    """A range search finds what brute force finds above a cosine, best first, and nothing for a strange page."""
    queries = features(9, seed=3)
    cosines, ids = brute_force(store, queries, 65)
    limits, found_cosines, found = build(store).range_search(queries, 0.2)
    for number in range(len(queries)):
        here = slice(limits[number], limits[number + 1])
        np.testing.assert_array_equal(found[here], ids[number][cosines[number] >= 0.2])
        assert (np.diff(found_cosines[here]) <= 0).all()
    assert 0 < len(found) < 9 * 65


@pytest.mark.parametrize("factory", ["Flat", "IVF4,SQ8"])
def test_the_scale_is_learnt_from_all_pages(store: FeatureStore, factory: str) -> None:
    """Whatever the kind, the scale is that of every page in the store."""
    scaler = BlockScaler([(0, 12), (12, 16)]).fit(store.features(store.pages()["page_id"].to_numpy()).astype(float))
    built = build(store, Request(factory))
    np.testing.assert_allclose(built.scaler.mean_, scaler.mean_, rtol=1e-6)
    np.testing.assert_allclose(built.scaler.scale_, scaler.scale_, rtol=1e-6)


def test_an_empty_store_says_what_to_do(tmp_path: Path) -> None:
    """An index over no pages is refused with the command that makes some."""
    empty = FeatureStore.create(tmp_path / "empty", IDENTITY, BLOCKS)
    with pytest.raises(ArtifactError, match="run `embed` on your documents first"):
        build(empty)


def test_a_saved_index_answers_alike(store: FeatureStore, folder: Path) -> None:
    """What is saved and loaded gives the very same answers and knows its snapshot."""
    built = build(store)
    storage.save(built, folder)
    loaded = storage.load(folder, store)
    queries = features(5, seed=4)
    for one, other in zip(built.search(queries, 9), loaded.search(queries, 9), strict=True):
        np.testing.assert_array_equal(one, other)
    assert follow(loaded, store)
    assert verify(folder, json.loads((folder / "manifest.json").read_text())) == []


def count_builds(monkeypatch: pytest.MonkeyPatch) -> list[FeatureStore]:
    """Notes each store that an index is built for."""
    built: list[FeatureStore] = []
    original = module.build

    def noted(store: FeatureStore, *options: Any) -> PageIndex:
        built.append(store)
        return original(store, *options)

    monkeypatch.setattr(module, "build", noted)
    return built


def test_the_index_is_built_once(store: FeatureStore, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first use builds and saves the index, the next one reads it."""
    built = count_builds(monkeypatch)
    fresh_index(store, folder)
    assert len(built) == 1
    again = fresh_index(store, folder)
    assert len(built) == 1
    np.testing.assert_array_equal(again.page_ids, store.pages()["page_id"])


def test_new_pages_are_added_without_building_again(
    store: FeatureStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the store has grown, the saved index takes in the new parts, and is as if it had been built anew."""
    fresh_index(store, folder)
    built = count_builds(monkeypatch)
    for number in range(5):
        grow(store, features(10, seed=5 + number), f"c{number}")
        index = fresh_index(FeatureStore.open(store.path), folder)
        new = store.pages()["page_id"].to_numpy()[-10:]
        np.testing.assert_array_equal(index.search(store.features(new), 1)[1][:, 0], new)
    assert built == []
    assert len(index) == 115
    assert len(index.segments) < 4  # small segments are taken in by the next one
    np.testing.assert_array_equal(np.sort(index.page_ids), store.pages()["page_id"])


def test_forgotten_pages_are_never_found(store: FeatureStore, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of a forgotten document are not found any more, by no search, though nothing was built again."""
    fresh_index(store, folder)
    monkeypatch.setattr(module, "_COMPACT_SHARE", 0.5)
    gone = store.pages()["page_id"].to_numpy()[40:]
    X = store.features(gone)
    FeatureWriter(store, {}).forget({"b2" * 32})
    opened = FeatureStore.open(store.path)
    index = update(storage.load(folder, store), opened, compact=0.5)
    assert len(index) == 40
    assert index.search(X, 65)[1].shape == (25, 40)
    assert not np.isin(index.search(X, 40)[1], gone).any()
    assert not np.isin(index.range_search(X, -1)[2], gone).any()
    assert not np.isin(index.search(X, 5, allowed=np.r_[gone, index.page_ids[:3]])[1], gone).any()
    assert len(index.pages_of_documents(["b2" * 32])) == 0
    np.testing.assert_array_equal(index.pages_of_documents(["a1" * 32]), index.page_ids)


def test_what_was_forgotten_is_taken_out_past_a_share(store: FeatureStore, folder: Path) -> None:
    """Where much of a segment was forgotten it is made again; the command `index` takes out all at once."""
    fresh_index(store, folder)
    FeatureWriter(store, {}).forget({"b2" * 32})
    index = fresh_index(FeatureStore.open(store.path), folder)
    assert [len(segment) for segment in index.segments] == [40]
    assert len(index.forgotten) == 0
    grow(FeatureStore.open(store.path), features(200, seed=9), "e5")
    grow(FeatureStore.open(store.path), features(5, seed=10), "f6")
    index = fresh_index(FeatureStore.open(store.path), folder)
    FeatureWriter(FeatureStore.open(store.path), {}).forget({"f6" * 32})
    lazy = fresh_index(FeatureStore.open(store.path), folder)
    assert len(lazy.forgotten) == 5
    index, done = make(FeatureStore.open(store.path), folder, None)
    assert (done, len(index.forgotten), sum(map(len, index.segments))) == ("updated", 0, 240)
    assert make(FeatureStore.open(store.path), folder, None)[1] == "unchanged"


def test_part_of_a_part_may_be_forgotten(store: FeatureStore, folder: Path) -> None:
    """Where a part holds several documents, its other pages keep their ids and are read from the new file."""
    writer = FeatureWriter(store, {})
    X = features(60, seed=11)
    refs = [PageRef(f"{number // 5:064x}", number % 5, "/many.pdf") for number in range(60)]
    writer.append(FeatureBatch(tuple(PageInfo(ref, 5, 595.0, 842.0, 0.1) for ref in refs), X))
    writer.flush()
    index, _ = make(store, folder, Request("IVF4,SQ8"))
    FeatureWriter(store, {}).forget({f"{3:064x}"})
    opened = FeatureStore.open(store.path)
    index = fresh_index(opened, folder)
    assert len(index.forgotten) == 5
    ids = index.page_ids
    assert len(ids) == 120
    cosines, found = index.search(opened.features(ids), 1)
    np.testing.assert_array_equal(found[:, 0], ids)
    np.testing.assert_allclose(cosines, 1, atol=1e-5)
    other = opened.pages().query("document_sha256 == @sha256", local_dict={"sha256": f"{4:064x}"})["page_id"]
    np.testing.assert_array_equal(index.pages_of_documents([f"{3:064x}", f"{4:064x}"]), other)


def test_other_pages_under_the_same_ids_are_noticed(store: FeatureStore, folder: Path) -> None:
    """Where a number came to stand for another part, as in stores of earlier versions, its new pages are found."""
    fresh_index(store, folder)
    manifest = json.loads((store.path / "manifest.json").read_text())
    manifest["parts"].pop()
    del manifest["checksum"], manifest["next_number"]
    (store.path / "manifest.json").write_text(json.dumps(manifest))
    for file in store.path.glob("*-000001.parquet"):
        file.unlink()
    grow(FeatureStore.open(store.path), features(25, seed=3), "c3")
    opened = FeatureStore.open(store.path)
    assert [part.number for part in opened.parts] == [0, 1]
    index = fresh_index(opened, folder)
    ids = opened.pages()["page_id"].to_numpy()
    np.testing.assert_array_equal(index.page_ids, ids)
    np.testing.assert_array_equal(index.search(opened.features(ids), 1)[1][:, 0], ids)
    assert len(index.pages_of_documents(["b2" * 32])) == 0


@pytest.mark.parametrize("column", ["source", "embedding"])
@pytest.mark.parametrize("before", [True, False])
def test_a_damaged_part_is_never_half_in_the_index(
    store: FeatureStore, folder: Path, caplog: pytest.LogCaptureFixture, column: str, *, before: bool
) -> None:
    """Whichever column is damaged, before or after the index was made: its pages are named once, and all are away."""
    if not before:
        fresh_index(store, folder)
    file = store.path / "part-000001.parquet"
    metadata = pq.read_metadata(file).row_group(0)
    columns = [metadata.column(i) for i in range(metadata.num_columns)]
    place = next(c for c in columns if c.path_in_schema.startswith(column))
    content = bytearray(file.read_bytes())
    content[place.data_page_offset + place.total_compressed_size // 2] ^= 8
    file.write_bytes(content)
    for _ in range(2):
        caplog.clear()
        opened = FeatureStore.open(store.path)
        index = fresh_index(opened, folder)
        found = index.search(features(3), 65)[1]
        assert len(opened.pages_of(found[0])) == found.shape[1]
        if column == "embedding" and not before:
            continue  # the index was made from it: it answers as before
        assert found.shape == (3, 40)
        assert caplog.text.count("part-000001.parquet is damaged") == 1
        assert "its 25 pages are left out; run embed again on their files" in caplog.text
    grow(FeatureStore.open(store.path), features(25, seed=2), "b2")
    assert len(fresh_index(FeatureStore.open(store.path), folder)) == 65


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
    "index": change_byte("segment-000001.faiss"),
    "arrays": change_byte("segment-000001.arrow"),
    "state": change_byte("state-000002.npz"),
    "no index": remove("segment-000001.faiss"),
    "no arrays": remove("segment-000001.arrow"),
    "no state": remove("state-000002.npz"),
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
    assert follow(storage.load(folder, store), store)


def test_damage_is_named(store: FeatureStore, folder: Path) -> None:
    """A changed and a missing file are each named in a line, and loading them is refused."""
    fresh_index(store, folder)
    change_byte("segment-000001.arrow")(folder)
    with pytest.raises(ArtifactError, match=r"segment-000001\.arrow: damaged; it is built again when needed"):
        storage.load(folder, store)
    remove("segment-000001.faiss")(folder)
    problems = verify(folder, json.loads((folder / "manifest.json").read_text()))
    assert [problem.partition(": ")[2].partition(";")[0] for problem in problems] == ["missing", "damaged"]


def test_large_files_are_not_hashed_on_each_use(
    store: FeatureStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large file is hashed again only where its time has changed; a copy of the artifacts is still good."""
    fresh_index(store, folder)
    monkeypatch.setattr(storage, "_SMALL", 0)
    hashed: list[Path] = []
    original = storage.sha256_of
    monkeypatch.setattr(storage, "sha256_of", lambda file: hashed.append(file) or original(file))
    storage.load(folder, store)
    assert hashed == []
    copy = shutil.copytree(folder, folder.with_name("copy"), copy_function=shutil.copyfile)
    assert follow(storage.load(copy, store), store)
    assert len(hashed) == 3
    change_byte("segment-000001.faiss")(copy)
    with pytest.raises(ArtifactError, match="damaged"):
        storage.load(copy, store)


def test_another_space_is_refused(store: FeatureStore, tmp_path: Path, folder: Path) -> None:
    """An index of another space is refused with both names, even where the widths agree."""
    storage.save(build(store), folder)
    other = Identity("made_up", "cd" * 32, Recipe(), ("wide", "narrow"))
    with pytest.raises(SpaceMismatchError) as caught:
        storage.load(folder, FeatureStore.create(tmp_path / "other", other, BLOCKS))
    assert IDENTITY.space in str(caught.value)
    assert other.space in str(caught.value)


def test_a_folder_that_cannot_be_made_does_not_matter(store: FeatureStore, tmp_path: Path) -> None:
    """Where no folder for the index can be made, the index is built and used all the same."""
    (tmp_path / "file").write_text("in the way")
    assert len(fresh_index(store, tmp_path / "file" / "index")) == 65


def test_saving_that_is_refused_does_not_matter(
    store: FeatureStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index that cannot be saved is used all the same."""

    def refuse(_index: PageIndex, path: Path) -> None:
        raise ArtifactError(f"cannot write {path}")

    monkeypatch.setattr(storage, "save", refuse)
    assert len(fresh_index(store, folder).page_ids) == 65


def test_another_writer_does_not_matter(store: FeatureStore, folder: Path) -> None:
    """While another process writes the index, a reader builds its own and leaves the folder alone."""
    with writing(folder, "index"):
        assert len(fresh_index(store, folder)) == 65
        assert not (folder / "manifest.json").exists()
        with pytest.raises(ArtifactError, match="is being written by"):
            make(store, folder, None)


def test_a_kill_while_writing_leaves_the_old_index(
    store: FeatureStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a writer dies before the manifest is replaced, the old index is whole; the next writer clears up."""
    fresh_index(store, folder)
    grow(store, features(200, seed=5), "c3")
    old = {file.name for file in folder.iterdir()}

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(storage, "write_json", die)
        with pytest.raises(KeyboardInterrupt):
            fresh_index(FeatureStore.open(store.path), folder)
    assert {file.name for file in folder.iterdir()} > old
    assert len(storage.load(folder, store)) == 65
    assert len(fresh_index(FeatureStore.open(store.path), folder)) == 265
    listed = set(json.loads((folder / "manifest.json").read_text())["files"])
    assert {file.name for file in folder.iterdir() if file.suffix in (".faiss", ".arrow", ".npz")} == listed


def test_a_reader_keeps_its_snapshot(store: FeatureStore, folder: Path) -> None:
    """Who opened the index before it was replaced gets the old answers from it, whatever becomes of the files."""
    make(store, folder, Request("IVF4,SQ8"))
    reader = fresh_index(FeatureStore.open(store.path), folder)
    queries = features(5, seed=4)
    before = reader.search(queries, 9)
    grow(store, features(400, seed=5), "c3")
    make(FeatureStore.open(store.path), folder, Request("Flat"))
    assert not any((folder / file.name).exists() for file in reader.segments[0].files)
    for one, other in zip(before, reader.search(queries, 9), strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_index_that_is_replaced_while_it_is_opened_is_read_again(
    store: FeatureStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that has read the manifest, and finds its files replaced, opens the new index."""
    make(store, folder, Request("Flat"))
    original = storage._quick_check

    def late(*of: Any) -> list[str]:
        monkeypatch.setattr(storage, "_quick_check", original)
        problems = original(*of)
        make(store, folder, Request("IVF4,SQ8"))
        return problems

    monkeypatch.setattr(storage, "_quick_check", late)
    assert storage.load(folder, store).setting.factory == "IVF4,SQ8"


def test_an_index_that_was_outgrown_is_trained_again(store: FeatureStore, folder: Path) -> None:
    """When the store holds more than twice the pages an index was trained for, it is built again as requested."""
    make(store, folder, Request("IVF4,SQ8", recall=0.9))
    grow(store, features(100, seed=5), "c3")
    index = fresh_index(FeatureStore.open(store.path), folder)
    assert (index.setting.factory, index.setting.trained_pages, index.setting.wanted) == ("IVF4,SQ8", 165, 0.9)


def test_several_segments_answer_as_one(store: FeatureStore, folder: Path) -> None:
    """Past the memory that it may take an index is cut into segments; the answers are those of brute force."""
    index, _ = make(store, folder, Request("Flat", memory=2 * 40 * (4 * 16 + 8 + 28)))
    assert [len(segment) for segment in index.segments] == [40, 25]
    queries = features(9, seed=3)
    np.testing.assert_array_equal(index.search(queries, 6)[1], brute_force(store, queries, 6)[1])


def test_a_factory_that_cannot_be_made_is_refused_with_a_line(store: FeatureStore, folder: Path) -> None:
    """What FAISS does not know, and what does not go with the store, is an error that names the option."""
    for factory in ("Rubbish", "IDMap,Flat", "PQ7", "IVF4096,Flat", "PCA99,Flat", "Flat,RFlat"):
        with pytest.raises(EmbedpipeError, match="--index"):
            make(store, folder, Request(factory))
    assert not (folder / "manifest.json").exists()
