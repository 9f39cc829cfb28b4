"""Stores joined: which row of a page counts, where documents are, and what is said of what."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedpipe.core.errors import ArtifactError
from embedpipe.core.files import read_json, write_json
from embedpipe.core.records import Document, Words
from embedpipe.store.joining import page_tables
from embedpipe.store.joining.keys import Keys, added, doubled, read_keys
from embedpipe.store.joining.linking import linked
from embedpipe.store.joining.small_tables import join_rows, join_sources
from embedpipe.store.page_extras import words_row, words_table
from embedpipe.store.page_table import PageTableWriter
from embedpipe.store.parts import Part, manifest_format
from embedpipe.store.sources import EARLIER, GONE, Sources

A, B, C = (letter * 64 for letter in "abc")


def keys(*pairs: tuple[int, int]) -> Keys:
    """Keys of some pages."""
    a, b = (np.array([pair[place] for pair in pairs], np.uint64) for place in (0, 1))
    return Keys(a, b)


def test_the_first_row_of_a_page_counts() -> None:
    """Also where 64 bits do not tell pages apart, and where a later row is worth more."""
    found = doubled([keys((1, 1), (2, 2)), keys((2, 2), (3, 3)), keys((1, 1), (3, 3), (3, 3))])
    assert [own.tolist() for own in found] == [[False, False], [True, False], [True, True, True]]
    found = doubled([keys((7, 1), (7, 2)), keys((7, 3), (7, 1)), keys((7, 2))])
    assert [own.tolist() for own in found] == [[False, False], [False, True], [True]]
    ranks = [np.array(rank, np.uint8) for rank in ([1, 0], [0, 1])]
    assert [own.tolist() for own in doubled([keys((1, 1), (2, 2)), keys((1, 1), (2, 2))], ranks)] == [
        [True, False],
        [False, True],
    ]
    assert doubled([]) == []


def test_checksums_add_up(tmp_path: Path) -> None:
    """Of parts of any order and division; other pages have another one."""
    rows = [(sha, page) for sha in (A, B, C) for page in range(5)]

    def sums(pages: list[tuple[str, int]]) -> int:
        file = tmp_path / "part.parquet"
        pq.write_table(
            pa.table(
                {"document_sha256": [p[0] for p in pages], "page_index": pa.array([p[1] for p in pages], "int32")}
            ),
            file,
            write_page_checksum=True,
        )
        found, documents = read_keys(file)
        assert set(documents) == {p[0] for p in pages}
        return found.checksum()

    whole = sums(rows)
    assert added(sums(rows[:4]), sums(rows[4:])) == whole == sums(rows[::-1])
    assert whole not in (sums([*rows[:-1], (C, 5)]), sums([*rows[:-1], ("d" * 64, 4)]))


def test_what_a_part_leaves_out_is_in_its_line_of_the_manifest() -> None:
    """Rows that do not count, in few characters; parts of earlier versions have no more in their line than before."""
    part = Part("part-000001.parquet", 2048, "0" * 64, 10, 20)
    assert part.as_json() == {"name": part.name, "rows": 2048, "sha256": "0" * 64, "size": 10, "mtime_ns": 20}
    omitted = np.random.default_rng(0).random(2048) < 0.5
    less = part.without(omitted)
    assert len(less.omitted) < 400
    assert less.rows == (~omitted).sum()
    counting = Part(**less.as_json()).counting(2048)
    assert counting is not None
    assert np.array_equal(counting, ~omitted)
    with pytest.raises(ValueError, match="other rows"):
        less.counting(4096)
    assert part.without(np.zeros(2048, bool)) == part
    assert (manifest_format([part]), manifest_format([part, less])) == ({}, {"format": 2})


def test_manifests_of_newer_versions_are_refused(tmp_path: Path) -> None:
    """Those of merged stores are read."""
    write_json(tmp_path / "two.json", {"format": 2})
    assert read_json(tmp_path / "two.json")["format"] == 2
    write_json(tmp_path / "three.json", {"format": 3})
    with pytest.raises(ArtifactError, match="newer embedpipe"):
        read_json(tmp_path / "three.json")


def document(path: str, sha256: str, changed: int = 1) -> Document:
    """A document at a path."""
    return Document(path, sha256, 10, changed, "pdf")


def places(root: Path, *documents: Document) -> Sources:
    """The table of where documents are."""
    sources = Sources(root / "sources.parquet")
    for one in documents:
        sources.add(one, "/")
    return sources


def test_places_are_joined(tmp_path: Path) -> None:
    """The same is said once; a file that was found again is there; another content at a path is told."""
    one = places(tmp_path / "one", document("/a", A), document("/b", A), document("/c", C, 5))
    one.leave(["/b"], GONE)
    other = places(tmp_path / "other", document("/a", A), document("/b", A), document("/c", B, 9), document("/d", B))
    old = places(tmp_path / "old", document("/e", A))
    old.add(document("/e", C, 2))
    files = []
    for name, table in (("one", one), ("other", other), ("old", old)):
        table.save()
        files.append(tmp_path / name / "sources.parquet")
    own = tmp_path / "sources.parquet"
    for _ in range(2):  # the second time changes nothing
        joined = join_sources(own, files)
        found = Sources(own)
        assert found.present() == {"/a": A, "/b": A, "/c": B, "/d": B, "/e": C}
        assert {(d.path, d.sha256) for d, standing in found.standings() if standing == EARLIER} == {
            ("/c", C),
            ("/e", A),
        }
        assert (joined.rows, joined.disputed, joined.paths) == (7, 1, ["/c"])


def test_what_is_gone_from_a_source_is_gone(tmp_path: Path) -> None:
    """Also where it was there at the call before; what no source knows stays, and what is there again is there."""
    source, own = places(tmp_path / "one", document("/a", A), document("/b", B)), tmp_path / "sources.parquet"
    source.save()
    places(tmp_path, document("/c", C)).save()
    join_sources(own, [tmp_path / "one" / "sources.parquet"])
    source.leave(["/a"], GONE)
    source.save()
    for _ in range(2):
        join_sources(own, [tmp_path / "one" / "sources.parquet"])
        assert Sources(own).present() == {"/b": B, "/c": C}
    source.add(document("/a", A), "/")
    source.save()
    join_sources(own, [tmp_path / "one" / "sources.parquet"])
    assert Sources(own).present() == {"/a": A, "/b": B, "/c": C}


def test_rows_are_joined(tmp_path: Path) -> None:
    """The first row of a key counts; tables with other columns, and damaged ones, are left out."""
    files = [tmp_path / f"{n}.parquet" for n in range(3)]
    for file, kinds in zip(files, ({A: "scan"}, {A: "photo", B: "digital"}, {C: "scan"}), strict=True):
        table = pa.table({"document_sha256": list(kinds), "source_kind": list(kinds.values())})
        pq.write_table(table, file, write_page_checksum=True)
    pq.write_table(pa.table({"document_sha256": [C], "other": [1]}), files[2])
    (tmp_path / "torn.parquet").write_bytes(b"PAR1")
    own = tmp_path / "own.parquet"
    assert join_rows(own, [*files, tmp_path / "torn.parquet", tmp_path / "none.parquet"], 1) == 2
    assert pq.read_table(own).to_pydict() == {"document_sha256": [A, B], "source_kind": ["scan", "digital"]}
    assert join_rows(own, files, 1) == 0


def test_words_that_are_there_count_before_none(tmp_path: Path) -> None:
    """Whichever store they are in, also one's own; a page's newest row in a store is the one that is meant."""
    some, none = Words(np.array([1], np.uint32), np.array([1], np.uint16), 50, "ocr"), Words()
    for name, rows in {"own": {A: none, B: some}, "other": {A: some, B: none, C: none}, "third": {C: some}}.items():
        writer = PageTableWriter(words_table(tmp_path / name))
        for sha256, words in rows.items():
            writer.append((sha256, 0), words_row(none))
            writer.flush()
            writer.append((sha256, 0), words_row(words))
        writer.flush()
    for taken in (3, 0):
        others = [words_table(tmp_path / name) for name in ("other", "third")]
        joined = page_tables.join(words_table(tmp_path / "own"), others)
        assert joined.taken == (2 if taken else 0)
        table = words_table(tmp_path / "own")
        found = table.read([(A, 0), (B, 0), (C, 0)], ["origin"])
        assert found["origin"].to_pylist() == ["ocr", "ocr", "ocr"]


def test_a_copy_that_is_not_what_it_was_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be linked, the copy is compared."""
    (tmp_path / "one").write_bytes(b"one")
    assert linked(tmp_path / "one", tmp_path / "two")
    assert linked(tmp_path / "one", tmp_path / "two")

    def refused(*_: object) -> None:
        raise OSError

    monkeypatch.setattr("os.link", refused)
    with pytest.raises(ArtifactError, match="changed while it was copied"):
        linked(tmp_path / "one", tmp_path / "three", "0" * 64)
    assert not (tmp_path / "three").exists()
    assert not linked(tmp_path / "one", tmp_path / "four")
