"""Workbooks (.xlsx) of people as rows of texts: what they see in the cells, not how Excel keeps it."""

import io
import re
import warnings
import zipfile
from collections.abc import Iterator
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any

from embedpipe.core.errors import EmbedpipeError

if TYPE_CHECKING:
    from openpyxl.workbook import Workbook

Rows = list[tuple[int, tuple[str, ...]]]
"""The cells of each row that is not blank, with its number."""

_OLD = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""Begins .xls, and whatever Office has encrypted."""
_ZIP = b"PK\x03\x04"
_ESCAPE = re.compile(r"_x005F_(?=x[0-9A-Fa-f]{4}_)")
_ZEROS = re.compile("0{2,}")


class NoValue(str):
    """What stands in a cell that has no value: an error, or a formula that was never computed."""

    __slots__ = ()

    @property
    def reason(self) -> str:
        """Why, and what to do."""
        if self.startswith("="):
            return f"holds a formula without its value ({self}): open the list in Excel, save it, and give it again"
        return f"holds the error {self} of a formula: correct it"


def is_workbook(content: bytes) -> bool:
    """Whether a file is a workbook of some kind, and no text; `read_sheets` says which kinds can be read."""
    return content.startswith((_OLD, _ZIP))


def read_sheets(content: bytes, name: str) -> list[tuple[str, Rows]]:
    """Reads all sheets of a workbook.

    A merged cell counts for all that it covers. Of formulas the values count that Excel has kept. Numbers, dates and
    leading zeros become what is shown; a cell without a value but with a formula or an error is a `NoValue`.

    Args:
        content: Of the file.
        name: Of the file, for messages.

    Raises:
        EmbedpipeError: It is no .xlsx, or damaged.
    """
    if content.startswith(_OLD):
        raise EmbedpipeError(f"{name} is an old Excel file (.xls) or has a password: save it as .xlsx without one")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if "xl/workbook.xml" not in archive.namelist():
                raise EmbedpipeError(f"{name} is no Excel workbook: save it as .xlsx, or as CSV UTF-8")
        book = _load(content)
        formulas = any(cell.data_type == "f" for sheet in book.worksheets for cell in _cells(sheet))
        values = _load(content, data_only=True) if formulas else book
        return [(sheet.title, _rows(sheet, values[sheet.title])) for sheet in book.worksheets]
    except EmbedpipeError:
        raise
    except Exception as error:  # damaged ones fail anywhere in openpyxl, in whatever way
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise EmbedpipeError(f"{name} is not a readable workbook: {reason}; save it again as .xlsx") from error


def _load(content: bytes, *, data_only: bool = False) -> "Workbook":
    from openpyxl import load_workbook  # noqa: PLC0415 - slow to import, and most tables are CSV

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about what is left out of a workbook that is not written again
        return load_workbook(io.BytesIO(content), data_only=data_only)


def _cells(sheet: Any) -> Iterator[Any]:
    return (cell for row in sheet.iter_rows() for cell in row)


def _rows(sheet: Any, values: Any) -> Rows:
    merged = {
        (row, column): (area.min_row, area.min_col)
        for area in sheet.merged_cells.ranges
        for row in range(area.min_row, min(area.max_row, sheet.max_row) + 1)
        for column in range(area.min_col, min(area.max_col, sheet.max_column) + 1)
    }
    rows = []
    for number, row in enumerate(sheet.iter_rows(), start=1):
        places = [merged.get((number, column), (number, column)) for column in range(1, len(row) + 1)]
        texts = [_text(sheet.cell(*place), values.cell(*place).value) for place in places]
        if any(map(str.strip, texts)):
            rows.append((number, tuple(texts)))
    return rows


def _text(cell: Any, value: object) -> str:
    """What a person sees in a cell."""
    if cell.data_type == "f" and value is None:
        return NoValue(cell.value if isinstance(cell.value, str) else "=")
    if isinstance(value, str):
        is_error = cell.data_type == "e" or (cell.data_type == "f" and re.fullmatch(r"#[A-Z/0]+[!?]?", value))
        return NoValue(value) if is_error else _ESCAPE.sub("_", value)
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int | float):
        digits = str(int(value)) if value == int(value) else f"{value:.15g}"
        return digits.zfill(len(cell.number_format)) if _ZEROS.fullmatch(cell.number_format) else digits
    if isinstance(value, datetime):
        return str(value.date() if value.time() == time() else value)
    return value.isoformat() if isinstance(value, date | time) else "" if value is None else str(value)
