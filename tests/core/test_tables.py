"""CSV files come back cell by cell as they were, and no cell of ours runs as a formula."""

import csv
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from embedpipe.core.errors import ArtifactError, EmbedpipeError
from embedpipe.core.tables import csv_bytes, guard, read_csv, read_numbered, read_table, unguard, write_csv

DANGEROUS = ("=", "+", "-", "@", "\t", "\r")
SPLITTERS = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
"""What `str.splitlines` takes for the end of a line, and CSV does not."""

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
cells = texts | st.sampled_from(
    ["=1+1", "'=1", "''", "'", "-5", "@x", "\t", "a;b", "a,b", '"', "\r\n", "\ufeff", "合同"]
)


@given(cells)
@example("'=1")
@example("''=1")
@example("'a")
def test_unguard_reverses_guard(cell: str) -> None:
    """Every cell comes back from its guarded form, which never begins like a formula."""
    assert unguard(guard(cell)) == cell
    assert not guard(cell).startswith(DANGEROUS)


def test_guard_leaves_the_harmless() -> None:
    """Only what could run, or is guarded already, gets an apostrophe."""
    assert guard("invoice") == "invoice"
    assert guard("=cmd|' /C calc'!A0") == "'=cmd|' /C calc'!A0"


def test_unguard_leaves_apostrophes() -> None:
    """An apostrophe that guards nothing, such as that of a name, stays."""
    assert unguard("'s-Hertogenbosch") == "'s-Hertogenbosch"


@given(st.lists(st.tuples(*[cells.filter(lambda c: not set(c) & set(SPLITTERS))] * 3), max_size=5))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_csv_round_trips(tmp_path: Path, rows: list[tuple[str, ...]]) -> None:
    """What is written is read again, whatever the cells hold."""
    columns = ("path", "label", "group")
    written = [dict(zip(columns, row, strict=True)) for row in rows]
    write_csv(tmp_path / "a.csv", columns, written)
    assert read_csv(tmp_path / "a.csv") == written


@pytest.mark.parametrize("splitter", SPLITTERS)
def test_csv_round_trips_odd_line_ends(tmp_path: Path, splitter: str) -> None:
    """Characters that only Python takes for line ends stay inside their cell."""
    written = [{"path": f"a{splitter}b.pdf", "label": "invoice"}]
    write_csv(tmp_path / "a.csv", ("path", "label"), written)
    assert read_csv(tmp_path / "a.csv") == written


def test_no_formula_reaches_the_file(tmp_path: Path) -> None:
    """A spreadsheet sees an apostrophe before each cell that it would run; numbers stay numbers."""
    write_csv(tmp_path / "a.csv", ("path", "score", "none"), [{"path": '=HYPERLINK("x")', "score": -0.5}])
    with open(tmp_path / "a.csv", encoding="utf-8-sig", newline="") as file:
        assert list(csv.reader(file)) == [["path", "score", "none"], ['\'=HYPERLINK("x")', "-0.5", ""]]


def test_the_same_bytes_without_a_file(tmp_path: Path) -> None:
    """Guarded cells, None, numbers, line ends and the mark; and names that UTF-8 cannot hold do not stop it."""
    columns, rows = (
        ("a", "b", "c"),
        [{"a": "=1+1", "b": None, "c": 0.25, "other": 1}, {"a": "发票\n,", "b": "'-", "c": 0}],
    )
    write_csv(tmp_path / "a.csv", columns, rows)
    content = csv_bytes(columns, rows)
    assert content == (tmp_path / "a.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbfa,b,c\r\n'=1+1,,0.25\r\n")
    assert csv_bytes(("a",), [{"a": "\udcff"}]).endswith(b"\\udcff\r\n")


def test_written_with_a_mark(tmp_path: Path) -> None:
    """The file begins with the byte order mark that spreadsheets need for Chinese."""
    write_csv(tmp_path / "a.csv", ("标签",), [{"标签": "合同"}])
    assert (tmp_path / "a.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    assert read_csv(tmp_path / "a.csv") == [{"标签": "合同"}]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_reads_what_spreadsheets_write(tmp_path: Path, encoding: str, delimiter: str, line_end: str) -> None:
    """UTF-8 with or without the mark, GB18030, commas, semicolons and tabs are all understood."""
    lines = [["Path", " LABEL "], ["扫描/a.pdf", "合同"], ["b.pdf", "发票"]]
    (tmp_path / "a.csv").write_bytes(line_end.join(map(delimiter.join, lines)).encode(encoding))
    assert read_csv(tmp_path / "a.csv") == [
        {"path": "扫描/a.pdf", "label": "合同"},
        {"path": "b.pdf", "label": "发票"},
    ]


def test_quoted_cells_hold_the_delimiter(tmp_path: Path) -> None:
    """Quoted cells keep delimiters, quotes and line ends."""
    (tmp_path / "a.csv").write_bytes(b'path;label\r\n"a;b.pdf";"in\nvoice ""x"""\r\n')
    assert read_csv(tmp_path / "a.csv") == [{"path": "a;b.pdf", "label": 'in\nvoice "x"'}]


def test_short_and_long_rows(tmp_path: Path) -> None:
    """A row with too few cells lacks them; cells beyond the header are passed over."""
    (tmp_path / "a.csv").write_bytes(b"path,label\na.pdf\nb.pdf,x,y\n")
    assert read_csv(tmp_path / "a.csv") == [{"path": "a.pdf"}, {"path": "b.pdf", "label": "x"}]


def test_empty_file(tmp_path: Path) -> None:
    """An empty file has no rows."""
    (tmp_path / "a.csv").touch()
    assert read_csv(tmp_path / "a.csv") == []


@pytest.mark.parametrize("content", [b'path,label\n"a.pdf', b'path,label\n"a"b,c\n'])
def test_broken_quotes(tmp_path: Path, content: bytes) -> None:
    """A table with broken quotes is refused, and named."""
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(EmbedpipeError, match=r"a\.csv is not a readable CSV"):
        read_csv(tmp_path / "a.csv")


def test_missing_csv(tmp_path: Path) -> None:
    """A table that is not there is named."""
    with pytest.raises(EmbedpipeError, match=r"cannot read .*a\.csv"):
        read_csv(tmp_path / "a.csv")


def test_a_failing_row_leaves_the_old_table(tmp_path: Path) -> None:
    """When the rows end in an error, the table that was there stays."""
    write_csv(tmp_path / "a.csv", ("path",), [{"path": "old"}])

    def rows():
        yield {"path": "new"}
        raise OSError("the disk is gone")

    with pytest.raises(ArtifactError, match="the disk is gone"):
        write_csv(tmp_path / "a.csv", ("path",), rows())
    assert read_csv(tmp_path / "a.csv") == [{"path": "old"}]


@pytest.mark.parametrize("mark", ["sep=;", '"sep=;"', "SEP=;", "sep=;;"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_the_separator_may_be_said(tmp_path: Path, mark: str, encoding: str) -> None:
    """A first line for Excel tells what separates cells; lines are counted from it."""
    (tmp_path / "a.csv").write_bytes(f"{mark}\r\npath;label\r\na,b.pdf;Verträge\r\n".encode(encoding))
    assert read_numbered(tmp_path / "a.csv") == [(3, {"path": "a,b.pdf", "label": "Verträge"})]


def test_unicode_text_of_excel(tmp_path: Path) -> None:
    """What Excel calls Unicode Text: UTF-16 with a mark, and tabs."""
    (tmp_path / "a.txt").write_bytes("path\tlabel\r\na.pdf\t合同\r\n".encode("utf-16"))
    assert read_csv(tmp_path / "a.txt") == [{"path": "a.pdf", "label": "合同"}]
    assert read_table(tmp_path / "a.txt").note == ""


def test_what_was_assumed_is_said_in_one_line(tmp_path: Path) -> None:
    """The line names the encoding, the separator, the columns, and a word that shows whether it is right."""
    (tmp_path / "a.csv").write_bytes("path;label\r\na.pdf;Verträge\r\n".encode("cp1252"))
    table = read_table(tmp_path / "a.csv")
    assert table.note == (
        f"{tmp_path / 'a.csv'}, line 2: not UTF-8, so read as Windows-1252, cells between semicolons, columns 'path', "
        "'label', for instance 'Verträge'; where that is wrong, save it as UTF-8"
    )


def test_no_word_is_sought_in_what_is_utf8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes long on long files, and is shown only where an encoding was assumed."""
    monkeypatch.setattr("embedpipe.core.tables._example", lambda _: pytest.fail("sought for nothing"))
    (tmp_path / "a.csv").write_text("path,label\nä.pdf,invoice\n", encoding="utf-8")
    assert read_table(tmp_path / "a.csv").note == ""
