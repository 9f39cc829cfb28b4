"""CSV that people open in a spreadsheet: no cell is taken for a formula, and every cell comes back as it was."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from embedpipe.errors import EmbedpipeError
from embedpipe.outputs import written

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


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of `read_numbered`, without their lines."""
    return [row for _, row in read_numbered(path)]


def read_numbered(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Reads a CSV with a header, UTF-8 (with or without the mark) or GB18030, separated by comma, semicolon or tab.

    Returns:
        Each row with the number of the line that it ends on.

    Raises:
        EmbedpipeError: It cannot be read as such.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise EmbedpipeError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("gb18030", errors="replace")
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise EmbedpipeError(f"{path} is not a readable CSV: {error}") from error
    return [
        (line, {(k or "").strip().lower(): unguard(v or "") for k, v in row.items() if isinstance(v, str)})
        for line, row in rows
    ]
