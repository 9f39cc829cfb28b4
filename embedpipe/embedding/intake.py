"""Inputs to documents, with the books kept: what was found, what is new, what failed."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from embedpipe.core.records import WHOLE_FILE, Document, PageFailure, Shift
from embedpipe.embedding.streaming import Settings
from embedpipe.pages.walking import FoundFile, IgnoredFile, identify, walk
from embedpipe.store.workspace import Sources


@dataclass(slots=True)
class Report:
    """What a run did.

    `files` = documents + duplicates + ignored + failed_files; `pages` = embedded + skipped + failed_pages.

    Attributes:
        outcomes: How many pages (or files, where they cannot be opened) had each outcome in this run.
        failures: The failures, also those known from earlier runs.
        copies: Files with the content of another one, in the order met.
        stages: Seconds per stage: `render` is the workers' time, `wait` is how long the network waited for pages.
        shift: How the documents compare with those that the classifier was measured on, where they were classified.
    """

    files: int = 0
    documents: int = 0
    duplicates: int = 0
    ignored: int = 0
    failed_files: int = 0
    embedded: int = 0
    skipped: int = 0
    failed_pages: int = 0
    seconds: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[PageFailure] = field(default_factory=list)
    copies: list[Document] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=dict)
    interrupted: bool = False
    shift: Shift = field(default_factory=Shift)

    @property
    def pages(self) -> int:
        """Pages of the inputs that have an outcome."""
        return self.embedded + self.skipped + self.failed_pages

    @property
    def failed(self) -> int:
        """Pages and files without features."""
        return self.failed_pages + self.failed_files

    def fail(self, failure: PageFailure) -> None:
        """Counts a failure."""
        self.failures.append(failure)
        self.outcomes[failure.kind] += 1
        if failure.page.page_index == WHOLE_FILE:
            self.failed_files += 1
        else:
            self.failed_pages += 1


class Intake:
    """Walks the inputs, hashes what it finds, and says which documents still have pages to do.

    Attributes:
        documents: Every distinct document by hash, in the order met.
        in_folders: Every file that is a document, with the folder directly below the input, which may be its type.
        bytes_done: Bytes of files taken in.
    """

    def __init__(self, inputs: Iterable[str], settings: Settings, sources: Sources, report: Report) -> None:
        self.documents: dict[str, Document] = {}
        self.in_folders: list[tuple[Document, str | None]] = []
        self.bytes_done = 0
        self._inputs = list(inputs)
        self._settings = settings
        self._sources = sources
        self._report = report

    def size(self) -> tuple[int, int]:
        """Files and bytes to come; walks the inputs once, without opening a file."""
        found = [item.size for item in walk(self._inputs) if isinstance(item, FoundFile)]
        return len(found), sum(found)

    def __iter__(self) -> Iterator[Document | PageFailure]:
        for found in walk(self._inputs):
            self._report.files += 1
            item = self._identify(found) if isinstance(found, FoundFile) else found
            if isinstance(item, IgnoredFile):
                self._report.ignored += 1
            elif isinstance(item, PageFailure):
                yield item
            elif isinstance(found, FoundFile):
                self._sources.add(item)
                self.in_folders.append((item, found.type_folder))
                if item.sha256 in self.documents:
                    self._report.duplicates += 1
                    self._report.copies.append(item)
                else:
                    self.documents[item.sha256] = item
                    yield item
            self.bytes_done += found.size if isinstance(found, FoundFile) else 0

    def _identify(self, found: FoundFile) -> Document | IgnoredFile | PageFailure:
        known = self._sources.unchanged(found) if self._settings.trust_mtime else None
        return known or identify(found, self._settings.limits)
