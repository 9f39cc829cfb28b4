"""Tables that people open in a spreadsheet: no cell is taken for a formula, and every cell comes back as it was.

CSV is written and read here; sheets of workbooks are read as if each were one.
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

from embedpipe.core.encodings import decode
from embedpipe.core.errors import EmbedpipeError
from embedpipe.core.outputs import written
from embedpipe.core.sheets import is_workbook, read_sheets

_DELIMITERS = ",;\t|，；"
_SEPARATOR = re.compile(r'"?sep=([^"\r\n])"?[ \t,;]*(\r\n|\r|\n|$)', re.IGNORECASE)
"""A first line by which spreadsheets are told what separates cells."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def guard(cell: str) -> str:
    """Puts an apostrophe before what a spreadsheet would run as a formula, and before what is guarded already."""
    return f"'{cell}" if cell.startswith((*_FORMULA, "'")) else cell


def unguard(cell: str) -> str:
    """Reverses `guard`; other cells stay as they are."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith((*_FORMULA, "'")) else cell


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Writes UTF-8 with a byte order mark, which spreadsheets need to show Chinese.

    Args:
        path: Replaced in one step; what a link leads to, and devices, as `outputs.written` does it.
        columns: Names, in order.
        rows: Values by column name; None and missing ones are empty cells.
    """
    with written(path) as temporary, open(temporary, "w", encoding="utf-8-sig", newline="") as file:
        write_rows(file, columns, rows)


def csv_bytes(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> bytes:
    """What `write_csv` would write; halves of characters, which UTF-8 cannot hold, are escaped."""
    file = io.StringIO(newline="")
    write_rows(file, columns, rows)
    return file.getvalue().encode("utf-8-sig", "backslashreplace")


def write_rows(file: TextIO, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Writes the header and the rows of `write_csv` to an open file."""
    writer = csv.writer(file)
    writer.writerow(columns)
    for row in rows:
        values = (row.get(column) for column in columns)
        writer.writerow("" if v is None else guard(v) if isinstance(v, str) else v for v in values)


@dataclass(frozen=True, slots=True)
class Table:
    """A CSV, or a sheet of a workbook, as it was read.

    Attributes:
        header: Names of the columns, in lower case and without spaces around them.
        rows: The cells of each row that is not blank, with the number of the line that it ends on.
        note: What had to be assumed to read it, in one line, or "".
        read_as: Encoding, separator and columns, for messages about what it lacks.
        sheet: Name of the sheet; "" for a CSV.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    note: str = ""
    read_as: str = ""
    sheet: str = ""

    def below(self, row: int) -> "Table":
        """The same table with one of its rows as its header: what stands above it is no part of it."""
        header = _header(self.rows[row][1])
        return replace(self, header=header, rows=self.rows[row + 1 :], read_as=_with_columns(self.read_as, header))


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of `read_numbered`, without their lines."""
    return [row for _, row in read_numbered(path)]


def read_numbered(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Reads a CSV as `read_table` does, each row by the names of the columns.

    Returns:
        Each row with the number of the line that it ends on; cells beyond the header are left out.

    Raises:
        EmbedpipeError: It cannot be read as such.
    """
    table = read_table(path)
    return [(line, dict(zip(table.header, cells, strict=False))) for line, cells in table.rows]


def read_table(path: Path) -> Table:
    """Reads a CSV with a header, or the first sheet of a workbook, see `read_tables`."""
    return read_tables(path)[0]


def read_tables(path: Path, titles: int = 0) -> list[Table]:
    """Reads a CSV with a header, or all sheets of a workbook; which of them a file is, its content says.

    A CSV may be in UTF-8, in UTF-16 or whatever else its mark says, or as `encodings.decode` assumes. Commas,
    semicolons, tabs and bars separate cells: what a first line such as `sep=;` says, else whichever the header has
    most of.

    Args:
        path: The file.
        titles: How many lines of a CSV are titles above its header, and no part of the table.

    Raises:
        EmbedpipeError: It cannot be read as such.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise EmbedpipeError(f"cannot read {path}: {error.strerror or error}") from error
    if is_workbook(content):
        return [_of_sheet(name, rows) for name, rows in read_sheets(content, str(path))]
    return [_of_text(content, str(path), titles)]


def _of_sheet(name: str, rows: Sequence[tuple[int, tuple[str, ...]]]) -> Table:
    header = _header(rows[0][1]) if rows else ()
    return Table(header, tuple(rows[1:]), read_as=_with_columns(f"sheet {name!r}", header), sheet=name)


def _of_text(content: bytes, path: str, titles: int) -> Table:
    read = decode(content, path)
    said = _SEPARATOR.match(read.text)
    text = read.text[said.end() :] if said else read.text
    above = (1 if said and said[2] else 0) + titles
    text = re.sub(rf"\A(?:[^\r\n]*(?:\r\n|\r|\n)){{0,{titles}}}", "", text) if titles else text
    first = next(filter(str.strip, re.split(r"[\r\n]", text)), "")
    delimiter = said[1] if said else max(_DELIMITERS, key=re.sub(r'"[^"]*"', "", first).count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        rows = [(above + reader.line_num, tuple(map(unguard, cells))) for cells in reader if cells]
    except csv.Error as error:
        raise EmbedpipeError(f"{path} is not a readable CSV: line {above + reader.line_num}: {error}") from error
    header = _header(rows[0][1]) if rows else ()
    separated = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}.get(delimiter, repr(delimiter))
    found = _with_columns(f"{read.encoding}, cells between {separated}", header)
    where = f", line {read.line}" if read.line else ""
    note = ""
    if read.assumed:
        example = _example(read.text)
        note = f"{path}{where}: not UTF-8, so read as {found}{example}; where that is wrong, save it as UTF-8"
    return Table(header, tuple(rows[1:]), note, found)


def _header(cells: Iterable[str]) -> tuple[str, ...]:
    return tuple(name.strip(" \t\u00a0\ufeff").lower() for name in cells)


def _with_columns(read_as: str, header: Sequence[str]) -> str:
    columns = ", ".join(map(repr, filter(None, header))) or "none"
    return f"{read_as.partition(', columns ')[0]}, columns {columns}"


def _example(text: str) -> str:
    """A word by which a person sees whether an encoding is the right one."""
    word = re.search(r"\w*[^\W\x00-\x7f]\w*", text)
    return f", for instance {word[0][:40]!r}" if word else ""
