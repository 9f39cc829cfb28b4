"""Inputs to documents: walks folders, looks into files, hashes their content."""

import hashlib
import mimetypes
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from embedpipe.core.display import on_disk, path_to_text
from embedpipe.core.errors import EmbedpipeError
from embedpipe.core.files import file_time
from embedpipe.core.records import WHOLE_FILE, Document, PageFailure, PageRef
from embedpipe.pages.documents import SUFFIXES, Limits, recognise

_HEAD = 1024
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
    """

    path: str
    size: int
    mtime_ns: int
    named: bool
    type_folder: str | None

    def __post_init__(self) -> None:
        """Keeps the time within what tables can hold, so that no single file costs a run its books."""
        object.__setattr__(self, "mtime_ns", file_time(self.mtime_ns))


@dataclass(frozen=True, slots=True)
class IgnoredFile:
    """A file that promises no document and is none, such as a README or a spreadsheet beside the PDFs."""

    path: str


def walk(inputs: Iterable[str]) -> Iterator[FoundFile | PageFailure]:
    """Yields every regular file below the inputs, each path once, in a fixed order.

    Links are followed only where the user names one. Devices, sockets and FIFOs are never opened. What vanishes
    during the walk is passed over; a folder that cannot be read is a failure.

    Args:
        inputs: Files and folders.

    Raises:
        EmbedpipeError: An input does not exist or is neither a file nor a folder.
    """
    seen: set[str] = set()
    for given in inputs:
        root = on_disk(os.path.abspath(given))
        try:
            status = os.stat(root)
        except OSError as error:
            raise EmbedpipeError(f"cannot read {path_to_text(given)}: {error.strerror or error}") from None
        if stat.S_ISDIR(status.st_mode):
            found = _walk_folder(root)
        elif stat.S_ISREG(status.st_mode):
            found = iter([FoundFile(root, status.st_size, status.st_mtime_ns, named=True, type_folder=None)])
        else:
            raise EmbedpipeError(f"{path_to_text(given)} is neither a file nor a folder")
        for item in found:
            path = item.path if isinstance(item, FoundFile) else item.page.source
            if path not in seen:
                seen.add(path)
                yield item


def _walk_folder(root: str) -> Iterator[FoundFile | PageFailure]:
    pending = [root]
    while pending:
        folder = pending.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except FileNotFoundError:
            continue
        except OSError as error:
            yield _failure(folder, "unreadable", f"folder cannot be read: {error.strerror or error}")
            continue
        pending.extend(e.path for e in reversed(entries) if e.is_dir(follow_symlinks=False))
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue  # it vanished
            if stat.S_ISREG(status.st_mode):
                below = os.path.relpath(entry.path, root).split(os.sep)
                type_folder = below[0] if len(below) > 1 else None
                yield FoundFile(entry.path, status.st_size, status.st_mtime_ns, named=False, type_folder=type_folder)


def identify(found: FoundFile, limits: Limits) -> Document | IgnoredFile | PageFailure:
    """Looks into a file and hashes it.

    Returns:
        The document; or why it is none: `IgnoredFile` when neither its content nor its name promises one and
        the user did not name it, else a failure of the whole file.
    """
    try:
        with open(found.path, "rb", opener=_open_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return _failure(found.path, "unreadable", "it is no longer a regular file")
            head = file.read(_HEAD)
            reader = recognise(head)
            if reader is None:
                return _no_document(found, head)
            if found.size > limits.file_bytes:
                message = f"{found.size} bytes, more than --max-file-size {limits.file_bytes}"
                return _failure(found.path, "too_large", message)
            digest, size = _hash(file, head, limits.file_bytes)
    except OSError as error:
        return _failure(found.path, "unreadable", f"cannot be read: {error.strerror or error}")
    if size > limits.file_bytes:
        return _failure(found.path, "too_large", f"grew past --max-file-size {limits.file_bytes} while it was read")
    return Document(found.path, digest, size, found.mtime_ns, reader)


def _open_without_waiting(path: str, flags: int) -> int:
    """A FIFO that took the place of a file must not block the run."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))


def _hash(file: BinaryIO, head: bytes, most: int) -> tuple[str, int]:
    digest = hashlib.sha256(head)
    size = len(head)
    while size <= most and (chunk := file.read(_CHUNK)):
        digest.update(chunk)
        size += len(chunk)
    return digest.hexdigest(), size


def _no_document(found: FoundFile, head: bytes) -> IgnoredFile | PageFailure:
    name = os.path.basename(found.path)
    suffix = os.path.splitext(name)[1].lower()
    plain_text = not suffix and b"\0" not in head  # LICENSE, Makefile
    if not found.named and suffix not in SUFFIXES and (name[0] == "." or plain_text or _is_of_no_concern(name)):
        return IgnoredFile(found.path)
    if not head:
        return _failure(found.path, "not_a_document", "the file is empty")
    known = ", ".join(sorted(SUFFIXES))
    return _failure(found.path, "not_a_document", f"its content is none of {known}; convert it to PDF first")


def _is_of_no_concern(name: str) -> bool:
    kind, encoding = mimetypes.guess_type(name)
    if name in ("Thumbs.db", "desktop.ini") or encoding is not None:
        return True
    return kind is not None and (kind.startswith(_IGNORED_TYPES) or kind.partition("/")[2] in _IGNORED_SUBTYPES)


def _failure(path: str, kind: str, message: str) -> PageFailure:
    return PageFailure(PageRef("", WHOLE_FILE, path), kind, message)
