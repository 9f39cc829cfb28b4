"""CSV that people open in a spreadsheet: no cell is taken for a formula, and every cell comes back as it was."""

import codecs
import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from embedpipe.core.errors import EmbedpipeError
from embedpipe.core.outputs import written

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
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in rows:
            values = (row.get(column) for column in columns)
            writer.writerow("" if v is None else guard(v) if isinstance(v, str) else v for v in values)


@dataclass(frozen=True, slots=True)
class Table:
    """A CSV as it was read.

    Attributes:
        header: Names of the columns, in lower case and without spaces around them.
        rows: The cells of each row that is not blank, with the number of the line that it ends on.
        note: What a person should know of how it was read, or "".
    """

    header: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    note: str = ""


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
    """Reads a CSV with a header, in UTF-8 (with or without the mark), UTF-16 with a mark, or GB18030.

    Commas, semicolons and tabs separate cells, whichever the header has most of.

    Raises:
        EmbedpipeError: It cannot be read as such.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise EmbedpipeError(f"cannot read {path}: {error.strerror or error}") from error
    text, note = _decoded(content, path)
    first = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), strict=True)
    try:
        rows = [(reader.line_num, tuple(map(unguard, cells))) for cells in reader if cells]
    except csv.Error as error:
        raise EmbedpipeError(f"{path} is not a readable CSV: line {reader.line_num}: {error}") from error
    header = tuple(name.strip().lower() for name in rows[0][1]) if rows else ()
    return Table(header, tuple(rows[1:]), note)


def _decoded(content: bytes, path: Path) -> tuple[str, str]:
    """The text of a table, and a note where its encoding had to be guessed."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace"), ""
    try:
        return content.decode("utf-8-sig"), ""
    except UnicodeDecodeError as error:
        line = 1 + content.count(b"\n", 0, error.start)
    try:
        text = content.decode("gb18030")
    except UnicodeDecodeError:
        raise EmbedpipeError(f"{path}, line {line}: neither UTF-8 nor GB18030; save the table as UTF-8") from None
    return text, f"{path}, line {line}: not UTF-8, so read as GB18030; where names look wrong, save it as UTF-8"
