"""Workbooks (.xlsx) for people: tables with pictures, and columns to fill in that are given back.

The one place that writes them. A text is always a text: whatever a file or a type is called, no program takes it for a
formula, a link or an escape, and it comes back as it was after Excel, WPS or LibreOffice saved the workbook again.
"""

import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from openpyxl import Workbook
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE, Cell, MergedCell
from openpyxl.drawing.image import Image
from openpyxl.drawing.spreadsheet_drawing import AnchorMarker, TwoCellAnchor
from openpyxl.styles import Alignment, Border, Font, PatternFill, Side
from openpyxl.utils import get_column_letter, quote_sheetname
from openpyxl.worksheet.datavalidation import DataValidation

from embedpipe.core.outputs import MAKER, written

if TYPE_CHECKING:
    from openpyxl.worksheet.worksheet import Worksheet

_LONGEST = 32_767  # characters that a cell may have
_LONGEST_NAME = 31  # of a sheet
_BOX = (112, 144)  # pixels that a picture may take
_PAD = 4  # pixels around it
_CAPTION = 44  # pixels below a picture that has words
_POINTS, _EMU, _LETTER = 0.75, 9525, 7.0  # points and English Metric Units a pixel; pixels a letter
_ESCAPE = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)")
"""What programs read as a character of that number: `_x0041_` is an A."""

_HEADER = PatternFill("solid", fgColor="1F3B57")
_FILL_IN = PatternFill("solid", fgColor="FFF6CC")
_LINE = Border(bottom=Side("thin", color="D9D9D9"))


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture in a cell.

    Attributes:
        content: JPEG or PNG.
        text: Stands below it.
    """

    content: bytes
    text: str = ""


Value = str | int | float | bool | date | Picture | None
"""What a cell may hold."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a sheet.

    Attributes:
        name: In the first row.
        width: In letters; of a column with pictures at least their width.
        number: Format of its numbers, such as `0%` or `0.000`.
        fill_in: People write into it: its cells are coloured.
        choices: Its cells offer these, and take anything else as well.
        hidden: Programs need it, people do not.
    """

    name: str
    width: float = 14.0
    number: str = ""
    fill_in: bool = False
    choices: Sequence[str] = ()
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table.

    Attributes:
        name: Of the sheet.
        columns: From left to right.
        rows: A value for each column; shorter rows end with empty cells.
    """

    name: str
    columns: Sequence[Column]
    rows: Iterable[Sequence[Value]]


class Book:
    """A workbook that is being made."""

    def __init__(self) -> None:
        self._book = Workbook()
        self._book.remove(self._book.worksheets[0])
        self._book.properties.creator = MAKER
        self._lists: dict[tuple[str, ...], str] = {}

    def add(self, sheet: Sheet) -> "Worksheet":
        """Writes a table: header in place, a filter over all columns, pictures that move with their cells.

        Returns:
            The sheet as openpyxl knows it, for a chart beside the table.
        """
        made: Worksheet = self._book.create_sheet(_sheet_name(sheet.name))
        for place, column in enumerate(sheet.columns, start=1):
            cell = made.cell(1, place)
            write_text(cell, column.name)
            cell.font, cell.fill = Font(bold=True, color="FFFFFF"), _HEADER
            cell.alignment = Alignment(vertical="center", wrap_text=True)
            made.column_dimensions[get_column_letter(place)].width = column.width
            made.column_dimensions[get_column_letter(place)].hidden = column.hidden
        rows = 0
        for rows, values in enumerate(sheet.rows, start=1):
            self._add_row(made, rows + 1, sheet.columns, values)
        made.freeze_panes = "A2"
        made.auto_filter.ref = f"A1:{get_column_letter(max(len(sheet.columns), 1))}{rows + 1}"
        made.sheet_view.zoomScale = 100
        made.page_setup.orientation, made.page_setup.fitToHeight = "landscape", 0
        made.sheet_properties.pageSetUpPr.fitToPage = True  # type: ignore[union-attr]
        made.print_title_rows = "1:1"
        for place, column in enumerate(sheet.columns, start=1):
            if column.choices and rows:
                letter = get_column_letter(place)
                self._offer(made, f"{letter}2:{letter}{rows + 1}", f"{column.name}s", column.choices)
        return made

    def save(self, file: Path) -> None:
        """Writes the workbook in one step; raises ArtifactError where it cannot be written."""
        if not self._book.worksheets:
            self._book.create_sheet()
        for choices, name in self._lists.items():
            self.add(Sheet(name, [Column(name, 40)], [(choice,) for choice in choices]))
        with written(file) as temporary:
            content = io.BytesIO()
            self._book.save(content)
            temporary.write_bytes(content.getvalue())

    def _add_row(self, made: "Worksheet", row: int, columns: Sequence[Column], values: Sequence[Value]) -> None:
        pictures = [(place, value) for place, value in enumerate(values, start=1) if isinstance(value, Picture)]
        for place, (column, value) in enumerate(zip(columns, values, strict=False), start=1):
            cell = made.cell(row, place)
            if isinstance(value, Picture):
                write_text(cell, value.text)
            elif isinstance(value, str):
                write_text(cell, value)
            else:
                cell.value = value
            if column.number and not isinstance(value, str | Picture):
                cell.number_format = column.number
            cell.border = _LINE
            vertical = "bottom" if isinstance(value, Picture) else "center" if pictures else "top"
            cell.alignment = Alignment(vertical=vertical, wrap_text=True)
            if column.fill_in:
                cell.fill, cell.number_format = _FILL_IN, "@"  # a type such as 007 or 1-2 stays what was written
        if pictures:
            captions = _CAPTION if any(value.text for _, value in pictures) else 0
            made.row_dimensions[row].height = (_BOX[1] + 2 * _PAD + captions) * _POINTS
        for place, value in pictures:
            dimension = made.column_dimensions[get_column_letter(place)]
            dimension.width = max(dimension.width, (_BOX[0] + 2 * _PAD) / _LETTER + 1)
            _place(made, row, place, value.content)

    def _offer(self, made: "Worksheet", cells: str, name: str, choices: Sequence[str]) -> None:
        """A list to choose from; it stands in a sheet of its own, as there is room for 255 letters in a rule."""
        known = tuple(choices)
        if known not in self._lists:
            self._lists[known] = _sheet_name(name if not self._lists else f"{name} {len(self._lists) + 1}")
        formula = f"{quote_sheetname(self._lists[known])}!$A$2:$A${len(choices) + 1}"
        rule = DataValidation("list", formula1=formula, allow_blank=True, showErrorMessage=False)
        rule.add(cells)
        made.add_data_validation(rule)


def write_text(cell: Cell | MergedCell, text: str) -> None:
    """Writes a text that stays one, also where it begins as a formula does and when somebody edits the cell."""
    shown = ILLEGAL_CHARACTERS_RE.sub("\N{REPLACEMENT CHARACTER}", text)
    shown = shown.encode("utf-8", "replace").decode("utf-8")
    cell.value = _ESCAPE.sub("_x005F_", shown)[:_LONGEST]
    if text:
        cell.data_type = "s"
        cell.quotePrefix = text.startswith(("=", "+", "-", "@", "'", "\t", "\r"))


def _place(made: "Worksheet", row: int, place: int, content: bytes) -> None:
    """Puts a picture into its cell, so that it moves and hides with it."""
    image = Image(io.BytesIO(content))
    scale = min(_BOX[0] / image.width, _BOX[1] / image.height)
    width, height = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    image.width, image.height = width, height
    left = _EMU * (_PAD + (_BOX[0] - width) // 2)
    top = _EMU * _PAD
    start = AnchorMarker(place - 1, left, row - 1, top)
    end = AnchorMarker(place - 1, left + _EMU * width, row - 1, top + _EMU * height)
    image.anchor = TwoCellAnchor("twoCell", _from=start, to=end)
    made.add_image(image)


def _sheet_name(name: str) -> str:
    return re.sub(r"[\[\]:*?/\\\x00-\x1f]", "_", name)[:_LONGEST_NAME].strip("'") or "table"
