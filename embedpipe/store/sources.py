"""Which document lies at which path: what is current, what is an earlier version, and what is gone.

This is the one place that decides which stored documents count. A document is current as long as one of its paths has
its content, as far as is known: what is not known of is current.
"""

import contextlib
import os
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from embedpipe.core.display import path_to_text, text_to_path
from embedpipe.core.files import replacing, sha256_of
from embedpipe.core.objects.urls import absolute, is_url
from embedpipe.core.records import Document
from embedpipe.pages.containers.places import MARK, exists, outer
from embedpipe.store.columns import read

if TYPE_CHECKING:
    from embedpipe.pages.walking import FoundFile

CURRENT, EARLIER, GONE, PASSED_OVER = "", "earlier", "gone", "passed_over"
"""Standings of a document: EARLIER if its paths have other content now; GONE if they are not there any more, as a walk
of the whole folder found; PASSED_OVER if they are there, and a walk does not read them any more."""

_EARLIEST = {"path": pa.string(), "sha256": pa.string(), "size": pa.int64(), "mtime_ns": pa.int64()}
_FIRST = pa.schema({**_EARLIEST, "reader": pa.string()})
SCHEMA = pa.schema([*_FIRST, pa.field("standing", pa.string()), pa.field("mount", pa.string())])
"""Of the table; those of earlier versions lack the last two columns."""


def _identified(found: "FoundFile", *, is_known: bool) -> object:
    """The document in a file, or why there is none."""
    from embedpipe.pages.documents import Limits  # noqa: PLC0415 - most commands read no file, and a start counts
    from embedpipe.pages.unfolding import identify_at  # noqa: PLC0415 - likewise

    # what is stored may be a text: whether texts are documents was asked when it was
    return identify_at(found, Limits(texts=True) if is_known else Limits())


class Sources:
    """Where each document was last seen. A hint only: it can be lost and is filled again by the next run.

    Attributes:
        damaged: Whether there is a table that cannot be read.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._documents: dict[str, Document] = {}
        self._paths: dict[str, list[str]] = {}
        self._earlier: dict[str, dict[str, Document]] = {}
        self._absent: dict[str, str] = {}
        self._mounts: dict[str, str] = {}
        self.damaged = file.exists()
        with contextlib.suppress(OSError, ValueError, pa.ArrowException):
            table = read(file)
            self.damaged = table.schema.remove_metadata() not in (_FIRST, SCHEMA)
            for row in [] if self.damaged else table.to_pylist():
                standing, mount = row.pop("standing", CURRENT), row.pop("mount", "")
                self._load(Document(**{**row, "path": text_to_path(row["path"])}), standing, mount)

    def _load(self, document: Document, standing: str, mount: str) -> None:
        if standing == EARLIER:
            self._earlier.setdefault(document.sha256, {})[document.path] = document
            return
        self.add(document, text_to_path(mount))
        if standing:
            self._absent[document.path] = standing

    def __len__(self) -> int:
        """Number of paths at which a document was when they were last looked at."""
        return len(self._documents) - len(self._absent)

    def add(self, document: Document, mount: str | None = None) -> Document | None:
        """Notes a document's place.

        Args:
            document: As it lies there now.
            mount: Where the file system is mounted that it lies on; None leaves what is known.

        Returns:
            The document that was at the path before, where its content was another one.
        """
        path, old = document.path, self._documents.get(document.path)
        changed = old is not None and old.sha256 != document.sha256
        if old is not None and changed:
            self._retire(old)
        if old is None or changed:
            self._paths.setdefault(document.sha256, []).append(path)
        self._documents[path] = document
        self._absent.pop(path, None)
        if mount is not None:
            self._mounts[path] = mount
        self._not_earlier(document.sha256, path)
        return old if changed else None

    def _retire(self, document: Document) -> None:
        """Makes what was at a path an earlier version."""
        own = self._paths[document.sha256]
        own.remove(document.path)
        if not own:
            del self._paths[document.sha256]
        self._earlier.setdefault(document.sha256, {})[document.path] = document

    def _not_earlier(self, sha256: str, path: str) -> None:
        if self._earlier.get(sha256, {}).pop(path, None) and not self._earlier[sha256]:
            del self._earlier[sha256]

    def standing(self, sha256: str, source: str = "") -> str:
        """Whether a document is current, or else what it is: EARLIER, GONE or PASSED_OVER.

        Args:
            sha256: The document.
            source: Where it was when it was stored, for documents whose places were forgotten since.
        """
        if paths := self._paths.get(sha256):
            reasons = {self._absent.get(path, CURRENT) for path in paths}
            return CURRENT if CURRENT in reasons else min(reasons)
        there = self._documents.get(source)
        return EARLIER if sha256 in self._earlier or (there is not None and there.sha256 != sha256) else CURRENT

    def below(self, folder: str) -> list[str]:
        """The paths below a folder, or in a container, also those that are absent or were changed."""
        starts = (folder.rstrip(os.sep) + os.sep, folder + MARK)
        earlier = (path for places in self._earlier.values() for path in places)
        return list(dict.fromkeys(path for path in (*self._documents, *earlier) if path.startswith(starts)))

    def standings(self) -> Iterator[tuple[Document, str]]:
        """Every path at which a document was met, with the standing of what was there; also of earlier versions."""
        yield from ((document, self._absent.get(path, CURRENT)) for path, document in self._documents.items())
        yield from ((document, EARLIER) for before in self._earlier.values() for document in before.values())

    def present_below(self, folder: str) -> set[str]:
        """The paths below a folder at which a document was when they were last looked at."""
        start = folder.rstrip(os.sep) + os.sep
        return {path for path in self._documents if path.startswith(start) and path not in self._absent}

    def present(self) -> dict[str, str]:
        """SHA-256 of documents by the paths at which they were when they were last looked at."""
        return {path: known.sha256 for path, known in self._documents.items() if path not in self._absent}

    def mount(self, path: str) -> str:
        """Where the file system of a path was mounted; "" where that was not noted."""
        return self._mounts.get(path, "")

    def leave(self, paths: Iterable[str], standing: str) -> None:
        """Notes that documents are not at their paths any more: GONE, PASSED_OVER, or EARLIER if something else is."""
        for path in paths:
            if standing == EARLIER:
                self._retire(self._documents.pop(path))
                self._mounts.pop(path, None)
            else:
                self._absent[path] = standing

    def versions_at(self, path: str) -> list[str]:
        """SHA-256 of what is, or was, at an absolute path; of what was there only what is nowhere current."""
        there = self._documents.get(path)
        before = [sha256 for sha256, places in self._earlier.items() if path in places and self.standing(sha256)]
        return [*([there.sha256] if there else []), *before]

    def unchanged(self, found: "FoundFile") -> Document | None:
        """The document at a path if its size and time of change are still those that were hashed."""
        document = self._documents.get(found.path)
        if document and (document.size, document.mtime_ns) == (found.size, found.mtime_ns):
            return document
        return None

    def _now(self, path: str) -> "FoundFile":
        """A file as it is now; of a member of a container the size is taken as known. Raises OSError."""
        from embedpipe.pages.unfolding import look_up  # noqa: PLC0415 - see `_identified`

        found = look_up(path)
        return replace(found, size=self._documents[path].size) if found.size < 0 and path in self._documents else found

    def document(self, sha256: str) -> Document | None:
        """The document as it lies on disk now, or None where no file with its content is left."""
        return next((found for path in self._paths.get(sha256, []) if (found := self._as_it_was(path, sha256))), None)

    def places(self, sha256: str) -> list[str]:
        """The paths at which a document was when they were last looked at."""
        return [path for path in self._paths.get(sha256, []) if path not in self._absent]

    def document_at(self, path: str, sha256: str) -> Document | None:
        """The document at one of its paths, if it is still there with its content."""
        return self._as_it_was(path, sha256) if path in self._paths.get(sha256, []) else None

    def _as_it_was(self, path: str, sha256: str) -> Document | None:
        """The document at a path if its content is still the same; a folder may have been copied without its times."""
        try:
            found = self._now(path)
        except OSError:
            return None
        document: object = self.unchanged(found)
        if document is None and found.size == self._documents[path].size:
            document = _identified(found, is_known=True)
        return document if isinstance(document, Document) and document.sha256 == sha256 else None

    def path_of(self, sha256: str, otherwise: str) -> str:
        """A path at which the document is now, or was last."""
        paths = self._paths.get(sha256, [])
        if len(paths) == 1:  # nothing to choose from, and asking for objects takes long
            return paths[0]
        return next((path for path in paths if exists(path)), paths[-1] if paths else otherwise)

    def paths(self, sha256: str) -> list[str]:
        """All places where a document was seen."""
        return list(dict.fromkeys([*self._paths.get(sha256, []), *self._earlier.get(sha256, {})]))

    def copies(self) -> list[list[list[Document]]]:
        """Documents of the same content that lie in several files now: for each of these the paths that lead to it.

        Hard links, links that were followed, and folders that are there under two names lead to one file.
        """
        groups = []
        for sha256, paths in self._paths.items():
            files: dict[object, list[Document]] = {}
            for path in paths if len(paths) > 1 else []:
                if (document := self._as_it_was(path, sha256)) is not None:
                    files.setdefault(file_of(path), []).append(document)
            if len(files) > 1:
                groups.append(list(files.values()))
        return groups

    def sha256_at(self, path: str) -> str | None:
        """Hash of the document at a path: known, or read from the file."""
        known_as = absolute(path)
        try:
            found = self._now(known_as)
        except OSError:
            forms = (known_as, *(unicodedata.normalize(form, known_as) for form in ("NFC", "NFD")))
            known = next((self._documents[form] for form in forms if form in self._documents), None)
            return known.sha256 if known else None
        document = self.unchanged(found) or _identified(found, is_known=known_as in self._documents)
        if not isinstance(document, Document):
            return None
        self.add(document)
        return document.sha256

    def known(self) -> set[str]:
        """SHA-256 of the documents whose place is known."""
        return self._paths.keys() | self._earlier.keys()

    def holds(self, path: str) -> bool:
        """Whether a document is known at a path, or one of the same content elsewhere."""
        known_as = absolute(path)
        if known_as in self._documents or is_url(known_as):
            return known_as in self._documents
        with contextlib.suppress(OSError):
            size = os.stat(known_as).st_size
            return any(d.size == size for d in self._documents.values()) and bool(
                self._paths.get(sha256_of(Path(path)))
            )
        return False

    def forget(self, sha256: str) -> None:
        """Removes every place of a document."""
        self._earlier.pop(sha256, None)
        for path in self._paths.pop(sha256, []):
            del self._documents[path]
            self._absent.pop(path, None)
            self._mounts.pop(path, None)

    def save(self) -> None:
        """Writes the table in one step."""
        earlier = [d for places in self._earlier.values() for d in places.values()]
        rows = [(d, self._absent.get(d.path, CURRENT)) for d in self._documents.values()]
        rows += [(d, EARLIER) for d in earlier]
        columns: dict[str, list[object]] = {name: [getattr(d, name) for d, _ in rows] for name in _FIRST.names}
        columns["path"] = [path_to_text(d.path) for d, _ in rows]
        columns["standing"] = [standing for _, standing in rows]
        columns["mount"] = [path_to_text(self.mount(d.path)) for d, _ in rows]
        with replacing(self._file) as temporary:
            pq.write_table(pa.table(columns, schema=SCHEMA), temporary, compression="zstd", write_page_checksum=True)


def file_of(path: str) -> object:
    """What tells files from each other, however many paths lead to them: device and number, else the real path."""
    with contextlib.suppress(OSError):
        status = os.stat(path)
        if status.st_ino:
            return status.st_dev, status.st_ino
    file = outer(path)
    return os.path.realpath(path) if file == path else (file_of(file), path[len(file) :])
