"""The ledger of duplicates that were put aside or linked: a table that people can read, in the folder of the files."""

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from embedpipe.core.display import path_to_text, text_to_path
from embedpipe.core.errors import ArtifactError
from embedpipe.core.tables import read_table, write_csv
from embedpipe.pages.leftovers import DUPLICATES

STATES = ("planned", "moved", "linked", "failed", "undone")


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of one file.

    Attributes:
        copy: Where it was put, below the folder of the ledger, with slashes; "" where it became a hard link.
        source: The file that was kept in its place.
        was: Where it was.
        state: "planned": about to be moved or linked, known only after a kill; "moved"; "linked"; "failed": it is where
            it was; "undone": it is there again.
        size: Bytes.
        mtime_ns: Time of its last change, nanoseconds, which a hard link loses.
        mode: Its rights, likewise.
        document: SHA-256 of its content.
        kept_document: That of the kept file.
        kind: As in `dedupe_plan.Step`.
        message: Why it failed.
        when: Time of the last change of this entry.
    """

    copy: str
    source: str
    was: str
    state: str
    size: int
    mtime_ns: int
    mode: int
    document: str
    kept_document: str
    kind: str
    message: str = ""
    when: str = ""


COLUMNS = tuple(f.name for f in fields(Moved))
_PATHS, _NUMBERS = ("copy", "source", "was"), ("size", "mtime_ns", "mode")


def read_ledger(folder: Path) -> list[Moved]:
    """The entries of a ledger; none where there is no ledger.

    Raises:
        ArtifactError: It cannot be understood.
    """
    file, entries = folder / DUPLICATES, []
    if not file.exists():
        return []
    table = read_table(file)
    for line, cells in table.rows:
        values: dict[str, object] = dict(zip(table.header, cells, strict=False))
        try:
            values |= {name: text_to_path(str(values[name])) for name in _PATHS}
            values |= {name: int(str(values[name])) for name in _NUMBERS}
            entry = Moved(**{name: values[name] for name in COLUMNS})  # type: ignore[arg-type]
        except (KeyError, ValueError):
            entry = None
        if entry is None or entry.state not in STATES:
            raise ArtifactError(f"{file} is damaged: line {line} is not as it was written; put it back as it was")
        entries.append(entry)
    return entries


def write_ledger(folder: Path, entries: Iterable[Moved]) -> None:
    """Writes a ledger in one step, with the time in entries that have none."""
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    stamped = [entry if entry.when else replace(entry, when=now) for entry in entries]
    rows = ({**asdict(e), **{name: path_to_text(getattr(e, name)) for name in _PATHS}} for e in stamped)
    write_csv(folder / DUPLICATES, COLUMNS, rows)
