"""Tables of pages: what is written is read, a kill or damage loses nothing else, and what is forgotten is gone."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from embedpipe.core.errors import ArtifactError
from embedpipe.store import page_table
from embedpipe.store.page_table import POSITION, PageTable, PageTableWriter, all_rows

COLUMNS = {"picture": pa.binary(), "columns": pa.list_(pa.uint32())}


def table(folder: Path) -> PageTable:
    """The table of these tests, as it is now."""
    return PageTable(folder, "things", COLUMNS)


def write(folder: Path, rows: dict[tuple[str, int], bytes]) -> PageTableWriter:
    """Appends rows as one part."""
    writer = PageTableWriter(table(folder))
    for key, picture in rows.items():
        writer.append(key, {"picture": picture, "columns": np.arange(len(picture), dtype=np.uint32)})
    writer.flush()
    return writer


def pictures(folder: Path, *keys: tuple[str, int]) -> dict[tuple[str, int], bytes]:
    """What is read of some pages."""
    found = table(folder).read(keys, ["picture"])
    return {keys[i]: p for i, p in zip(found[POSITION].to_pylist(), found["picture"].to_pylist(), strict=True)}


def test_rows_are_read_by_page_in_the_order_asked_for(tmp_path: Path) -> None:
    """Also those of several parts; pages that are not kept are missing, and all columns come back as they were."""
    write(tmp_path, {("a", 0): b"a0", ("b", 3): b"b3"})
    write(tmp_path, {("a", 1): b"a1!"})
    keys = [("b", 3), ("x", 0), ("a", 1), ("a", 0)]
    found = table(tmp_path).read(keys)
    assert found[POSITION].to_pylist() == [0, 2, 3]
    assert found["picture"].to_pylist() == [b"b3", b"a1!", b"a0"]
    assert found["columns"].to_pylist() == [[0, 1], [0, 1, 2], [0, 1]]
    assert table(tmp_path).kept() == {"a": {0, 1}, "b": {3}}
    assert table(tmp_path / "nowhere").read(keys).num_rows == 0


def test_many_rows_are_found_across_groups_of_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row of a part of many groups is the one that was asked for."""
    monkeypatch.setattr(page_table, "ROWS_PER_PART", 150)
    rows = {("d", i): b"%d" % i for i in range(400)}
    write(tmp_path, rows)
    assert len(table(tmp_path).parts) == 3
    wanted = [("d", i) for i in np.random.default_rng(0).permutation(400).tolist()]
    assert pictures(tmp_path, *wanted) == rows
    batches = [
        dict(zip(keys, found["picture"].to_pylist(), strict=True))
        for keys, found in all_rows(table(tmp_path), ["picture"], 90)
    ]
    assert [len(batch) for batch in batches] == [90, 90, 90, 90, 40]
    assert {key: value for batch in batches for key, value in batch.items()} == rows


def test_the_row_written_last_counts(tmp_path: Path) -> None:
    """Within a part, and across parts; also after another document was forgotten."""
    write(tmp_path, {("a", 0): b"old", ("gone", 0): b"x"})
    write(tmp_path, {("a", 0): b"new"})
    assert pictures(tmp_path, ("a", 0)) == {("a", 0): b"new"}
    PageTableWriter(table(tmp_path)).forget(["gone"])
    assert pictures(tmp_path, ("a", 0), ("gone", 0)) == {("a", 0): b"new"}


def test_what_is_forgotten_is_in_no_file(tmp_path: Path) -> None:
    """Neither in a part nor in one that was put aside; the number of its part is not used again."""
    write(tmp_path, {("a", 0): b"secret-a", ("b", 0): b"kept-b"})
    write(tmp_path, {("a", 1): b"secret-a1"})
    (tmp_path / "things-000007.parquet.damaged").write_bytes(b"secret")
    assert PageTableWriter(table(tmp_path)).forget(["a"]) == 2
    assert pictures(tmp_path, ("a", 0), ("a", 1), ("b", 0)) == {("b", 0): b"kept-b"}
    assert not any(b"secret" in file.read_bytes() for file in tmp_path.iterdir())
    write(tmp_path, {("c", 0): b"c"})
    assert sorted(file.name for file in tmp_path.glob("*.parquet")) == [
        "things-000002.parquet",
        "things-000003.parquet",
    ]


def test_a_finished_part_that_a_kill_left_unlisted_is_taken_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what `forget` had replaced when it was killed is not taken back."""

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    write(tmp_path, {("a", 0): b"a", ("b", 0): b"b"})
    with monkeypatch.context() as patch:
        patch.setattr(page_table, "write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path, {("c", 0): b"c"})
    assert pictures(tmp_path, ("c", 0)) == {}
    writer = PageTableWriter(table(tmp_path))
    assert writer.kept == {"a": {0}, "b": {0}, "c": {0}}
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        patch.setattr(page_table, "replacing", unswept)
        with pytest.raises(KeyboardInterrupt):
            writer.forget(["a"])
    assert PageTableWriter(table(tmp_path)).kept == {"b": {0}, "c": {0}}


@contextlib.contextmanager
def unswept(path: Path) -> Iterator[Path]:
    """As `files.replacing`, without removing anything."""
    temporary = path.with_name("temporary")
    yield temporary
    temporary.rename(path)


@pytest.mark.parametrize("damage", ["cut", "flip", "missing"])
def test_a_damaged_part_is_left_out_and_then_put_aside(tmp_path: Path, damage: str) -> None:
    """Its pages count as not kept; the others are read, `verify` names it, and the next writer puts it aside."""
    write(tmp_path, {("a", 0): b"a" * 500})
    write(tmp_path, {("b", 0): b"b" * 500})
    file = tmp_path / "things-000000.parquet"
    content = bytearray(file.read_bytes())
    if damage == "missing":
        file.unlink()
    else:
        content[content.index(b"a" * 100)] ^= 255
        file.write_bytes(content if damage == "flip" else content[: len(content) // 2])
    assert pictures(tmp_path, ("a", 0), ("b", 0)) == {("b", 0): b"b" * 500}
    assert str(file) in table(tmp_path).verify()[0]
    assert write(tmp_path, {("a", 0): b"again"}).kept == {"a": {0}, "b": {0}}
    assert table(tmp_path).verify() == []
    assert pictures(tmp_path, ("a", 0), ("b", 0)) == {("a", 0): b"again", ("b", 0): b"b" * 500}


def test_a_damaged_manifest_is_made_again_from_the_parts(tmp_path: Path) -> None:
    """Nothing is lost; readers meanwhile see nothing, and are told."""
    write(tmp_path, {("a", 0): b"a"})
    (tmp_path / "things.json").write_text("{")
    assert pictures(tmp_path, ("a", 0)) == {}
    assert len(table(tmp_path).verify()) == 1
    assert PageTableWriter(table(tmp_path)).kept == {"a": {0}}
    assert pictures(tmp_path, ("a", 0)) == {("a", 0): b"a"}


def test_a_full_disk_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the file, and no half part stays."""
    write(tmp_path, {("a", 0): b"a"})

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(page_table.pq, "write_table", full)
    with pytest.raises(ArtifactError, match="No space left"):
        write(tmp_path, {("b", 0): b"b"})
    assert pictures(tmp_path, ("a", 0), ("b", 0)) == {("a", 0): b"a"}
    assert len(list(tmp_path.iterdir())) == 2
