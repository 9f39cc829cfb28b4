"""Workbooks are read as what a person sees in their cells."""

import datetime as dt
import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from openpyxl import Workbook, load_workbook
from openpyxl.worksheet.worksheet import Worksheet

from embedpipe.core.errors import EmbedpipeError
from embedpipe.core.sheets import NoValue, read_sheets
from embedpipe.core.tables import read_table, read_tables


def workbook(fill: Callable[[Worksheet], object]) -> bytes:
    """A workbook with one sheet."""
    book = Workbook()
    fill(book.worksheets[0])
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def first(content: bytes) -> list[tuple[int, tuple[str, ...]]]:
    """The rows of the first sheet."""
    return read_sheets(content, "l.xlsx")[0][1]


@pytest.mark.parametrize(
    ("value", "number_format", "text"),
    [
        (7, "General", "7"),
        (7, "000", "007"),
        (2.0, "General", "2"),
        (2.5, "General", "2.5"),
        (2.021e16, "General", "20210000000000000"),
        (True, "General", "TRUE"),
        (dt.date(2024, 3, 1), "yyyy-mm-dd", "2024-03-01"),
        (dt.datetime(2024, 3, 1, 9, 30), "yyyy-mm-dd hh:mm", "2024-03-01 09:30:00"),  # noqa: DTZ001 - Excel knows none
        (dt.time(9, 30), "hh:mm", "09:30:00"),
        ("  发票 ", "@", "  发票 "),
    ],
)
def test_cells_are_what_is_shown(value: object, number_format: str, text: str) -> None:
    """Whole numbers have no point, zeros before them stay, dates are written as such."""

    def fill(sheet: Worksheet) -> None:
        sheet.append(["name", value])
        sheet["B1"].number_format = number_format

    assert first(workbook(fill)) == [(1, ("name", text))]


def test_merged_cells_count_for_all_that_they_cover_and_empty_rows_for_nothing() -> None:
    """A type that is merged over three rows is that of each; rows keep their numbers."""

    def fill(sheet: Worksheet) -> None:
        for row in (["path", "type"], ["a.pdf", "发票"], ["b.pdf"], [None, " "], ["c.pdf"]):
            sheet.append(row)
        sheet.merge_cells("B2:B3")

    assert first(workbook(fill)) == [
        (1, ("path", "type")),
        (2, ("a.pdf", "发票")),
        (3, ("b.pdf", "发票")),
        (5, ("c.pdf", "")),
    ]


def with_values(content: bytes, cells: dict[str, str]) -> bytes:
    """The workbook as Excel saves it, with the values of its formulas, by their cells."""
    source, target = zipfile.ZipFile(io.BytesIO(content)), io.BytesIO()
    with zipfile.ZipFile(target, "w") as made:
        for name in source.namelist():
            text = source.read(name).decode()
            for cell, value in cells.items() if name.endswith("sheet1.xml") else ():
                valued = rf'<c r="{cell}" t="str">\1<v>{value}</v></c>'
                text, count = re.subn(rf'<c r="{cell}"[^>]*>(<f>.*?</f>)<v ?/></c>', valued, text)
                assert count == 1
            made.writestr(name, text)
    return target.getvalue()


def test_formulas_count_by_their_kept_values() -> None:
    """A formula that was computed is its value; one that never was, and an error, is none, with the reason."""
    content = workbook(lambda sheet: sheet.append(['="a"&".pdf"', "=B9", "#N/A", "=C9"]))
    content = with_values(content, {"A1": "a.pdf", "D1": "#REF!"})
    ((_, cells),) = first(content)
    assert cells == ("a.pdf", "=B9", "#N/A", "#REF!")
    assert [isinstance(cell, NoValue) for cell in cells] == [False, True, True, True]
    reasons = [cell.reason for cell in cells if isinstance(cell, NoValue)]
    assert [reason.split(" (")[0] for reason in reasons] == [
        "holds a formula without its value",
        "holds the error #N/A of a formula: correct it",
        "holds the error #REF! of a formula: correct it",
    ]


def test_every_sheet_is_a_table(tmp_path: Path) -> None:
    """A workbook counts as one whatever it is called; its first sheet is read where one table is wanted."""
    book = Workbook()
    book.worksheets[0].title = "说明"
    book.worksheets[0].append(["remark"])
    book.create_sheet("Liste").append(["Path", " Type "])
    book.save(tmp_path / "a.xlsx")
    (tmp_path / "a.xlsx").rename(tmp_path / "a.csv")
    assert [(table.sheet, table.header) for table in read_tables(tmp_path / "a.csv")] == [
        ("说明", ("remark",)),
        ("Liste", ("path", "type")),
    ]
    assert read_table(tmp_path / "a.csv").header == ("remark",)


def archive(name: str) -> bytes:
    """A zip file with one member."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr(name, "<broken")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
            "is an old Excel file .* or has a password: save it as .xlsx",
        ),
        (archive("content.xml"), "is no Excel workbook: save it as .xlsx, or as CSV UTF-8"),
        (archive("xl/workbook.xml"), "is not a readable workbook: "),
        (archive("xl/workbook.xml")[:60], "is not a readable workbook: "),
    ],
    ids=["old", "other", "broken", "cut"],
)
def test_what_cannot_be_read_says_what_to_do(content: bytes, says: str) -> None:
    """Each kind of wrong file gets one clear line."""
    with pytest.raises(EmbedpipeError, match=f"^l.xlsx {says}") as caught:
        read_sheets(content, "l.xlsx")
    assert "\n" not in str(caught.value)


def test_what_another_program_saved_again_is_the_same(tmp_path: Path) -> None:
    """Shared texts, as Excel writes them, and texts in place come out alike."""
    content = workbook(lambda sheet: sheet.append(["_x005F_x0041_.pdf", "发票", "a\nb"]))
    (tmp_path / "a.xlsx").write_bytes(content)
    load_workbook(tmp_path / "a.xlsx").save(tmp_path / "b.xlsx")
    for name in ("a.xlsx", "b.xlsx"):
        assert first((tmp_path / name).read_bytes()) == [(1, ("_x0041_.pdf", "发票", "a\nb"))]
