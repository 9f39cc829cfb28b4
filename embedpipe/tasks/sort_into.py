"""Classified files into a folder for each type, as copies or hard links; the originals stay.

Whatever lies in the sorted folder and is not a copy of ours is a person's, and is never written over, moved or removed.
What is ours is written to the folder's ledger before it is made, so that a killed run leaves no unknown copy;
and a copy is only moved as long as its content is still that of the document.
"""

import errno
import os
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from embedpipe.core.display import name_of
from embedpipe.core.errors import ArtifactError
from embedpipe.core.files import held, is_temporary, remove_forsaken, sha256_of
from embedpipe.core.objects.urls import absolute
from embedpipe.core.records import Document
from embedpipe.embedding.reading import Progress
from embedpipe.pages.containers.opening import on_the_disk
from embedpipe.pages.contract import Limits
from embedpipe.store import placing
from embedpipe.store.sorted_ledger import AMBIGUOUS, NOVEL, RESERVED, Entry, Ledger, file_name
from embedpipe.tasks.classify import BY_LABEL, DocumentVerdict, reason

_LOCK = ".embedpipe-sorted.lock"
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of the sorted folder.

    Attributes:
        folder: Made if need be.
        inputs: What was classified; with `keep_tree`, folders below these are kept.
        link: Make hard links where the file system can, else copies.
        keep_tree: Keep the folders that a file lies in, below the folder of its type.
        answered_by: Name and version of the classifier, for the ledger.
        limits: How members of containers are opened: the passwords that they may need.
    """

    folder: Path
    inputs: Sequence[str] = ()
    link: bool = False
    keep_tree: bool = False
    answered_by: str = ""
    limits: Limits = field(default_factory=Limits)


@dataclass(slots=True)
class Sorted:
    """What was done.

    Attributes:
        folder: The sorted folder.
        entries: What became of each file of this run.
        counts: How many were copied, linked, moved, unchanged, yours (where a person put them), edited, duplicate,
            failed (has a type and no copy, or could not be moved), and without a type.
        failures: Files that could not be copied or moved, and why.
        not_linked: Copies that were to be links.
        unwritten: Why the ledger could not be brought up to date at the end, or "".
    """

    folder: Path
    entries: list[Entry] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[str, str]] = field(default_factory=list)
    not_linked: int = 0
    unwritten: str = ""


def sort_into(
    verdicts: Iterable[DocumentVerdict], copies: Iterable[Document], wish: Wish, progress: Progress | None = None
) -> Sorted:
    """Copies classified files into a folder for each type, and moves own copies whose type has changed.

    What is not sure is not mixed with what is: ambiguous documents go to `_ambiguous/<most probable type>`, and those
    that look like nothing labelled to `_novel`. A document that a person has put somewhere in the folder, or has moved
    there, stays where it is, and so does a copy that was edited.

    Args:
        verdicts: Of `classify`; files without a type stay where they are.
        copies: Files with the content of another one: they are named, and not copied again.
        wish: What is asked.
        progress: Called with each file that is copied or moved.

    Returns:
        What was done; files that could not be copied are in it and in the ledger.

    Raises:
        ArtifactError: The folder or its ledger cannot be written, or another process sorts into it.
        LabelsError: The ledger is damaged.
    """
    with _alone(wish.folder):
        return _Run(wish, list(verdicts), list(copies)).run(progress or (lambda *_: None))


def _alone(folder: Path) -> AbstractContextManager[None]:
    return held(
        folder / _LOCK,
        lambda advice: f"another process sorts into {folder} now: {advice or 'wait until it ends'}",
        lambda why: f"cannot write to {folder}: {why}; nothing was copied",
    )


class _Held:
    """The files that a sorted folder holds, by their content; only files of a size that is asked for are read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sizes: dict[int, list[str]] = {}
        self._hashes: dict[str, str] = {}
        for above, _, files in os.walk(folder):
            for name in files:
                path = Path(above, name)
                if is_temporary(name):
                    remove_forsaken(path)
                    continue
                with suppress(OSError):
                    if path.is_file():
                        place = os.path.relpath(path, folder).replace(os.sep, "/")
                        self._sizes.setdefault(path.stat().st_size, []).append(place)

    def places(self, digest: str, size: int) -> list[str]:
        """Where a content lies, below the folder."""
        return sorted(place for place in self._sizes.get(size, []) if self.hash(place) == digest)

    def hash(self, place: str) -> str:
        """The hash of a file below the folder, or "" where there is none that can be read."""
        if place not in self._hashes:
            self._hashes[place] = ""
            with suppress(OSError):
                self._hashes[place] = sha256_of(self._folder / place) if (self._folder / place).is_file() else ""
        return self._hashes[place]


class _Run:
    """One call of `sort_into`: what is to be done, the ledger, the files, and the ledger again."""

    def __init__(self, wish: Wish, verdicts: list[DocumentVerdict], copies: list[Document]) -> None:
        self._wish, self._folder = wish, wish.folder
        self._root = absolute(str(wish.folder))
        self._verdicts, self._copies = verdicts, copies
        self._ledger, self._held = Ledger(wish.folder), _Held(wish.folder)
        self._sources = {absolute(path) for path in (*(v.path for v in verdicts), *(c.path for c in copies))}
        self._result = Sorted(wish.folder)
        self._full = False
        self._ours: dict[str, Entry] = {}
        self._others: list[Entry] = []
        self._taken: set[str] = set()
        self._settle()
        self._own_places = {entry.copy for entry in (*self._ours.values(), *self._others) if entry.ours}
        self._folders = self._named_folders()

    def run(self, progress: Progress) -> Sorted:
        """Does the work; see `sort_into`."""
        before = {(e.source, e.document): e for e in self._ledger.entries}
        entries = [self._decided(verdict) for verdict in self._verdicts]
        documents = {entry.document for entry in entries}
        others = [entry for entry in self._ours.values() if entry.document not in documents]
        others += [entry for entry in self._others if not self._replaced(entry, documents)]
        planned = [n for n, entry in enumerate(entries) if entry.state == "planned"]
        planned.sort(key=lambda n: not entries[n].was)  # moves need no room on the disk
        if planned:
            self._save([*others, *entries], before)
        try:
            for number, n in enumerate(planned, 1):
                progress("copying files", number, number, len(planned))
                entries[n] = self._made(entries[n])
        finally:
            entries += self._duplicates(entries)
            self._result.entries = entries
            try:
                self._save([*others, *entries], before)
            except ArtifactError as error:
                if not planned:
                    raise
                self._result.unwritten = str(error)  # what was planned stands there, and the next run looks it up
        return self._result

    def _save(self, entries: list[Entry], before: dict[tuple[str, str], Entry]) -> None:
        """Writes the ledger where it says something new."""
        now, stamped = time.strftime("%Y-%m-%d %H:%M:%S"), []
        for entry in entries:
            old = before.get((entry.source, entry.document))
            same = old is not None and replace(old, when="") == replace(entry, when="")
            stamped.append(old if same and old else replace(entry, when=now))
        stamped.sort(key=lambda entry: (entry.source, entry.document, entry.copy))
        if stamped != self._ledger.entries:
            self._ledger.save(stamped)

    def _replaced(self, entry: Entry, documents: set[str]) -> bool:
        """Whether this run says anew what an earlier one said; what is ours must never be forgotten."""
        if entry.ours:
            return False
        if entry.document and entry.document in documents:
            return entry.state != "duplicate" or entry.source in self._sources
        return entry.source in self._sources and entry.state != "edited"

    def _settle(self) -> None:
        """Sorts out what the ledger says: own copies by document, also those that a killed run has made."""
        for entry in self._ledger.entries:
            now = self._looked_up(entry) if entry.state == "planned" else entry
            if now is None:
                continue
            if (
                now.state == "linked"
                and now.source in self._sources
                and _same_file(now.source, self._folder / now.copy)
            ):
                now = replace(now, document=self._held.hash(now.copy))  # whoever changed the one changed the other
            if now.ours and now.document not in self._ours:
                self._ours[now.document] = now
            else:
                self._others.append(now)

    def _looked_up(self, entry: Entry) -> Entry | None:
        """What became of what a killed run had planned; None where it was not made."""
        for place in filter(None, (entry.copy, entry.was)):
            if self._held.hash(place) == entry.document:
                new, old = self._folder / place, self._folder / entry.was
                if place == entry.copy and entry.was and _same_file(str(old), new):
                    old.unlink()  # one file with two names: it was being moved
                state = "linked" if _same_file(entry.source, new) else "copied"
                return replace(entry, copy=place, was="", state=state)  # type: ignore[arg-type]
        return None

    def _named_folders(self) -> dict[str, str]:
        """Gives each type a folder of its own: the one that it has, else its name, or its name and a hash."""
        folders = {label: name for name, label in self._ledger.types().items()}
        taken = {name.casefold() for name in folders.values()}
        labels = {name_of(v.prediction.label) for v in self._verdicts if v.prediction.label is not None}
        for label in sorted(labels - folders.keys(), key=lambda label: (file_name(label) != label, label)):
            name, place = file_name(label), self._folder / file_name(label)
            if name.casefold() in taken or (os.path.lexists(place) and not place.is_dir()):
                name = f"{name}-{sha256(label.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
            taken.add(name.casefold())
            folders[label] = name
        return folders

    def _decided(self, verdict: DocumentVerdict) -> Entry:
        """What is to become of a file: an entry that is final, or planned."""
        entry, size = self._begun(verdict), 0
        if entry.state in ("failed", "no type"):
            return self._counted(entry, "without a type")
        ours, source = self._ours.get(entry.document), entry.source
        own_source = self._below(source) in self._own_places
        if ours is not None and own_source:
            entry = replace(entry, source=ours.source)
        with suppress(OSError), on_the_disk(source, self._wish.limits) as path:
            size = os.stat(path).st_size
        theirs = [place for place in self._held.places(entry.document, size) if self._is_theirs(place)]
        if ours is not None and self._held.hash(ours.copy) == entry.document:
            now = replace(entry, state=ours.state, copy=ours.copy, source=ours.source)
            if theirs:
                return self._counted(ours, "yours")
            if ours.copy.startswith(f"{self._place(entry)}/"):
                return self._counted(now, "unchanged")
            return replace(now, state="planned", was=ours.copy, copy=self._free(entry, ours.copy))
        if theirs:
            return self._counted(replace(entry, state="yours", copy=theirs[0], message="you put it there"), "yours")
        edited = self._edited(entry, ours)
        return edited or replace(entry, copy=self._free(entry, source))

    def _begun(self, verdict: DocumentVerdict) -> Entry:
        """The answer, and why a file without a type has no copy."""
        told = verdict.prediction
        typed = told.label is not None or (verdict.labelled and told.status == "novel")
        message = (verdict.message or told.status) if not typed else reason(verdict) if verdict.labelled else ""
        return Entry(
            absolute(verdict.path),
            verdict.document_sha256,
            "planned" if typed else "failed" if told.status == "failed" else "no type",
            type=name_of(told.label or ""),
            status=told.status,
            confidence=f"{told.confidence:.4f}" if typed else "",
            message=message,
            answered_by=BY_LABEL if verdict.labelled else self._wish.answered_by,
        )

    def _edited(self, entry: Entry, ours: Entry | None) -> Entry | None:
        """A copy of ours that a person has edited: it is not ours any more, and the document is not copied again."""
        places = [ours.copy] if ours else []
        places += [e.copy for e in self._others if e.state == "edited" and e.document == entry.document]
        for place in places:
            if os.path.lexists(self._folder / place):
                message = "the copy was edited, and stays as it is"
                return self._counted(replace(entry, state="edited", copy=place, message=message), "edited")
        return None

    def _duplicates(self, entries: list[Entry]) -> list[Entry]:
        """Names the files whose content was met before; not the copies in the sorted folder itself."""
        made = {entry.document: entry.copy for entry in entries}
        found = []
        for copy in self._copies:
            place = self._below(absolute(copy.path))
            if place is None or not (place in self._own_places or self._is_theirs(place)):
                message = "the same content as another file"
                entry = Entry(absolute(copy.path), copy.sha256, "duplicate", made.get(copy.sha256, ""), message=message)
                found.append(self._counted(entry, "duplicate"))
        return found

    def _counted(self, entry: Entry, what: str) -> Entry:
        self._result.counts[what] += 1
        return entry

    def _below(self, path: str) -> str | None:
        """A path below the sorted folder, or None where it is elsewhere."""
        if not path.startswith(self._root.rstrip(os.sep) + os.sep):
            return None
        return os.path.relpath(path, self._root).replace(os.sep, "/")

    def _is_theirs(self, place: str) -> bool:
        """Whether a file was put to its place by a person; an original that is to be sorted is not sorted yet."""
        folder, _, rest = place.partition("/")
        if not rest or place in self._own_places:
            return False
        original = os.path.join(self._root, *place.split("/")) in self._sources
        return not original or folder in RESERVED or folder in self._folders.values()

    def _place(self, entry: Entry) -> str:
        """The folder that a document belongs to, below the folder of all."""
        if entry.status == "novel":
            return NOVEL
        name = self._folders[entry.type]
        return f"{AMBIGUOUS}/{name}" if entry.status == "ambiguous" else name

    def _free(self, entry: Entry, path: str) -> str:
        """A free place for a document; `path` is what it is called now."""
        place = self._place(entry) + (self._tree(entry.source) if self._wish.keep_tree else "")
        for name in placing.names(os.path.basename(path), entry.document, self._folder):
            wanted = f"{place}/{name}"
            if wanted.casefold() not in self._taken and not os.path.lexists(self._folder / wanted):
                self._taken.add(wanted.casefold())
                return wanted
        raise AssertionError  # there are endless names

    def _tree(self, source: str) -> str:
        """The folders between an input folder and a file in it, with a slash before each."""
        roots = [root for root in map(absolute, self._wish.inputs) if source.startswith(f"{root}{os.sep}")]
        if not roots:
            return ""
        folders = os.path.dirname(os.path.relpath(source, max(roots, key=len)))
        return f"/{folders.replace(os.sep, '/')}" if folders else ""

    def _made(self, entry: Entry) -> Entry:
        """Copies, links or moves what was planned."""
        if self._full and not entry.was:
            return self._failed(entry, os.strerror(errno.ENOSPC))
        try:
            return self._put(entry)
        except FileExistsError:
            why = "the name was taken just now; run the same command again"
        except placing.ChangedError:
            why = "it was changed meanwhile; run the same command again"
        except OSError as error:
            self._full = self._full or error.errno in _FULL
            why = error.strerror or str(error)
        return self._failed(entry, why)

    def _put(self, entry: Entry) -> Entry:
        target = self._folder / entry.copy
        if entry.was:
            placing.move(self._folder / entry.was, target, entry.document)
            return self._counted(replace(entry, state=self._ours[entry.document].state, was=""), "moved")
        if self._wish.link and placing.link(entry.source, target, entry.document):
            return self._counted(replace(entry, state="linked"), "linked")
        placing.copy(entry.source, target, entry.document, self._wish.limits)
        self._result.not_linked += self._wish.link
        return self._counted(replace(entry, state="copied"), "copied")

    def _failed(self, entry: Entry, why: str) -> Entry:
        self._result.failures.append((entry.source, f"not {'moved' if entry.was else 'copied'}: {why}"))
        self._result.counts["failed"] += 1
        if entry.was:
            old = self._ours[entry.document]
            return replace(old, message=f"belongs to {entry.copy}, and was not moved: {why}")
        return replace(entry, state="failed", copy="", message=why)


def _same_file(one: str, other: Path) -> bool:
    with suppress(OSError):
        return os.path.samefile(one, other)
    return False
