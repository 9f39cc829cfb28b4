"""Inputs to documents: walks folders, looks into files, hashes their content."""

import contextlib
import hashlib
import mimetypes
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from embedpipe.core.display import path_to_text
from embedpipe.core.errors import EmbedpipeError
from embedpipe.core.files import file_time
from embedpipe.core.objects import places
from embedpipe.core.objects.reading import local_path, opened
from embedpipe.core.objects.urls import absolute
from embedpipe.core.other_formats import bare, format_of, named_format
from embedpipe.core.outputs import made_here
from embedpipe.core.records import WHOLE_FILE, Document, PageFailure, PageRef
from embedpipe.pages.containers.kinds import HEAD, ZIP, container_kind, other_kind
from embedpipe.pages.containers.opening import words_of, zip_words
from embedpipe.pages.containers.places import MARK
from embedpipe.pages.documents import SUFFIXES, Limits, named_reader, recognise, text_reader
from embedpipe.pages.leftovers import LINK, OURS, Sieve

OTHER, UNREAD = "other", "unread"

_CHUNK = 1 << 20
_IGNORED_TYPES = ("text/", "audio/", "video/", "font/")
_IGNORED_SUBTYPES = ("json", "zip", "x-tar", "gzip", "xml", "javascript", "x-python", "x-sh", "octet-stream")


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A regular file that the walk came to.

    Attributes:
        path: Absolute path.
        size: Bytes.
        mtime_ns: Time of the last change, nanoseconds, within 64 bits.
        named: Whether the user named the file itself and not a folder above it.
        type_folder: Name of the folder directly below the input folder, which is the type by the ImageFolder
            convention; None without one.
        same_as: The path at which this walk met the very same file before: a hard link, a link that was followed, or
            a folder that is there under two names; None where it did not.
    """

    path: str
    size: int
    mtime_ns: int
    named: bool
    type_folder: str | None
    same_as: str | None = None

    def __post_init__(self) -> None:
        """Keeps the time within what tables can hold, so that no single file costs a run its books."""
        object.__setattr__(self, "mtime_ns", file_time(self.mtime_ns))


@dataclass(frozen=True, slots=True)
class IgnoredFile:
    """A file that is passed over.

    Attributes:
        path: Absolute path; of artifacts, their folder.
        kind: "other": it promises no document and is none, such as a README or an archive beside the PDFs; "unread": it
            holds a document or a picture in a format that is not read; "ours": embedpipe made it; or as `leftovers`
            names it: "leftover", "link", "excluded".
        what: What people call a file that is "unread", see `other_formats`.
    """

    path: str
    kind: str = OTHER
    what: str = ""


Found = FoundFile | IgnoredFile | PageFailure

Input = str | FoundFile
"""A file or folder, or a file that an earlier walk found: that one is taken as it was found."""


def walk(inputs: Iterable[Input], exclude: Sequence[str] = (), *, follow_links: bool = False) -> Iterator[Found]:
    """Yields every file below the inputs, each path once, in a fixed order: also those that are passed over.

    Links below a folder are followed only where that is asked for; what the user names is always followed. Devices,
    sockets and FIFOs are never opened. What vanishes during the walk is passed over without a word; a folder that
    cannot be read is a failure.

    Args:
        inputs: Files and folders, and files that an earlier walk found.
        exclude: Patterns of what is passed over below folders, see `leftovers.Sieve`.
        follow_links: Follow links to files and folders; a folder that was walked already is not walked again.

    Raises:
        EmbedpipeError: An input does not exist or is neither a file nor a folder.
    """
    seen: set[str] = set()
    met: dict[tuple[int, int], str] = {}
    for given in inputs:
        if isinstance(given, FoundFile):
            seen.add(given.path)
            yield given
            continue
        root = absolute(given)
        try:
            status = places.stat(root)
        except OSError as error:
            raise EmbedpipeError(f"cannot read {path_to_text(given)}: {error.strerror or error}") from None
        if stat.S_ISDIR(status.st_mode):
            found = _Folder(root, exclude, met, follow_links=follow_links).walk()
        elif stat.S_ISREG(status.st_mode):
            same = _same(met, status, root)
            found = iter([FoundFile(root, status.st_size, status.st_mtime_ns, True, None, same)])
        else:
            raise EmbedpipeError(f"{path_to_text(given)} is neither a file nor a folder")
        for item in found:
            path = item.page.source if isinstance(item, PageFailure) else item.path
            if path not in seen:
                seen.add(path)
                yield item


def _same(met: dict[tuple[int, int], str], status: "os.stat_result | places.Status", path: str) -> str | None:
    """The other path at which a file was met, if any. A file system without numbers of files has 0 for all."""
    first = met.setdefault((status.st_dev, status.st_ino), path) if status.st_ino else path
    return None if first == path else first


class _Folder:
    """The walk below one input folder."""

    def __init__(
        self, root: str, exclude: Sequence[str], met: dict[tuple[int, int], str], *, follow_links: bool
    ) -> None:
        self._root = root
        self._sieve = Sieve(root, exclude)
        self._met = met
        self._follow = follow_links
        self._walked: set[tuple[int, int]] = set()

    def walk(self) -> Iterator[Found]:
        """Yields files sorted, those of a folder before those of the folders in it."""
        pending = [self._root]
        while pending:
            folder = pending.pop()
            try:
                if self._follow and self._was_walked(folder):
                    yield IgnoredFile(folder, LINK)
                    continue
                entries = places.scan(folder)
            except FileNotFoundError:
                continue
            except OSError as error:
                yield failure(folder, "unreadable", f"folder cannot be read: {error.strerror or error}")
                continue
            self._sieve.filled(folder)
            below = os.path.relpath(folder, self._root).replace(os.sep, "/") + "/" if folder != self._root else ""
            folders = []
            for entry in entries:
                if self._is_folder(entry):
                    kind = self._sieve.folder(entry, below + entry.name)
                    if not kind:
                        folders.append(entry.path)
                    elif kind == OURS:
                        yield IgnoredFile(entry.path, OURS)
                    else:
                        yield from _files_below(entry.path, kind)
                elif (item := self._file(entry, below)) is not None:
                    yield item
            pending.extend(reversed(folders))

    def _is_folder(self, entry: "os.DirEntry[str] | places.Entry") -> bool:
        with contextlib.suppress(OSError):  # links that lead in a circle
            return entry.is_dir(follow_symlinks=self._follow)
        return False

    def _was_walked(self, folder: str) -> bool:
        status = places.stat(folder)
        key = (status.st_dev, status.st_ino)
        if key in self._walked and status.st_ino:
            return True
        self._walked.add(key)
        return False

    def _file(self, entry: "os.DirEntry[str] | places.Entry", below: str) -> Found | None:
        """A file of a folder; None for what is no file, or has vanished."""
        link = entry.is_symlink()
        try:
            status = entry.stat(follow_symlinks=self._follow)
        except OSError as error:
            gone = not link or not os.path.lexists(entry.path)
            return None if gone else failure(entry.path, "unreadable", f"the link leads to nothing: {error.strerror}")
        if link and not self._follow:
            return IgnoredFile(entry.path, LINK)
        if not stat.S_ISREG(status.st_mode):
            return None
        kind = self._sieve.file(entry, below + entry.name, status.st_size)
        if kind:
            return IgnoredFile(entry.path, kind)
        type_folder = below.split("/", 1)[0] if below else None
        same = _same(self._met, status, entry.path)
        return FoundFile(entry.path, status.st_size, status.st_mtime_ns, False, type_folder, same)


def _files_below(folder: str, kind: str) -> Iterator[IgnoredFile]:
    """Names the files below a folder that is passed over, without looking at them."""
    pending = [folder]
    while pending:
        try:
            for entry in places.scan(pending.pop()):
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                else:
                    yield IgnoredFile(entry.path, kind)
        except OSError:
            continue  # nothing of it is wanted


def identify(found: FoundFile, limits: Limits) -> Document | IgnoredFile | PageFailure:
    """Looks into a file and hashes it.

    Returns:
        The document; or why it is none: `IgnoredFile` when neither its content nor its name promises one that can be
        read and the user did not name it, else a failure of the whole file.
    """
    try:
        with opened(found.path, open_without_waiting) as file:
            return identify_open(file, found, limits)
    except OSError as error:
        return failure(found.path, "unreadable", f"cannot be read: {error.strerror or error}")


def identify_open(
    file: BinaryIO, found: FoundFile, limits: Limits, words: str = ""
) -> Document | IgnoredFile | PageFailure:
    """The same, of a file that was opened, at its begin; raises OSError.

    Args:
        file: Opened for reading.
        found: The file.
        limits: What is refused.
        words: What it is, with its article, where that is known already.
    """
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return failure(found.path, "unreadable", "it is no longer a regular file")
    head = file.read(HEAD)
    kind = container_kind(head)
    words = words or (zip_words(file) if kind == ZIP else words_of(file))
    reader = named_reader(words) or (None if kind else recognise(head) or text_reader(found.path, head, limits))
    file.seek(len(head))
    is_large = found.size > limits.file_bytes
    path = found.path if reader is None or found.named or is_large else local_path(file, found.path)
    if reader is None or (not found.named and made_here(Path(path), head)):
        return no_document(found, head, words if kind != ZIP else "")
    if is_large:
        message = f"{found.size} bytes, more than --max-file-size {limits.file_bytes}"
        return failure(found.path, "too_large", message)
    digest, size = hashed(file, head, limits.file_bytes)
    if size > limits.file_bytes:
        return failure(found.path, "too_large", f"grew past --max-file-size {limits.file_bytes} while it was read")
    return Document(found.path, digest, size, found.mtime_ns, reader)


def open_without_waiting(path: str, flags: int) -> int:
    """A FIFO that took the place of a file must not block the run."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))


def hashed(file: BinaryIO, head: bytes, most: int) -> tuple[str, int]:
    """SHA-256 and size of a file of which the head was read; no more than one piece beyond `most` bytes is read."""
    digest = hashlib.sha256(head)
    size = len(head)
    while size <= most and (chunk := file.read(_CHUNK)):
        digest.update(chunk)
        size += len(chunk)
    return digest.hexdigest(), size


def no_document(found: FoundFile, head: bytes, words: str = "") -> IgnoredFile | PageFailure:
    """Why a file is no document: passed over, or a failure where it promises one, or was named.

    Args:
        found: The file.
        head: How it begins.
        words: What it is, with its article, where more is known of it than the head tells.
    """
    if not found.named and made_here(Path(found.path), head):
        return IgnoredFile(found.path, OURS)
    name = os.path.basename(found.path)
    suffix = os.path.splitext(name)[1].lower()
    words = words or other_kind(head, partial(_read_at, found.path))
    what = "" if suffix in SUFFIXES else format_of(name, words)
    if not found.named and suffix not in SUFFIXES:
        unknown = not what or what.startswith(".")
        plain_text = unknown and b"\0" not in head  # LICENSE, Makefile
        if name[0] == "." or plain_text or _is_of_no_concern(name):
            return IgnoredFile(found.path)
        if what:
            return IgnoredFile(found.path, UNREAD, what)
    if not head:
        return failure(found.path, "not_a_document", "the file is empty")
    if container_kind(head) and not words and not named_format(name):
        return failure(found.path, "not_a_document", f"it holds files: name one of them, as {found.path}{MARK}NAME")
    return not_read(found.path, what or bare(words))


def not_read(path: str, what: str = "") -> PageFailure:
    """The failure of a file that is no document that can be read; `what` is what people call it, if that is known."""
    said = f"{what}: embedpipe does not read these" if what else "its content is of no kind that is read"
    return failure(path, "not_a_document", f"{said}; convert it to PDF first")


def _read_at(path: str, offset: int, count: int) -> bytes:
    with contextlib.suppress(OSError), opened(path) as file:
        file.seek(offset)
        return file.read(count)
    return b""


def _is_of_no_concern(name: str) -> bool:
    kind, encoding = mimetypes.guess_type(name)
    if name in ("Thumbs.db", "desktop.ini") or encoding is not None:
        return True
    return kind is not None and (kind.startswith(_IGNORED_TYPES) or kind.partition("/")[2] in _IGNORED_SUBTYPES)


def failure(path: str, kind: str, message: str) -> PageFailure:
    """A failure of a whole file."""
    return PageFailure(PageRef("", WHOLE_FILE, path), kind, message)
