"""Artifacts of two machines become one: each page once, nothing lost, whatever was killed."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pymupdf
import pytest

from embedpipe.embedding.sharding import Shard
from embedpipe.embedding.streaming import Settings
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import Label
from embedpipe.store.page_extras import TABLES, page_table
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.embed import embed
from embedpipe.tasks.forget import forget
from embedpipe.tasks.merge import merge

if TYPE_CHECKING:
    from embedpipe.backbones.engines import Backbone


@pytest.fixture(scope="module")
def pile(tmp_path_factory: pytest.TempPathFactory, tiny: "Backbone") -> Path:
    """A heap, what one process makes of it, and what two shards make of it; a copy of a file is in each of them."""
    folder = tmp_path_factory.mktemp("pile")
    (folder / "heap").mkdir()
    for number in range(8):
        with pymupdf.open() as document:
            for page in range(3):
                document.new_page().insert_text((72, 72), f"document {number}, page {page}", fontsize=30)
            document.save(folder / "heap" / f"{number}.pdf")
    names = {Shard(n, 2): [] for n in (1, 2)}
    for number in range(100):
        for shard, own in names.items():
            if shard.holds(str(folder / "heap" / f"copy{number}.pdf"), [str(folder / "heap")]):
                own.append(f"copy{number}.pdf")
    for own in names.values():
        shutil.copy(folder / "heap" / "0.pdf", folder / "heap" / own[0])
    (folder / "heap" / "broken.pdf").write_bytes(b"%PDF-1.4 nothing")
    settings = Settings(workers=1)
    embed(Workspace(folder / "whole"), [str(folder / "heap")], tiny, settings=settings)
    for n in (1, 2):
        own = Settings(workers=1, shard=Shard(n, 2))
        embed(Workspace(folder / f"shard{n}"), [str(folder / "heap")], tiny, settings=own)
    return folder


@pytest.fixture
def shards(pile: Path, tmp_path: Path) -> list[Workspace]:
    """Copies of the two shards."""
    for n in (1, 2):
        shutil.copytree(pile / f"shard{n}", tmp_path / f"shard{n}")
    return [Workspace(tmp_path / f"shard{n}") for n in (1, 2)]


def features(workspace: Workspace) -> dict[tuple[str, int], bytes]:
    """The bytes of each page's features; each page once."""
    (space,) = workspace.spaces()
    store = FeatureStore.open(workspace.store_path(space))
    pages = store.pages()
    X = store.features(pages["page_id"].to_numpy(np.int64)).astype(np.float16)
    keys = list(zip(pages["document_sha256"], pages["page_index"].tolist(), strict=True))
    assert len(set(keys)) == len(keys)
    return {key: row.tobytes() for key, row in zip(keys, X, strict=True)}


def test_shards_hold_the_heap(pile: Path, shards: list[Workspace]) -> None:
    """Every page is in a shard, and the copy in both."""
    whole, parts = features(Workspace(pile / "whole")), [features(shard) for shard in shards]
    assert set(whole) == set(parts[0]) | set(parts[1])
    assert len(set(parts[0]) & set(parts[1])) == 3


def test_merged_shards_are_what_one_process_makes(pile: Path, shards: list[Workspace], workspace: Workspace) -> None:
    """The same pages with the same bytes, words and thumbnails, each once; the sums say so; parts are links."""
    merged = merge(workspace, shards)
    (joined,) = merged.stores
    whole = Workspace(pile / "whole")
    assert features(workspace) == features(whole)
    assert joined.holds
    assert (joined.before, joined.after) == (0, 24)
    assert sum(taken.twice for taken in joined.sources) == 3
    assert joined.failures == 1
    for name in TABLES:
        kept, wanted = page_table(workspace.root, name).places(), page_table(whole.root, name).places()
        assert len(kept) == len(wanted) == 24
    store = workspace.open_store(joined.space)
    assert all((store.path / part.name).stat().st_nlink == 2 for part in store.parts)
    assert store.verify() == []
    assert set(workspace.sources().present()) == set(whole.sources().present())
    assert len(store.failures()) == 1


def test_a_second_merge_changes_nothing(shards: list[Workspace], workspace: Workspace) -> None:
    """What was taken in is known by its hash; nothing is doubled."""
    merge(workspace, shards)
    before = features(workspace)
    parts = sorted(file.name for file in workspace.root.rglob("*.parquet"))
    merged = merge(workspace, shards)
    assert features(workspace) == before
    assert sorted(file.name for file in workspace.root.rglob("*.parquet")) == parts
    assert [taken.taken for taken in merged.stores[0].sources] == [0, 0]
    assert sum(taken.known for taken in merged.stores[0].sources) == 24 + 3 - merged.stores[0].sources[1].twice


def test_merged_artifacts_go_on(
    pile: Path, shards: list[Workspace], workspace: Workspace, tiny: "Backbone", make_pdf: Callable[..., Path]
) -> None:
    """`embed` finds all pages there, adds new ones, and `forget` removes rows that do not count as well."""
    merge(workspace, shards)
    report = embed(workspace, [str(pile / "heap")], tiny, settings=Settings(workers=1))
    assert (report.embedded, report.skipped, report.filled) == (0, 24, 0)
    embed(workspace, [str(make_pdf("new.pdf", ["new"]))], tiny, settings=Settings(workers=1))
    assert len(features(workspace)) == 25
    copy = workspace.sources().sha256_at(str(pile / "heap" / "0.pdf"))
    assert copy is not None
    forget(workspace, [copy])
    assert len(features(workspace)) == 22
    (space,) = workspace.spaces()
    store = workspace.open_store(space)
    for part in store.parts:
        table = store.read(part, ["document_sha256"], whole=True)
        assert table is not None
        assert copy not in table["document_sha256"].to_pylist()


def test_labels_that_differ_are_listed(shards: list[Workspace], workspace: Workspace) -> None:
    """One's own label stays; what others contradict each other about has none; the rest comes along."""
    rows = [("a" * 64, "x"), ("b" * 64, "x"), ("c" * 64, "x")], [("a" * 64, "x"), ("b" * 64, "y"), ("c" * 64, "y")]
    for shard, given in zip(shards, rows, strict=True):
        labels = shard.labels()
        labels.add(Label(sha256, f"/{sha256[0]}.pdf", kind) for sha256, kind in given)
        shard.keep_labels(labels, "test")
    own = workspace.labels()
    workspace.claim()
    own.add([Label("c" * 64, "/c.pdf", "z")])
    workspace.keep_labels(own, "test")
    merged = merge(workspace, shards)
    assert {key[0][0]: label.label for key, label in workspace.labels().rows.items()} == {"a": "x", "c": "z"}
    assert {c.document[0]: (set(c.types), c.kept) for c in merged.labels.conflicts} == {
        "b": ({"x", "y"}, ""),
        "c": ({"x", "y", "z"}, "z"),
    }
