"""What the columns of a list of labels are called, in which sheet and below which row."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from embedpipe.core.display import alike
from embedpipe.core.errors import LabelsError
from embedpipe.core.tables import Table, read_tables

NAMES: Mapping[str, tuple[str, ...]] = {
    "document": ("document",),
    "path": ("path", "filepath", "fullpath", "路径", "文件路径", "完整路径", "路徑", "檔案路徑"),
    "file": ("file", "filename", "文件", "文件名", "文件名称", "文档", "文档名", "档案", "檔案", "檔名", "檔案名稱"),
    "label": (
        *("label", "type", "class", "category", "documenttype", "doctype", "标签", "类型", "类别", "分类", "种类"),
        *("文件类型", "文档类型", "文件类别", "标注", "標籤", "類型", "類別", "分類"),
    ),
    "group": ("group", "分组", "组别", "分組", "source", "来源", "來源"),
    "page": ("page", "页", "页码", "页数号", "頁碼"),
}
"""What a column may be called, in any case and width, without spaces and marks; earlier names go before later ones."""

_SOURCES = ("source", "来源", "來源")
"""Where each line has another one, that is the file itself and no group."""
_HEADER_ROWS = 10  # titles and remarks may stand above the header


def _below_titles(file: Path, tables: Sequence[Table]) -> Iterator[Table]:
    """The tables of a file as they are, and each of their first rows taken for the header."""
    for table in tables:
        yield table
        for row in range(min(len(table.rows), _HEADER_ROWS)):
            yield table.below(row)
    if len(tables) == 1 and not tables[0].sheet:  # the title of a text may have hidden what separates its cells
        for titles in range(1, _HEADER_ROWS):
            yield from read_tables(file, titles)


EXPECTED = (
    "a header with the document (path, file, filename, 文件, 文件名, 路径) and its type (label, type, category, 类型, "
    "标签, 类别), or their names in --columns path=NAME,label=NAME"
)
"""For messages."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person says about a list.

    Attributes:
        root: Folder that its paths are relative to, or where files of other machines lie now.
        sheet: Name of the sheet; None for the first with a usable header.
        columns: Names of its columns by ours (`path`, `label`, `group`, `page`).
        partial: Take the lines that are right although others are not.
    """

    root: str | None = None
    sheet: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    partial: bool = False


def open_list(file: Path, wish: Wish, *, labelled: bool) -> tuple[Table, dict[str, int]]:
    """Reads a list and finds its columns.

    Args:
        file: CSV or workbook.
        wish: What is known of it.
        labelled: Whether the lines say their types.

    Returns:
        The table from its header on, and where its columns are, by the keys of `NAMES`; of what is no list of labels
        at all the first table as it is.

    Raises:
        LabelsError: It has no such sheet or column.
        EmbedpipeError: It cannot be read.
    """
    tables = read_tables(file)
    if wish.sheet is not None:
        sheets = [table.sheet for table in tables]
        tables = [table for table in tables if alike(table.sheet) == alike(wish.sheet) and table.sheet]
        if not tables:
            known = f"its sheets are {', '.join(sheets)}" if any(sheets) else "it is a text and has no sheets"
            raise LabelsError(f"{file} has no sheet {wish.sheet!r}: {known}")
    for table in _below_titles(file, tables):
        places = columns_of(table.header, wish.columns)
        if {"document", "path", "file"} & places.keys() and (not labelled or "label" in places):
            return table, places
    if wish.columns:
        read_as = "; ".join(f"it is read as {table.read_as}" for table in tables)
        raise LabelsError(f"{file} has no columns {', '.join(wish.columns.values())}: {read_as}")
    return tables[0], columns_of(tables[0].header, {})


def columns_of(header: Sequence[str], named: Mapping[str, str]) -> dict[str, int]:
    """Where the columns are that `NAMES` lists; ours are only what they are called.

    Args:
        header: Of a table.
        named: Names that a person gave.
    """
    plain = [_plain(name) for name in header]
    found = {}
    for ours, names in NAMES.items():
        wanted = (_plain(named[ours]),) if ours in named else names
        place = next((plain.index(name) for name in wanted if name in plain), None)
        if place is not None:
            found[ours] = place
    if "path" in named:
        found = {ours: place for ours, place in found.items() if ours not in ("document", "file")}
    return found if all(ours in found for ours in named) else {}


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", alike(name))


def is_no_group(table: Table, place: int) -> bool:
    """Whether a column of sources names each line's own file, and nothing that several have in common."""
    values = [cells[place] for _, cells in table.rows if len(cells) > place and cells[place].strip()]
    return _plain(table.header[place]) in _SOURCES and len(values) > 1 and len(set(values)) == len(values)
