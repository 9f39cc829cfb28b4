"""Lists of labels are taken as people have them, and every line that cannot be taken is named."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from openpyxl import Workbook

from embedpipe.core.errors import EmbedpipeError, LabelsError
from embedpipe.store.label_lists.columns import Wish, columns_of
from embedpipe.store.label_lists.lines import BadLinesError
from embedpipe.store.label_lists.places import MistakeError, Places
from embedpipe.store.labels import NONE, Labels

STORED = {
    "/data/piles/2021/001.pdf": "1" * 64,
    "/data/piles/2022/001.pdf": "2" * 64,
    "/data/piles/2022/发票 二.pdf": "3" * 64,
    "/data/piles/2022/Report.PDF": "4" * 64,
    "/data/piles/scan.png": "5" * 64,
    "/data/piles/scan.pdf": "6" * 64,
    "/data/piles/copies/a.pdf": "7" * 64,
    "/data/piles/more/a.pdf": "7" * 64,
}


def nowhere(_: str) -> None:
    """No file is on this disk."""


def told(labels: Labels) -> dict[str, str]:
    """Types by the first letter of the document's hash."""
    return {sha256[0]: row.label for (sha256, _), row in labels.rows.items()}


def read(file: Path, **wish: object) -> Labels:
    """The labels of a list."""
    return Labels.from_csv(file, nowhere, stored=STORED, wish=Wish(**wish))  # type: ignore[arg-type]


def save(file: Path, rows: list[list[object]], *, sheet: str = "Sheet", above: int = 0) -> Path:
    """A workbook, with some rows of remarks above the header."""
    book = Workbook()
    book.worksheets[0].title = sheet
    for number in range(above):
        book.worksheets[0].append([f"remark {number}", None])
    for row in rows:
        book.worksheets[0].append(row)
    book.save(file)
    return file


TEXT = "文件名{0}类型{0}来源\r\n发票 二.pdf{0}发票{0}税务局\r\nReport{0}报告{0}税务局\r\n"
WESTERN = (
    "File Name{0}Category{0}Group\r\nReport.PDF{0}Vertragsprüfung{0}Müller & Söhne\r\nscan.png{0}Überweisung{0}x\r\n"
)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "gb18030", "gbk"])
def test_chinese_lists_in_every_encoding(tmp_path: Path, encoding: str, separator: str) -> None:
    """What Excel, WPS and editors save in China is read, whatever separates the cells."""
    file = tmp_path / "清单.csv"
    file.write_bytes(TEXT.format(separator).encode(encoding))
    labels = read(file)
    assert told(labels) == {"3": "发票", "4": "报告"}
    assert [row.group for row in labels.rows.values()] == ["税务局", "税务局"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_western_lists_in_every_encoding(tmp_path: Path, encoding: str) -> None:
    """The same for a European Excel; where the encoding is assumed, a line shows a word by which to see it."""
    file = tmp_path / "l.csv"
    file.write_bytes(WESTERN.format(";").encode(encoding))
    labels = read(file)
    assert told(labels) == {"4": "Vertragsprüfung", "5": "Überweisung"}
    assert bool(labels.notes) == (encoding == "cp1252")


@pytest.mark.parametrize(
    "content",
    [
        TEXT.format(",").encode("big5", "replace") + "檔案".encode("big5") * 9,
        WESTERN.encode("utf-8") * 3 + b"\xff\xfe\r\n",
    ],
)
def test_an_encoding_that_nobody_can_tell_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    """Nothing is guessed: the line says what to save it as, or which line to write again."""
    file = tmp_path / "l.csv"
    file.write_bytes(content)
    with pytest.raises(EmbedpipeError, match="not UTF-8") as caught:
        read(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "place", ["path", "Path", "FILE", "File Name", "file_name", "ＰＡＴＨ", "文件", " 文件名 ", "路径：", "檔名"]
)
@pytest.mark.parametrize("label", ["label", "Type", "CATEGORY", "类型", "标签", "类别", "文档类型", "分類"])
def test_headers_as_people_write_them(tmp_path: Path, place: str, label: str) -> None:
    """English and Chinese names in any case and width, with spaces and marks around them."""
    file = tmp_path / "l.csv"
    file.write_text(f"No.,{place},{label}\n1,Report.PDF,x\n", encoding="utf-8")
    assert told(read(file)) == {"4": "x"}


@pytest.mark.parametrize("group", ["group", "Source", "来源", "分组"])
def test_groups_by_other_names(tmp_path: Path, group: str) -> None:
    """What several lines have in common is their group; a source that is another one in each line is none."""
    file = tmp_path / "l.csv"
    file.write_text(f"path,label,{group}\nReport.PDF,x,acme\nscan.png,x,acme\n", encoding="utf-8")
    assert {row.group for row in read(file).rows.values()} == {"acme"}
    file.write_text(f"path,label,{group}\nReport.PDF,x,http://1\nscan.png,x,http://2\n", encoding="utf-8")
    labels = read(file)
    is_group = group in ("group", "分组")
    assert {row.group for row in labels.rows.values()} == ({"http://1", "http://2"} if is_group else {""})
    assert is_group == (not labels.notes)


def test_group_goes_before_source() -> None:
    """A table with both has its groups in `group`; a name and a path are both looked at."""
    assert columns_of(("source", "group", "file", "path", "type"), {}) == {
        "group": 1,
        "file": 2,
        "path": 3,
        "label": 4,
    }


def test_named_columns(tmp_path: Path) -> None:
    """`--columns` says which columns count, also where others have the usual names."""
    file = tmp_path / "l.csv"
    file.write_text("path,label,Datei,Art\nwrong.pdf,wrong,Report.PDF,x\n", encoding="utf-8")
    assert told(read(file, columns={"path": "datei", "label": "ART"})) == {"4": "x"}
    with pytest.raises(LabelsError, match=r"has no columns Datum: it is read as UTF-8, .* 'datei', 'art'"):
        read(file, columns={"label": "Datum"})


@pytest.mark.parametrize("above", [0, 1, 5])
def test_workbooks_with_titles_above(tmp_path: Path, above: int) -> None:
    """The header may stand below a title; lines are numbered as Excel does."""
    rows: list[list[object]] = [["序号", "文件名", "类型"], [1, "Report", "报告"], [2, "nowhere.pdf", "x"]]
    file = save(tmp_path / "l.xlsx", rows, above=above)
    assert told(read(file, partial=True)) == {"4": "报告"}
    (bad,) = read(file, partial=True).bad
    assert (bad.line, bad.cell, bad.value) == (above + 3, f"B{above + 3}", "nowhere.pdf")


@pytest.mark.parametrize("separator", [",", ";", "\t", "，"])
def test_texts_with_titles_above(tmp_path: Path, separator: str) -> None:
    """The same for a CSV, whose title says nothing of what separates its cells; lines keep their numbers."""
    file = tmp_path / "l.csv"
    lines = ["2026 年度清单", "", separator.join(("文件名", "类型")), f"Report{separator}报告", f"no.pdf{separator}x"]
    file.write_text("\n".join(lines), encoding="utf-8")
    labels = read(file, partial=True)
    assert told(labels) == {"4": "报告"}
    assert [bad.line for bad in labels.bad] == [5]


def test_the_first_sheet_with_a_header_or_the_named_one(tmp_path: Path) -> None:
    """Sheets of remarks are passed over; `--sheet` chooses, and says which there are."""
    book = Workbook()
    book.worksheets[0].append(["read me"])
    for name, label in (("2021", "x"), ("2022", "y")):
        sheet = book.create_sheet(name)
        sheet.append(["path", "label"])
        sheet.append(["Report.PDF", label])
    book.save(tmp_path / "l.xlsx")
    assert told(read(tmp_path / "l.xlsx")) == {"4": "x"}
    assert told(read(tmp_path / "l.xlsx", sheet="2022")) == {"4": "y"}
    with pytest.raises(LabelsError, match="has no sheet '2023': its sheets are Sheet, 2021, 2022"):
        read(tmp_path / "l.xlsx", sheet="2023")
    (tmp_path / "l.csv").write_text("path,label\n")
    with pytest.raises(LabelsError, match="it is a text and has no sheets"):
        read(tmp_path / "l.csv", sheet="2022")


def test_a_header_that_cannot_be_used_says_what_was_found_and_what_is_expected(tmp_path: Path) -> None:
    """One line names the columns that are there, those that are needed, and the way out."""
    file = save(tmp_path / "l.xlsx", [["Datei", "Art"], ["Report.PDF", "x"]], sheet="Liste")
    with pytest.raises(LabelsError) as caught:
        read(file)
    said = str(caught.value)
    assert "is read as sheet 'Liste', columns 'datei', 'art'" in said
    assert "文件名" in said
    assert "--columns path=NAME,label=NAME" in said


def test_cells_with_slips_of_keyboards(tmp_path: Path) -> None:
    """Letters of double width, spaces around, numbers as types, `none` in any case."""
    rows: list[list[object]] = [
        ["path", "label"],
        ["  Ｒｅｐｏｒｔ．ＰＤＦ ", "　ｉｎｖｏｉｃｅ "],
        ["scan.png", 2024],
        ["2021/001.pdf", "None"],
        [None, None],
        ["scan.pdf", None],
    ]
    labels = read(save(tmp_path / "l.xlsx", rows))
    assert told(labels) == {"4": "invoice", "5": "2024", "1": NONE}
    assert labels.skipped == 1


def test_cells_without_a_value_are_bad_lines(tmp_path: Path) -> None:
    """A formula that was never computed, and an error, are no types and no names."""
    rows: list[list[object]] = [["path", "label"], ["Report.PDF", "=B9"], ["#N/A", "x"], ["scan.png", "#REF!"]]
    with pytest.raises(BadLinesError) as caught:
        read(save(tmp_path / "l.xlsx", rows))
    assert [(bad.cell, bad.reason.split(" (")[0]) for bad in caught.value.lines] == [
        ("B2", "holds a formula without its value"),
        ("A3", "holds the error #N/A of a formula: correct it"),
        ("B4", "holds the error #REF! of a formula: correct it"),
    ]


@pytest.mark.parametrize("label", ["??", "?", "??? 1", "发\ufffd"])
def test_letters_that_were_lost_are_no_type(tmp_path: Path, label: str) -> None:
    """A CSV that was saved in an encoding without Chinese has question marks in it, and these are no types."""
    (tmp_path / "l.csv").write_text(f"path,label\nReport.PDF,{label}\nscan.png,really?\n", encoding="utf-8")
    labels = read(tmp_path / "l.csv", partial=True)
    assert told(labels) == {"5": "really?"}
    assert "has lost its letters: save the list as .xlsx or as CSV UTF-8" in labels.bad[0].reason


def test_every_bad_line_is_named_at_once(tmp_path: Path) -> None:
    """All of them, each with its cell and reason; nothing is taken unless the right ones are asked for."""
    file = tmp_path / "l.csv"
    file.write_text(
        "path,label,page\nReport.PDF,x,\nscan,x,\nnowhere.pdf,x,\n,x,\nscan.png,x,two\nscan.png,_novel,\n",
        encoding="utf-8",
    )
    with pytest.raises(BadLinesError, match=r"line 3: scan may be .*; 4 more lines are wrong, so nothing") as caught:
        read(file)
    found = [(bad.line, bad.cell, bad.value) for bad in caught.value.lines]
    assert found == [
        (3, "path", "scan"),
        (4, "path", "nowhere.pdf"),
        (5, "path", ""),
        (6, "page", "two"),
        (7, "label", "_novel"),
    ]
    labels = read(file, partial=True)
    assert told(labels) == {"4": "x"}
    assert labels.bad == caught.value.lines


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2021/001.pdf", "1"),
        ("2022\\001.pdf", "2"),
        (".\\2022\\001.pdf", "2"),
        ("piles/2022/001.pdf", "2"),
        ("REPORT.pdf", "4"),
        ("report", "4"),
        ("发票　二", "3"),
        ('"Report.PDF"', "4"),
        ("a.pdf", "7"),  # two copies of one document
        ("scan.png", "5"),
        ("/data/piles/2022/report.pdf", None),  # only paths of another machine are looked up by what they begin with
    ],
)
def test_names_and_relative_paths(text: str, found: str | None) -> None:
    """Names alone where they are unique, ends of paths, either kind of slash, any case."""
    places = Places(nowhere, STORED, "/lists")
    if found is None:
        places.learn([])
        with pytest.raises(MistakeError):
            places.locate([text])
        return
    assert places.locate([text])[0][0] == found


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("001.pdf", "may be /data/piles/2021/001.pdf or /data/piles/2022/001.pdf"),
        ("scan", "may be /data/piles/scan.png or /data/piles/scan.pdf"),
        ("2023/001.pdf", "no document 2023/001.pdf; /data/piles/2021/001.pdf or .* has that name"),
        ("nowhere.pdf", "^no document nowhere.pdf$"),
        ("D:\\else\\Report.PDF", "has that name: give --root FOLDER, or the name alone"),
    ],
)
def test_what_is_not_sure_is_not_taken(text: str, says: str) -> None:
    """Candidates are named; a file of another folder is never taken for one of the same name."""
    places = Places(nowhere, STORED, "/lists")
    places.learn([text])
    with pytest.raises(MistakeError, match=says):
        places.locate([text])


@pytest.mark.parametrize(
    "begin", ["D:\\archive\\piles", "d:/archive/piles", "\\\\server\\share\\piles", "/mnt/c/piles", "file:///D:/piles"]
)
def test_paths_of_another_machine(begin: str) -> None:
    """What they begin with here is learnt from all lines, so that none is taken for a file of another folder."""
    mark = "\\" if "\\" in begin else "/"
    names = [("2022", "Report.PDF"), ("2022", "发票 二.pdf"), ("2021", "001.pdf"), ("2023", "001.pdf"), ("scan.png",)]
    texts = [mark.join([begin, *name]) for name in names]
    places = Places(nowhere, STORED, "/lists")
    places.learn(texts)
    assert [places.locate([text])[0][0] for text in (*texts[:3], texts[4])] == ["4", "3", "1", "5"]
    with pytest.raises(MistakeError, match=r"no document .*; .*001\.pdf has that name"):
        places.locate([texts[3]])
    assert any("are looked up in /data" in note for note in places.notes())


def test_before_anything_is_embedded_names_are_not_known() -> None:
    """The line says why a name that is right is not found."""
    with pytest.raises(MistakeError, match=r"no document a\.pdf; no path of an embedded document is known"):
        Places(nowhere, {}, "/lists").locate(["a.pdf"])


def test_one_flat_folder_of_another_machine() -> None:
    """Where only names are in common, three files of one folder have to agree."""
    stored = {f"/srv/inbox/{name}.pdf": str(number) * 64 for number, name in enumerate(("a", "b", "c", "d"))}
    texts = [f"C:\\Users\\li\\Desktop\\单据\\{name}.pdf" for name in "abc"]
    places = Places(nowhere, stored, "/lists")
    places.learn(texts)
    assert [places.locate([text])[0][0] for text in texts] == ["0", "1", "2"]
    alone = Places(nowhere, stored, "/lists")
    alone.learn(texts[:2])
    with pytest.raises(MistakeError, match="give --root FOLDER"):
        alone.locate([texts[0]])


def test_root_and_the_folder_of_the_list() -> None:
    """`--root` goes first, then the list's folder; below a root the end of a path of another machine is looked up."""
    here = {"/root/a.pdf": "a" * 64, "/lists/a.pdf": "b" * 64, "/root/sub/x.pdf": "c" * 64}
    assert Places(here.get, {}, "/lists").locate(["a.pdf"]) == ("b" * 64, "/lists/a.pdf")
    rooted = Places(here.get, {}, "/lists", "/root")
    assert rooted.locate(["a.pdf"]) == ("a" * 64, "/root/a.pdf")
    assert rooted.locate(["E:\\old\\sub\\x.pdf"]) == ("c" * 64, "/root/sub/x.pdf")


def test_a_folder_and_a_name_in_two_columns(tmp_path: Path) -> None:
    """Lists in China often have the folder in one column and the name in another."""
    file = tmp_path / "l.csv"
    file.write_text("路径,文件名,类型\nD:\\piles\\2021,001.pdf,x\nD:\\piles\\2022,001.pdf,y\n", encoding="utf-8")
    assert told(read(file)) == {"1": "x", "2": "y"}


parts = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\\"'“”"), min_size=1, max_size=8
).filter(
    lambda part: part.strip() == part and part not in (".", "..") and ":" not in part and not part.startswith("bytes")
)


@given(st.lists(parts, min_size=2, max_size=4), st.sampled_from(["D:\\", "\\\\server\\share\\", "", "/mnt/"]))
@example(["Ａ", "ß.pdf"], "D:\\")
@example(["a", "=1+1.pdf"], "")
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_path_written_by_windows_is_found_again(names: list[str], begin: str) -> None:
    """Whatever folders and files are called, their paths with backslashes mean the same document, and no other."""
    stored = {"/data/" + "/".join(names): "1" * 64, "/data/other/" + names[-1] + "x": "2" * 64}
    text = begin.replace("/", "\\") + "\\".join(names) if begin != "/mnt/" else begin + "/".join(names)
    places = Places(nowhere, stored, "/lists")
    places.learn([text])
    assert places.locate([text])[0] == "1" * 64
