"""The lines of labels.csv and of lists of labels: what each says of which document, or why it says nothing."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from embedpipe.core.display import name_of, text_to_path
from embedpipe.core.errors import LabelsError
from embedpipe.core.sheets import NoValue
from embedpipe.core.tables import Table
from embedpipe.store.label_lists.columns import NAMES
from embedpipe.store.label_lists.places import MistakeError
from embedpipe.store.sorted_ledger import ANSWERS, LEDGER, RESERVED

COLUMNS = ("document", "path", "page", "label", "group")
"""Of labels.csv."""

_DOCUMENT_NAMES = ("document", "path", "file", "filename")
_LABEL_NAMES = ("label", "type", "class")
_UNREAD = "unread"
"""Column for cells beyond the header, so that they are not lost when the table is written again."""
_SHA256 = re.compile("[0-9a-f]{64}")
_PAGE = re.compile(r"(\d+)(?:[.,]0+)?")
"""A page; tables in which some cells are empty have 1.0 for 1, and 1,0 where commas are decimal points."""
_LOST = re.compile(r"^\?+$|\?\?|\N{REPLACEMENT CHARACTER}")
"""What a spreadsheet leaves of Chinese where it saves a CSV in the encoding of another country."""
_WIDE = re.compile("[０-９Ａ-Ｚａ-ｚ]")

Locate = Callable[[Sequence[str]], tuple[str, str]]
"""SHA-256 and path of the document that some texts of a line mean; raises MistakeError."""


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line of a list that gives no label.

    Attributes:
        line: Its number.
        cell: Which cell is wrong: `B7` in a workbook, else the name of the column.
        value: What stands there.
        reason: Why that is no label.
    """

    line: int
    cell: str
    value: str
    reason: str


class BadLinesError(LabelsError):
    """Lines of a list give no label, and nothing was taken."""

    def __init__(self, file: Path, lines: Sequence[BadLine]) -> None:
        first, more = lines[0], len(lines) - 1
        others = f"; {more} more line{'s' * (more > 1)} are wrong, so nothing was taken" if more else ""
        super().__init__(f"{file}, line {first.line}: {first.reason}{others}; `label` with --partial takes the others")
        self.lines = lines


@dataclass(frozen=True, slots=True)
class Said:
    """What a line says: type and group of a document, or of one of its pages (from 1; 0 for all of it)."""

    document_sha256: str
    path: str
    label: str
    page_number: int
    group: str


def is_sha256(text: str) -> bool:
    """Whether a text can be the hash of a document."""
    return _SHA256.fullmatch(text) is not None


class Reader:
    """A table of labels, and how its lines become labels.

    Args:
        file: The table's.
        table: What it says.
        locate: Finds the document of a line.
        given: The label of every line; "" for what the lines say.
        columns: Where the columns of a list are; by their names, as this program writes them, if not given.
    """

    def __init__(
        self,
        file: Path,
        table: Table,
        locate: Locate,
        given: str = "",
        columns: Mapping[str, int] | None = None,
    ) -> None:
        self.table = table
        self._file, self._locate, self._given = file, locate, given
        self._list = columns is not None
        self._header = _our_header(table.header) if columns is None else _list_header(table.header, columns)
        self._place = next((name for name in ("document", "path", "file") if name in self._header), "")
        self._columns = "label" in self._header and bool(self._place)
        # not `pages`: that is a count in many tables; and `dedupe` counts its groups in `group`
        self._group = "group" if not {"keep", "agreement"} <= set(table.header) else ""

    def unknown(self) -> list[str]:
        """Columns that are not read."""
        return [name for name in dict.fromkeys(self._header) if name not in {*COLUMNS, ""}]

    def lines(self) -> Iterator[tuple[int, dict[str, str]]]:
        """The cells of each line that is not blank, by column, with its number."""
        header = self._header
        for line, cells in self.table.rows:
            row = dict(zip(header, cells, strict=False))
            if beyond := [cell for cell in cells[len(header) :] if cell]:
                row[_UNREAD] = ",".join([row.get(_UNREAD, ""), *beyond]).strip(",")
            if any(value.strip() if self._list else value for value in row.values()):
                yield line, row

    def to_be_filled_in(self, cells: Mapping[str, str]) -> bool:
        """Whether a line names a document and leaves its label open."""
        open_ = "label" in self._header and not self._given
        return open_ and bool(documents_of(cells)) and not name_of(cells.get("label", ""))

    def bad_line(self, line: int, cells: Mapping[str, str], mistake: MistakeError) -> BadLine:
        """What a person is told of a line that gives no label."""
        column = mistake.column if mistake.column in self._header else ""
        place = self._header.index(column) if column else -1
        cell = self.table.header[place] if column else ""
        if column and self.table.sheet:
            cell = f"{_letters(place)}{line}"
        return BadLine(line, cell, cells.get(column, ""), str(mistake))

    def labels(self, cells: Mapping[str, str]) -> list[Said]:
        """The label of a line, or those of the pages of a part.

        Raises:
            MistakeError: It gives none.
        """
        documents, label = documents_of(cells), _typed(cells.get("label", "")) or self._given
        if cells.get(_UNREAD):
            raise MistakeError("has more cells than the table has columns; put cells with a comma in quotes")
        for column in (
            "label",
            "page",
            "group",
            *({"document", "path", "file"} & cells.keys() if not documents else ()),
        ):
            if isinstance(cell := cells.get(column, ""), NoValue):
                raise MistakeError(cell.reason, column)
        if self._given and label.casefold() != self._given:
            raise MistakeError(
                f"says {label!r}, but every line is to be {self._given!r}: take it out, or its label", "label"
            )
        if not documents or not label:
            what = "with a value in each" if self._columns else f"and is read as {self.table.read_as}"
            raise MistakeError(f"needs the columns path and label, {what}", "label" if documents else self._place)
        if self._list and _LOST.search(label):
            raise MistakeError(f"{label!r} has lost its letters: save the list as .xlsx or as CSV UTF-8", "label")
        if label.casefold() in RESERVED:
            raise MistakeError(f"{label!r} is a folder of `classify --sort-into`, and no type", "label")
        pages = _pages(cells)
        sha256, path = documents[0].strip().lower(), text_to_path(cells.get("path") or documents[0])
        if not is_sha256(sha256):
            try:
                sha256, path = self._locate(documents)
            except MistakeError as mistake:
                raise MistakeError(str(mistake), self._place) from None
        return [Said(sha256, path, label, page, _typed(cells.get(self._group, ""))) for page in pages]


def beside(file: Path, find: Callable[[str], str | None]) -> Locate:
    """Finds documents of labels.csv by their paths, which are absolute or count from its folder."""

    def locate(texts: Sequence[str]) -> tuple[str, str]:
        forms = (str(file.parent / text_to_path(text)) for text in (texts[0], texts[0].strip()))
        sha256 = next(filter(None, map(find, forms)), "")
        if not sha256:
            raise MistakeError(f"no document {texts[0]}")
        return sha256, text_to_path(texts[0])

    return locate


def refuse_ours(table: Table, file: Path, given: str) -> None:
    """Refuses tables of ours that hold no labels of a person."""
    header, answers = set(table.header), [name for name in table.header if name in ANSWERS]
    if {"copy", "source", "state"} <= header:
        raise LabelsError(f"{file} is the ledger of a sorted folder ({LEDGER}): give the folder itself")
    if {"family", "unlabelled"} <= header:
        raise LabelsError(f"{file} lists families: write `label --cluster {file}`")
    if {"page_id", "document_sha256"} <= header:
        raise LabelsError(f"{file} was written by `export`, with the labels that there are already")
    if answers and "label" not in header and not given:
        raise LabelsError(
            f"{file} holds answers of embedpipe (column {answers[0]}), not labels: write the types of a "
            "person into a column `label`"
        )


def _our_header(header: Sequence[str]) -> tuple[str, ...]:
    """The header of labels.csv, by our names where a person has changed them."""
    answers = any(name in ANSWERS for name in header)
    label = next((name for name in _LABEL_NAMES if name in header and (name == "label" or not answers)), "")
    place = next((name for name in _DOCUMENT_NAMES if name in header), "")
    ours = {label: "label"} if place in COLUMNS else {label: "label", place: "path"}
    return tuple(ours.get(name, name) for name in header)


def _list_header(header: Sequence[str], columns: Mapping[str, int]) -> tuple[str, ...]:
    """The header of a list by our names; other columns that are called so get another name."""
    ours = {place: name for name, place in columns.items()}
    taken = {*NAMES, _UNREAD}
    return tuple(ours.get(n, f"{name} (other)" if name in taken else name) for n, name in enumerate(header))


def _typed(cell: str) -> str:
    """A type or group as it was meant: letters and digits of double width are a slip of Chinese keyboards."""
    return name_of(_WIDE.sub(lambda wide: chr(ord(wide[0]) - 0xFEE0), cell))


def _letters(place: int) -> str:
    """What spreadsheets call a column, counted from 0."""
    return (_letters(place // 26 - 1) if place > 25 else "") + chr(ord("A") + place % 26)  # noqa: PLR2004


def documents_of(cells: Mapping[str, str]) -> list[str]:
    """How a line calls its document, best first; folder and name may stand in two columns, and then belong together."""
    document, path, file = (
        "" if isinstance(text := cells.get(name, ""), NoValue) or not text.strip() else text
        for name in ("document", "path", "file")
    )
    joined = f"{path.strip()}/{file.strip()}" if path and file else file
    return list(filter(None, (document, path, joined)))


def _pages(cells: Mapping[str, str]) -> Iterable[int]:
    """The page of a line, 0 for the whole document, or those of a part that `classify --split` found."""
    texts = [cells.get("page", "").strip() or "0"]
    if cells.get("first_page") and cells.get("last_page"):
        texts = [cells["first_page"], cells["last_page"]]
    for text in texts:
        if not _PAGE.fullmatch(text.strip()):
            raise MistakeError(f"page {text!r} is not a number", "page")
    first, last = (int(_PAGE.match(text.strip())[1]) for text in (texts[0], texts[-1]))  # type: ignore[index]
    if cells.get("page", "").strip() and not first:
        raise MistakeError(f"page {texts[0]!r}: pages count from 1; leave it empty for the whole document", "page")
    return range(first, last + 1)
