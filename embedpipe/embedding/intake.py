"""Inputs to documents, with the books kept: what was found, what is new, what failed."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from embedpipe.core.objects.reading import ahead
from embedpipe.core.objects.urls import bucket_of, is_url
from embedpipe.core.other_formats import counted
from embedpipe.core.records import WHOLE_FILE, Document, PageFailure, Shift
from embedpipe.embedding.recognition import Recognised
from embedpipe.embedding.sharding import roots_of
from embedpipe.embedding.streaming import Settings
from embedpipe.pages.containers.places import MARK, exists, holders
from embedpipe.pages.documents import SUFFIXES
from embedpipe.pages.unfolding import Item, unfold
from embedpipe.pages.walking import UNREAD, Found, FoundFile, IgnoredFile, Input, not_read, walk
from embedpipe.store.sources import CURRENT, EARLIER, GONE, PASSED_OVER, Sources


@dataclass(slots=True)
class Report:
    """What a run did.

    `files` = documents + duplicates + same_files + ignored + failed_files; `pages` = embedded + skipped + failed_pages.

    Attributes:
        same_files: Further names of files that were met already: hard links, links, folders under two names.
        elsewhere: Files that belong to other shards; they are not among `files`.
        out_of_time: Whether the run stopped by itself, for its budget was used up.
        members: Documents in archives, mails and mailboxes; each counts as a file, and the container does not.
        others: How many files were ignored for which reason, see `walking.IgnoredFile`.
        unread: Ignored files in formats that are not read: path, and what people call them.
        outcomes: How many pages (or files, where they cannot be opened) had each outcome in this run.
        failures: The failures, also those known from earlier runs.
        changed: What was at a path before, and what is there now, of files whose content changed.
        gone: Documents whose files are gone since.
        left: Documents whose files are there and are passed over by now.
        unreachable: Known files that are not there, and may be again: nothing is mounted where they were, or none of
            their folder is there.
        copies: Files with the content of another one, and further names of files, in the order met.
        recognised: What text recognition did.
        converted: How many documents each program has made PDFs of, by its name and version.
        filled: Stored pages that were drawn again for what is kept besides their features.
        kept_labels: Labels that went from an earlier version of a file to the one that is there now.
        stages: Seconds per stage: `render` is the workers' time, `wait` is how long the network waited for pages.
        shift: How the documents compare with those that the classifier was measured on, where they were classified.
    """

    files: int = 0
    documents: int = 0
    duplicates: int = 0
    same_files: int = 0
    members: int = 0
    ignored: int = 0
    failed_files: int = 0
    embedded: int = 0
    skipped: int = 0
    failed_pages: int = 0
    seconds: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    converted: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    failures: list[PageFailure] = field(default_factory=list)
    changed: list[tuple[Document, Document]] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    unreachable: list[str] = field(default_factory=list)
    copies: list[Document] = field(default_factory=list)
    unread: list[tuple[str, str]] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=dict)
    interrupted: bool = False
    elsewhere: int = 0
    out_of_time: bool = False
    filled: int = 0
    kept_labels: int = 0
    shift: Shift = field(default_factory=Shift)
    recognised: Recognised = field(default_factory=Recognised)

    @property
    def pages(self) -> int:
        """Pages of the inputs that have an outcome."""
        return self.embedded + self.skipped + self.failed_pages

    @property
    def failed(self) -> int:
        """Pages and files without features."""
        return self.failed_pages + self.failed_files

    def as_json(self) -> dict[str, Any]:
        """As `embed` prints it."""
        rate = self.embedded / self.seconds if self.seconds else 0.0
        return {
            "files": self.files,
            "documents": self.documents,
            "pages": self.pages,
            "embedded": self.embedded,
            "skipped": self.skipped,
            "filled": self.filled,
            "duplicates": self.duplicates,
            "same_files": self.same_files,
            "members": self.members,
            "converted": dict(self.converted),
            "ignored": self.ignored,
            "others": dict(self.others),
            "unread": counted(what for _, what in self.unread),
            "unread_files": [{"path": path, "format": what} for path, what in self.unread],
            "failed": self.failed,
            "failed_files": self.failed_files,
            "failed_pages": self.failed_pages,
            "changed": len(self.changed),
            "gone": len(self.gone),
            "passed_over": len(self.left),
            "unreachable": len(self.unreachable),
            "labels_kept": self.kept_labels,
            "outcomes": dict(self.outcomes),
            "seconds": round(self.seconds, 3),
            "pages_per_second": round(rate, 2),
            "stages": {stage: round(seconds, 3) for stage, seconds in self.stages.items()},
            "interrupted": self.interrupted,
            "out_of_time": self.out_of_time,
            "elsewhere": self.elsewhere,
            "ocr": self.recognised.as_json(),
            "failures": [
                {"path": f.page.source, "page": f.page.page_number or None, "kind": f.kind, "message": f.message}
                for f in self.failures
            ],
        }

    def counts_json(self) -> dict[str, Any]:
        """The part of it that `classify` prints."""
        values = self.as_json()
        keys = (
            "files",
            "duplicates",
            "same_files",
            "members",
            "ignored",
            "others",
            "unread",
            "unread_files",
            "failed",
            "seconds",
            "ocr",
            "failures",
        )
        return {key: values[key] for key in keys}

    def fail(self, failure: PageFailure) -> None:
        """Counts a failure."""
        self.failures.append(failure)
        self.outcomes[failure.kind] += 1
        if failure.page.page_index == WHOLE_FILE:
            self.failed_files += 1
        else:
            self.failed_pages += 1


_CONTAINERS = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".eml", ".mbox")
"""Names that promise members; content tells, but an object has to be fetched for that."""


class Intake:
    """Walks the inputs, hashes what it finds, and says which documents still have pages to do.

    Attributes:
        documents: Every distinct document by hash, in the order met.
        in_folders: Every file that is a document, with the folder directly below the input, which may be its type.
        bytes_done: Bytes of files taken in.
        bytes_unpacked: Bytes of members that are documents, which come on top of those of the files.
        complete: Whether everything was walked.
    """

    def __init__(self, inputs: Iterable[Input], settings: Settings, sources: Sources, report: Report) -> None:
        self.documents: dict[str, Document] = {}
        self.in_folders: list[tuple[Document, str | None]] = []
        self.bytes_done = self.bytes_unpacked = 0
        self._inputs = list(inputs)
        self._settings = settings
        self._sources = sources
        self._report = report
        self.complete = False
        self._unlisted: list[str] = []
        self._at: dict[str, Document] = {}
        self._mounts: dict[str, str] = {}
        self._roots = roots_of(self._inputs)
        self._awaited = {path: CURRENT for root in self._roots for path in sources.present_below(root)}
        self._held: dict[str, list[str]] = {}
        for path in self._awaited:
            for container in holders(path):
                self._held.setdefault(container, []).append(path)
        self._met = dict.fromkeys(self._roots, 0)

    def size(self) -> tuple[int, int]:
        """Files and bytes to come; walks the inputs once, without opening a file."""
        found = [item.size for item in self._walk() if isinstance(item, FoundFile) and self._is_ours(item.path)]
        return len(found), sum(found)

    def _walk(self) -> Iterator[Found]:
        return walk(self._inputs, self._settings.exclude, follow_links=self._settings.follow_links)

    def __iter__(self) -> Iterator[Document | PageFailure]:
        for found in ahead(self._walk(), self._fetched_first):
            self._meet(found)
            if not self._is_ours(path := _path_of(found)):
                self._report.elsewhere += 1
                self._await(path, CURRENT)
                continue
            self._report.files += 1
            if isinstance(found, FoundFile) and found.same_as is not None and self._is_ours(found.same_as):
                self._same(found, found.same_as)
                continue
            yield from self._items_of(found)
            self.bytes_done += found.size if isinstance(found, FoundFile) else 0
        self.complete = True

    def _fetched_first(self, found: Found) -> str | None:
        """The object that a file is, where it will be read as a whole: a document by its name, and not known."""
        if not isinstance(found, FoundFile) or not is_url(found.path) or not self._is_ours(found.path):
            return None
        if found.size > self._settings.limits.file_bytes:
            return None
        is_document = os.path.splitext(found.path)[1].lower() in (*SUFFIXES, *_CONTAINERS)
        return found.path if is_document and self._sources.unchanged(found) is None else None

    def _is_ours(self, path: str) -> bool:
        """Whether a file belongs to the shard that is read, if it is one."""
        return self._settings.shard is None or self._settings.shard.holds(path, self._roots)

    def _items_of(self, found: Found) -> Iterator[Document | PageFailure]:
        """What is new of a file, or of the members of a container, each of which counts as a file."""
        told = isinstance(found, FoundFile) and is_url(found.path)  # their time also tells the ETag
        known = self._sources.unchanged if self._settings.trust_mtime or told else lambda _: None
        items: Iterable[Item] = (
            [found]
            if not isinstance(found, FoundFile)
            else unfold(found, self._settings.limits, known, self._settings.exclude)
        )
        for number, one in enumerate(items):
            self._report.files += number > 0
            item = one
            if isinstance(one, IgnoredFile) and one.kind == UNREAD and self._settings.strict:
                item = not_read(one.path, one.what)
            if isinstance(item, IgnoredFile):
                self._ignore(item)
                self._await(item.path, PASSED_OVER if isinstance(found, IgnoredFile) else EARLIER)
            elif isinstance(item, PageFailure):
                self._await(item.page.source, CURRENT if item.kind == "unreadable" else EARLIER)
                yield item
            elif isinstance(found, FoundFile):
                if item.path != found.path:
                    self._report.members += 1
                    self.bytes_unpacked += item.size
                self._take(item, _type_folder(found, item.path))
                if item.sha256 in self.documents:
                    self._report.duplicates += 1
                    self._report.copies.append(item)
                else:
                    self.documents[item.sha256] = item
                    yield item

    def _ignore(self, item: IgnoredFile) -> None:
        self._report.ignored += 1
        self._report.others[item.kind] += 1
        if item.kind == UNREAD:
            self._report.unread.append((item.path, item.what))

    def _same(self, found: FoundFile, first: str) -> None:
        """Takes another name of a file that was read already."""
        self._report.same_files += 1
        document = self._at.get(first)
        if document is not None:
            document = replace(document, path=found.path)
            self._take(document, found.type_folder)
            self._report.copies.append(document)
        self.bytes_done += found.size

    def _take(self, document: Document, type_folder: str | None) -> None:
        before = self._sources.add(document, self._mount(os.path.dirname(document.path)))
        if before is not None:
            self._report.changed.append((before, document))
        self._awaited.pop(document.path, None)
        self._at[document.path] = document
        self.in_folders.append((document, type_folder))

    def _meet(self, found: Found) -> None:
        """Counts what is there below each input, so that an empty folder is told from one of which files are gone."""
        if isinstance(found, PageFailure) and is_url(found.page.source):
            self._unlisted.append(found.page.source)
        if not isinstance(found, IgnoredFile):
            for root in self._roots:
                self._met[root] += _below(_path_of(found), root)

    def _await(self, path: str, standing: str) -> None:
        """Notes what a known path holds now, where that is no document; of a container also of all that it held."""
        for place in [path, *self._held.get(path, ())]:
            if place in self._awaited:
                if standing:
                    self._awaited[place] = standing
                else:
                    del self._awaited[place]

    def settle_by(self, walked: Iterable[Found], missing: Iterable[str]) -> None:
        """Settles files that an earlier walk of all inputs did not meet; no file is opened, and the others stay."""
        for found in walked:
            self._meet(found)
        self._awaited = {path: CURRENT for path in missing if path in self._awaited}
        self.complete = True
        self.settle()

    def settle(self) -> None:
        """Notes in the sources which known files of the walked folders are gone or passed over; at the end.

        Nothing is gone that may only be out of reach: where a folder cannot be read, nothing is mounted where
        something was, or no file at all is left below an input.
        """
        if not self.complete:
            return
        for path, standing in self._awaited.items():
            if standing == EARLIER:
                self._report.gone.append(path)
            elif standing == PASSED_OVER:
                self._report.left.append(path)
            elif self._is_gone(path):
                lost = not self._is_mounted(path) or not any(self._met[r] for r in self._roots if _below(path, r))
                (self._report.unreachable if lost else self._report.gone).append(path)
            elif not is_url(path) and exists(path):
                self._report.left.append(path)
        self._sources.leave([p for p in self._report.gone if self._awaited[p] == EARLIER], EARLIER)
        self._sources.leave([p for p in self._report.gone if self._awaited[p] != EARLIER], GONE)
        self._sources.leave(self._report.left, PASSED_OVER)

    def in_reach(self, path: str) -> bool:
        """Whether a path lies in a folder that was walked to the end, and is there or known to be gone."""
        below = self.complete and any(_below(path, root) and self._met[root] for root in self._roots)
        return below and (self._is_gone(path) or is_url(path) or exists(path))

    def _is_gone(self, path: str) -> bool:
        """Whether there is certainly nothing at a path; of objects the lists of their folders have told."""
        return not any(_below(path, folder) for folder in self._unlisted) if is_url(path) else _is_gone(path)

    def _mount(self, folder: str) -> str:
        """Where the file system of a folder is mounted."""
        if is_url(folder):
            return bucket_of(folder)
        passed, at = [], folder
        while at not in self._mounts:
            passed.append(at)
            above = os.path.dirname(at)
            if above == at or os.path.ismount(at):
                self._mounts[at] = at
            else:
                at = above
        self._mounts.update(dict.fromkeys(passed, self._mounts[at]))
        return self._mounts[folder]

    def _is_mounted(self, path: str) -> bool:
        mount = self._sources.mount(path)
        return not mount or is_url(mount) or os.path.ismount(mount)


def _type_folder(found: FoundFile, path: str) -> str | None:
    """The folder that may be the type: the one below the input; in an archive that is an input itself, the first."""
    if found.type_folder or path == found.path or not found.named:
        return found.type_folder
    folder, slash, _ = path[len(found.path) + len(MARK) :].partition(MARK)[0].partition(os.sep)
    return folder if slash else None


def _path_of(found: Found) -> str:
    return found.page.source if isinstance(found, PageFailure) else found.path


def _below(path: str, root: str) -> bool:
    return path.startswith(root.rstrip(os.sep) + os.sep)


def _is_gone(path: str) -> bool:
    """Whether there is certainly nothing at a path: not where it cannot be told."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
