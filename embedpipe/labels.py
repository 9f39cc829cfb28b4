"""labels.csv: which document, or which of its pages, is of which type. Labels survive a change of backbone."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from embedpipe.errors import LabelsError
from embedpipe.tables import read_numbered, write_csv
from embedpipe.texts import path_to_text, text_to_path

_COLUMNS = ("document", "path", "page", "label", "group")
_DOCUMENT_NAMES = ("document", "path", "file", "filename")
_LABEL_NAMES = ("label", "type", "class")
_SHA256_DIGITS = 64


@dataclass(frozen=True, slots=True)
class Label:
    """One row: the type of a document, or of one of its pages.

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


@dataclass(slots=True)
class Labels:
    """All labels, by document and page number.

    Attributes:
        rows: The label of each (sha256, page number).
        conflicts: Documents that were given two types in one go, and so have none: (path, types).
        skipped: Lines of a CSV without a label: still to be filled in.
    """

    rows: dict[tuple[str, int], Label] = field(default_factory=dict)
    conflicts: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    skipped: int = 0

    @classmethod
    def load(cls, file: Path, find: Callable[[str], str | None]) -> "Labels":
        """Reads labels.csv, as this program or a person wrote it; no file means no labels.

        Args:
            file: The table.
            find: Returns the SHA-256 of the document at a path, or None.
        """
        return cls.from_csv(file, find) if file.exists() else cls()

    @classmethod
    def from_csv(cls, file: Path, find: Callable[[str], str | None]) -> "Labels":
        """Reads a CSV with the columns `path,label`, and optionally `page` and `group`.

        The column names `document` or `file`, and `type`, do as well; a document may be given by its SHA-256.
        Relative paths count from the CSV's folder. Lines whose label is empty are passed over and counted.

        Raises:
            LabelsError: A column is missing, a document cannot be found, or a page is no number.
        """
        labels = cls()
        added = []
        for number, row in read_numbered(file):
            document = next((row[name] for name in _DOCUMENT_NAMES if row.get(name)), "")
            label = next((row[name] for name in _LABEL_NAMES if row.get(name)), "").strip()
            if not any(row.values()):
                continue
            if document and not label and any(name in row for name in _LABEL_NAMES):
                labels.skipped += 1
                continue
            if not document or not label:
                raise LabelsError(f"{file}, line {number}: needs the columns path and label, with a value in each")
            page = row.get("page") or "0"  # not `pages`: that is a count in many tables
            if not page.isdecimal():
                raise LabelsError(f"{file}, line {number}: page {page!r} is not a number")
            path = text_to_path(row.get("path") or document)
            by_hash = is_sha256(document.lower())
            sha256 = document.lower() if by_hash else find(str(file.parent / text_to_path(document)))
            if sha256 is None:
                raise LabelsError(f"{file}, line {number}: no document {document}")
            added.append(Label(sha256, path, label, int(page), row.get("group", "")))
        labels.add(added)
        return labels

    def add(self, new: Iterable[Label]) -> int:
        """Adds labels; a new one replaces an older one, but two types in one go leave the document without any.

        Returns:
            How many were added.
        """
        batch: dict[tuple[str, int], Label] = {}
        types: dict[tuple[str, int], set[str]] = {}
        for label in new:
            key = (label.document_sha256, label.page_number)
            batch[key] = label
            types.setdefault(key, set()).add(label.label)
        for key, names in types.items():
            if len(names) > 1:
                self.conflicts.append((batch.pop(key).path, tuple(sorted(names))))
                self.rows.pop(key, None)
        for key, label in batch.items():
            old = self.rows.get(key)
            group = label.group or (old.group if old else "")
            self.rows[key] = Label(label.document_sha256, label.path, label.label, label.page_number, group)
        return len(batch)

    def save(self, file: Path) -> None:
        """Writes labels.csv in one step."""
        rows = sorted(self.rows.values(), key=lambda row: (row.label, row.path, row.page_number))
        write_csv(file, _COLUMNS, map(_as_row, rows))

    def types(self) -> dict[str, int]:
        """How many documents or pages have each type."""
        counts: dict[str, int] = {}
        for row in self.rows.values():
            counts[row.label] = counts.get(row.label, 0) + 1
        return dict(sorted(counts.items()))

    def of_pages(self, pages: pd.DataFrame) -> pd.DataFrame:
        """Labels and groups of pages.

        Args:
            pages: Rows with the columns document_sha256 and page_index.

        Returns:
            Columns `label` (None without one) and `group`, with the index of `pages`. A label of the page goes
            before one of the document; without a group, a document is a group of its own. All pages of a document
            are of one group, and groups that a document's labels name together are one, of the first name.
        """
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


def is_sha256(text: str) -> bool:
    """Whether a text can be the hash of a document."""
    return len(text) == _SHA256_DIGITS and all(c in "0123456789abcdef" for c in text)


def _as_row(label: Label) -> Mapping[str, object]:
    return {
        "document": label.document_sha256,
        "path": path_to_text(label.path),
        "page": label.page_number or None,
        "label": label.label,
        "group": label.group,
    }
