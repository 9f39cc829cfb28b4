"""What containers of all kinds share: their members, what they may cost, and how damage is told."""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol

from embedpipe.core.errors import DocumentError
from embedpipe.pages.contract import Limits, first_line

CHUNK = 1 << 20

_FLOOR = 1024**3
_MOST_TIMES = 200
"""What a file may become when it is unpacked: so many times its size, or a gibibyte. Scans of one bit shrink to a
hundredth; bombs to a thousandth, and by another thousandth for each archive that they lie in."""


@dataclass(frozen=True, slots=True)
class Member:
    """Something that a container holds.

    Attributes:
        name: With slashes; safe, and no other member of the container has it.
        size: Bytes, as the container says; -1 where only reading tells.
        open: Opens its content for reading; raises DocumentError, also while it is read.
        is_link: Whether it is a link or a device, and nothing that could be read.
        kind: Of container, where the one around it knows that; else "", and its content tells.
    """

    name: str
    size: int
    open: Callable[[], BinaryIO]
    is_link: bool = False
    kind: str = ""


class Container(Protocol):
    """A container that was opened. Raises DocumentError for whatever is wrong with it.

    Attributes:
        stands_for: What it is, with its article, where it is one document or program and no archive; else "".
    """

    stands_for: str

    def __iter__(self) -> Iterator[Member]:
        """Its members, in the order in which they lie."""

    def find(self, name: str) -> Member:
        """The member of a name."""

    def close(self) -> None:
        """Lets go of the file."""


class RefusedError(DocumentError):
    """Ends the reading of a file with all that lies in it, and not only that of one member."""


@dataclass(slots=True)
class Allowance:
    """What the unpacking of one file on the disk may still cost, however deep its members lie.

    Args:
        size: Of the file, in bytes.
        limits: What is allowed.
    """

    size: int
    limits: Limits
    members: int = 0
    unpacked: int = 0
    most: int = field(init=False)

    def __post_init__(self) -> None:
        """Sets how many bytes may be unpacked."""
        self.most = min(self.limits.unpacked_bytes, max(_FLOOR, _MOST_TIMES * self.size))

    def count_member(self) -> None:
        """Counts a member; raises RefusedError where there are too many."""
        self.members += 1
        if self.members > self.limits.members:
            message = f"more than --max-members {self.limits.members} in one file; the rest is not read"
            raise RefusedError("too_large", message)

    def take(self, count: int) -> None:
        """Counts bytes that were unpacked; raises RefusedError where that is too much."""
        self.unpacked += count
        if self.unpacked > self.most:
            if self.most == self.limits.unpacked_bytes:
                why = f"more than --max-unpacked {self.most // 1024**2} megabytes"
            else:
                why = f"more than {_MOST_TIMES} times the size of the file: it is made to fill the disk, or damaged"
            raise RefusedError("too_large", f"unpacks to {why}; the rest is not read")


def copied(source: BinaryIO, target: BinaryIO, most: int, allowance: Allowance | None = None) -> int:
    """Copies what a member holds.

    Args:
        source: The member, opened.
        target: A file.
        most: Bytes; a member with more is refused.
        allowance: Counts the bytes as well.

    Returns:
        How many bytes there are.

    Raises:
        DocumentError: There are more, or they cannot be read.
    """
    size = 0
    while chunk := source.read(CHUNK):
        size += len(chunk)
        if size > most:
            raise DocumentError("too_large", f"unpacks to more than --max-file-size {most}")
        if allowance is not None:
            allowance.take(len(chunk))
        target.write(chunk)
    target.flush()
    return size


def filled(content: BinaryIO, size: int) -> bytes:
    """The first bytes of a member: pipes and decompressors give them in pieces."""
    found = b""
    while len(found) < size and (more := content.read(size - len(found))):
        found += more
    return found


def found_in(members: dict[str, Member], name: str) -> Member:
    """The member of a name; raises DocumentError."""
    if name not in members:
        raise DocumentError("unreadable", "it is not in its container any more; run `embed` on that again")
    return members[name]


class Span:
    """A part of a file, opened for reading; other parts may be read meanwhile.

    Args:
        file: Stays open.
        begin: First byte.
        end: Byte after the last.
        what: The file, for messages.
    """

    def __init__(self, file: BinaryIO, begin: int, end: int, what: str) -> None:
        self._file, self._at, self._end, self._what = file, begin, end, what

    def skip_line(self, longest: int) -> None:
        """Begins after its first line."""
        with telling_damage(self._what):
            self._file.seek(self._at)
            self._at = min(self._at + len(self._file.readline(longest)), self._end)

    def read(self, size: int = -1) -> bytes:
        """Reads on."""
        left = self._end - self._at
        with telling_damage(self._what):
            self._file.seek(self._at)
            content = self._file.read(left if size < 0 else min(size, left))
        self._at += len(content)
        return content

    def close(self) -> None:
        """The file stays open."""


@contextlib.contextmanager
def telling_damage(what: str) -> Iterator[None]:
    """Turns all that libraries raise on damaged and hostile files into DocumentError."""
    try:
        yield
    except DocumentError:
        raise
    except MemoryError:
        raise DocumentError("memory", f"{what} needs more memory than there is") from None
    except OSError as error:
        if error.errno is not None:
            why = error.strerror or os.strerror(error.errno)
            raise DocumentError("unreadable", f"{what} cannot be read: {why}") from error
        raise DocumentError("unreadable", f"{what} is damaged: {first_line(error)}") from error
    except Exception as error:  # zipfile, tarfile, zlib and lzma raise many kinds
        raise DocumentError("unreadable", f"{what} is damaged: {first_line(error)}") from error
