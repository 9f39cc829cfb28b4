"""From a path to the content of a member, and from a file to the members in it.

What lies in a container is copied to a file without a name, in the folder for temporary files, when it is needed; the
system removes it with its last reader, however that ends. Containers that were opened last stay open.
"""

import contextlib
import os
import shutil
import sys
import tempfile
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from typing import BinaryIO, cast

from embedpipe.core.errors import DocumentError
from embedpipe.core.files import file_time
from embedpipe.core.objects.places import stat
from embedpipe.core.objects.reading import Copy, fetched
from embedpipe.core.objects.reading import opened as opened_anywhere
from embedpipe.core.objects.urls import is_url
from embedpipe.pages.containers import kinds
from embedpipe.pages.containers.contract import Allowance, Container, Member, copied, filled, found_in, telling_damage
from embedpipe.pages.containers.places import pieces
from embedpipe.pages.contract import Limits

_MOST_OPEN = 4


def open_container(file: BinaryIO, kind: str, name: str, allowance: Allowance) -> Container:
    """Opens a container.

    Args:
        file: Opened for reading, at its begin; stays open when the container is closed.
        kind: As `kinds.container_kind` tells.
        name: Of the file.
        allowance: Counts what is unpacked to open it.

    Raises:
        DocumentError: It is damaged, or too large.
    """
    file.seek(0)
    if kind == kinds.OUTLOOK and (words := _other_than_mail(file)):
        return NoContainer(words)
    if kind in (kinds.SEVENZIP, kinds.OUTLOOK, kinds.PDF):
        from embedpipe.pages.containers.unpacking import unpacked  # noqa: PLC0415 - most runs open none

        return unpacked(file, kind, allowance)
    if kind in (kinds.MAIL, kinds.MAILBOX):
        from embedpipe.pages.containers import mail  # noqa: PLC0415 - most runs open none

        return mail.MailContainer(file) if kind == kinds.MAIL else mail.MailboxContainer(file)
    from embedpipe.pages.containers import archives  # noqa: PLC0415 - likewise

    if kind in (kinds.ZIP, kinds.TAR):
        passwords = allowance.limits.passwords
        return archives.ZipContainer(file, passwords) if kind == kinds.ZIP else archives.TarContainer(file)
    return archives.compressed(file, kind, name, allowance)


class NoContainer:
    """A file that begins as containers do, and is none.

    Args:
        stands_for: What it is, with its article.
    """

    def __init__(self, stands_for: str) -> None:
        self.stands_for = stands_for

    def __iter__(self) -> Iterator[Member]:
        """Nothing."""
        return iter(())

    def find(self, name: str) -> Member:
        """Raises DocumentError."""
        return found_in({}, name)

    def close(self) -> None:
        """Nothing is open."""


def words_of(file: BinaryIO) -> str:
    """What a file is that no reader opens as it is, with its article, as `kinds.other_kind`; raises OSError."""

    def read_at(offset: int, count: int) -> bytes:
        file.seek(offset)
        return file.read(count)

    return kinds.other_kind(read_at(0, kinds.HEAD), read_at)


def _other_than_mail(file: BinaryIO) -> str:
    """What a file is that begins as Outlook mails do, with its article; "" for a mail."""
    with telling_damage("the file"):
        words = words_of(file)
        file.seek(0)
    return "" if words == kinds.OUTLOOK_MAIL else words


def kind_of(file: BinaryIO, *, attachments: bool = False) -> str:
    """The kind of container that a file is, "" for none; leaves the file at its begin.

    Args:
        file: Opened for reading.
        attachments: Whether a PDF counts as one.
    """
    file.seek(0)
    head = filled(file, kinds.HEAD)
    kind = kinds.container_kind(head)
    if kind == kinds.OUTLOOK and _other_than_mail(file):
        kind = ""
    if not kind and attachments and b"%PDF-" in head:
        kind = kinds.PDF
    file.seek(0)
    return kind


def zip_words(file: BinaryIO) -> str:
    """What a ZIP is that is one document or program, with its article; "" for all others."""
    with contextlib.suppress(DocumentError):
        container = open_container(file, kinds.ZIP, "", Allowance(0, Limits()))
        container.close()
        return container.stands_for
    return ""


class MemberFile:
    """The content of a member, as a file that readers can open by a path.

    Attributes:
        path: Leads to the content until this is closed or forgotten.
        size: Bytes.
    """

    def __init__(self, member: Member, limits: Limits) -> None:
        folder = "" if sys.platform == "linux" else tempfile.mkdtemp(prefix="embedpipe-")
        with telling_damage("the folder for temporary files"):
            file = tempfile.TemporaryFile("w+b") if not folder else open(os.path.join(folder, "member"), "w+b")  # noqa: SIM115 - closed below
        self._end = weakref.finalize(self, _remove, file, folder)
        self.path = os.path.join(folder, "member") if folder else f"/proc/self/fd/{file.fileno()}"
        content = member.open()
        try:
            with telling_damage("the folder for temporary files"):
                self.size = copied(content, cast("BinaryIO", file), limits.file_bytes)
        finally:
            content.close()
        self.file = cast("BinaryIO", file)

    def head(self) -> bytes:
        """Its first bytes."""
        self.file.seek(0)
        return self.file.read(kinds.HEAD)

    def close(self) -> None:
        """Removes it."""
        self._end()


def _remove(file: BinaryIO, folder: str) -> None:
    file.close()
    if folder:
        shutil.rmtree(folder, ignore_errors=True)


class _Opened:
    """A container that stays open, with the file that it lies in."""

    def __init__(self, container: Container, file: "BinaryIO | MemberFile") -> None:
        self.container = container
        self.close = weakref.finalize(self, _close, container, file)  # also where its thread ends


def _close(container: Container, file: "BinaryIO | MemberFile") -> None:
    container.close()
    file.close()


class _Last(threading.local):
    """The containers that this thread opened last, by file, its size and time, and the names on the way."""

    def __init__(self) -> None:
        self.opened: OrderedDict[tuple[object, ...], _Opened] = OrderedDict()


_last = _Last()


def _container(file: str, names: tuple[str, ...], limits: Limits) -> Container:
    """The container that a file is, or one in it."""
    with telling_damage("its container"):
        status = stat(file)
    key = (file, status.st_size, file_time(status.st_mtime_ns), status.st_ino, *names)
    if key in _last.opened:
        _last.opened.move_to_end(key)
        return _last.opened[key].container
    allowance = Allowance(status.st_size, limits)
    held: BinaryIO | MemberFile
    if names:
        member = _container(file, names[:-1], limits).find(names[-1])
        held = MemberFile(member, limits)
        content, known = held.file, member.kind
    else:
        with telling_damage("its container"):
            held = content = opened_anywhere(file)
        known = ""
    try:
        with telling_damage("its container"):
            kind = known or kind_of(content, attachments=True)
        if not kind:
            raise DocumentError("unreadable", "what it was in is no container any more")
        opened = _Opened(open_container(content, kind, os.path.basename(names[-1] if names else file), allowance), held)
    except BaseException:
        held.close()
        raise
    _last.opened[key] = opened
    while len(_last.opened) > _MOST_OPEN:
        _last.opened.popitem(last=False)[1].close()
    return opened.container


def close_all() -> None:
    """Closes the containers that this thread has opened."""
    while _last.opened:
        _last.opened.popitem()[1].close()


def member_file(path: str, limits: Limits) -> MemberFile | None:
    """The content of the member that a path means; None where it means a file on the disk.

    Raises:
        DocumentError: It cannot be read, or lies too deep.
    """
    file, *names = pieces(path)
    if not names:
        return None
    if len(names) > limits.depth:
        raise DocumentError("too_large", too_deep(limits))
    return MemberFile(_container(file, tuple(names[:-1]), limits).find(names[-1]), limits)


def too_deep(limits: Limits) -> str:
    """What is said of a member in too many containers."""
    return f"lies in more than --max-depth {limits.depth} containers, one in the other"


def held_file(path: str, limits: Limits) -> "MemberFile | Copy | None":
    """The content of what a path means, where that is no file on the disk: a member, or an object by its URL.

    Raises:
        DocumentError: It cannot be read, or lies too deep.
    """
    if is_url(path) and len(pieces(path)) == 1:
        with telling_damage("it"):
            return fetched(path)
    return member_file(path, limits)


@contextlib.contextmanager
def on_the_disk(path: str, limits: Limits | None = None) -> Iterator[str]:
    """Gives a path that any program function can open: the same, or that of a copy for as long as it takes.

    Raises:
        OSError: A member, or an object, cannot be read.
    """
    try:
        held = held_file(path, limits or Limits())
    except DocumentError as error:
        raise OSError(str(error)) from error
    if held is None:
        yield path
        return
    try:
        yield held.path
    finally:
        held.close()
