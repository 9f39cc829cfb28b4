"""Files to documents: a file is one, or none, or a container whose members are looked into as files are."""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, cast

from embedpipe.core.errors import DocumentError
from embedpipe.core.files import sha256_of
from embedpipe.core.objects.places import stat
from embedpipe.core.objects.reading import opened
from embedpipe.core.other_formats import named_format
from embedpipe.core.outputs import made_here
from embedpipe.core.records import Document, PageFailure
from embedpipe.pages.containers import kinds
from embedpipe.pages.containers.contract import (
    CHUNK,
    Allowance,
    Container,
    Member,
    RefusedError,
    copied,
    filled,
    telling_damage,
)
from embedpipe.pages.containers.opening import kind_of, member_file, open_container, too_deep
from embedpipe.pages.containers.places import of_member, outer
from embedpipe.pages.documents import Limits, named_reader, promises_converted, recognise, text_reader
from embedpipe.pages.leftovers import LINK, in_container
from embedpipe.pages.walking import (
    UNREAD,
    FoundFile,
    IgnoredFile,
    failure,
    hashed,
    identify,
    identify_open,
    no_document,
    open_without_waiting,
)

EMPTY = "empty"
"""Why a container is passed over that holds nothing: a mail without attachments, an empty archive."""

Item = Document | IgnoredFile | PageFailure

_MAILS = (kinds.MAIL, kinds.OUTLOOK)
_TOLD_BY_PAGES = ("encrypted", "unreadable", "not_a_document")
"""What is wrong with a whole PDF is the outcome of its pages, and not told once more for what is attached to it."""


def unfold(
    found: FoundFile,
    limits: Limits,
    known: Callable[[FoundFile], Document | None] = lambda _: None,
    exclude: Sequence[str] = (),
) -> Iterator[Item]:
    """Yields what a file is: one item, or one for each member of a container, however deep.

    Members are documents of their own, known by their content, and written as `FILE!/MEMBER`. They are looked into in
    order, and none is kept. What is wrong with a container is a failure of its own, after those of its members that
    could be read.

    Args:
        found: The file.
        limits: What is refused.
        known: Gives the document of a file, or of a member, that is known to be unchanged.
        exclude: Patterns of members that are passed over, as those of files.
    """
    document = known(found)
    if document is not None:
        yield document
        if limits.attachments and document.reader == kinds.PDF:
            yield from _attached(found, limits, known, tuple(exclude))
        return
    try:
        with opened(found.path, open_without_waiting) as file:
            kind = kind_of(file) if found.size > 0 else ""
            if kind:
                yield from _Unfolding(found, limits, known, tuple(exclude)).of_file(file, kind)
                return
            item = identify_open(file, found, limits)
    except OSError:
        item = identify(found, limits)  # it says why
    yield item
    if limits.attachments and isinstance(item, Document) and item.reader == kinds.PDF:
        yield from _attached(found, limits, known, tuple(exclude))


def _attached(
    found: FoundFile, limits: Limits, known: Callable[[FoundFile], Document | None], exclude: tuple[str, ...]
) -> Iterator[Item]:
    """What is attached to a PDF on the disk."""
    try:
        with opened(found.path, open_without_waiting) as file:
            yield from _Unfolding(found, limits, known, exclude).of_file(file, kinds.PDF)
    except OSError as error:
        yield failure(found.path, "unreadable", f"cannot be read: {error.strerror or error}")


def look_up(path: str) -> FoundFile:
    """What the walk tells of a file that was named, and of a member as far as its container tells: no size.

    Raises:
        OSError: There is no such file.
    """
    file = outer(path)
    status = stat(file)
    return FoundFile(path, status.st_size if file == path else -1, status.st_mtime_ns, named=True, type_folder=None)


def identify_at(found: FoundFile, limits: Limits) -> Item:
    """Looks into a file, or into one member of a container, and hashes it; see `walking.identify`."""
    try:
        held = member_file(found.path, limits)
    except DocumentError as error:
        return failure(found.path, error.kind, str(error))
    if held is None:
        return identify(found, limits)
    try:
        item = identify(replace(found, path=held.path, size=held.size, named=True), limits)
        if isinstance(item, PageFailure) and (text := text_reader(found.path, held.head(), limits)):
            item = Document(held.path, sha256_of(Path(held.path)), held.size, found.mtime_ns, text)
    finally:
        held.close()
    if isinstance(item, PageFailure):
        return failure(found.path, item.kind, item.message)
    return replace(item, path=found.path)


@dataclass(slots=True)
class _Unfolding:
    """The unfolding of one file on the disk."""

    found: FoundFile
    limits: Limits
    known: Callable[[FoundFile], Document | None]
    exclude: tuple[str, ...]
    allowance: Allowance = field(init=False)

    def __post_init__(self) -> None:
        self.allowance = Allowance(self.found.size, self.limits)

    def of_file(self, file: BinaryIO, kind: str) -> Iterator[Item]:
        """Of the file on the disk."""
        try:
            yield from self._opened(file, kind, self.found.path, 1)
        except DocumentError as error:  # of the whole file: nothing more of it is read
            yield failure(self.found.path, error.kind, str(error))

    def _opened(self, file: BinaryIO, kind: str, path: str, depth: int) -> Iterator[Item]:
        """Of a container; what is wrong with it, but for what concerns the whole file, is a failure of its own."""
        container: Container | None = None
        try:
            container = open_container(file, kind, os.path.basename(path), self.allowance)
            if container.stands_for:
                yield self._no_container(file, path, container.stands_for)
                return
            count = 0
            for member in container:
                if depth > self.limits.depth:
                    raise DocumentError("too_large", too_deep(self.limits))
                count += 1
                self.allowance.count_member()
                yield from self._member(member, path, depth)
            if not count and kind != kinds.PDF:
                yield self._empty(path, kind)
        except RefusedError:
            raise
        except DocumentError as error:
            if kind == kinds.PDF and error.kind in _TOLD_BY_PAGES:
                return
            # a damaged document that a program would convert fails, one of a format that is not read is passed over
            what = "" if self.found.named or promises_converted(path) else named_format(path)
            yield IgnoredFile(path, UNREAD, what) if what else failure(path, error.kind, str(error))
        finally:
            if container is not None:
                container.close()

    def _no_container(self, file: BinaryIO, path: str, words: str) -> Item:
        """A ZIP that is one document, or a program."""
        reader = named_reader(words)
        file.seek(0)
        if path == self.found.path and reader:
            return identify_open(file, self.found, self.limits, words)
        head = filled(file, kinds.HEAD)
        if reader:  # a member that was copied, and counted then
            digest, size = hashed(file, head, self.limits.file_bytes)
            return Document(path, digest, size, self.found.mtime_ns, reader)
        found = self.found if path == self.found.path else FoundFile(path, -1, self.found.mtime_ns, False, None)
        return no_document(found, head, words)

    def _empty(self, path: str, kind: str) -> Item:
        if not (self.found.named and path == self.found.path):
            return IgnoredFile(path, EMPTY)
        why = "a mail without attachments, whose own text is not read" if kind in _MAILS else "it holds no files"
        return failure(path, "no_pages", why)

    def _member(self, member: Member, path: str, depth: int) -> Iterator[Item]:
        at = of_member(path, member.name)
        reason = LINK if member.is_link else in_container(member.name, self.exclude)
        if reason:
            yield IgnoredFile(at, reason)
            return
        found = FoundFile(at, member.size, self.found.mtime_ns, named=False, type_folder=None)
        document = self.known(found) if member.size >= 0 else None
        if document is not None:
            yield document
            return
        try:
            content = member.open()
            try:
                yield from self._content(content, member, found, depth)
            finally:
                content.close()
        except RefusedError:
            raise
        except DocumentError as error:
            yield failure(at, error.kind, str(error))

    def _content(self, content: BinaryIO, member: Member, found: FoundFile, depth: int) -> Iterator[Item]:
        head = filled(content, kinds.HEAD)
        self.allowance.take(len(head))
        kind = member.kind or kinds.container_kind(head)
        if kind:
            if depth >= self.limits.depth:
                raise DocumentError("too_large", too_deep(self.limits))
            with self._spooled(content, head) as file:
                yield from self._opened(file, kind, found.path, depth + 1)
            return
        reader = named_reader(kinds.other_kind(head)) or recognise(head) or text_reader(found.path, head, self.limits)
        if reader is None or made_here(Path(found.path), head):
            yield no_document(found, head)
            return
        if member.size > self.limits.file_bytes:
            raise DocumentError("too_large", f"{member.size} bytes, more than --max-file-size {self.limits.file_bytes}")
        if reader == kinds.PDF and self.limits.attachments:
            with self._spooled(content, head) as file:
                digest, size = hashed(file, b"", self.limits.file_bytes)
                yield Document(found.path, digest, size, found.mtime_ns, str(reader))
                yield from self._opened(file, kinds.PDF, found.path, depth + 1)
            return
        digest, size = self._hash(content, head)
        yield Document(found.path, digest, size, found.mtime_ns, str(reader))

    @contextlib.contextmanager
    def _spooled(self, content: BinaryIO, head: bytes) -> Iterator[BinaryIO]:
        """A member as a file without a name, for as long as it is needed."""
        with tempfile.TemporaryFile("w+b") as opened:
            file = cast("BinaryIO", opened)
            with telling_damage("the folder for temporary files"):
                file.write(head)
                copied(content, file, self.limits.file_bytes - len(head), self.allowance)
                file.seek(0)
            yield file

    def _hash(self, content: BinaryIO, head: bytes) -> tuple[str, int]:
        digest, size = hashlib.sha256(head), len(head)
        while chunk := content.read(CHUNK):
            size += len(chunk)
            self.allowance.take(len(chunk))
            if size > self.limits.file_bytes:
                raise DocumentError("too_large", f"unpacks to more than --max-file-size {self.limits.file_bytes}")
            digest.update(chunk)
        return digest.hexdigest(), size
