"""The ledger of a folder that `classify --sort-into` fills: which files are copies of ours, and what was answered.

It is a CSV that people can read, `embedpipe-sorted.csv` in that folder. A copy that lies where the ledger says was put
there by a classifier and is no label; what lies anywhere else below a folder of a type was put there by a person.
"""

import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

from embedpipe.core.display import name_of, on_disk, path_to_text, text_to_path
from embedpipe.core.errors import LabelsError
from embedpipe.core.tables import read_table, write_csv

LEDGER = "embedpipe-sorted.csv"
AMBIGUOUS, NOVEL = "_ambiguous", "_novel"
"""Folders for documents whose type is not sure; no type is named so."""

RESERVED = frozenset({AMBIGUOUS, NOVEL})

MARK = "answered_by"
"""Column of the tables that hold answers of a classifier: its name and version."""

ANSWERS = frozenset(
    {
        *(MARK, "confidence", "candidates", "margin", "novelty", "boundary_confidence", "whole_confidence"),
        *("agreement", "coherence", "guess", "otherwise", "suggested"),
    }
)
"""Columns that only tables of ours have: of those that hold one, nothing but the column `label` is a person's."""

_OURS = ("copied", "linked", "planned")
_PLACED = (*_OURS, "edited")
_NAMES_OF_WINDOWS = frozenset({"con", "prn", "aux", "nul", *(f"{x}{n}" for x in ("com", "lpt") for n in range(1, 10))})
_LONGEST_TYPE = 120  # bytes: a file system takes 255, and a suffix may follow

State = Literal["copied", "linked", "planned", "edited", "yours", "duplicate", "failed", "no type"]


@dataclass(frozen=True, slots=True)
class Entry:
    """What became of one file.

    Attributes:
        source: Where the file was.
        document: SHA-256 of its content; "" where it could not be read.
        state: "copied" and "linked" files are ours; "planned" ones may be there already, if a run was killed; an
            "edited" copy and what is "yours" belong to a person; a "duplicate" has its copy under another name; the
            others have none.
        copy: The copy, below the folder, with slashes; "" without one.
        was: Where it was before, while it is being moved.
        type: The answer.
        status: How sure the answer is, as in `Prediction`.
        confidence: Probability of the type, as text.
        message: Why there is no copy, or why it stays.
        answered_by: Name and version of the classifier.
        when: Time of the last change.
    """

    source: str
    document: str
    state: State
    copy: str = ""
    was: str = ""
    type: str = ""
    status: str = ""
    confidence: str = ""
    message: str = ""
    answered_by: str = ""
    when: str = ""

    @property
    def ours(self) -> bool:
        """Whether the copy may be moved, as long as its content is still that of the document."""
        return self.state in _OURS


_FIRST = ("copy", "type", "status", "state", "source", "message")
COLUMNS = (*_FIRST, *(f.name for f in fields(Entry) if f.name not in _FIRST))
_PATHS = ("source", "copy", "was")


class Ledger:
    """The entries of a sorted folder.

    Args:
        folder: The folder; it need not exist.

    Raises:
        LabelsError: There is a ledger that cannot be understood.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries: list[Entry] = []
        file = folder / LEDGER
        if not file.exists():
            return
        table = read_table(file)
        if not set(table.header) >= set(COLUMNS):
            missing = sorted(set(COLUMNS) - set(table.header))
            raise LabelsError(f"{file} is damaged: it lacks the columns {', '.join(missing)}; put it back as it was")
        for line, cells in table.rows:
            values = dict(zip(table.header, cells, strict=False))
            if len(cells) != len(table.header) or values["state"] not in State.__args__:  # type: ignore[attr-defined]
                raise LabelsError(f"{file} is damaged: line {line} is not as it was written; put it back as it was")
            values |= {name: text_to_path(values[name]) for name in _PATHS} | {"type": name_of(values["type"])}
            values |= {name: _as_it_lies(folder, values[name]) for name in ("copy", "was")}
            self.entries.append(Entry(**{name: values[name] for name in COLUMNS}))  # type: ignore[arg-type]

    def save(self, entries: Iterable[Entry]) -> None:
        """Writes the ledger in one step; raises ArtifactError where it cannot be written."""
        self.entries = list(entries)
        rows = ({**asdict(e), **{name: path_to_text(getattr(e, name)) for name in _PATHS}} for e in self.entries)
        write_csv(self.folder / LEDGER, COLUMNS, rows)

    def places(self) -> set[str]:
        """Where a classifier put files, below the folder, also those that a person has edited since."""
        placed = [entry for entry in self.entries if entry.state in _PLACED]
        return {place for entry in placed for place in (entry.copy, entry.was) if place}

    def types(self) -> dict[str, str]:
        """The type of each folder, by the folder's name: not every type can be the name of a folder."""
        found = {}
        for entry in self.entries:
            parts = entry.copy.split("/")
            if entry.state in _PLACED and entry.type and entry.status != "novel" and len(parts) > 1:
                found[parts[1] if parts[0] == AMBIGUOUS else parts[0]] = entry.type
        return found


def _as_it_lies(folder: Path, place: str) -> str:
    """A place below a folder with its letters in the form that they have there by now."""
    if place.isascii():
        return place
    return os.path.relpath(on_disk(os.path.join(folder, *place.split("/"))), folder).replace(os.sep, "/")


class SortedFolders:
    """Separates what people put into folders from what a classifier put there; each ledger is read once.

    Attributes:
        machine: Files that lie where a classifier put them.
        reserved: Other files in `_ambiguous` or `_novel`, which are no types.
    """

    def __init__(self) -> None:
        self.machine = 0
        self.reserved = 0
        self._ledgers: dict[str, _Known | None] = {}

    def type_of(self, path: str, type_folder: str | None) -> str | None:
        """The type that a person gave a file by the folder that it lies in, or None; counts what is none.

        Args:
            path: Absolute path of the file.
            type_folder: The folder directly below the input folder, or None; where the file lies in a sorted folder,
                it is the folder directly below that one which counts.
        """
        known = self.within(os.path.dirname(path))
        parts = path.split(os.sep)[:-1]
        if known is None:
            if RESERVED & {part.casefold() for part in parts}:
                self.reserved += 1
                return None
            return type_folder
        place = os.path.relpath(path, known.folder).replace(os.sep, "/")
        below = place.split("/")
        if unicodedata.normalize("NFC", place) in known.places:
            self.machine += 1
            return None
        if below[0].casefold() in RESERVED:
            self.reserved += 1
            return None
        return known.types.get(unicodedata.normalize("NFC", below[0]), below[0]) if len(below) > 1 else None

    def within(self, folder: str) -> "_Known | None":
        """What is known of the sorted folder that a folder is in, or is itself; None where it is in none."""
        if folder not in self._ledgers:
            above = os.path.dirname(folder)
            if os.path.exists(os.path.join(folder, LEDGER)):
                ledger = Ledger(Path(folder))
                places = {unicodedata.normalize("NFC", place) for place in ledger.places()}
                types = {unicodedata.normalize("NFC", name): kind for name, kind in ledger.types().items()}
                self._ledgers[folder] = _Known(folder, places, types)
            else:
                self._ledgers[folder] = self.within(above) if above != folder else None
        return self._ledgers[folder]

    def told(self) -> str:
        """What was not taken, in one line; "" where everything was."""
        reasons = []
        if self.machine:
            reasons.append(f"{self.machine} are where `classify --sort-into` put them")
        if self.reserved:
            reasons.append(f"{self.reserved} are in {AMBIGUOUS} or {NOVEL}")
        if not reasons:
            return ""
        return f"no labels were taken of {self.machine + self.reserved} documents: {', '.join(reasons)}"


@dataclass(frozen=True, slots=True)
class _Known:
    folder: str
    places: set[str]
    types: dict[str, str]


def refuse_unknown(inputs: Iterable[str]) -> None:
    """Refuses to take the folders of a sorted folder without a ledger as types.

    Raises:
        LabelsError: An earlier embedpipe has filled the folder: its answers cannot be distinguished from labels.
    """
    for given in inputs:
        unsure = [name for name in sorted(RESERVED) if os.path.isdir(os.path.join(given, name))]
        if unsure and not SortedFolders().within(os.path.abspath(given)):
            raise LabelsError(
                f"{path_to_text(given)} has a folder {unsure[0]} and no {LEDGER}: its folders may be answers of "
                f"`classify --sort-into`, not labels; if people checked all the others, move {' and '.join(unsure)} "
                "elsewhere"
            )


def file_name(label: str) -> str:
    """A type as the name of a file or folder, whatever characters it holds and however long it is."""
    name = re.sub(r'[\x00-\x1f/\\:*?"<>|]', "_", label).strip(" .")
    if len(os.fsencode(name)) > _LONGEST_TYPE:
        name = shortened(name, _LONGEST_TYPE)
    taken = name.casefold() in RESERVED | {LEDGER} or name.casefold().partition(".")[0] in _NAMES_OF_WINDOWS
    return f"{name}_" if taken else name or "_"


def shortened(name: str, most: int) -> str:
    """The begin of a name that takes so many bytes at most; no character is cut."""
    while len(os.fsencode(name)) > most:
        name = name[:-1]
    return name
