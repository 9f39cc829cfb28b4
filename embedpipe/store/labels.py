"""labels.csv: which document, or which of its pages, is of which type. Labels survive a change of backbone."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from embedpipe.core.display import alike, name_of, path_to_text
from embedpipe.core.errors import LabelsError
from embedpipe.core.tables import read_table, write_csv
from embedpipe.store.label_lists.columns import EXPECTED, Wish, is_no_group, open_list
from embedpipe.store.label_lists.lines import (
    COLUMNS,
    BadLine,
    BadLinesError,
    Reader,
    Said,
    beside,
    documents_of,
    is_sha256,
    refuse_ours,
)
from embedpipe.store.label_lists.places import MistakeError, Places
from embedpipe.store.sorted_ledger import RESERVED

__all__ = ["NONE", "Kept", "Label", "Labels", "is_none", "is_sha256"]

NONE = "none"
"""In place of a type, in any case: the document or page is of none of the types. It teaches what is novel (see
`classifiers.calibration.novelty`), is never an answer, and does not count as a type."""
if TYPE_CHECKING:
    import pandas as pd

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
        bad: Lines of a list that give no label.
    """

    rows: dict[Key, Label] = field(default_factory=dict)
    conflicts: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    skipped: int = 0
    kept: list[Kept] = field(default_factory=list)
    more: dict[Key, dict[str, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    bad: list[BadLine] = field(default_factory=list)

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
        reader = Reader(file, read_table(file), beside(file, find))
        unknown = reader.unknown()
        labels.notes += [reader.table.note] if reader.table.note else []
        if unknown:
            labels.notes.append(f"{file}, line 1: not read, but kept: {', '.join(unknown)}")
        found: dict[Key, list[tuple[int, Mapping[str, str], Label]]] = {}
        for line, cells in reader.lines():
            try:
                new = [_label(said) for said in reader.labels(cells)]
            except MistakeError as mistake:
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
    def from_csv(
        cls,
        file: Path,
        find: Callable[[str], str | None],
        *,
        given: str = "",
        stored: Mapping[str, str] | None = None,
        wish: Wish | None = None,
    ) -> "Labels":
        """Reads a list of labels, CSV or workbook, with the columns `path,label`, and optionally `page` and `group`.

        What the columns may be called is in `label_lists.NAMES`; how a document is found, in `label_lists.Places`; a
        document may be given by its SHA-256. Lines whose label is empty are passed over and counted. Of tables with
        answers of a classifier, only a column `label` is read.

        Args:
            file: The list.
            find: Returns the SHA-256 of the document at a path, or None.
            given: The label of every line; the table needs no column `label` then.
            stored: SHA-256 of the stored documents, by path.
            wish: What a person says about the list.

        Raises:
            BadLinesError: A line names no document that can be found, or a page that is no number, or has another
                label than the given one; not where `wish.partial`.
            LabelsError: A column is missing, or the table holds no labels but answers.
        """
        labels, wish = cls(), wish or Wish()
        added: list[Label] = []
        table, columns = open_list(file, wish, labelled=not given)
        refuse_ours(table, file, given)
        if not {"document", "path", "file"} & columns.keys() or not (given or "label" in columns):
            raise LabelsError(
                f"{file} needs the columns path and label, and is read as {table.read_as}: write {EXPECTED}"
            )
        labels.notes += [table.note] if table.note else []
        if "group" in columns and is_no_group(table, columns["group"]):
            name = table.header[columns.pop("group")]
            labels.notes.append(f"{file}: column {name!r} is another one in each line, so it is taken for no group")
        places = Places(find, stored or {}, str(file.parent), wish.root)
        reader = Reader(file, table, places.locate, given, columns)
        lines = list(reader.lines())
        places.learn(text for _, cells in lines for text in documents_of(cells))
        for line, cells in lines:
            if reader.to_be_filled_in(cells):
                labels.skipped += 1
                continue
            try:
                added += map(_label, reader.labels(cells))
            except MistakeError as mistake:
                labels.bad.append(reader.bad_line(line, cells, mistake))
        if labels.bad and not wish.partial:
            raise BadLinesError(file, labels.bad)
        labels.notes += places.notes()
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
        write_csv(file, (*COLUMNS, *(name for name in others if name not in COLUMNS)), cells)

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

    def of_page(self, sha256: str, index: int) -> Label | None:
        """The label of a page, counted from 0, which goes before the one of its document."""
        return self.rows.get((sha256, index + 1)) or self.rows.get((sha256, 0))

    def of_pages(self, pages: "pd.DataFrame") -> "pd.DataFrame":
        """Labels and groups of pages.

        Args:
            pages: Rows with the columns document_sha256 and page_index.

        Returns:
            Columns `label` (of `of_page`, None without one) and `group`, with the index of `pages`. Without a group, a
            document is a group of its own. All pages of a document are of one group, and groups that a document's
            labels name together are one, of the first name.
        """
        import pandas as pd  # noqa: PLC0415 - counting and looking up labels does without it, and it takes long to load

        keys = list(zip(pages["document_sha256"], pages["page_index"], strict=True))
        labels = [row.label if (row := self.of_page(*key)) else None for key in keys]
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


def _label(said: Said) -> Label:
    return Label(said.document_sha256, said.path, said.label, said.page_number, said.group)


def _as_row(label: Label) -> Mapping[str, object]:
    return {
        "document": label.document_sha256,
        "path": path_to_text(label.path),
        "page": label.page_number or None,
        "label": label.label,
        "group": label.group,
    }


def _said(given: Iterable[tuple[int, Mapping[str, str], Label]]) -> str:
    """Which line gives which type."""
    return ", ".join(f"line {line} says {label.label!r}" for line, _, label in given)
