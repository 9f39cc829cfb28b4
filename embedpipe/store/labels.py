"""labels.csv: which document, or which of its pages, is of which type. Labels survive a change of backbone."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from embedpipe.core.display import alike, name_of, path_to_text, text_to_path
from embedpipe.core.errors import LabelsError
from embedpipe.core.tables import Table, read_table, write_csv
from embedpipe.store.sorted_ledger import ANSWERS, LEDGER, RESERVED

NONE = "none"
"""In place of a type, in any case: the document or page is of none of the types. It teaches what is novel (see
`classifiers.calibration.novelty`), is never an answer, and does not count as a type."""
if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("document", "path", "page", "label", "group")
_DOCUMENT_NAMES = ("document", "path", "file", "filename")
_LABEL_NAMES = ("label", "type", "class")
_UNREAD = "unread"
"""Column for cells beyond the header, so that they are not lost when the table is written again."""
_SHA256 = re.compile("[0-9a-f]{64}")
_PAGE = re.compile(r"(\d+)(?:[.,]0+)?")
"""A page; tables in which some cells are empty have 1.0 for 1, and 1,0 where commas are decimal points."""
_SHOWN = 10

Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Label:
    """One row: the type of a document, or of one of its pages.

    Type and group are kept as `display.name_of` writes them, wherever they come from; `NONE` is no type.

    Attributes:
        document_sha256: The document.
        path: Where it was when it was labelled; for people.
        label: The type.
        page_number: From 1; 0 for the whole document.
        group: What must not be split between training and test, such as a template or a sender; "" for the
            document on its own.
    """

    document_sha256: str
    path: str
    label: str
    page_number: int = 0
    group: str = ""

    def __post_init__(self) -> None:
        """Gives names that look the same the same characters."""
        label = name_of(self.label)
        object.__setattr__(self, "label", NONE if is_none(label) else label)
        object.__setattr__(self, "group", name_of(self.group))

    @property
    def key(self) -> Key:
        """What it labels."""
        return self.document_sha256, self.page_number


@dataclass(frozen=True, slots=True)
class Kept:
    """A line of labels.csv that gives no label, and stays as it is whenever the table is written.

    Attributes:
        line: Its number when it was read.
        message: Why it gives no label.
        cells: Its cells by column.
        key: What it would label, where that is known.
    """

    line: int
    message: str
    cells: Mapping[str, str]
    key: Key | None = None


@dataclass(slots=True)
class Labels:
    """All labels, by document and page number.

    Attributes:
        rows: The label of each (sha256, page number).
        conflicts: Documents that were given two types in one go, and so have none: (path, types).
        skipped: Lines of a CSV without a label: still to be filled in.
        kept: Lines of labels.csv that give no label.
        more: Cells of columns of labels.csv that are not ours, by column, of each label.
        notes: What else a person should know of labels.csv.
    """

    rows: dict[Key, Label] = field(default_factory=dict)
    conflicts: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    skipped: int = 0
    kept: list[Kept] = field(default_factory=list)
    more: dict[Key, dict[str, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def load(cls, file: Path, find: Callable[[str], str | None]) -> "Labels":
        """Reads labels.csv, as this program or a person wrote it; no file means no labels.

        Lines with a mistake, and lines that contradict each other, give no label; they are in `kept`.

        Args:
            file: The table.
            find: Returns the SHA-256 of the document at a path, or None.

        Raises:
            EmbedpipeError: It is no CSV.
        """
        labels = cls()
        if not file.exists():
            return labels
        reader = _Reader(file, find)
        unknown = reader.unknown()
        labels.notes += [reader.table.note] if reader.table.note else []
        if unknown:
            labels.notes.append(f"{file}, line 1: not read, but kept: {', '.join(unknown)}")
        found: dict[Key, list[tuple[int, Mapping[str, str], Label]]] = {}
        for line, cells in reader.lines():
            try:
                new = reader.labels(cells)
            except _MistakeError as mistake:
                labels.kept.append(Kept(line, f"{file}, line {line}: {mistake}", cells))
                continue
            for label in new:
                found.setdefault(label.key, []).append((line, cells, label))
        for key, given in found.items():
            first, *others = given
            if len({label.label for _, _, label in given}) > 1:
                message = f"{file}, {_said(given)}: {first[2].path} has no label until one line is left"
                labels.kept += [Kept(line, message, cells, key) for line, cells, _ in given]
                continue
            labels.rows[key] = first[2]
            labels.more[key] = {name: first[1][name] for name in unknown if first[1].get(name)}
            for line, cells_of_line, label in others:
                what = f"group {label.group!r}" if label.group != first[2].group else "the same"
                message = f"{file}, line {line}: says {what} of what line {first[0]} labels; line {first[0]} counts"
                labels.kept.append(Kept(line, message, cells_of_line, key))
        labels.kept.sort(key=lambda kept: kept.line)
        return labels

    @classmethod
    def from_csv(cls, file: Path, find: Callable[[str], str | None], *, given: str = "") -> "Labels":
        """Reads a CSV with the columns `path,label`, and optionally `page` and `group`.

        The column names `document` or `file`, and `type`, do as well; a document may be given by its SHA-256.
        Relative paths count from the CSV's folder. Lines whose label is empty are passed over and counted. Of tables
        with answers of a classifier, only a column `label` is read.

        Args:
            file: The table.
            find: Returns the SHA-256 of the document at a path, or None.
            given: The label of every line; the table needs no column `label` then.

        Raises:
            LabelsError: A column is missing, a document cannot be found, or a page is no number; or the table holds
                no labels but answers; or a line has another label than the given one.
        """
        labels, added = cls(), []
        reader = _Reader(file, find, given)
        reader.refuse_ours()
        labels.notes += [reader.table.note] if reader.table.note else []
        for line, cells in reader.lines():
            if reader.to_be_filled_in(cells):
                labels.skipped += 1
                continue
            try:
                added += reader.labels(cells)
            except _MistakeError as mistake:
                raise LabelsError(f"{file}, line {line}: {mistake}") from None
        labels.add(added)
        return labels

    def problems(self) -> list[str]:
        """What is wrong with labels.csv, a line each, with the numbers of lines; empty where all is well."""
        mistakes = list(dict.fromkeys(kept.message for kept in self.kept))
        more = len(mistakes) - _SHOWN
        return [
            *self.notes,
            *self.look_alikes(),
            *mistakes[:_SHOWN],
            *([f"labels.csv: {more} more such lines"] if more > 0 else []),
        ]

    def without_label(self) -> list[str]:
        """What is wrong with each line of labels.csv because of which a document has no label."""
        return list(dict.fromkeys(line.message for line in self.kept if line.key not in self.rows))

    def look_alikes(self) -> list[str]:
        """One line about types that differ only in case or spaces, or none."""
        same: dict[str, list[str]] = {}
        for kind in self.types():
            same.setdefault(alike(kind), []).append(kind)
        groups = [" and ".join(map(repr, kinds)) for kinds in same.values() if len(kinds) > 1]
        if not groups:
            return []
        more = f" and {len(groups) - _SHOWN} more" if len(groups) > _SHOWN else ""
        named = f"{'; '.join(groups[:_SHOWN])}{more}"
        return [
            f"types that differ only in case or spaces: {named}: where they are one, give it one name and label again"
        ]

    def add(self, new: Iterable[Label]) -> int:
        """Adds labels; a new one replaces an older one, but two types in one go leave the document without any.

        Lines of labels.csv that contradicted each other about the same document are settled by a new label.

        Returns:
            How many were added.

        Raises:
            LabelsError: A type has a name that means something else.
        """
        batch: dict[Key, Label] = {}
        types: dict[Key, set[str]] = {}
        for label in new:
            if not label.label:
                raise LabelsError(f"{path_to_text(label.path)}: its type has no name that can be seen: give it one")
            if label.label.casefold() in RESERVED:
                raise LabelsError(f"{label.path}: {label.label!r} is a folder of `classify --sort-into`, and no type")
            batch[label.key] = label
            types.setdefault(label.key, set()).add(label.label)
        for key, names in types.items():
            if len(names) > 1:
                self.conflicts.append((batch.pop(key).path, tuple(sorted(names))))
                self.rows.pop(key, None)
        for key, label in batch.items():
            old = self.rows.get(key)
            group = label.group or (old.group if old else "")
            self.rows[key] = Label(label.document_sha256, label.path, label.label, label.page_number, group)
        self.kept = [kept for kept in self.kept if kept.key not in batch]
        return len(batch)

    def forget(self, documents: Iterable[str], paths: Iterable[str] = ()) -> int:
        """Removes all labels of documents, and lines kept of them; returns how many labels.

        Args:
            documents: SHA-256.
            paths: Where they are or were: lines that cannot be understood are known by these only.
        """
        gone, places = set(documents), set(map(path_to_text, paths))
        keys = [key for key in self.rows if key[0] in gone]
        for key in keys:
            del self.rows[key]
        self.kept = [
            kept
            for kept in self.kept
            if not (kept.key and kept.key[0] in gone) and not (gone | places) & set(kept.cells.values())
        ]
        return len(keys)

    def save(self, file: Path) -> None:
        """Writes labels.csv in one step, with the lines that give no label as they were."""
        rows = sorted(self.rows.values(), key=lambda row: (row.label, row.path, row.page_number))
        cells = [{**self.more.get(row.key, {}), **_as_row(row)} for row in rows] + [dict(k.cells) for k in self.kept]
        others = dict.fromkeys(name for row in cells for name, value in row.items() if value)
        write_csv(file, (*_COLUMNS, *(name for name in others if name not in _COLUMNS)), cells)

    @property
    def count(self) -> int:
        """How many labels there are."""
        return len(self.rows)

    def compared(self, before: "Labels") -> tuple[int, int, int]:
        """How many labels were added, changed (type or group), and removed since."""
        both = self.rows.keys() & before.rows.keys()
        a, b = self.rows, before.rows
        changed = sum((a[key].label, a[key].group) != (b[key].label, b[key].group) for key in both)
        return len(a) - len(both), changed, len(b) - len(both)

    @property
    def none(self) -> int:
        """How many documents or pages are labelled as none of the types."""
        return sum(row.label == NONE for row in self.rows.values())

    def types(self) -> dict[str, int]:
        """How many documents or pages have each type."""
        counts: dict[str, int] = {}
        for row in self.rows.values():
            if row.label != NONE:
                counts[row.label] = counts.get(row.label, 0) + 1
        return dict(sorted(counts.items()))

    def of_pages(self, pages: "pd.DataFrame") -> "pd.DataFrame":
        """Labels and groups of pages.

        Args:
            pages: Rows with the columns document_sha256 and page_index.

        Returns:
            Columns `label` (None without one) and `group`, with the index of `pages`. A label of the page goes
            before one of the document; without a group, a document is a group of its own. All pages of a document
            are of one group, and groups that a document's labels name together are one, of the first name.
        """
        import pandas as pd  # noqa: PLC0415 - counting and looking up labels does without it, and it takes long to load

        keys = list(zip(pages["document_sha256"], pages["page_index"] + 1, strict=True))
        found = [self.rows.get(key) or self.rows.get((key[0], 0)) for key in keys]
        labels = [row.label if row else None for row in found]
        groups = self._groups()
        return pd.DataFrame(
            {"label": labels, "group": [groups.get(sha256, sha256) for sha256, _ in keys]}, pages.index, dtype=object
        )

    def _groups(self) -> dict[str, str]:
        """The group of each document that has one: a document on both sides of a split would tell its own type."""
        named: dict[str, set[str]] = {}
        for row in self.rows.values():
            if row.group:
                named.setdefault(row.document_sha256, set()).add(row.group)
        first: dict[str, str] = {}

        def of(group: str) -> str:
            while group in first:
                group = first[group]
            return group

        for groups in named.values():
            least, *others = sorted({of(group) for group in groups})
            first.update(dict.fromkeys(others, least))
        return {sha256: of(min(groups)) for sha256, groups in named.items()}


def is_none(label: str) -> bool:
    """Whether a label says that a document is of none of the types."""
    return label.strip().casefold() == NONE


def is_sha256(text: str) -> bool:
    """Whether a text can be the hash of a document."""
    return _SHA256.fullmatch(text) is not None


def _as_row(label: Label) -> Mapping[str, object]:
    return {
        "document": label.document_sha256,
        "path": path_to_text(label.path),
        "page": label.page_number or None,
        "label": label.label,
        "group": label.group,
    }


class _MistakeError(Exception):
    """A line that gives no label, and why."""


class _Reader:
    """A table of labels, and how its lines become labels.

    Args:
        file: The table.
        find: Returns the SHA-256 of the document at a path, or None.
        given: The label of every line; "" for what the lines say.
    """

    def __init__(self, file: Path, find: Callable[[str], str | None], given: str = "") -> None:
        self.table: Table = read_table(file)
        self._file, self._find, self._given = file, find, given
        header = self.table.header
        self._answers = [name for name in header if name in ANSWERS]
        label = next((name for name in _LABEL_NAMES if name in header and (name == "label" or not self._answers)), "")
        place = next((name for name in _DOCUMENT_NAMES if name in header), "")
        ours = {label: "label"} if place in _COLUMNS else {label: "label", place: "path"}
        self._header = tuple(ours.get(name, name) for name in header)
        self._columns = bool(label and place)
        # not `pages`: that is a count in many tables; and `dedupe` counts its groups in `group`
        self._group = "group" if not {"keep", "agreement"} <= set(header) else ""

    def unknown(self) -> list[str]:
        """Columns that are not read."""
        return [name for name in dict.fromkeys(self._header) if name not in {*_COLUMNS, ""}]

    def refuse_ours(self) -> None:
        """Refuses tables of ours that hold no labels of a person."""
        header, file = set(self.table.header), self._file
        if {"copy", "source", "state"} <= header:
            raise LabelsError(f"{file} is the ledger of a sorted folder ({LEDGER}): give the folder itself")
        if {"family", "unlabelled"} <= header:
            raise LabelsError(f"{file} lists families: write `label --cluster {file}`")
        if {"page_id", "document_sha256"} <= header:
            raise LabelsError(f"{file} was written by `export`, with the labels that there are already")
        if self._answers and "label" not in header and not self._given:
            raise LabelsError(
                f"{file} holds answers of embedpipe (column {self._answers[0]}), not labels: write the types of a "
                "person into a column `label`"
            )

    def lines(self) -> Iterator[tuple[int, dict[str, str]]]:
        """The cells of each line that is not blank, by column, with its number."""
        header = self._header
        for line, cells in self.table.rows:
            row = dict(zip(header, cells, strict=False))
            if beyond := [cell for cell in cells[len(header) :] if cell]:
                row[_UNREAD] = ",".join([row.get(_UNREAD, ""), *beyond]).strip(",")
            if any(row.values()):
                yield line, row

    def to_be_filled_in(self, cells: Mapping[str, str]) -> bool:
        """Whether a line names a document and leaves its label open."""
        open_ = "label" in self._header and not self._given
        return open_ and bool(_document(cells)) and not name_of(cells.get("label", ""))

    def labels(self, cells: Mapping[str, str]) -> list[Label]:
        """The label of a line, or those of the pages of a part.

        Raises:
            _MistakeError: It gives none.
        """
        document, label = _document(cells), name_of(cells.get("label", "")) or self._given
        if cells.get(_UNREAD):
            raise _MistakeError("has more cells than the table has columns; put cells with a comma in quotes")
        if self._given and label.casefold() != self._given:
            raise _MistakeError(f"says {label!r}, but every line is to be {self._given!r}: take it out, or its label")
        if not document or not label:
            what = "with a value in each" if self._columns else f"and is read as {self.table.read_as}"
            raise _MistakeError(f"needs the columns path and label, {what}")
        if label.casefold() in RESERVED:
            raise _MistakeError(f"{label!r} is a folder of `classify --sort-into`, and no type")
        pages = _pages(cells)
        sha256 = document.strip().lower()
        if not is_sha256(sha256):
            places = (str(self._file.parent / text_to_path(text)) for text in (document, document.strip()))
            sha256 = next(filter(None, map(self._find, places)), "")
        if not sha256:
            raise _MistakeError(f"no document {document}")
        path, group = text_to_path(cells.get("path") or document), cells.get(self._group, "")
        return [Label(sha256, path, label, page, group) for page in pages]


def _document(cells: Mapping[str, str]) -> str:
    return cells.get("document") or cells.get("path") or ""


def _pages(cells: Mapping[str, str]) -> Iterable[int]:
    """The page of a line, 0 for the whole document, or those of a part that `classify --split` found."""
    texts = [cells.get("page", "").strip() or "0"]
    if cells.get("first_page") and cells.get("last_page"):
        texts = [cells["first_page"], cells["last_page"]]
    for text in texts:
        if not _PAGE.fullmatch(text.strip()):
            raise _MistakeError(f"page {text!r} is not a number")
    first, last = (int(_PAGE.match(text.strip())[1]) for text in (texts[0], texts[-1]))  # type: ignore[index]
    if cells.get("page", "").strip() and not first:
        raise _MistakeError(f"page {texts[0]!r}: pages count from 1; leave it empty for the whole document")
    return range(first, last + 1)


def _said(given: Iterable[tuple[int, Mapping[str, str], Label]]) -> str:
    """Which line gives which type."""
    return ", ".join(f"line {line} says {label.label!r}" for line, _, label in given)
