"""Whatever happens to store and index, in whatever order: the index holds what the store holds, and finds it."""

import contextlib
import logging
import random
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from embedpipe.core.errors import ArtifactError
from embedpipe.core.records import FeatureBatch, Identity, PageInfo, PageRef, Recipe
from embedpipe.index import storage
from embedpipe.index.page_index import PageIndex, Request, fresh_index, make
from embedpipe.store.feature_writer import FeatureWriter
from embedpipe.store.features import FeatureStore

BLOCKS = [("wide", 0, 12), ("narrow", 12, 16)]
IDENTITY = Identity("made_up", "ab" * 32, Recipe(), ("wide", "narrow"))


class Model:
    """A store and its index, and what may happen to them."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.path, self.folder = folder / "features", folder / "index"
        self.dice, self.documents = random.Random(seed), 0
        FeatureStore.create(self.path, IDENTITY, BLOCKS)
        self.embed(40)
        self.snapshots = [FeatureStore.open(self.path)]
        self.damaged: set[str] = set()

    def writer(self) -> FeatureWriter:
        """The next run, which puts damaged parts aside."""
        self.damaged = set()
        return FeatureWriter(FeatureStore.open(self.path), {})

    def embed(self, pages: int = 0) -> None:
        """New documents of one to four pages come as a part."""
        writer = self.writer()
        count = pages or self.dice.randrange(2, 16)
        rng = np.random.default_rng(self.documents)
        X = rng.normal(1, 1, (count, 16)) * np.r_[np.full(12, 100), np.full(4, 0.1)]
        refs: list[PageRef] = []
        while len(refs) < count:
            self.documents += 1
            sizes = range(min(self.dice.randrange(1, 5), count - len(refs)))
            refs += [PageRef(f"{self.documents:064x}", page, "/some.pdf") for page in sizes]
        infos = tuple(PageInfo(ref, 4, 595.0, 842.0, 0.1) for ref in refs)
        writer.append(FeatureBatch(infos, X.astype(np.float32)))
        writer.flush()

    def forget(self) -> None:
        """Some documents go."""
        known = sorted(self.writer().known)
        self.writer().forget(set(self.dice.sample(known, min(len(known), self.dice.randrange(1, 5)))))

    def damage(self) -> None:
        """A part loses its file, or a bit of its features flips."""
        parts = [part for part in FeatureStore.open(self.path).parts if part.name not in self.damaged and part.rows]
        if len(parts) < 2:
            return
        part, table = self.dice.choice(parts), None
        table = FeatureStore.open(self.path).read(part, ["embedding"])
        self.damaged.add(part.name)
        file = self.path / part.name
        if self.dice.random() < 0.3:
            file.unlink()
            return
        content = bytearray(file.read_bytes())
        content[content.find(FeatureStore.open(self.path).matrix(table)[0].tobytes()) + 5] ^= 4
        file.write_bytes(content)

    def remember(self) -> None:
        """A process opens the store and goes on later."""
        self.snapshots.append(FeatureStore.open(self.path))

    def stale(self) -> None:
        """A process that opened the store long ago uses the index now: nothing but its own pages is found."""
        store = self.dice.choice(self.snapshots)
        with contextlib.suppress(ArtifactError):  # all of its parts were removed since
            index = fresh_index(store, self.folder)
            assert set(index.page_ids.tolist()) <= pages_of(store)

    def compact(self) -> None:
        """The command `index`, of a process that opened the store long ago."""
        with contextlib.suppress(ArtifactError):
            make(self.dice.choice(self.snapshots), self.folder, None)

    def check(self) -> None:
        """All readable pages are in the index, damaged parts whole or not at all, and the nearest are found."""
        store = FeatureStore.open(self.path)
        good, X = readable(store)
        if not len(good):
            return
        index = fresh_index(store, self.folder)
        held = set(index.page_ids.tolist())
        assert len(held) == len(index.page_ids) == len(index)
        assert held >= set(good.tolist())
        assert held <= pages_of(store)
        for part in store.parts:
            assert len({page for page in held if page >> 32 == part.number}) in (0, part.rows)
        queries = np.random.default_rng(len(good)).normal(1, 1, (5, 16)) * np.r_[np.full(12, 100), np.full(4, 0.1)]
        compare(index, queries.astype(np.float32), good, X, good)
        if len(held) == len(good):
            compare(index, queries.astype(np.float32), good, X, None)


def pages_of(store: FeatureStore) -> set[int]:
    """Ids that a snapshot may hold, also of pages in damaged parts."""
    return {(part.number << 32) + row for part in store.parts for row in range(10_000)}


def readable(store: FeatureStore) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Pages that can be read, and their features."""
    ids, X = [np.empty(0, np.int64)], [np.empty((0, 16), np.float32)]
    for part_ids, rows in store.batches():
        ids.append(part_ids)
        X.append(rows)
    return np.concatenate(ids), np.concatenate(X)


def compare(
    index: PageIndex,
    queries: NDArray[np.float32],
    ids: NDArray[np.int64],
    X: NDArray[np.float32],
    allowed: NDArray[np.int64] | None,
) -> None:
    """The index finds what comparing every page finds."""
    k = min(5, len(ids))
    cosines = index.unit(queries).astype(np.float64) @ index.unit(X).astype(np.float64).T
    expected = ids[np.argsort(-cosines, axis=1, kind="stable")[:, :k]]
    np.testing.assert_array_equal(index.search(queries, k, allowed=allowed)[1], expected)


@pytest.mark.parametrize("factory", ["Flat", "IVF4,SQ8"])
@pytest.mark.parametrize("seed", range(4))
def test_any_order_of_events(tmp_path: Path, factory: str, seed: int) -> None:
    """Embedding, forgetting, damage, compacting, and processes that come late: answers are those of brute force."""
    logging.disable(logging.WARNING)
    try:
        model = Model(tmp_path, seed)
        make(FeatureStore.open(model.path), model.folder, Request(factory))
        events = [model.embed, model.embed, model.forget, model.damage, model.remember, model.stale, model.compact]
        for _ in range(20):
            for event in model.dice.choices(events, k=model.dice.randrange(1, 4)):
                event()
            model.check()
    finally:
        logging.disable(logging.NOTSET)


def test_an_index_of_an_older_snapshot_loses_nothing(tmp_path: Path) -> None:
    """Who uses the index late finds its own pages; those that came since are still found by everybody else."""
    model = Model(tmp_path, 0)
    fresh_index(FeatureStore.open(model.path), model.folder)
    model.embed(30)
    old = FeatureStore.open(model.path)
    model.embed(6)
    assert len(fresh_index(FeatureStore.open(model.path), model.folder)) == 76
    assert len(fresh_index(old, model.folder)) == 70
    assert len(storage.load(model.folder, old)) == 76
    model.check()
    model.embed()
    model.check()


def test_pages_that_an_earlier_version_lost_come_back(tmp_path: Path) -> None:
    """An index that lists a part whose pages it masks takes them in again."""
    model = Model(tmp_path, 0)
    store = FeatureStore.open(model.path)
    index = fresh_index(store, model.folder)
    index.forgotten = index.page_ids[10:20]
    storage.save(index, model.folder)
    model.check()
