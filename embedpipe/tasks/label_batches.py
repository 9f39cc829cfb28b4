"""The file of batches of labels: what each batch changed, and what was undone since.

    labels/batches.jsonl        steps, a line each, in the order in which they were taken

A step is written before the labels are, as one that lies *ahead*, and counts when a line behind it says that all is
kept. So no label can be written that cannot be undone; what a kill or a full disk left ahead is settled by `decide`.
"""

import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from embedpipe.core.errors import ArtifactError
from embedpipe.core.files import replacing, synced
from embedpipe.store.labels import Key

KEPT, DROPPED = {"kept": True}, {"dropped": True}
"""Lines that say what became of all steps that lie ahead."""

MOST = 500
LARGEST = 8 * 1024**2
"""Batches that can be undone, and bytes of their file from which older ones are left out."""

State = tuple[dict[str, Any] | None, ...]
"""The label of a document or page in each of the `STATES`, as they are written to the file of batches."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A batch as it was kept.

    Attributes:
        number: From 1.
        when: ISO 8601, UTC.
        client: Who decided.
        state: As of the batch.
        changes: What each document or page had before, and after.
        undone: Whether it is undone now.
    """

    number: int
    when: str
    client: str
    state: str
    changes: Mapping[Key, tuple[State, State]]
    undone: bool = False


@dataclass(slots=True)
class Journal:
    """What the file says.

    Attributes:
        entries: The batches, oldest first.
        undone: Numbers of those that were undone, in the order in which they were.
        last: The highest number.
        ahead: Steps of which it is not known whether the labels were written.
    """

    entries: dict[int, Entry] = field(default_factory=dict)
    undone: list[int] = field(default_factory=list)
    last: int = 0
    ahead: list[Mapping[str, Any]] = field(default_factory=list)

    def trim(self) -> None:
        """Puts the batches in the order of their numbers, and drops those that are too old to be undone."""
        self.entries = {number: self.entries[number] for number in sorted(self.entries)[-MOST:]}
        self.undone = [number for number in self.undone if number in self.entries]


def batch_line(entry: Entry) -> dict[str, Any]:
    """The step that gives a batch."""
    return {
        "batch": entry.number,
        "when": entry.when,
        "client": entry.client,
        "state": entry.state,
        "changes": _written(entry.changes),
    }


def turn_line(number: int, changes: Mapping[Key, tuple[State, State]], *, undo: bool) -> dict[str, Any]:
    """The step that undoes a batch, or does it again, with what it changes."""
    return {"undo" if undo else "redo": number, "changes": _written(changes)}


def changes_of(line: Mapping[str, Any]) -> dict[Key, tuple[State, State]]:
    """What a step changes: what each document or page has before it, and after it."""
    return {(c[0], int(c[1])): (_as_state(c[2]), _as_state(c[3])) for c in line["changes"]}


def only(line: Mapping[str, Any], keys: Collection[Key]) -> dict[str, Any]:
    """A step that changes nothing but some documents or pages."""
    return {**line, "changes": [c for c in line["changes"] if (c[0], int(c[1])) in keys]}


def _written(changes: Mapping[Key, tuple[State, State]]) -> list[list[Any]]:
    return [[*key, *states] for key, states in changes.items()]


def take(journal: Journal, line: Mapping[str, Any]) -> None:
    """Takes a line of the file of batches."""
    if line.get("ahead"):
        changes_of(line)  # one that cannot be read is passed over as a whole
        journal.ahead.append(line)
    elif line.get("kept") or line.get("dropped"):
        ahead, journal.ahead = journal.ahead, []
        for step in ahead if line.get("kept") else ():
            _count(journal, step)
    else:
        _count(journal, line)


def _count(journal: Journal, line: Mapping[str, Any]) -> None:
    """Takes a step that counts."""
    if "batch" in line:
        entry = Entry(
            int(line["batch"]),
            line["when"],
            line["client"],
            line["state"],
            changes_of(line),
            bool(line.get("undone")),
        )
        journal.entries[entry.number] = entry
        journal.last = max(journal.last, entry.number)
        if entry.undone:
            journal.undone.append(entry.number)
        else:  # who goes on from an earlier state cannot go forward any more
            own = {number for number in journal.undone if journal.entries[number].client == entry.client}
            journal.undone = [number for number in journal.undone if number not in own]
    for word in ("undo", "redo"):
        number = line.get(word)
        if number in journal.entries:
            journal.entries[number] = replace(journal.entries[number], undone=word == "undo")
            journal.undone = [one for one in journal.undone if one != number] + [number] * (word == "undo")


def _as_state(written: Sequence[Any]) -> State:
    """A state as it was written, also before labels could be confirmed."""
    checked, suggested, *more = written
    return checked, suggested, more[0] if more else None


def read(file: Path) -> Journal:
    """Reads the batches; what a kill left of a last line, or a disk damaged, is passed over."""
    journal = Journal()
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return journal
    except OSError as error:
        raise ArtifactError(f"cannot read {file}: {error.strerror or error}") from error
    for text in content.splitlines():
        try:
            take(journal, json.loads(text))
        except (ValueError, LookupError, TypeError, AttributeError):
            continue
    journal.trim()
    return journal


def append(file: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Adds lines to the file; where it raises ArtifactError, some may be there."""
    text = "".join(json.dumps(line) + "\n" for line in lines)  # paths need not be UTF-8
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(file, "a+b") as stream:
            end = stream.seek(0, os.SEEK_END)
            torn = end > 0 and (stream.seek(end - 1), stream.read(1))[1] != b"\n"  # a kill left half a line
            stream.write(("\n" * torn + text).encode())
        synced(file)
    except OSError as error:
        raise ArtifactError(f"cannot write {file}: {error.strerror or error}") from error


def shorten(file: Path, journal: Journal) -> None:
    """Writes the batches again, without those that are too old; those that are undone last, in that order."""
    journal.trim()
    done = [batch_line(entry) for entry in journal.entries.values() if not entry.undone]
    undone = [{**batch_line(journal.entries[number]), "undone": True} for number in journal.undone]
    with replacing(file) as temporary:
        lines = (json.dumps(line) + "\n" for line in [*done, *undone])
        temporary.write_text("".join(lines), encoding="utf-8")


def size_of(file: Path) -> int:
    """Bytes; 0 where there is none."""
    try:
        return os.stat(file).st_size
    except OSError:
        return 0
