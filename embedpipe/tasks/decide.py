"""Labels given one by one or in strokes: in several states, each batch with a number by which it can be undone.

    labels.csv                  checked labels: they teach
    labels/suggested.csv        suggested labels, in the same columns: nobody has checked them, and they never teach
    labels/confirmed.csv        checked labels that a person kept when they were told to be likely wrong
    labels/batches.jsonl        what each batch changed, and what was undone since

Batches of several people at a time are merged by document: nothing but the documents of a batch is touched, and undoing
one leaves alone what others have changed since. A batch is in labels.csv before it is told to be kept.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from embedpipe.core.errors import ArtifactError, EmbedpipeError, LabelsError
from embedpipe.core.files import mark_of, now, replacing, synced
from embedpipe.store.labels import Key, Label, Labels
from embedpipe.store.workspace import Workspace

CHECKED, SUGGESTED, CONFIRMED = STATES = ("checked", "suggested", "confirmed")

COMMAND = "serve"
"""In the history of labels."""

_KEPT = 500
_LARGEST = 8 * 1024**2
"""Batches that can be undone, and bytes of their file from which older ones are left out."""

State = tuple[dict[str, Any] | None, ...]
"""The label of a document or page in each of the `STATES`, as they are written to the file of batches."""

Tables = tuple[Labels, Labels, Labels]
"""The labels in each of the `STATES`."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person, or a classifier, says of a document or one of its pages.

    Attributes:
        document_sha256: The document.
        kind: Its type; `labels.NONE` for none of the types, None to take the label away.
        page_number: From 1; 0 for the whole document.
        group: See `Label.group`; "" leaves the one that is there.
    """

    document_sha256: str
    kind: str | None
    page_number: int = 0
    group: str = ""

    @property
    def key(self) -> Key:
        """What it labels."""
        return self.document_sha256, self.page_number


@dataclass(frozen=True, slots=True)
class Batch:
    """Decisions that are kept, and undone, together.

    Attributes:
        decisions: At most one for each document or page.
        state: `CHECKED`; `SUGGESTED`, which never replaces a checked label; or `CONFIRMED`: checked, and kept by a
            person who was told that it is likely wrong.
        client: Who decides: undoing without a number undoes his own.
    """

    decisions: Sequence[Decision]
    state: str = CHECKED
    client: str = ""


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


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a batch, or of undoing it.

    Attributes:
        number: Of the batch; 0 where nothing changed.
        changed: Documents and pages whose label is another one now.
        left: Documents that were changed by others since, and stay as they are.
        labels: Checked labels now.
        suggested: Suggested labels now.
    """

    number: int
    changed: tuple[Key, ...]
    left: tuple[str, ...] = ()
    labels: int = 0
    suggested: int = 0


@dataclass(slots=True)
class _Read:
    """What was read of a file, and by what it is known to be the same still."""

    mark: object = None
    value: Any = None


@dataclass(slots=True)
class _Journal:
    """The batches, oldest first, and the numbers of those that were undone, in the order in which they were."""

    entries: dict[int, Entry] = field(default_factory=dict)
    undone: list[int] = field(default_factory=list)
    last: int = 0

    def trim(self) -> None:
        """Puts the batches in the order of their numbers, and drops those that are too old to be undone."""
        self.entries = {number: self.entries[number] for number in sorted(self.entries)[-_KEPT:]}
        self.undone = [number for number in self.undone if number in self.entries]


class LabelBook:
    """Checked, suggested and confirmed labels of artifacts, read again only when their files have changed.

    Not to be used by two threads at once.

    Args:
        workspace: The artifacts.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._checked, self._suggested, self._confirmed, self._journal = _Read(), _Read(), _Read(), _Read()

    def checked(self) -> Labels:
        """labels.csv; not to be changed."""
        labels: Labels = self._fresh(self._checked, self._workspace.labels_file, lambda _: self._workspace.labels())
        return labels

    def suggested(self) -> Labels:
        """Labels that nobody has checked; not to be changed."""
        return self._beside(self._suggested, suggested_file(self._workspace))

    def confirmed(self) -> Labels:
        """Checked labels that were kept when they were told to be likely wrong, with the type that was kept."""
        return self._beside(self._confirmed, confirmed_file(self._workspace))

    def _beside(self, kept: _Read, file: Path) -> Labels:
        """Labels of a file beside labels.csv."""
        labels: Labels = self._fresh(kept, file, lambda file: read_beside(self._workspace, file))
        return labels

    def _copies(self) -> Tables:
        return _copy(self.checked()), _copy(self.suggested()), _copy(self.confirmed())

    def entries(self) -> list[Entry]:
        """The batches, newest first."""
        return list(reversed(self._batches().entries.values()))

    def can(self, client: str = "") -> tuple[bool, bool]:
        """Whether there is a batch to undo, and one to redo, of a client or of anybody."""
        journal = self._batches()
        own = [e for e in journal.entries.values() if client in ("", e.client)]
        return any(not e.undone for e in own), any(e.undone and e.number in journal.undone for e in own)

    def apply(self, batches: Sequence[Batch], paths: Mapping[str, str]) -> list[Done]:
        """Keeps batches, in their order and in one step; who waits for the disk is many people at once.

        Args:
            batches: What is decided.
            paths: Where the documents are, by SHA-256, for the table.

        Raises:
            LabelsError: A type has a name that means something else; then nothing is kept.
            ArtifactError: The labels cannot be written; what was written before that stays.
        """
        with self._workspace.changing_labels():
            tables, journal = self._copies(), self._batches()
            entries = []
            for number, batch in enumerate(batches, journal.last + 1):
                changes = _decide(tables, batch, paths)
                entries.append(Entry(number, now(), batch.client, batch.state, changes))
            told = [entry for entry in entries if entry.changes]
            self._keep(tables, [_entry_line(entry) for entry in told])
        labels, suggested, _ = (table.count for table in tables)
        return [Done(e.number if e.changes else 0, tuple(e.changes), (), labels, suggested) for e in entries]

    def undo(self, number: int | None = None, client: str = "") -> Done:
        """Undoes a batch, by None the newest one of the client that is not undone; what others changed since stays.

        Raises:
            LabelsError: There is none.
            ArtifactError: The labels cannot be written; what was written before that stays.
        """
        return self._turn(number, client, undo=True)

    def redo(self, number: int | None = None, client: str = "") -> Done:
        """Does again what was undone, by None what the client undid last; errors as of `undo`."""
        return self._turn(number, client, undo=False)

    def _turn(self, number: int | None, client: str, *, undo: bool) -> Done:
        with self._workspace.changing_labels():
            tables, journal = self._copies(), self._batches()
            entry = _chosen(journal, number, client, undo=undo)
            changed, left = [], []
            for key, (before, after) in entry.changes.items():
                current, wanted = (after, before) if undo else (before, after)
                if _state(tables, key) != current:
                    left.append(key[0])
                    continue
                _set(tables, key, wanted)
                changed.append(key)
            self._keep(tables, [{"undo" if undo else "redo": entry.number}])
        labels, suggested, _ = (table.count for table in tables)
        return Done(entry.number, tuple(changed), tuple(dict.fromkeys(left)), labels, suggested)

    def _keep(self, tables: Tables, lines: Sequence[Mapping[str, Any]]) -> None:
        """Writes what has changed: labels first, so that a kill leaves none that is told to be kept and is not."""
        if not lines:
            return
        (checked, *others), before = tables, self.checked()
        if checked.rows != before.rows or len(checked.kept) != len(before.kept):
            self._workspace.keep_labels(checked, COMMAND, before=before, one_by_one=True)
            self._checked = _Read(mark_of(self._workspace.labels_file), checked)
        for labels, kept, file in zip(others, (self._suggested, self._confirmed), _files(self._workspace), strict=True):
            if labels.rows != kept.value.rows:
                labels.save(file)
                kept.mark, kept.value = mark_of(file), labels
        batches, journal = batches_file(self._workspace), self._journal.value
        _append(batches, lines)
        for line in lines:
            _take(journal, line)
        if _size(batches) > _LARGEST:
            _shorten(batches, journal)
        self._journal.mark = mark_of(batches)

    def _batches(self) -> _Journal:
        journal: _Journal = self._fresh(self._journal, batches_file(self._workspace), _read_batches)
        return journal

    @staticmethod
    def _fresh(kept: _Read, file: Path, read: Any) -> Any:
        mark = mark_of(file)
        if kept.value is None or kept.mark != mark:
            kept.mark, kept.value = mark, read(file)
        return kept.value


def is_confirmed(confirmed: Labels, sha256: str, page_number: int, kind: str) -> bool:
    """Whether somebody confirmed that a document (page 0), or a page, is of a type: it is not told as likely wrong."""
    rows = confirmed.rows.get((sha256, page_number)), confirmed.rows.get((sha256, 0))
    return any(row is not None and row.label == kind for row in rows)


def read_beside(workspace: Workspace, file: Path) -> Labels:
    """Labels of `suggested_file` or `confirmed_file`; empty where there are none.

    Raises:
        ArtifactError: The file is no table; what to do is said.
    """
    try:
        return workspace.read_labels(file)
    except EmbedpipeError as error:
        raise ArtifactError(f"{error}; remove it: its lines teach nothing") from error


def suggested_file(workspace: Workspace) -> Path:
    """labels/suggested.csv."""
    return workspace.root / "labels" / "suggested.csv"


def confirmed_file(workspace: Workspace) -> Path:
    """labels/confirmed.csv."""
    return workspace.root / "labels" / "confirmed.csv"


def _files(workspace: Workspace) -> tuple[Path, Path]:
    return suggested_file(workspace), confirmed_file(workspace)


def batches_file(workspace: Workspace) -> Path:
    """labels/batches.jsonl."""
    return workspace.root / "labels" / "batches.jsonl"


def forget(workspace: Workspace, documents: Iterable[str]) -> None:
    """Removes documents from all but labels.csv, also from what can be undone; call it with the lock of labels held."""
    gone = set(documents)
    for file in _files(workspace):
        labels = workspace.read_labels(file)
        if labels.forget(gone):
            labels.save(file)
    if batches_file(workspace).exists():
        journal = _read_batches(batches_file(workspace))
        for number, entry in journal.entries.items():
            changes = {key: states for key, states in entry.changes.items() if key[0] not in gone}
            journal.entries[number] = replace(entry, changes=changes)
        _shorten(batches_file(workspace), journal)


def _decide(tables: Tables, batch: Batch, paths: Mapping[str, str]) -> dict[Key, tuple[State, State]]:
    """Does what a batch says; returns what each document or page had before and has now, where that is another."""
    if batch.state not in STATES:
        raise LabelsError(f"{batch.state!r} is no state of a label: {' or '.join(STATES)}")
    checked, suggested, confirmed = tables
    wanted = {decision.key: decision for decision in batch.decisions}
    before = {key: _state(tables, key) for key in wanted}
    new = [
        Label(d.document_sha256, paths.get(d.document_sha256, d.document_sha256), d.kind, d.page_number, d.group)
        for d in wanted.values()
        if d.kind is not None and (batch.state != SUGGESTED or d.key not in checked.rows)
    ]
    table = suggested if batch.state == SUGGESTED else checked
    table.add(new)
    if batch.state == CONFIRMED:
        confirmed.add(new)
    for key, decision in wanted.items():
        if batch.state != SUGGESTED:
            suggested.rows.pop(key, None)
        if decision.kind is None:
            table.rows.pop(key, None)
        kept, has = confirmed.rows.get(key), checked.rows.get(key)
        if kept is not None and (has is None or has.label != kept.label):
            del confirmed.rows[key]
    states = ((key, (had, _state(tables, key))) for key, had in before.items())
    return {key: (had, has) for key, (had, has) in states if had != has}


def _chosen(journal: _Journal, number: int | None, client: str, *, undo: bool) -> Entry:
    """The batch that is to be undone or done again."""
    word = "undo" if undo else "redo"
    if number is not None:
        entry = journal.entries.get(number)
        if entry is None:
            raise LabelsError(f"there is no batch {number} to {word}: only the last {_KEPT} are kept")
        if entry.undone == undo:
            raise LabelsError(f"batch {number} is {'undone already' if undo else 'not undone'}")
        return entry
    order = reversed(journal.entries) if undo else reversed(journal.undone)
    own = (journal.entries[one] for one in order)
    found = next((entry for entry in own if entry.undone != undo and client in ("", entry.client)), None)
    if found is None:
        raise LabelsError(f"there is nothing to {word}")
    return found


def _state(tables: Tables, key: Key) -> State:
    return tuple(_written(labels, key) for labels in tables)


def _written(labels: Labels, key: Key) -> dict[str, Any] | None:
    row = labels.rows.get(key)
    if row is None:
        return None
    more = labels.more.get(key)
    return {"type": row.label, "group": row.group, "path": row.path} | ({"more": more} if more else {})


def _set(tables: Tables, key: Key, state: State) -> None:
    for labels, written in zip(tables, state, strict=True):
        if written is None:
            labels.rows.pop(key, None)
            continue
        labels.rows[key] = Label(key[0], written["path"], written["type"], key[1], written["group"])
        if written.get("more"):
            labels.more[key] = dict(written["more"])


def _copy(labels: Labels) -> Labels:
    return replace(labels, rows=dict(labels.rows), kept=list(labels.kept), more=dict(labels.more), conflicts=[])


def _entry_line(entry: Entry) -> dict[str, Any]:
    changes = [[*key, *states] for key, states in entry.changes.items()]
    return {
        "batch": entry.number,
        "when": entry.when,
        "client": entry.client,
        "state": entry.state,
        "changes": changes,
    }


def _take(journal: _Journal, line: Mapping[str, Any]) -> None:
    """Takes a line of the file of batches."""
    if "batch" in line:
        changes = {(c[0], int(c[1])): (_as_state(c[2]), _as_state(c[3])) for c in line["changes"]}
        entry = Entry(
            int(line["batch"]), line["when"], line["client"], line["state"], changes, bool(line.get("undone"))
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


def _read_batches(file: Path) -> _Journal:
    """Reads the batches; what a kill left of a last line, or a disk damaged, is passed over."""
    journal = _Journal()
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return journal
    except OSError as error:
        raise ArtifactError(f"cannot read {file}: {error.strerror or error}") from error
    for text in content.splitlines():
        try:
            _take(journal, json.loads(text))
        except (ValueError, LookupError, TypeError, AttributeError):
            continue
    journal.trim()
    return journal


def _append(file: Path, lines: Sequence[Mapping[str, Any]]) -> None:
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


def _shorten(file: Path, journal: _Journal) -> None:
    """Writes the batches again, without those that are too old; those that are undone last, in that order."""
    journal.trim()
    done = [_entry_line(entry) for entry in journal.entries.values() if not entry.undone]
    undone = [{**_entry_line(journal.entries[number]), "undone": True} for number in journal.undone]
    with replacing(file) as temporary:
        lines = (json.dumps(line) + "\n" for line in [*done, *undone])
        temporary.write_text("".join(lines), encoding="utf-8")


def _size(file: Path) -> int:
    try:
        return os.stat(file).st_size
    except OSError:
        return 0
