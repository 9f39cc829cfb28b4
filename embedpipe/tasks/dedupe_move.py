"""Duplicates put aside, or made hard links of the file that is kept; and all of it taken back.

What is to happen is written to a ledger before any file is touched, so that a killed run leaves no file that the ledger
does not know; the next run looks up what became of it. A file is only touched while its content, and that of the kept
one, are still what they were when they were embedded. Nothing is ever written over.
"""

import errno
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from embedpipe.core.errors import EmbedpipeError
from embedpipe.core.files import copied, file_time, held, making, remove_forsaken, sha256_of, synced
from embedpipe.core.records import Document
from embedpipe.embedding.reading import Progress
from embedpipe.pages.documents import Limits, recognise
from embedpipe.pages.leftovers import DUPLICATES
from embedpipe.pages.unfolding import identify_at, look_up
from embedpipe.store import placing
from embedpipe.store.sources import GONE
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.dedupe_ledger import Moved, read_ledger, write_ledger
from embedpipe.tasks.dedupe_plan import Step

_LOCK = ".embedpipe-duplicates.lock"
_HEAD = 1024


@dataclass(slots=True)
class Done:
    """What was done, or would be.

    Attributes:
        entries: What became of each file of this run, or is to.
        counts: How many are of which state.
        bytes: Of the files that were moved, or that share a place on the disk now.
        applied: Whether it was done.
    """

    entries: list[Moved] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    applied: bool = False

    @property
    def failures(self) -> list[Moved]:
        """Files that stayed where they were, with the reason."""
        return [entry for entry in self.entries if entry.state == "failed"]


def ledger_folder(workspace: Workspace, move_to: Path | None) -> Path:
    """Where the ledger is: in the folder that files are moved to; of hard links among the artifacts."""
    return workspace.root / "duplicates" if move_to is None else move_to


def carry_out(
    workspace: Workspace,
    steps: Sequence[Step],
    move_to: Path | None,
    *,
    apply: bool,
    progress: Progress | None = None,
) -> Done:
    """Moves files to a folder, or makes them hard links of the files that are kept.

    Files keep the folders that they lie in below the nearest folder above all that this run and earlier ones move or
    keep. After a move the sources of the artifacts know the new places.

    Args:
        workspace: The artifacts.
        steps: Of `dedupe_plan.plan`.
        move_to: The folder; None for hard links.
        apply: Do it; else only say what would be done.
        progress: Called with each file.

    Raises:
        ArtifactError: The ledger cannot be read or written, or another process works on it.
    """
    folder = ledger_folder(workspace, move_to)
    if not apply:
        return _Run(workspace, folder, hard=move_to is None).planned(steps)
    with workspace.writing("dedupe"), _alone(folder):
        return _Run(workspace, folder, hard=move_to is None).run(steps, progress or (lambda *_: None))


def undo(workspace: Workspace, move_to: Path | None, *, apply: bool, progress: Progress | None = None) -> Done:
    """Puts back what lies in the folder, or gives hard links a file of their own again, with its time and rights.

    Args:
        workspace: The artifacts.
        move_to: The folder; None for hard links.
        apply: Do it; else only say what would be done.
        progress: Called with each file.

    Raises:
        EmbedpipeError: There is no ledger.
    """
    folder = ledger_folder(workspace, move_to)
    if not (folder / DUPLICATES).exists():
        what = f"{folder} has no {DUPLICATES}" if move_to else "no hard links were made by `dedupe --hardlink --apply`"
        raise EmbedpipeError(f"nothing to undo: {what}")
    if not apply:
        return _Run(workspace, folder, hard=move_to is None).undone()
    with workspace.writing("dedupe --undo"), _alone(folder):
        return _Run(workspace, folder, hard=move_to is None).undo(progress or (lambda *_: None))


def _alone(folder: Path) -> AbstractContextManager[None]:
    return held(
        folder / _LOCK,
        lambda advice: f"another process moves duplicates to {folder} now: {advice or 'wait until it ends'}",
        lambda why: f"cannot write to {folder}: {why}; nothing was moved",
    )


class _Run:
    """One call: what is to be done, the ledger, the files, and the ledger again."""

    def __init__(self, workspace: Workspace, folder: Path, *, hard: bool) -> None:
        self._workspace, self._folder, self._hard = workspace, Path(os.path.abspath(folder)), hard
        self._before = read_ledger(folder)
        self._kept: dict[str, tuple[str, int, int]] = {}

    def planned(self, steps: Sequence[Step]) -> Done:
        """What `run` would do."""
        return self._done([self._checked(entry) for entry in self._entries(steps)], applied=False)

    def run(self, steps: Sequence[Step], progress: Progress) -> Done:
        """Does the work; see `carry_out`."""
        again = {step.document.path for step in steps}
        others = [e for e in self._settled() if e.state in ("moved", "linked") or e.was not in again]
        steps = [step for step in steps if os.path.lexists(step.document.path)]
        entries = [self._checked(entry) for entry in self._entries(steps)]
        self._save([*others, *(entry for entry in entries if entry.state == "planned")])
        try:
            for number, entry in enumerate(entries):
                progress("moving files" if not self._hard else "linking files", number, number, len(entries))
                if entry.state == "planned":
                    entries[number] = self._made(entry, self._link if self._hard else self._move)
        finally:
            entries = [entry for entry in entries if entry.state != "planned"] + self._unfinished(entries)
            self._save([*others, *entries])
            self._note_places([*(entry for entry in others if entry not in self._before), *entries])
        return self._done(entries, applied=True)

    def undone(self) -> Done:
        """What `undo` would do."""
        held = [entry for entry in self._before if entry.state in ("planned", "moved", "linked")]
        return self._done([replace(entry, state="undone") for entry in held], applied=False)

    def undo(self, progress: Progress) -> Done:
        """Takes everything back; see `undo`."""
        entries = self._settled()
        asked = [number for number, entry in enumerate(entries) if entry.state in ("moved", "linked")]
        told: list[Moved] = []
        try:
            for count, number in enumerate(asked):
                progress("putting files back", count, count, len(asked))
                done = self._made(entries[number], self._part if self._hard else self._back)
                told.append(done)
                if done.state == "undone":
                    entries[number] = done
        finally:
            self._save(entries)
            self._note_places(entries)
        return self._done(told, applied=True)

    def _entries(self, steps: Sequence[Step]) -> list[Moved]:
        """What is to become of each file."""
        files = {path for step in steps for path in (step.document.path, step.kept.path)}
        files |= {path for entry in self._before for path in (entry.was, entry.source)}
        top, taken = _common([os.path.dirname(path) for path in files]), set[str]()
        entries = []
        for step in steps:
            document = step.document
            copy = "" if self._hard else self._free(os.path.relpath(document.path, top), document.sha256, taken)
            mode = 0
            with suppress(OSError):
                mode = os.stat(document.path).st_mode & 0o7777
            entries.append(
                Moved(
                    *(copy, step.kept.path, document.path, "planned", document.size, document.mtime_ns, mode),
                    *(document.sha256, step.kept.sha256, step.kind),
                )
            )
        return entries

    def _free(self, place: str, digest: str, taken: set[str]) -> str:
        """A free place below the folder, as near to the wanted one as can be."""
        above, name = os.path.split(place)
        for free in placing.names(name, digest, self._folder):
            wanted = os.path.join(above, free).replace(os.sep, "/")
            if wanted.casefold() not in taken and not os.path.lexists(self._folder / wanted):
                taken.add(wanted.casefold())
                return wanted
        raise AssertionError  # there are endless names

    def _checked(self, entry: Moved) -> Moved:
        """An entry that failed already, if it is clear before the work begins."""
        why = ""
        if os.path.islink(entry.was) or not os.path.isfile(entry.was):
            why = "it is gone, or a link"
        elif not os.path.isfile(entry.source):
            why = f"the file to keep is gone: {entry.source}"
        elif self._hard and os.stat(entry.was).st_dev != os.stat(entry.source).st_dev:
            why = f"it lies on another file system than {entry.source}"
        return replace(entry, state="failed", copy="", message=why) if why else entry

    def _check_kept(self, entry: Moved) -> None:
        """Raises ChangedError where the file that is kept is not what was embedded; it is hashed once."""
        status = os.stat(entry.source)
        seen = (entry.kept_document, status.st_size, status.st_mtime_ns)
        if self._kept.get(entry.source) != seen:
            if _hash(entry.source) != entry.kept_document:
                raise placing.ChangedError(errno.ESTALE, f"the file to keep was changed since: {entry.source}")
            self._kept[entry.source] = seen

    def _made(self, entry: Moved, make: Callable[[Moved], Moved]) -> Moved:
        try:
            return make(entry)
        except FileExistsError:
            why = "a file with its name is there"
        except placing.ChangedError as error:
            why = error.strerror or "it was changed since it was embedded"
        except OSError as error:
            why = error.strerror or str(error)
        return replace(entry, state="failed", message=why)

    def _move(self, entry: Moved) -> Moved:
        self._check_kept(entry)
        target = self._folder / entry.copy
        put(entry.was, target, entry.document)
        return replace(entry, state="moved")

    def _back(self, entry: Moved) -> Moved:
        copy = self._folder / entry.copy
        if not os.path.islink(entry.was) and _hash(entry.was) == entry.document:
            copy.unlink()  # killed before the name in the folder went
        else:
            put(str(copy), Path(entry.was), entry.document)
        return replace(entry, state="undone")

    def _link(self, entry: Moved) -> Moved:
        """Puts a hard link of the kept file in the place of one with the same bytes, in one step."""
        with making(Path(entry.was).parent) as temporary:
            os.link(entry.source, temporary)
            if sha256_of(temporary) != entry.document or _hash(entry.was) != entry.document:
                raise placing.ChangedError
            os.replace(temporary, entry.was)
        return replace(entry, state="linked")

    def _part(self, entry: Moved) -> Moved:
        """Gives a hard link a file of its own again; one that was changed since stays as it is."""
        if _hash(entry.was) != entry.document:
            raise placing.ChangedError
        if not _same(entry.was, entry.source):
            return replace(entry, state="undone")  # it has one already
        with making(Path(entry.was).parent) as temporary:
            copied(entry.source, temporary)
            synced(temporary)
            if sha256_of(temporary) != entry.document:
                raise placing.ChangedError
            with suppress(OSError):
                os.chmod(temporary, entry.mode)
                os.utime(temporary, ns=(entry.mtime_ns, entry.mtime_ns))
            os.replace(temporary, entry.was)
        return replace(entry, state="undone")

    def _settled(self) -> list[Moved]:
        """What earlier runs did, those included that were killed."""
        self._sweep()
        return [now for entry in self._before if (now := self._looked_up(entry)) is not None]

    def _unfinished(self, entries: Iterable[Moved]) -> list[Moved]:
        """What became of entries that this run did not come to, as after Ctrl-C."""
        left = (self._looked_up(entry) for entry in entries if entry.state == "planned")
        return [entry for entry in left if entry is not None]

    def _looked_up(self, entry: Moved) -> Moved | None:
        """What became of a planned entry, or of a moved one that was being put back; None where it was not begun."""
        new = self._folder / entry.copy
        if entry.state == "moved" and not os.path.lexists(new) and _hash(entry.was) == entry.document:
            return replace(entry, state="undone", when="")
        if entry.state != "planned":
            return entry
        return self._planned_before(entry, new)

    def _planned_before(self, entry: Moved, new: Path) -> Moved | None:
        if self._hard:
            return replace(entry, state="linked") if _same(entry.was, entry.source) else None
        if not os.path.lexists(new) or _hash(str(new)) != entry.document:
            return None
        if not os.path.lexists(entry.was):
            return replace(entry, state="moved")
        if _same(str(new), entry.was) or _hash(entry.was) == entry.document:
            new.unlink()  # killed before the old name went: it is where it was
            return None
        return replace(entry, state="moved")  # another file has its name now

    def _sweep(self) -> None:
        """Removes what killed runs began to write."""
        places = {str(self._folder), *(os.path.dirname(e.was) for e in self._before if e.state != "undone")}
        places |= {os.path.dirname(self._folder / e.copy) for e in self._before if e.state == "planned"}
        for place in places:
            with suppress(OSError):
                for file in Path(place).iterdir():
                    remove_forsaken(file)

    def _save(self, entries: Iterable[Moved]) -> None:
        write_ledger(self._folder, entries)

    def _note_places(self, entries: Iterable[Moved]) -> None:
        """Has the sources know where files are now, so that nothing is embedded anew."""
        if self._hard:
            return
        sources = self._workspace.sources()
        for entry in entries:
            new, old = str(self._folder / entry.copy), entry.was
            places = {"moved": (old, new), "undone": (new, old)}.get(entry.state)
            if places is None or not os.path.lexists(places[1]):
                continue
            gone, there = places
            reader = _reader(there)
            mtime = file_time(os.stat(there).st_mtime_ns)
            sources.add(Document(there, entry.document, entry.size, mtime, reader), _mount(there))
            if gone in sources.paths(entry.document) and not os.path.lexists(gone):
                sources.leave([gone], GONE)
        sources.save()

    def _done(self, entries: Sequence[Moved], *, applied: bool) -> Done:
        counts = Counter(entry.state for entry in entries)
        told = [entry for entry in entries if entry.state != "failed"]
        return Done(list(entries), counts, sum(entry.size for entry in told), applied)


def put(source: str, target: Path, digest: str) -> None:
    """Moves a file to a free name, also to another file system: there it is copied, synced and read again first.

    Raises:
        FileExistsError: The name is taken.
        ChangedError: The file has not the content that it should have; it is where it was.
        OSError: It cannot be moved, and is where it was.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if os.lstat(source).st_dev == os.stat(target.parent).st_dev:
        try:
            placing.move(Path(source), target, digest)
        except OSError as error:
            if error.errno != errno.EXDEV:  # two mounts of one file system
                raise
        else:
            _keep_folders(Path(source), target)
            return
    before = os.stat(source)
    placing.copy(source, target, digest)
    try:
        if os.name != "nt":
            synced(target.parent)
        after = os.stat(source)
        unchanged = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
        if sha256_of(target) != digest or not unchanged:
            raise placing.ChangedError
        os.unlink(source)
    except OSError:
        target.unlink()
        raise
    _keep_folders(Path(source), target)


def _keep_folders(*files: Path) -> None:
    """Has the disk keep which names there are in the folders of some files."""
    for folder in {file.parent for file in files} if os.name != "nt" else ():
        with suppress(OSError):
            synced(folder)


def _common(folders: Sequence[str]) -> str:
    """The nearest folder above all of some; the root of the file system where there is no other."""
    with suppress(ValueError):
        return os.path.commonpath(folders) if folders else os.sep
    return os.sep


def _reader(path: str) -> str:
    """The key in READERS of a document; of books in ZIP files and of texts more is read than the begin."""
    with open(path, "rb") as file:
        reader = recognise(file.read(_HEAD))
    if reader:
        return reader
    found = identify_at(look_up(path), Limits(texts=True))
    return found.reader if isinstance(found, Document) else ""


def _mount(path: str) -> str:
    """Where the file system of a file is mounted."""
    folder = os.path.dirname(path)
    while not os.path.ismount(folder):
        folder = os.path.dirname(folder)
    return folder


def _hash(path: str) -> str:
    """The hash of a file; "" where it cannot be read."""
    with suppress(OSError):
        return sha256_of(Path(path))
    return ""


def _same(one: str, other: str) -> bool:
    with suppress(OSError):
        return os.path.samefile(one, other)
    return False
