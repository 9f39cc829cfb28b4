"""7-Zip archives, with py7zr. Several members are packed as one block, so that all of it is unpacked at once."""

from collections.abc import Sequence
from typing import BinaryIO

import py7zr
import py7zr.exceptions
from py7zr.io import Py7zIO, WriterFactory

from embedpipe.core.errors import DocumentError
from embedpipe.pages.containers.contract import RefusedError, telling_damage
from embedpipe.pages.containers.unpacking import Sink
from embedpipe.pages.contract import Limits


class _Writer(Py7zIO):
    """Takes one member."""

    def __init__(self, name: str, members: "_Members") -> None:
        self._name, self._members, self._count = name, members, 0

    def write(self, s: bytes | bytearray) -> int:
        """Takes bytes."""
        self._members.sink.write(bytes(s))
        self._count += len(s)
        return len(s)

    def read(self, size: int | None = None) -> bytes:
        """Nothing is read back."""
        del size
        return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        """It is written in order."""
        del whence
        return offset

    def flush(self) -> None:
        """It is flushed at the end."""

    def size(self) -> int:
        """Bytes so far."""
        return self._count

    def close(self) -> None:
        """Ends the member, also where the library found it damaged: `fail_last` tells."""
        self._members.sink.end(self._name, is_link=self._name in self._members.links)


class _Members(WriterFactory):
    """Makes a writer of each member."""

    def __init__(self, sink: Sink, links: frozenset[str]) -> None:
        self.sink, self.links = sink, links
        self._last = ""

    def create(self, filename: str) -> Py7zIO:
        """A writer."""
        self._last = filename
        return _Writer(filename, self)

    def fail_last(self, message: str) -> None:
        """Makes a failure of the member that was being unpacked."""
        if self.sink.pieces and self.sink.pieces[-1].name == self._last:
            self.sink.pieces.pop()
        if self._last:
            self.sink.fail(self._last, "unreadable", message)


def unpack(file: BinaryIO, sink: Sink, limits: Limits) -> None:
    """Unpacks an archive; raises DocumentError and whatever py7zr raises."""
    words: Sequence[str | None] = (None, *limits.passwords)
    for word in words:
        if _unpack(file, sink, word):
            return
    tried = "none of the passwords opens it" if limits.passwords else "packed with a password"
    raise DocumentError("encrypted", f"{tried}: put it on a line of its own in a --password-file")


def _unpack(file: BinaryIO, sink: Sink, password: str | None) -> bool:
    """Unpacks it with a password; False where that is not the one."""
    file.seek(0)
    try:
        archive = py7zr.SevenZipFile(file, password=password)
    except py7zr.exceptions.PasswordRequired:
        return False
    except Exception:
        if password is not None:  # the names are encrypted as well, and have become nonsense
            return False
        raise
    with archive:
        if archive.needs_password() and password is None:
            return False
        members = _Members(sink, frozenset(info.filename for info in archive.files if info.is_symlink))
        before = len(sink.pieces)
        try:
            with telling_damage("the 7-Zip archive"):
                archive.extractall(factory=members)
        except RefusedError:
            raise
        except DocumentError as error:
            members.fail_last("the 7-Zip archive is damaged here")
            if password is not None and all(piece.failure or not piece.size for piece in sink.pieces[before:]):
                del sink.pieces[before:]  # no member came out whole
                return False
            if error.__cause__ is not None and isinstance(
                error.__cause__, py7zr.exceptions.UnsupportedCompressionMethodError
            ):
                raise DocumentError("unreadable", "packed by a method that is not read: unpack it first") from error
            raise
    return True
