"""The store gives back what was put in, notices damage, and survives a kill at any step."""

import contextlib
import dataclasses
import errno
import json
import logging
import os
import random
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from embedpipe.core import files
from embedpipe.core.errors import ArtifactError, SpaceMismatchError
from embedpipe.core.records import WHOLE_FILE, FeatureBatch, Identity, PageFailure, PageInfo, PageRef, Recipe
from embedpipe.store import feature_writer, parts
from embedpipe.store.feature_writer import FeatureWriter
from embedpipe.store.features import FeatureStore
from embedpipe.store.parts import Part

IDENTITY = Identity("fake", "0" * 64, Recipe(), ("p",))
DIM = 8
KNOBS = {"engine": "torch", "device": "cpu", "precision": "fp32"}
Rows = dict[tuple[str, int], list[float]]


class Killed(BaseException):
    """Stands for `kill -9`: nobody catches it, and nothing is cleaned up."""


def info(number: int, *, source: str = "", message: str = "") -> PageInfo:
    """What is known of the page of a number; four pages make a document."""
    ref = PageRef(f"{number // 4:064x}", number % 4, source or f"/data/{number // 4}.pdf")
    outcome = ("ok", "blank", "repaired")[number % 3]
    return PageInfo(ref, 4, 595.0, 842.0 + number, number / 100, outcome, message)


def vectors(numbers: list[int]) -> NDArray[np.float32]:
    """The features of the pages of some numbers: every page has its own."""
    return np.stack([np.random.default_rng(number).normal(size=DIM).astype(np.float32) for number in numbers])


def batch(first: int, last: int) -> FeatureBatch:
    """The pages of the numbers from first to before last."""
    numbers = list(range(first, last))
    return FeatureBatch(tuple(map(info, numbers)), vectors(numbers))


def rows_of(first: int, last: int) -> Rows:
    """What the store should hold for the pages of these numbers."""
    keep = vectors(list(range(first, last))).astype(np.float16).tolist()
    return {
        (info(n).ref.document_sha256, info(n).ref.page_index): row
        for n, row in zip(range(first, last), keep, strict=True)
    }


def rows(store: FeatureStore) -> Rows:
    """What the store holds; no page twice."""
    pages = store.pages()
    keys = list(zip(pages["document_sha256"], pages["page_index"], strict=True))
    assert len(set(keys)) == len(keys)
    assert pages["page_id"].is_unique
    return dict(zip(keys, store.features(pages["page_id"].to_numpy()).tolist(), strict=True))


def flipped(content: bytes, at: int, bit: int) -> bytes:
    """The content with one bit flipped."""
    return content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]


def description(content: bytes, first: bytes) -> range:
    """Where a Parquet file with this first column describes its columns."""
    start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    return range(start, content.find(first, content.find(first, start) + 1))


@pytest.fixture
def writer(tmp_path: Path) -> FeatureWriter:
    """Writes to a new store."""
    return FeatureWriter(FeatureStore.create(tmp_path / "store", IDENTITY, [("p", 0, DIM)]), KNOBS)


@pytest.fixture
def three_parts(writer: FeatureWriter) -> Path:
    """A store of three parts with 10 pages each."""
    for first in (0, 10, 20):
        writer.append(batch(first, first + 10))
        writer.flush()
    return writer.store.path


def again(path: Path) -> FeatureWriter:
    """A new writer, as the next run would open it."""
    return FeatureWriter(FeatureStore.create(path, IDENTITY, [("p", 0, DIM)]), KNOBS)


def test_round_trip(writer: FeatureWriter) -> None:
    """Pages come back with all that is known of them, and features exactly as float16 holds them."""
    writer.append(batch(0, 5))
    writer.append(batch(5, 9))
    writer.flush()
    store = FeatureStore.open(writer.store.path)
    assert (store.identity, store.dim, store.blocks) == (IDENTITY, DIM, [("p", 0, DIM)])
    pages = store.pages()
    for number, row in enumerate(pages.itertuples()):
        page = info(number)
        assert PageRef(row.document_sha256, row.page_index, row.source) == page.ref
        assert (row.page_count, row.width, row.height, row.outcome) == (4, page.width, page.height, page.outcome)
        assert row.ink == pytest.approx(page.ink)
    X = store.features(pages["page_id"].to_numpy())
    assert X.dtype == np.float32
    np.testing.assert_array_equal(X, vectors(list(range(9))).astype(np.float16))
    np.testing.assert_allclose(X, vectors(list(range(9))), rtol=1e-3, atol=1e-6)


def test_an_empty_store(writer: FeatureWriter) -> None:
    """A store without pages can be read, and flushing nothing writes no part."""
    writer.flush()
    store = FeatureStore.open(writer.store.path)
    assert len(store.pages()) == 0
    assert list(store.batches()) == []
    assert store.features(np.zeros(0, np.int64)).shape == (0, DIM)
    assert store.verify() == []
    assert os.listdir(store.path) == ["manifest.json"]


def test_batches_are_the_features(three_parts: Path) -> None:
    """Part by part the same ids and features come as when they are asked for."""
    store = FeatureStore.open(three_parts)
    ids, X = (np.concatenate(column) for column in zip(*store.batches(), strict=True))
    np.testing.assert_array_equal(ids, store.pages()["page_id"])
    np.testing.assert_array_equal(X, store.features(ids))


def test_features_in_the_order_asked(three_parts: Path) -> None:
    """Features come in the order asked for, across parts, and again for a page that is asked for twice."""
    store = FeatureStore.open(three_parts)
    ids = store.pages()["page_id"].to_numpy()
    wanted = [29, 0, 15, 3, 3, 28, 10]
    np.testing.assert_array_equal(store.features(ids[wanted]), vectors(wanted).astype(np.float16))


@pytest.mark.parametrize("missing", [7 << 32, (1 << 32) + 10, (1 << 32) - 1])
def test_pages_that_are_missing(three_parts: Path, missing: int) -> None:
    """Asking for a page of no part, or beyond a part's rows, is an error and never another page's features."""
    store = FeatureStore.open(three_parts)
    with pytest.raises(ArtifactError, match=r"missing|lacks"):
        store.features(np.array([0, missing], np.int64))


def test_page_ids_are_stable(three_parts: Path) -> None:
    """Pages keep their ids when more are added, and no id is given twice."""
    before = FeatureStore.open(three_parts).pages().set_index(["document_sha256", "page_index"])["page_id"]
    writer = again(three_parts)
    writer.append(batch(30, 40))
    writer.flush()
    after = FeatureStore.open(three_parts).pages().set_index(["document_sha256", "page_index"])["page_id"]
    assert after.is_unique
    assert len(after) == 40
    assert after.loc[before.index].equals(before)


def test_parts_are_written_as_pages_come(writer: FeatureWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part is written whenever enough pages have come, not only at the end."""
    monkeypatch.setattr(feature_writer, "ROWS_PER_PART", 10)
    for first in range(0, 24, 4):
        writer.append(batch(first, first + 4))
    assert [part.rows for part in FeatureStore.open(writer.store.path).parts] == [12, 12]


def test_readers_see_a_snapshot(three_parts: Path) -> None:
    """A store that was opened before a part was added still shows what it showed."""
    reader = FeatureStore.open(three_parts)
    writer = again(three_parts)
    writer.append(batch(30, 40))
    writer.flush()
    assert rows(reader) == rows_of(0, 30)
    assert rows(FeatureStore.open(three_parts)) == rows_of(0, 40)


def test_the_writer_knows_what_is_there(three_parts: Path) -> None:
    """A new writer knows the pages that the store holds, and how many their documents have."""
    writer = again(three_parts)
    assert writer.known == {f"{d:064x}": set(range(4)) for d in range(7)} | {f"{7:064x}": {0, 1}}
    assert set(writer.page_counts.values()) == {4}


def test_parts_say_how_they_were_made(three_parts: Path) -> None:
    """Every part carries its space and the engine, device and precision that made it."""
    metadata = pq.read_schema(three_parts / "part-000001.parquet").metadata
    assert {key.decode(): value.decode() for key, value in metadata.items()} == KNOBS | {"space": IDENTITY.space}


def test_another_identity_is_refused(three_parts: Path) -> None:
    """A folder that holds one space is refused to another, and the message shows both."""
    other = dataclasses.replace(IDENTITY, weights_sha256="1" * 64)
    with pytest.raises(SpaceMismatchError) as caught:
        FeatureStore.create(three_parts, other, [("p", 0, DIM)])
    assert str(IDENTITY) in str(caught.value)
    assert str(other) in str(caught.value)
    assert rows(FeatureStore.open(three_parts)) == rows_of(0, 30)


@pytest.mark.parametrize("damage", ["identity", "dim", "blocks", "parts"])
def test_a_manifest_that_lacks_something(three_parts: Path, damage: str) -> None:
    """A manifest without one of its entries is called damaged."""
    manifest = json.loads((three_parts / "manifest.json").read_text())
    del manifest[damage]
    (three_parts / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match=r"manifest\.json is damaged"):
        FeatureStore.open(three_parts)


def state_of(store: FeatureStore) -> dict[str, object]:
    """What a store knows without having read a page."""
    return {name: len(value) if isinstance(value, pd.DataFrame) else value for name, value in vars(store).items()}


def test_a_bit_flip_in_the_manifest_is_noticed(three_parts: Path) -> None:
    """A bit that flips in the manifest changes nothing that is read, or is an error of one line with what to do."""
    manifest = three_parts / "manifest.json"
    content, messages = manifest.read_bytes(), []
    right = state_of(FeatureStore.open(three_parts))
    for at in range(len(content)):
        manifest.write_bytes(flipped(content, at, at % 7))
        try:
            assert state_of(FeatureStore.open(three_parts)) == right, f"byte {at}"
        except ArtifactError as error:
            messages.append(str(error))
    assert len(messages) > 0.9 * len(content)
    advice = ("run `embed` again, which lists the parts anew", "upgrade this one")
    assert [text for text in messages if not text.endswith(advice) or "\n" in text] == []
    manifest.unlink()
    again(three_parts)
    assert rows(FeatureStore.open(three_parts)) == rows_of(0, 30)


def test_a_damaged_part_is_left_out_whole(three_parts: Path) -> None:
    """A part of which only the features, or only a column, cannot be read gives neither from then on."""
    part = three_parts / "part-000001.parquet"
    content = part.read_bytes()
    group = pq.read_metadata(part).row_group(0)
    for column in range(group.num_columns):
        start = group.column(column).dictionary_page_offset or group.column(column).data_page_offset
        part.write_bytes(flipped(content, start + group.column(column).total_compressed_size - 3, 2))
        store = FeatureStore.open(three_parts)
        list(store.batches())
        store.pages()
        assert [p.number for p in store.parts] == [0, 2], group.column(column).path_in_schema
        assert len(store.pages()) == sum(len(ids) for ids, _ in store.batches()) == 20
        assert [p.number for p in store.listed] == [0, 1, 2]
        assert len(store.verify()) == 1


def test_a_bit_flip_in_the_data_is_noticed_by_readers(three_parts: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A bit that flips in the rows of a part never changes a number: the part is named and left out."""
    part = three_parts / "part-000001.parquet"
    content = part.read_bytes()
    end_of_data = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    whole = FeatureStore.open(three_parts)
    ids, right = whole.pages()["page_id"].to_numpy(), {}
    for part_ids, X in whole.batches():
        right |= dict(zip(part_ids.tolist(), X.tolist(), strict=True))
    noticed = 0
    dice = random.Random(1)
    for _ in range(60):
        part.write_bytes(flipped(content, dice.randrange(4, end_of_data), dice.randrange(8)))
        caplog.clear()
        store = FeatureStore.open(three_parts)
        pages, got = store.pages(), {}
        for part_ids, X in store.batches():
            got |= dict(zip(part_ids.tolist(), X.tolist(), strict=True))
        assert got.items() <= right.items()
        assert pages["page_id"].to_list() in (ids.tolist(), [*ids[:10], *ids[20:]])
        if len(got) < 30 or len(pages) < 30:
            noticed += 1
            assert "part-000001.parquet is damaged" in caplog.text
            assert "its 10 pages are left out" in caplog.text
        if len(got) < 30:
            with pytest.raises(ArtifactError, match="10 pages are missing"):
                store.features(ids)
    assert noticed > 40  # the others hit statistics, which nobody reads


def test_a_bit_flip_in_the_description_is_noticed_by_readers(three_parts: Path) -> None:
    """A bit that flips in the names or types of the columns never changes a number and never raises, either."""
    part = three_parts / "part-000001.parquet"
    content = part.read_bytes()
    logging.disable(logging.WARNING)
    try:
        for at in description(content, b"page_id"):
            for bit in (3, 6):
                part.write_bytes(flipped(content, at, bit))
                store = FeatureStore.open(three_parts)
                right = rows_of(0, 10) | rows_of(20, 30) if len(store.pages()) == 20 else rows_of(0, 30)
                with contextlib.suppress(ArtifactError):  # the pages can be read, their features cannot
                    assert rows(store) == right, f"byte {at}, bit {bit}"
    finally:
        logging.disable(logging.NOTSET)


def test_damage_is_put_aside_and_healed(three_parts: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Wherever a bit flips in a part, the next writer puts the part aside; its pages come back as they were."""
    seen = set(FeatureStore.open(three_parts).pages()["page_id"])
    part = three_parts / "part-000001.parquet"
    content = part.read_bytes()
    dice = random.Random(2)
    for at in [0, len(content) - 1, *(dice.randrange(len(content)) for _ in range(8))]:
        part.write_bytes(flipped(content, at, dice.randrange(8)))
        assert [p.split(": ", 1)[1] for p in FeatureStore.open(three_parts).verify()] == [
            "damaged (10 pages); run `embed` again on their files"
        ]
        caplog.clear()
        writer = again(three_parts)
        assert f"{part.name} is damaged: put aside; its 10 pages are embedded again" in caplog.text
        assert rows(FeatureStore.open(three_parts)) == rows_of(0, 10) | rows_of(20, 30)
        assert f"{3:064x}" not in writer.known  # pages 12 to 15
        writer.append(batch(10, 20))
        writer.flush()
        store = FeatureStore.open(three_parts)
        assert rows(store) == rows_of(0, 30)
        assert store.verify() == []
        new = store.pages()["page_id"].to_list()[20:]
        assert not seen & set(new), "an id of the part that was put aside names another page"
        seen |= set(new)
        part = three_parts / store.parts[-1].name
        content = part.read_bytes()


def test_parts_are_hashed_only_where_they_may_have_changed(three_parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer hashes parts of another size or time, once, and those that a reader has found damaged."""
    hashed: list[str] = []

    def noted(file: Path) -> str:
        hashed.append(file.name)
        return files.sha256_of(file)

    monkeypatch.setattr(parts, "sha256_of", noted)
    again(three_parts)
    assert hashed == []
    os.utime(three_parts / "part-000002.parquet", (0, 0))  # as after a copy of the folder
    again(three_parts)
    again(three_parts)
    assert hashed == ["part-000002.parquet"]
    part = three_parts / "part-000001.parquet"
    content, times = part.read_bytes(), part.stat()
    place = embedding_in(part)
    part.write_bytes(flipped(content, place.data_page_offset + place.total_compressed_size - 3, 2))
    os.utime(part, ns=(times.st_atime_ns, times.st_mtime_ns))  # rot changes no time
    list(FeatureStore.open(three_parts).batches())
    writer = again(three_parts)
    assert [p.number for p in writer.store.parts] == [0, 2]
    assert rows(writer.store) == rows_of(0, 10) | rows_of(20, 30)
    assert list(three_parts.glob("*.suspect")) == []


def embedding_in(part: Path) -> Any:
    """Where the features of the first rows of a part are in its file."""
    group = pq.read_metadata(part).row_group(0)
    columns = (group.column(number) for number in range(group.num_columns))
    return next(column for column in columns if column.path_in_schema.startswith("embedding"))


def test_forget_takes_a_damaged_part_along(three_parts: Path) -> None:
    """A part that turns out to be damaged while documents are forgotten may hold them, and is removed."""
    part = three_parts / "part-000001.parquet"
    content, times = part.read_bytes(), part.stat()
    place = embedding_in(part)
    part.write_bytes(flipped(content, place.data_page_offset + place.total_compressed_size - 3, 2))
    os.utime(part, ns=(times.st_atime_ns, times.st_mtime_ns))
    again(three_parts).forget({f"{0:064x}"})
    assert rows(FeatureStore.open(three_parts)) == rows_of(4, 10) | rows_of(20, 30)
    assert list(three_parts.glob("part-000001*")) == []


def test_a_part_that_is_gone(three_parts: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A part that was deleted is named and left out, and its pages come back with the next writer."""
    (three_parts / "part-000001.parquet").unlink()
    store = FeatureStore.open(three_parts)
    assert rows(store) == rows_of(0, 10) | rows_of(20, 30)
    assert "part-000001.parquet is damaged" in caplog.text
    assert [problem.partition(": ")[2] for problem in store.verify()] == [
        "missing (10 pages); run `embed` again on their files"
    ]
    writer = again(three_parts)
    writer.append(batch(10, 20))
    writer.flush()
    assert rows(FeatureStore.open(three_parts)) == rows_of(0, 30)
    assert FeatureStore.open(three_parts).verify() == []


def test_a_part_that_is_not_listed_is_adopted(three_parts: Path) -> None:
    """A part that was finished but not listed when its writer was killed is adopted with its rows."""
    before = (three_parts / "manifest.json").read_bytes()
    writer = again(three_parts)
    writer.append(batch(30, 40))
    writer.flush()
    (three_parts / "manifest.json").write_bytes(before)
    assert rows(FeatureStore.open(three_parts)) == rows_of(0, 30)
    adopted = again(three_parts)
    assert adopted.known[f"{9:064x}"] == {0, 1, 2, 3}
    assert rows(FeatureStore.open(three_parts)) == rows_of(0, 40)
    assert FeatureStore.open(three_parts).verify() == []


def test_a_lost_manifest_is_made_again(three_parts: Path) -> None:
    """When the manifest is gone, the next writer lists every part that it can read."""
    (three_parts / "manifest.json").unlink()
    with pytest.raises(ArtifactError, match="missing"):
        FeatureStore.open(three_parts)
    again(three_parts)
    assert rows(FeatureStore.open(three_parts)) == rows_of(0, 30)


def test_parts_that_are_not_adopted(three_parts: Path, tmp_path: Path) -> None:
    """A part of another space, and one that was cut off, are not adopted, and their numbers are not used again."""
    other = dataclasses.replace(IDENTITY, backbone="other")
    stranger = FeatureWriter(FeatureStore.create(tmp_path / "other", other, [("p", 0, DIM)]), KNOBS)
    stranger.append(batch(40, 50))
    stranger.flush()
    content = (tmp_path / "other" / "part-000000.parquet").read_bytes()
    (three_parts / "part-000003.parquet").write_bytes(content)
    (three_parts / "part-000004.parquet").write_bytes(content[:-100])
    writer = again(three_parts)
    assert rows(writer.store) == rows_of(0, 30)
    writer.append(batch(30, 33))
    writer.flush()
    assert FeatureStore.open(three_parts).parts[-1].name == "part-000005.parquet"


def test_a_number_is_never_used_again(three_parts: Path) -> None:
    """The number of a part that vanished, or was put aside and then removed by `forget`, is given to no other part."""
    part = three_parts / "part-000002.parquet"
    part.write_bytes(flipped(part.read_bytes(), 100, 3))
    writer = again(three_parts)
    writer.forget({f"{0:064x}"})
    assert not list(three_parts.glob("part-000002*"))
    writer = again(three_parts)
    writer.append(batch(20, 25))
    writer.flush()
    (three_parts / writer.store.parts[-1].name).unlink()
    writer = again(three_parts)
    writer.append(batch(25, 30))
    writer.flush()
    assert [part.number for part in FeatureStore.open(three_parts).parts] == [0, 1, 4]


def test_a_part_that_is_written_again_has_a_new_name_each_time(three_parts: Path) -> None:
    """However often documents of a part are forgotten, its new file never takes the place of an earlier one."""
    names = [FeatureStore.open(three_parts).parts[0].name]
    for document in range(2):
        again(three_parts).forget({f"{document:064x}"})
        names.append(FeatureStore.open(three_parts).parts[0].name)
    assert names == ["part-000000.parquet", "part-000000.r2.parquet", "part-000000.r3.parquet"]


def test_a_lost_manifest_finds_each_part_once(three_parts: Path) -> None:
    """Where a part and its newer revision lie without a manifest, the revision alone is taken in."""
    old = (three_parts / "part-000000.parquet").read_bytes()
    again(three_parts).forget({f"{0:064x}"})
    (three_parts / "part-000000.parquet").write_bytes(old)
    (three_parts / "manifest.json").unlink()
    again(three_parts)
    assert rows(FeatureStore.open(three_parts)) == rows_of(4, 30)


def test_copies_of_parts_are_left_alone(three_parts: Path) -> None:
    """A copy of a part that a synchronising tool or a person left is no part."""
    content = (three_parts / "part-000000.parquet").read_bytes()
    (three_parts / "part-000000 (conflicted copy).parquet").write_bytes(content)
    writer = again(three_parts)
    writer.append(batch(30, 33))
    writer.flush()
    assert rows(FeatureStore.open(three_parts)) == rows_of(0, 33)


def test_failures_round_trip(writer: FeatureWriter) -> None:
    """Failures of pages, of files and of files that could not be hashed come back as they were."""
    failures = [
        PageFailure(PageRef("a" * 64, 3, "/data/caf\udce9.pdf"), "timeout", "not finished after 30 s"),
        PageFailure(PageRef("b" * 64, WHOLE_FILE, "/data/合同.pdf"), "encrypted", "needs a password"),
        PageFailure(PageRef("", WHOLE_FILE, "/data/caf\udce9.doc"), "not_a_document", ""),
        PageFailure(PageRef("", WHOLE_FILE, "/data/b.doc"), "unreadable", "no"),
    ]
    for failure in failures:
        writer.fail(failure)
    writer.flush()
    assert FeatureStore.open(writer.store.path).failures() == failures
    later = again(writer.store.path)
    assert [later.failed(("a" * 64, 3)), later.failed("/data/b.doc")] == [failures[0], failures[3]]
    assert later.failures_of("b" * 64) == [failures[1]]
    assert later.failed(("a" * 64, 2)) is None


def test_a_failure_replaces_the_earlier_one(writer: FeatureWriter) -> None:
    """A page that fails again has one failure, the latest."""
    page = PageRef("a" * 64, 3, "/data/a.pdf")
    for kind in ("timeout", "crash"):
        writer.fail(PageFailure(page, kind, ""))
    writer.flush()
    assert FeatureStore.open(writer.store.path).failures() == [PageFailure(page, "crash", "")]


def test_success_removes_the_failure(writer: FeatureWriter) -> None:
    """The failure of a page goes when the page is embedded after all; those of others stay."""
    for number in (1, 2):
        writer.fail(PageFailure(info(number).ref, "timeout", ""))
    writer.flush()
    later = again(writer.store.path)
    later.append(batch(0, 2))
    later.flush()
    assert [f.page for f in FeatureStore.open(writer.store.path).failures()] == [info(2).ref]


def test_success_removes_the_failure_of_the_file(writer: FeatureWriter) -> None:
    """The failure of a whole file goes when its pages are embedded after all."""
    writer.fail(PageFailure(PageRef(info(0).ref.document_sha256, WHOLE_FILE, "/data/0.pdf"), "encrypted", ""))
    writer.flush()
    later = again(writer.store.path)
    later.append(batch(0, 4))
    later.flush()
    assert FeatureStore.open(writer.store.path).failures() == []


def test_messages_that_are_not_utf8(writer: FeatureWriter) -> None:
    """The message of a failure may quote bytes that are not UTF-8."""
    writer.fail(PageFailure(info(0).ref, "page_error", "no font Caf\udce9"))
    writer.flush()
    assert FeatureStore.open(writer.store.path).failures()[0].message == "no font Caf\\udce9"


def test_warnings_that_are_not_utf8(writer: FeatureWriter) -> None:
    """The message of a page that was embedded may quote bytes that are not UTF-8, too."""
    writer.append(FeatureBatch((info(0, message="no font Caf\udce9"),), vectors([0])))
    writer.flush()
    assert "no font Caf" in FeatureStore.open(writer.store.path).pages()["message"][0]


def test_paths_that_are_not_utf8(writer: FeatureWriter) -> None:
    """A document's path comes back byte by byte."""
    paths = ["/data/caf\udce9.pdf", "/data/合同.pdf", "/data/%E9.pdf"]
    pages = tuple(info(4 * i, source=path) for i, path in enumerate(paths))
    writer.append(FeatureBatch(pages, vectors([0, 4, 8])))
    writer.flush()
    assert FeatureStore.open(writer.store.path).pages()["source"].to_list() == paths


def test_damaged_failures_are_ignored(writer: FeatureWriter, caplog: pytest.LogCaptureFixture) -> None:
    """Failures that cannot be read are as good as none: the pages are tried again, and the file is named."""
    for number in range(50):
        writer.fail(PageFailure(info(number).ref, "timeout", f"after {number} s"))
    writer.flush()
    file = writer.store.path / "failures.parquet"
    content = file.read_bytes()
    file.write_bytes(flipped(content, 60, 3))
    assert FeatureStore.open(writer.store.path).failures() == []
    assert "failures.parquet is damaged and ignored" in caplog.text
    file.write_bytes(content[:-9])
    assert again(writer.store.path).failures_of(info(0).ref.document_sha256) == []


def test_bit_flips_in_failures_never_stop_the_program(writer: FeatureWriter) -> None:
    """Wherever a bit flips in the failures, they are read or ignored."""
    failures = [PageFailure(info(number).ref, "timeout", f"after {number} s") for number in range(20)]
    for failure in failures:
        writer.fail(failure)
    writer.flush()
    file = writer.store.path / "failures.parquet"
    content = file.read_bytes()
    logging.disable(logging.WARNING)
    try:
        for at in description(content, b"document_sha256"):
            for bit in range(8):
                file.write_bytes(flipped(content, at, bit))
                assert FeatureStore.open(writer.store.path).failures() in ([], failures), f"byte {at}, bit {bit}"
    finally:
        logging.disable(logging.NOTSET)


def test_a_full_disk_keeps_what_was_there(three_parts: Path) -> None:
    """A part that the disk has no room for is an ArtifactError of one line; the rest stays, and later it is written."""
    writer = again(three_parts)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))  # the kernel refuses to write beyond
    try:
        writer.append(batch(30, 400))
        with pytest.raises(ArtifactError, match=r"cannot write .*part-000003\.parquet: .*File too large") as caught:
            writer.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert rows(FeatureStore.open(three_parts)) == rows_of(0, 30)
    assert FeatureStore.open(three_parts).verify() == []
    assert [name for name in os.listdir(three_parts) if name.startswith(".embedpipe-")] == []
    writer.flush()
    assert rows(FeatureStore.open(three_parts)) == rows_of(0, 400)


def test_a_full_disk_at_the_manifest(three_parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk is full just after a part, the store stays as it was, and the next writer adopts the part."""
    writer = again(three_parts)
    replace = os.replace

    def full(source: Path, target: Path) -> None:
        if target.name == "manifest.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    writer.append(batch(30, 40))
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", full)
        with pytest.raises(ArtifactError, match="No space left on device"):
            writer.flush()
    assert rows(FeatureStore.open(three_parts)) == rows_of(0, 30)
    again(three_parts)
    assert rows(FeatureStore.open(three_parts)) == rows_of(0, 40)


def _run(folder: Path, count: int) -> None:
    """A run that embeds what is missing of some pages, the last of which fails."""
    with files.writing(folder, "embed"):
        writer = again(folder / "store")
        for first in range(0, count, 2):
            known = writer.known.get(info(first).ref.document_sha256, set())
            if info(first).ref.page_index not in known:
                writer.append(batch(first, first + 2))
        writer.fail(PageFailure(info(count).ref, "timeout", ""))
        writer.flush()


def _kill_at(step: int, patch: pytest.MonkeyPatch) -> None:
    """From now on the process ends before the given step of syncing and renaming, and then does nothing more."""
    left = [step]

    def dying(function):
        def step_or_die(*args: object, **options: object) -> object:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return function(*args, **options)

        return step_or_die

    unlink = Path.unlink
    patch.setattr(files.os, "fsync", dying(os.fsync))
    patch.setattr(files.os, "replace", dying(os.replace))
    patch.setattr(Path, "unlink", lambda path, **options: None if left[0] < 0 else unlink(path, **options))


def test_killed_at_any_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run killed before any of its steps leaves a store that can be read, and the next run completes it."""
    monkeypatch.setattr(feature_writer, "ROWS_PER_PART", 4)
    kills = 0
    for step in range(100):
        folder = tmp_path / str(step)
        killed = False
        with monkeypatch.context() as patch:
            _kill_at(step, patch)
            try:
                _run(folder, 12)
            except Killed:
                killed = True
        if not killed:
            break
        kills += 1
        if (folder / "store" / "manifest.json").exists():
            store = FeatureStore.open(folder / "store")
            assert store.verify() == []
            assert rows(store).items() <= rows_of(0, 12).items()
        _run(folder, 12)
        store = FeatureStore.open(folder / "store")
        assert rows(store) == rows_of(0, 12)
        assert [failure.page for failure in store.failures()] == [info(12).ref]
        assert store.verify() == []
        assert list(folder.rglob(".embedpipe-*")) == []
    # sync, rename, sync the folder: of the first manifest, of 3 parts with contents and manifest, of the failures
    assert kills == 33


def test_parts_of_an_earlier_version_lack_the_source_kind(tmp_path: Path) -> None:
    """A part that was written before kinds were told is read beside others, its pages of an unknown kind."""
    writer = FeatureWriter(FeatureStore.create(tmp_path / "s", IDENTITY, [("p", 0, DIM)]), KNOBS)
    writer.append(batch(0, 4))
    writer.flush()
    [part] = writer.store.parts
    file = tmp_path / "s" / part.name
    pq.write_table(pq.read_table(file).drop_columns("source_kind"), file, write_page_checksum=True)
    writer.store.replace_parts([Part.of(file, 4, files.sha256_of(file))])
    later = FeatureWriter(FeatureStore.open(tmp_path / "s"), KNOBS)
    new = batch(4, 8)
    later.append(FeatureBatch(tuple(dataclasses.replace(page, source_kind="scan") for page in new.pages), new.X))
    later.flush()
    store = FeatureStore.open(tmp_path / "s")
    assert store.pages()["source_kind"].tolist() == [""] * 4 + ["scan"] * 4
    assert rows(store) == rows_of(0, 8)
    later.forget({info(0).ref.document_sha256})
    assert FeatureStore.open(tmp_path / "s").pages()["source_kind"].tolist() == ["scan"] * 4
    assert not store.damaged


@pytest.mark.parametrize("name", ["_table", "_pages"])
def test_threads_that_share_a_store_have_what_they_read(three_parts: Path, name: str) -> None:
    """Also where another one lets go of it at once."""
    gone = property(lambda _: None, lambda *_: None)
    store = type("Shared", (FeatureStore,), {name: gone}).open(three_parts)
    assert len(store.pages()) == store.table().num_rows == len(FeatureStore.open(three_parts).pages())
