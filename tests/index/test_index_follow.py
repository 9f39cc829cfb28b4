"""Whatever was embedded, looked up and forgotten before: an index that follows a store answers as a new one does."""

import json
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.classifiers.training import fit
from embedpipe.core.records import FeatureBatch, Identity, PageInfo, PageRef, Recipe
from embedpipe.index import inventory, search, storage, tuning
from embedpipe.index import page_index as module
from embedpipe.index.page_index import Request, build, follow, fresh_index, make
from embedpipe.store.feature_writer import FeatureWriter
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import Label, Labels
from embedpipe.store.moments import Moments
from embedpipe.store.scaling import BlockScaler
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import families as families_task

DIM = 24
BLOCKS = [("wide", 0, 18), ("narrow", 18, DIM)]
RANGES = [(0, 18), (18, DIM)]
IDENTITY = Identity("made_up", "ab" * 32, Recipe(), ("wide", "narrow"))
UNITS = np.r_[np.full(18, 100), np.full(6, 0.1)]

Key = tuple[str, int]


def sha(number: int) -> str:
    """Name of a document."""
    return f"{number * 7919 % 10007:064x}"  # the order of the names is not that of the numbers


def pages_of(number: int) -> NDArray[np.float32]:
    """Features of a document's pages: of the layout number % 7, which moves as the numbers grow, as piles do."""
    rng = np.random.default_rng(number)
    layout = np.random.default_rng(number % 7).normal(1, 1, DIM)
    drift = np.random.default_rng(99).normal(0, 1, DIM) * min(number / 40, 2)
    rows = layout + drift + rng.normal(0, 0.5, DIM) + rng.normal(0, 0.3, (1 + number % 4, DIM))
    return (np.abs(rows) * UNITS).astype(np.float16).astype(np.float32)


def embed(store: Path, numbers: Sequence[int]) -> None:
    """Embeds documents as a part."""
    writer = FeatureWriter(FeatureStore.create(store, IDENTITY, BLOCKS), {})
    for number in numbers:
        X = pages_of(number)
        refs = [PageRef(sha(number), page, f"/{number}.pdf") for page in range(len(X))]
        writer.append(FeatureBatch(tuple(PageInfo(ref, len(X), 595.0, 842.0, 0.1) for ref in refs), X))
    writer.flush()


def forget(store: Path, numbers: Sequence[int]) -> None:
    """Forgets documents."""
    FeatureWriter(FeatureStore.open(store), {}).forget({sha(number) for number in numbers})


def keys(store: FeatureStore, ids: NDArray[np.int64]) -> list[list[Key]]:
    """Documents and page indices of ids, (n, k)."""
    table = store.pages().set_index("page_id")
    known = dict(zip(table.index, zip(table["document_sha256"], table["page_index"], strict=True), strict=True))
    return [[known[page] for page in row] for row in ids.tolist()]


def truth(store: FeatureStore, Q: NDArray[np.float32], k: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The nearest pages by the scaling of the store as it is, in double precision."""
    ids = store.pages()["page_id"].to_numpy()
    X = store.features(ids).astype(np.float64)
    scaler = BlockScaler(RANGES).fit(X)
    rows, wanted = scaler.transform(X), scaler.transform(Q.astype(np.float64))
    cosines = wanted @ rows.T / np.linalg.norm(wanted, axis=1)[:, None] / np.linalg.norm(rows, axis=1)
    order = np.argsort(-cosines, axis=1)[:, :k]
    return np.take_along_axis(cosines, order, axis=1), ids[order]


def live(root: Path, seed: int, request: Request | None, events: int = 14) -> list[int]:
    """Embeds, forgets and looks up in some order; returns which documents are left."""
    dice, store, folder = random.Random(seed), root / "features", root / "index"
    held, coming = [0], 1
    embed(store, held)
    if request is not None:
        embed(store, range(1, 30))
        held, coming = list(range(30)), 30
        make(FeatureStore.open(store), folder, request)
    for _ in range(events):
        event = dice.choice(["embed", "embed", "forget", "look", "look", "index"])
        if event == "embed":
            count = dice.choice([1, 3, 10])
            embed(store, range(coming, coming + count))
            held, coming = held + list(range(coming, coming + count)), coming + count
        elif event == "forget" and len(held) > 3:
            gone = dice.sample(held, 2)
            forget(store, gone)
            held = [number for number in held if number not in gone]
        elif event == "look":
            fresh_index(FeatureStore.open(store), folder).search(pages_of(500), 3)
        else:
            make(FeatureStore.open(store), folder, None)
    embed(store, range(coming, coming + 25))
    return held + list(range(coming, coming + 25))


def renewed(root: Path, numbers: Sequence[int], seed: int) -> FeatureStore:
    """The same documents, embedded at once in another order."""
    order = list(numbers)
    random.Random(seed).shuffle(order)
    embed(root / "features", order)
    return FeatureStore.open(root / "features")


QUERIES = np.concatenate([pages_of(number) for number in (500, 501, 502, 503, 30, 2)])


@pytest.mark.parametrize("seed", range(4))
def test_an_exact_index_answers_as_a_new_one(tmp_path: Path, seed: int) -> None:
    """Neighbours and scores are those of a new index of the same documents, and those of comparing all pages."""
    left = live(tmp_path / "old", seed, None)
    store = FeatureStore.open(tmp_path / "old" / "features")
    index = fresh_index(store, tmp_path / "old" / "index")
    again = build(store)
    np.testing.assert_array_equal(index.scaler.mean_, again.scaler.mean_)
    np.testing.assert_array_equal(index.scaler.scale_, again.scaler.scale_)
    other = renewed(tmp_path / "new", left, seed)
    new = fresh_index(other, tmp_path / "new" / "index")
    cosines, ids = index.search(QUERIES, 8)
    expected, expected_ids = new.search(QUERIES, 8)
    np.testing.assert_allclose(cosines, expected, atol=2e-6)
    assert keys(store, ids) == keys(other, expected_ids)
    exact, exact_ids = truth(store, QUERIES, 8)
    np.testing.assert_allclose(cosines, exact, atol=5e-6)
    np.testing.assert_array_equal(ids, exact_ids)
    assert make(store, tmp_path / "old" / "index", None)[1] in ("unchanged", "updated")
    assert make(store, tmp_path / "old" / "index", None)[1] == "unchanged"


@pytest.mark.parametrize("factory", ["IVF4,SQ8", "HNSW8"])
@pytest.mark.parametrize("seed", range(2))
def test_an_estimating_index_finds_as_much_as_a_new_one(
    tmp_path: Path, seed: int, factory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores are exact, and about as many of the nearest pages are found as by a new index.

    Both are set by a clock that stands still: measured times would choose among settings that find different shares.
    """
    monkeypatch.setattr(search, "_EXACT_PAGES", 0)
    monkeypatch.setattr(tuning, "time", SimpleNamespace(perf_counter=lambda: 0.0))
    live(tmp_path, seed, Request(factory))
    store = FeatureStore.open(tmp_path / "features")
    index = fresh_index(store, tmp_path / "index")
    assert index.setting.factory == factory
    exact, exact_ids = truth(store, QUERIES, 8)
    found, found_ids = index.search(QUERIES, 8)
    fresh_ids = build(store, Request(factory)).search(QUERIES, 8)[1]

    def recall(ids: NDArray[np.int64]) -> float:
        return float(np.mean([np.isin(one, other).mean() for one, other in zip(exact_ids, ids, strict=True)]))

    assert recall(found_ids) >= recall(fresh_ids) - 0.05
    best = (found_ids[:, 0] == exact_ids[:, 0]).nonzero()[0]
    np.testing.assert_allclose(found[best, 0], exact[best, 0], atol=5e-6)


def test_one_document_first_and_the_others_later(tmp_path: Path) -> None:
    """The first pages that were looked up do not set the scale of what comes later: scores and places stay right."""
    store, folder = tmp_path / "features", tmp_path / "index"
    embed(store, [3])
    fresh_index(FeatureStore.open(store), folder)
    embed(store, range(4, 90))
    opened = FeatureStore.open(store)
    index, done = make(opened, folder, None)
    assert done == "updated"
    assert make(opened, folder, None)[1] == "unchanged"
    cosines, ids = fresh_index(opened, folder).search(QUERIES, 10)
    expected, expected_ids = truth(opened, QUERIES, 10)
    np.testing.assert_allclose(cosines, expected, atol=5e-6)
    np.testing.assert_array_equal(ids, expected_ids)
    limits, near, _ = index.range_search(QUERIES, 0.5)
    assert limits[-1] == len(near) == (truth(opened, QUERIES, len(index))[0] >= 0.5).sum()


def test_pages_that_have_become_different_are_trained_on_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the scaling of the training finds other pages than that of the store, the index is built again."""
    store, folder = tmp_path / "features", tmp_path / "index"
    embed(store, range(40))
    make(FeatureStore.open(store), folder, Request("IVF4,SQ8", recall=0.9))
    embed(store, range(300, 330))
    opened = FeatureStore.open(store)
    with monkeypatch.context() as patch:
        patch.setattr(module, "_LEAST_AGREEMENT", 0.0)
        followed = fresh_index(opened, folder)
        assert followed.rescaled
        assert followed.setting.trained_pages < len(followed)
    assert 0 < followed.setting.agreement < 0.95
    assert followed.setting.drift > 0
    monkeypatch.setattr(module, "_LEAST_AGREEMENT", 0.95)
    by_itself, asked = tmp_path / "by_itself", tmp_path / "asked"
    for copy in (by_itself, asked):
        shutil.copytree(folder, copy)
    index, done = make(opened, asked, None)
    assert (done, index.rescaled, index.setting.wanted) == ("built", False, 0.9)
    embed(store, [331])
    index = fresh_index(FeatureStore.open(store), by_itself)
    assert (index.rescaled, index.setting.trained_pages, index.setting.wanted) == (False, len(index), 0.9)


def test_few_pages_have_a_scale_as_well() -> None:
    """Of one page, once or twice, cosines are 1, and not what is left of nothing; from 50 pages on it is plain."""
    for count in (1, 2, 60):
        X = np.repeat(pages_of(5)[:1], count, axis=0).astype(np.float16)
        unit = search._unit(Moments.of(X, RANGES).scaler(), X.astype(np.float32))
        np.testing.assert_allclose(unit @ unit.T, 1, atol=1e-5)
    X = np.concatenate([pages_of(number) for number in range(40)])
    own = Moments.of(X.astype(np.float16), RANGES).scaler()
    plain = BlockScaler(RANGES).fit(X.astype(np.float64))
    np.testing.assert_allclose(own.mean_, plain.mean_, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(own.scale_, plain.scale_, rtol=1e-5)


def test_many_equal_pages_are_equal_to_each_other(tmp_path: Path) -> None:
    """A store of one page many times gives cosines of 1, and a page that is different lies apart."""
    made = FeatureStore.create(tmp_path, IDENTITY, BLOCKS)
    writer = FeatureWriter(made, {})
    X = np.repeat(pages_of(5)[:1], 60, axis=0)
    infos = (PageInfo(PageRef(f"{n:064x}", 0, "/a.pdf"), 1, 595.0, 842.0, 0.1) for n in range(60))
    writer.append(FeatureBatch(tuple(infos), X))
    writer.flush()
    index = build(FeatureStore.open(tmp_path))
    cosines, ids = index.search(X[:1], 60)
    np.testing.assert_allclose(cosines, 1, atol=1e-4)
    np.testing.assert_array_equal(ids[0], index.page_ids)
    assert (index.search(pages_of(6)[:1], 60)[0] < 0.99).all()


def test_an_index_of_an_earlier_version_is_built_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An index whose rows were scaled once and for all is recognised, told of, and made anew as it was asked for."""
    store, folder = tmp_path / "features", tmp_path / "index"
    embed(store, range(30))
    opened = FeatureStore.open(store)
    make(opened, folder, Request("IVF4,SQ8", recall=0.9))
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["rows"], manifest["checksum"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(storage.OutdatedIndexError, match="earlier version; it is built again when needed"):
        storage.load(folder, opened)
    described = inventory.describe(folder)
    assert described is not None
    assert "made by an earlier version" in inventory.in_words(described)
    with caplog.at_level("INFO"):
        index = fresh_index(opened, folder)
    assert caplog.text.count("made by an earlier version") == 1
    assert (index.setting.factory, index.setting.wanted) == ("IVF4,SQ8", 0.9)
    assert follow(storage.load(folder, opened), opened)


def test_a_reader_of_an_older_snapshot_has_its_scaling(tmp_path: Path) -> None:
    """A process that goes on with the store as it was gets the scores of that store, though the index has gone on."""
    store, folder = tmp_path / "features", tmp_path / "index"
    embed(store, range(40))
    old = FeatureStore.open(store)
    reader = fresh_index(old, folder)
    before = reader.search(QUERIES, 6)
    embed(store, range(200, 260))
    fresh_index(FeatureStore.open(store), folder)
    for index in (reader, fresh_index(old, folder)):
        cosines, ids = index.search(QUERIES, 6)
        np.testing.assert_allclose(cosines, before[0], atol=2e-6)
        np.testing.assert_array_equal(ids, before[1])


def workspace_of(root: Path, store: Path) -> Workspace:
    """A workspace with a store of its own and every document labelled by its layout."""
    workspace = Workspace(root / "artifacts")
    target = workspace.store_path(IDENTITY.space)
    target.parent.mkdir(parents=True)
    store.rename(target)
    labels = Labels()
    numbers = {sha(number): number for number in range(1000)}
    known = FeatureStore.open(target).pages()["document_sha256"].unique()
    labels.add(Label(name, f"/{numbers[name]}.pdf", f"type {numbers[name] % 7}") for name in known)
    labels.save(workspace.labels_file)
    return workspace


def test_families_and_classifiers_do_not_tell_the_history(tmp_path: Path) -> None:
    """Families and what a classifier answers are the same, whatever was embedded first or was there in between."""
    left = live(tmp_path / "old", 1, None)
    renewed(tmp_path / "new", left, 5)
    answers: list[Any] = []
    for name in ("old", "new"):
        workspace = workspace_of(tmp_path / name, tmp_path / name / "features")
        store = workspace.store()
        if name == "old":
            workspace.index_path(IDENTITY.space).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / "index").rename(workspace.index_path(IDENTITY.space))
        found = families_task.find(workspace, store, threshold=0.6, least=2)
        families = [[(page.document_sha256, page.page_index) for page in layout.pages] for layout in found]
        bundle = fit(workspace, store, TrainingRecipe("knn"))
        answers.append((families, [layout.coherence for layout in found], bundle.log_scores(QUERIES), bundle.metrics))
    (one, coherence, scores, metrics), (other, *others) = answers
    assert len(one) > 3
    assert [sorted(family) for family in one] == [sorted(family) for family in other]
    np.testing.assert_allclose(coherence, others[0], atol=1e-5)
    np.testing.assert_array_equal(scores, others[1])
    assert metrics == others[2]
