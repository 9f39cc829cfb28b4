"""Labels given one by one or in strokes: in several states, each batch with a number by which it can be undone.

    labels.csv                  checked labels: they teach
    labels/suggested.csv        suggested labels, in the same columns: nobody has checked them, and they never teach
    labels/confirmed.csv        checked labels that a person kept when they were told to be likely wrong
    labels/batches.jsonl        what each batch changed, and what was undone since

Batches of several people at a time are merged by document: nothing but the documents of a batch is touched, and undoing
one leaves alone what others have changed since. A batch is in its file before any label of it is written, so that none
is without a batch by which it is undone; whoever opens the labels next settles what a kill or a full disk interrupted.
"""

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from embedpipe.core.errors import ArtifactError, EmbedpipeError, LabelsError
from embedpipe.core.files import mark_of, now
from embedpipe.store.labels import Key, Label, Labels
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import label_batches as batches_of
from embedpipe.tasks.label_batches import Entry, Journal, State

CHECKED, SUGGESTED, CONFIRMED = STATES = ("checked", "suggested", "confirmed")

COMMAND = "serve"
"""In the history of labels."""

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


class LabelBook:
    """Checked, suggested and confirmed labels of artifacts, read again only when their files have changed.

    Not to be used by two threads at once.

    Args:
        workspace: The artifacts.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._checked, self._suggested, self._confirmed, self._journal = _Read(), _Read(), _Read(), _Read()
        self._open: Tables | None = None

    def checked(self) -> Labels:
        """labels.csv; not to be changed."""
        labels: Labels = self._fresh(self._checked, self._workspace.labels_file, lambda _: self._workspace.labels())
        return labels

    def suggested(self) -> Labels:
        """Labels that nobody has checked, of what has no checked one; not to be changed."""
        kept, checked = self._beside(self._suggested, suggested_file(self._workspace)), self.checked()
        if self._open is None or self._open[0] is not kept or self._open[1] is not checked:
            self._open = kept, checked, open_of(kept, checked)
        return self._open[2]

    def confirmed(self) -> Labels:
        """Checked labels that were kept when they were told to be likely wrong, with the type that was kept."""
        return self._beside(self._confirmed, confirmed_file(self._workspace))

    def _beside(self, kept: _Read, file: Path) -> Labels:
        """Labels of a file beside labels.csv."""
        labels: Labels = self._fresh(kept, file, lambda file: read_beside(self._workspace, file))
        return labels

    def _copies(self) -> Tables:
        suggested = self._beside(self._suggested, suggested_file(self._workspace))
        return _copy(self.checked()), _copy(suggested), _copy(self.confirmed())

    def entries(self) -> list[Entry]:
        """The batches, newest first."""
        return list(reversed(self._settled().entries.values()))

    def can(self, client: str = "") -> tuple[bool, bool]:
        """Whether there is a batch to undo, and one to redo, of a client or of anybody."""
        journal = self._settled()
        own = [e for e in journal.entries.values() if client in ("", e.client)]
        return any(not e.undone for e in own), any(e.undone and e.number in journal.undone for e in own)

    def apply(self, batches: Sequence[Batch], paths: Mapping[str, str]) -> list[Done]:
        """Keeps batches, in their order and in one step; who waits for the disk is many people at once.

        Args:
            batches: What is decided.
            paths: Where the documents are, by SHA-256, for the table.

        Raises:
            LabelsError: A type has a name that means something else; then nothing is kept.
            ArtifactError: The labels cannot be written; what was written before that can be undone.
        """
        with self._workspace.changing_labels():
            tables, journal = self._begin()
            entries = []
            for number, batch in enumerate(batches, journal.last + 1):
                changes = _decide(tables, batch, paths)
                entries.append(Entry(number, now(), batch.client, batch.state, changes))
            told = [entry for entry in entries if entry.changes]
            self._keep(tables, [batches_of.batch_line(entry) for entry in told])
        labels, suggested = _counts(tables)
        return [Done(e.number if e.changes else 0, tuple(e.changes), (), labels, suggested) for e in entries]

    def undo(self, number: int | None = None, client: str = "") -> Done:
        """Undoes a batch, by None the newest one of the client that is not undone; what others changed since stays.

        Raises:
            LabelsError: There is none.
            ArtifactError: The labels cannot be written; what was written before that can be undone.
        """
        return self._turn(number, client, undo=True)

    def redo(self, number: int | None = None, client: str = "") -> Done:
        """Does again what was undone, by None what the client undid last; errors as of `undo`."""
        return self._turn(number, client, undo=False)

    def _turn(self, number: int | None, client: str, *, undo: bool) -> Done:
        with self._workspace.changing_labels():
            tables, journal = self._begin()
            entry = _chosen(journal, number, client, undo=undo)
            changed, left = dict[Key, tuple[State, State]](), []
            for key, (before, after) in entry.changes.items():
                current, wanted = (after, before) if undo else (before, after)
                if _state(tables, key) != current:
                    left.append(key[0])
                    continue
                _set(tables, key, wanted)
                changed[key] = current, wanted
            self._keep(tables, [batches_of.turn_line(entry.number, changed, undo=undo)])
        labels, suggested = _counts(tables)
        return Done(entry.number, tuple(changed), tuple(dict.fromkeys(left)), labels, suggested)

    def settle(self) -> None:
        """Ends what a kill or a full disk interrupted: what has its checked label gets the rest, and else nothing.

        Raises:
            ArtifactError: The labels cannot be written, or are being changed by somebody else all the time.
        """
        if self._batches().ahead:
            with self._workspace.changing_labels():
                self._begin()

    def _settled(self) -> Journal:
        """The batches, settled where that can be done."""
        with contextlib.suppress(ArtifactError):  # whoever changes labels next is told
            self.settle()
        return self._batches()

    def _begin(self) -> tuple[Tables, Journal]:
        """All that is to be changed, settled; call it with the lock of the labels held."""
        if ahead := self._batches().ahead:
            tables = self._copies()
            steps = [step for step in _reached(tables, ahead) if step["changes"]]
            file = batches_file(self._workspace)
            if steps != ahead:
                batches_of.append(file, [batches_of.DROPPED, *steps])
            self._write(tables)
            if steps:
                batches_of.append(file, [batches_of.KEPT])
        return self._copies(), self._batches()

    def _keep(self, tables: Tables, steps: Sequence[Mapping[str, Any]]) -> None:
        """Writes what has changed: the steps first, so that no label is there that cannot be undone."""
        if not steps:
            return
        file, journal = batches_file(self._workspace), self._batches()
        batches_of.append(file, [{**step, "ahead": True} for step in steps])
        self._write(tables)
        for step in steps:
            batches_of.take(journal, step)
        with contextlib.suppress(ArtifactError):  # all is kept: whoever opens the labels next says so in the file
            batches_of.append(file, [batches_of.KEPT])
            if batches_of.size_of(file) > batches_of.LARGEST:
                batches_of.shorten(file, journal)
            self._journal.mark = mark_of(file)

    def _write(self, tables: Tables) -> None:
        """Writes the tables that have changed, checked labels first: `_reached` relies on the order."""
        (checked, *others), before = tables, self.checked()
        if checked.rows != before.rows or len(checked.kept) != len(before.kept):
            self._workspace.keep_labels(checked, COMMAND, before=before, one_by_one=True)
            self._checked = _Read(mark_of(self._workspace.labels_file), checked)
        for labels, kept, file in zip(others, (self._suggested, self._confirmed), _files(self._workspace), strict=True):
            if labels.rows != kept.value.rows:
                labels.save(file)
                kept.mark, kept.value = mark_of(file), labels

    def _batches(self) -> Journal:
        journal: Journal = self._fresh(self._journal, batches_file(self._workspace), batches_of.read)
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


def open_of(suggested: Labels, checked: Labels) -> Labels:
    """Suggested labels without those that a checked one goes before, however that came: of the same document or page.

    A checked label of a page goes before a suggested one of its document, too. Lines that do not count stay in their
    file: when the checked label is taken back, the suggestion is there again.
    """
    is_open = _is_open(checked)
    rows = {key: row for key, row in suggested.rows.items() if is_open(key)}
    return suggested if len(rows) == suggested.count else replace(suggested, rows=rows)


def _is_open(checked: Labels) -> Callable[[Key], bool]:
    """Whether no checked label goes before a suggested one of a document or page."""
    paged = {sha256 for sha256, page in checked.rows if page}

    def is_open(key: Key) -> bool:
        sha256, page = key
        return key not in checked.rows and (sha256, 0) not in checked.rows and (page > 0 or sha256 not in paged)

    return is_open


def _counts(tables: Tables) -> tuple[int, int]:
    """How many checked and suggested labels there are."""
    checked, suggested, _ = tables
    return checked.count, open_of(suggested, checked).count


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
    LabelBook(workspace)._begin()  # noqa: SLF001 - the file of batches is written again, without steps that lie ahead
    for file in _files(workspace):
        labels = workspace.read_labels(file)
        if labels.forget(gone):
            labels.save(file)
    if batches_file(workspace).exists():
        journal = batches_of.read(batches_file(workspace))
        for number, entry in journal.entries.items():
            changes = {key: states for key, states in entry.changes.items() if key[0] not in gone}
            journal.entries[number] = replace(entry, changes=changes)
        batches_of.shorten(batches_file(workspace), journal)


def _decide(tables: Tables, batch: Batch, paths: Mapping[str, str]) -> dict[Key, tuple[State, State]]:
    """Does what a batch says; returns what each document or page had before and has now, where that is another."""
    if batch.state not in STATES:
        raise LabelsError(f"{batch.state!r} is no state of a label: {' or '.join(STATES)}")
    checked, suggested, confirmed = tables
    wanted = {decision.key: decision for decision in batch.decisions}
    before, is_open = {key: _state(tables, key) for key in wanted}, _is_open(checked)
    new = [
        Label(d.document_sha256, paths.get(d.document_sha256, d.document_sha256), d.kind, d.page_number, d.group)
        for d in wanted.values()
        if d.kind is not None and (batch.state != SUGGESTED or is_open(d.key))
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


def _chosen(journal: Journal, number: int | None, client: str, *, undo: bool) -> Entry:
    """The batch that is to be undone or done again."""
    word = "undo" if undo else "redo"
    if number is not None:
        entry = journal.entries.get(number)
        if entry is None:
            raise LabelsError(f"there is no batch {number} to {word}: only the last {batches_of.MOST} are kept")
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


def _reached(tables: Tables, ahead: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The steps that lie ahead, with those documents and pages alone whose first table was written.

    The other tables are given what these lack. Each table is replaced in one step, so that of the documents of a batch
    all are there or none, unless somebody has changed them since.
    """
    net: dict[Key, tuple[State, State]] = {}
    for step in ahead:
        for key, (before, after) in batches_of.changes_of(step).items():
            net[key] = net[key][0] if key in net else before, after
    reached = set()
    for key, (before, after) in net.items():
        now_there = _state(tables, key)
        written = next((has == b for a, b, has in zip(before, after, now_there, strict=True) if a != b), True)
        if written:
            reached.add(key)
            rest = zip(before, after, now_there, strict=True)
            _set(tables, key, tuple(b if has == a else has for a, b, has in rest))
    return [batches_of.only(step, reached) for step in ahead]


def _copy(labels: Labels) -> Labels:
    return replace(labels, rows=dict(labels.rows), kept=list(labels.kept), more=dict(labels.more), conflicts=[])
