"""Artifacts of two machines become one: each page once, nothing lost, whatever was killed."""

import contextlib
import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pymupdf
import pytest

from embedpipe.core.errors import ArtifactError, UnknownNameError
from embedpipe.embedding.sharding import Shard
from embedpipe.embedding.streaming import Settings
from embedpipe.index.page_index import fresh_index
from embedpipe.store.features import FeatureStore
from embedpipe.store.joining.stores import Joined
from embedpipe.store.labels import Label
from embedpipe.store.page_extras import TABLES, page_table
from embedpipe.store.parts import Part
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.decide import Batch, Decision, LabelBook
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


def test_what_does_not_add_up_is_not_listed(
    shards: list[Workspace], workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is it left where the next writer would list it."""
    with monkeypatch.context() as patch:
        patch.setattr(Joined, "holds", property(lambda _: False))
        with pytest.raises(ArtifactError, match="do not add up"):
            merge(workspace, shards)
    (space,) = shards[0].spaces()
    assert FeatureStore.open(workspace.store_path(space)).parts == []
    assert not list(workspace.store_path(space).glob("part-*"))
    assert merge(workspace, shards).stores[0].holds


def test_labels_wait_while_those_of_others_are_joined(
    shards: list[Workspace], workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What somebody labels meanwhile is not overwritten: the lock of the labels is held from reading to writing."""
    held, changing = list[bool](), Workspace.changing_labels

    @contextlib.contextmanager
    def noted(self: Workspace) -> Iterator[None]:
        with changing(self):
            held.append(True)
            yield
            held.clear()

    labels = shards[0].labels()
    labels.add([Label(sha256, "/a.pdf", "letter") for sha256 in sorted({key[0] for key in features(shards[0])})[:1]])
    shards[0].keep_labels(labels, "label")
    monkeypatch.setattr(Workspace, "changing_labels", noted)
    keep = Workspace.keep_labels
    monkeypatch.setattr(Workspace, "keep_labels", lambda *told: keep(*told) if held else pytest.fail("not held"))
    merge(workspace, shards)
    assert workspace.labels().count == 1


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


def test_suggested_and_confirmed_labels_come_along(shards: list[Workspace], workspace: Workspace) -> None:
    """By the rules of checked ones, which go before a suggestion; a label is confirmed where it is the one there is."""
    given = (
        ("suggested", {"a": "x", "b": "x", "c": "x", "d": "x"}, {"a": "x", "b": "y", "c": "y", "e": "x"}),
        ("confirmed", {"e": "x", "f": "x", "0": "x"}, {"0": "y"}),
    )
    for number, shard in enumerate(shards):
        for state, *said in given:
            batch = [Decision(name * 64, kind) for name, kind in said[number].items()]
            LabelBook(shard).apply([Batch(batch, state)], {})
    own = LabelBook(workspace)
    own.apply([Batch([Decision("c" * 64, "z"), Decision("f" * 64, "z")], "suggested")], {})
    own.apply([Batch([Decision("d" * 64, "z")])], {})
    merged = merge(workspace, shards)
    book = LabelBook(workspace)
    tables = [{key[0][0]: row.label for key, row in one().rows.items()} for one in (book.checked, book.suggested)]
    assert tables == [{"d": "z", "e": "x", "f": "x"}, {"a": "x", "c": "z"}]
    assert {key[0][0]: row.label for key, row in book.confirmed().rows.items()} == {"e": "x", "f": "x"}
    told = merged.suggested
    assert {c.document[0]: (set(c.types), c.kept) for c in told.conflicts} == {
        "b": ({"x", "y"}, ""),
        "c": ({"x", "y", "z"}, "z"),
    }
    assert (told.count, told.added, told.left) == (2, 1, 3)
    assert (merged.confirmed.added, merged.confirmed.left) == (2, 1)
    again = merge(workspace, shards)
    assert (again.suggested.added, again.confirmed.added) == (0, 0)


_KILLED = """
import os, signal, sys
from embedpipe.store.features import FeatureStore
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.merge import merge

into, *others = map(Workspace, sys.argv[1:])
left = 0

def dying(call):
    def run(*args, **more):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **more)
    return run

for name in ("link", "replace", "unlink", "mkdir"):
    setattr(os, name, dying(getattr(os, name)))

def once(kill_at):
    global left
    for manifest in into.root.glob("features/*/manifest.json"):
        table = FeatureStore.open(manifest.parent).table()
        pages = list(zip(table["document_sha256"].to_pylist(), table["page_index"].to_pylist()))
        assert len(pages) in (0, 24) and len(set(pages)) == len(pages), len(pages)
    left = kill_at
    merge(into, others)

killed = 0
for step in (*range(1, 200), 0):
    if (child := os.fork()) == 0:
        try:
            once(step)
        except BaseException as error:
            print(type(error).__name__, error, flush=True)
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), status
    killed += status == signal.SIGKILL
    if status == 0:
        break
print(killed)
"""


def test_a_merge_that_is_killed_at_every_step_loses_and_doubles_nothing(
    pile: Path, shards: list[Workspace], workspace: Workspace
) -> None:
    """SIGKILL before each link, rename and removal in turn; the next run goes on, and the last one ends well."""
    arguments = [str(one.root) for one in (workspace, *shards)]
    done = subprocess.run([sys.executable, "-c", _KILLED, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout) >= 20, done.stdout
    assert features(workspace) == features(Workspace(pile / "whole"))
    (space,) = workspace.spaces()
    assert workspace.open_store(space).verify() == []
    for name in TABLES:
        table = page_table(workspace.root, name)
        assert sum(part.rows for part in table.parts) == 24
        assert {file.name for file in table.files()} == {part.name for part in table.parts}


def test_what_a_killed_merge_linked_is_adopted_once(
    pile: Path, shards: list[Workspace], workspace: Workspace, tiny: "Backbone", monkeypatch: pytest.MonkeyPatch
) -> None:
    """`embed` takes in parts that are not listed, without the pages that others have; `merge` then knows them."""
    kept = FeatureStore.replace_parts

    def dying(store: FeatureStore, parts: list[Part]) -> None:
        if parts:
            raise KeyboardInterrupt
        kept(store, parts)

    monkeypatch.setattr(FeatureStore, "replace_parts", dying)
    with pytest.raises(KeyboardInterrupt):
        merge(workspace, shards)
    monkeypatch.undo()
    report = embed(workspace, [str(pile / "heap")], tiny, settings=Settings(workers=1))
    assert (report.embedded, report.skipped) == (0, 24)
    assert features(workspace) == features(Workspace(pile / "whole"))
    assert sum(taken.taken for taken in merge(workspace, shards).stores[0].sources) == 0


def test_another_disk_gets_copies(
    pile: Path, shards: list[Workspace], workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing can be linked, parts are copied and compared."""

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, "another disk")

    monkeypatch.setattr(os, "link", refused)
    (joined,) = merge(workspace, shards).stores
    assert sum(taken.copied for taken in joined.sources) == 2
    assert features(workspace) == features(Workspace(pile / "whole"))


def test_a_damaged_part_is_left_out_and_said(shards: list[Workspace], workspace: Workspace) -> None:
    """The others are taken; after `embed` has made it again, so is the rest."""
    (space,) = shards[0].spaces()
    (part,) = shards[0].store_path(space).glob("part-*.parquet")
    part.write_bytes(part.read_bytes()[:-100])
    merged = merge(workspace, shards)
    assert merged.damaged == 1
    assert merged.stores[0].after == merged.stores[0].sources[1].taken


def test_without_its_manifest_merged_parts_are_adopted_once(
    pile: Path, shards: list[Workspace], workspace: Workspace, tiny: "Backbone"
) -> None:
    """The manifest says which rows do not count; where it is lost, that is found again."""
    (joined,) = merge(workspace, shards).stores
    (workspace.store_path(joined.space) / "manifest.json").unlink()
    embed(workspace, [str(pile / "heap")], tiny, settings=Settings(workers=1))
    assert features(workspace) == features(Workspace(pile / "whole"))


def test_the_index_follows(shards: list[Workspace], pile: Path, workspace: Workspace) -> None:
    """An index that was there before the merge finds the pages that came with it, each once."""
    merge(workspace, shards[:1])
    (space,) = workspace.spaces()
    before = fresh_index(workspace.open_store(space), workspace.index_path(space))
    assert len(before.page_ids) < 24
    merge(workspace, shards[1:])
    store = workspace.open_store(space)
    index = fresh_index(store, workspace.index_path(space))
    assert sorted(index.page_ids.tolist()) == sorted(store.pages()["page_id"])
    assert len(index.page_ids) == 24
    rows, good = index.stored_rows(index.page_ids)  # read in place, also of parts with rows that do not count
    assert good.all()
    assert np.array_equal(rows, store.features(index.page_ids).astype(np.float16))


def test_other_spaces_are_refused(shards: list[Workspace], workspace: Workspace, tmp_path: Path) -> None:
    """Pages of two spaces never go together unless one is chosen; what is no artifacts is said."""
    (space,) = shards[1].spaces()
    shards[1].store_path(space).rename(shards[1].store_path("other-00000000"))
    with pytest.raises(ArtifactError, match="only pages of one space"):
        merge(workspace, shards)
    with pytest.raises(UnknownNameError, match="nope"):
        merge(workspace, shards, space="nope")
    assert not workspace.root.exists()
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ArtifactError, match="holds no artifacts"):
        merge(workspace, [Workspace(tmp_path / "nothing")])


def test_variants_networks_and_facts_come_along(shards: list[Workspace], workspace: Workspace) -> None:
    """What a shard holds besides pages; classifiers stay, and are named. All of it once."""
    (space,) = shards[0].spaces()
    for shard in shards:
        store = shard.store_path(space)
        shutil.copytree(store, store / "variants" / "key" / "1")
        shard.backbone_path("own").mkdir(parents=True)
        for name in ("weights.safetensors", "manifest.json"):
            (shard.backbone_path("own") / name).write_text("{}")
        (shard.classifier_folder("svm") / "versions" / "1").mkdir(parents=True)
        (shard.classifier_folder("svm") / "versions" / "1" / "manifest.json").write_text("{}")
        kinds = pa.table({"document_sha256": ["a" * 64], "source_kind": ["scan"]})
        pq.write_table(kinds, shard.root / "kinds.parquet", write_page_checksum=True)
    merged = merge(workspace, shards)
    (variants,) = merged.variants
    assert (variants.after, sum(taken.twice for taken in variants.sources)) == (24, 3)
    assert merged.backbones == ["finetuned:own"]
    assert workspace.backbones() == ["own"]
    assert merged.rows["kinds.parquet"] == 1
    assert len(merged.left) == len(shards)
    again = merge(workspace, shards)
    assert (again.variants[0].before, again.variants[0].after, again.backbones) == (24, 24, [])
