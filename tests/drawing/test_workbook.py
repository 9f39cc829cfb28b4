"""Workbooks hold texts that stay texts, pictures in their cells, and lists to choose from."""

import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from openpyxl import load_workbook
from PIL import Image

from embedpipe.core.errors import ArtifactError
from embedpipe.core.outputs import XLSX, csv_of, of_suffix
from embedpipe.drawing.workbook import Book, Column, Picture, Sheet

NAMES = [
    '=HYPERLINK("http://x")',
    "+1",
    "-a",
    "@x",
    "'quoted",
    "http://evil.example/x",
    "a\tb\nc",
    "发票/二.pdf",
    "  spaces  ",
    "007",
]


def jpeg(width: int = 140, height: int = 192) -> bytes:
    """A grey page."""
    file = io.BytesIO()
    Image.fromarray(np.full((height, width), 200, np.uint8)).save(file, "JPEG")
    return file.getvalue()


def book(file: Path, names: list[str], label: str | None = None) -> None:
    """A list to fill in."""
    columns = [Column("path", 40), Column("label", fill_in=True, choices=("invoice", "发票", "=1+1")), Column("page")]
    made = Book()
    made.add(Sheet("to label", columns, [(name, label, Picture(jpeg(), "first page")) for name in names]))
    made.save(file)


def first_column(file: Path) -> list[tuple[object, str]]:
    """Values and kinds of the cells below the header."""
    return [(row[0].value, row[0].data_type) for row in load_workbook(file).worksheets[0].iter_rows(min_row=2)]


def test_texts_stay_texts(tmp_path: Path) -> None:
    """No name becomes a formula, and each is guarded for whoever edits its cell, also after being saved again."""
    book(tmp_path / "a.xlsx", NAMES)
    assert first_column(tmp_path / "a.xlsx") == [(name, "s") for name in NAMES]
    opened = load_workbook(tmp_path / "a.xlsx")
    sheet = opened.worksheets[0]
    assert [sheet.cell(row, 1).quotePrefix for row in range(2, 8)] == [True] * 5 + [False]
    assert sheet.cell(2, 1).hyperlink is None
    opened.save(tmp_path / "b.xlsx")
    assert first_column(tmp_path / "b.xlsx") == [(name, "s") for name in NAMES]


def test_what_no_workbook_can_hold_is_shown_as_unknown(tmp_path: Path) -> None:
    """Control characters and bytes that are no text do not keep a workbook from being written."""
    book(tmp_path / "a.xlsx", ["\x07bell", "\udcff.pdf", "x" * 40_000])
    values = [value for value, _ in first_column(tmp_path / "a.xlsx")]
    assert values == ["\ufffdbell", "?.pdf", "x" * 32_767]


def test_pictures_lie_in_their_cells_and_lists_offer_types(tmp_path: Path) -> None:
    """Each picture is anchored in its own row, small enough for it; the label column offers the types."""
    book(tmp_path / "a.xlsx", ["a.pdf", "b.pdf"])
    opened = load_workbook(tmp_path / "a.xlsx")
    sheet = opened.worksheets[0]
    assert [(i.anchor._from.row, i.anchor.to.row, i.anchor._from.col) for i in sheet._images] == [(1, 1, 2), (2, 2, 2)]
    assert sheet.row_dimensions[2].height >= 144 * 0.75
    rule = sheet.data_validations.dataValidation[0]
    assert (str(rule.sqref), rule.formula1) == ("B2:B3", "'labels'!$A$2:$A$4")
    assert [cell.value for cell in opened["labels"]["A"]][1:] == ["invoice", "发票", "=1+1"]
    assert sheet.freeze_panes == "A2"


def test_ours_are_known_and_what_was_filled_in_is_kept(tmp_path: Path) -> None:
    """A workbook of ours may be replaced, unless somebody filled it in; another's may not."""
    book(tmp_path / "a.xlsx", ["a.pdf"])
    book(tmp_path / "b.xlsx", ["a.pdf"], "invoice")
    opened = load_workbook(tmp_path / "a.xlsx")
    opened.properties.creator = "somebody"
    opened.save(tmp_path / "c.xlsx")
    (tmp_path / "d.xlsx").write_text("path,label\n")
    kind = of_suffix({".csv": csv_of("embedpipe.tasks.suggest:COLUMNS"), ".xlsx": XLSX}, "a list")
    said = [kind.objection(tmp_path / f"{name}.xlsx") for name in "abcd"]
    assert [text.split()[0] if text else "" for text in said] == ["", "holds", "is", "is"]


def test_a_workbook_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    """One clear error, and nothing half written."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(ArtifactError, match="cannot write"):
        book(tmp_path / "file" / "a.xlsx", ["a.pdf"])


@pytest.mark.skipif(shutil.which("soffice") is None, reason="LibreOffice is not installed")
def test_libreoffice_keeps_everything(tmp_path: Path) -> None:
    """Saved again by LibreOffice, names, pictures and lists are as they were."""
    book(tmp_path / "a.xlsx", [*NAMES, "_x0041_.pdf"])
    profile = f"-env:UserInstallation=file://{tmp_path}/profile"
    command = ["soffice", profile, "--headless", "--convert-to", "xlsx", "--outdir", str(tmp_path / "out")]
    subprocess.run([*command, str(tmp_path / "a.xlsx")], check=True, capture_output=True, timeout=120)
    again = tmp_path / "out" / "a.xlsx"
    assert first_column(again) == [(name, "s") for name in [*NAMES, "_x0041_.pdf"]]
    sheet = load_workbook(again).worksheets[0]
    assert (len(sheet._images), len(sheet.data_validations.dataValidation)) == (11, 1)
    assert XLSX.objection(again) == ""
