"""Containers that are unpacked as a whole, into one file without a name: 7-Zip archives, Outlook mails, PDFs.

Their libraries parse what strangers have made, and some of it with native code; so they run in a process that may be
killed (`guarding`), which hands back the file and where in it each member lies.
"""

import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, field
from functools import partial
from typing import BinaryIO, cast

from embedpipe.core.errors import DocumentError
from embedpipe.core.objects.reading import local_path
from embedpipe.pages.containers import kinds, sharing
from embedpipe.pages.containers.contract import Allowance, Member, RefusedError, Span, found_in, telling_damage
from embedpipe.pages.containers.naming import Names
from embedpipe.pages.contract import Limits
from embedpipe.pages.guarding import guarded, is_capped

_UNPACKERS = {
    kinds.SEVENZIP: ("sevenzip", "the 7-Zip archive", "7-Zip archives need the extra archives"),
    kinds.OUTLOOK: ("outlook", "the Outlook mail", "Outlook mails need olefile: install embedpipe again"),
    kinds.PDF: ("attached", "the PDF", "PDFs need PyMuPDF: install embedpipe again"),
}
"""By kind: the module with a function `unpack(file, sink, limits)`, its name in messages, and what is missing without
its library."""

_BYTES_A_SECOND = 20 * 1024**2
"""Unpacking that is slower than this, for all that it may unpack to, is given up."""


_Unpacker = Callable[[BinaryIO, "Sink", Limits], None]


@dataclass(frozen=True, slots=True)
class Piece:
    """Where a member lies in what was unpacked.

    Attributes:
        name: As the container has it.
        begin: Its first byte.
        size: Bytes.
        kind: Of container, where that is known.
        is_link: Whether it is none that could be read.
        failure: Kind and message of what is wrong with it, or None.
    """

    name: str
    begin: int
    size: int
    kind: str = ""
    is_link: bool = False
    failure: tuple[str, str] | None = None


@dataclass(slots=True)
class Unpacked:
    """What came out of a container: its pieces, and what is wrong with the whole."""

    pieces: list[Piece] = field(default_factory=list)
    failure: tuple[str, str] | None = None
    is_refused: bool = False
    count: int = 0


class Sink:
    """Takes what is unpacked, member by member.

    Args:
        file: Where to.
        allowance: Counts the bytes; raises RefusedError.
    """

    def __init__(self, file: BinaryIO, allowance: Allowance) -> None:
        self._file, self._allowance = file, allowance
        self._begin = file.tell()
        self.pieces: list[Piece] = []

    def write(self, content: bytes) -> None:
        """Takes bytes of the member that is being unpacked."""
        self._allowance.take(len(content))
        self._file.write(content)

    def end(self, name: str, kind: str = "", *, is_link: bool = False) -> None:
        """Ends a member: all that was written since the last one is its content."""
        here = self._file.tell()
        self.pieces.append(Piece(name, self._begin, here - self._begin, kind, is_link))
        self._begin = here

    def fail(self, name: str, kind: str, message: str) -> None:
        """Notes a member that cannot be read; what was written of it is none."""
        self.pieces.append(Piece(name, 0, 0, failure=(kind, message)))
        self._begin = self._file.tell()

    def put(self, name: str, content: bytes, kind: str = "") -> None:
        """Takes a whole member."""
        self.write(content)
        self.end(name, kind)


class UnpackedContainer:
    """A container that was unpacked.

    Args:
        file: What came out of it; is closed with this.
        unpacked: What lies where.
        what: What it is, for messages.
    """

    stands_for = ""

    def __init__(self, file: BinaryIO, unpacked: Unpacked, what: str) -> None:
        self._file, self._unpacked = file, unpacked
        names = Names()
        self._found: dict[str, Member] = {}
        for piece in unpacked.pieces:
            opened = partial(_opened, file, piece, what)
            member = Member(names(piece.name), piece.size, opened, piece.is_link, piece.kind)
            self._found[member.name] = member

    def __iter__(self) -> Iterator[Member]:
        """Its members; raises DocumentError at the end where not all of it could be unpacked."""
        yield from self._found.values()
        if self._unpacked.failure:
            raise (RefusedError if self._unpacked.is_refused else DocumentError)(*self._unpacked.failure)

    def find(self, name: str) -> Member:
        """The member of a name; raises DocumentError."""
        if name not in self._found and self._unpacked.failure:
            raise DocumentError(*self._unpacked.failure)
        return found_in(self._found, name)

    def close(self) -> None:
        """Removes what was unpacked."""
        self._file.close()


def _opened(file: BinaryIO, piece: Piece, what: str) -> BinaryIO:
    if piece.failure:
        raise DocumentError(*piece.failure)
    return cast("BinaryIO", Span(file, piece.begin, piece.begin + piece.size, what))


def unpacked(file: BinaryIO, kind: str, allowance: Allowance) -> UnpackedContainer:
    """Unpacks a container.

    Args:
        file: Opened for reading.
        kind: A key of `_UNPACKERS`.
        allowance: Counts what is unpacked.

    Raises:
        DocumentError: Nothing could be unpacked: it took too long or too much, or crashed its process.
    """
    what = _UNPACKERS[kind][1]
    try:
        file.fileno()
    except (OSError, AttributeError):  # the libraries need a file of the system
        with tempfile.TemporaryFile(prefix="embedpipe-") as held:
            with telling_damage(what):
                file.seek(0)
                shutil.copyfileobj(file, held)
                held.flush()
            return unpacked(cast("BinaryIO", held), kind, allowance)
    if (shared := sharing.find(file)) is not None:
        pieces = [Piece(*piece) for piece in shared[1]["pieces"]]
        return UnpackedContainer(shared[0], Unpacked(pieces, shared[1]["failure"]), what)
    target = cast("BinaryIO", tempfile.TemporaryFile(prefix="embedpipe-"))  # noqa: SIM115 - its container closes it
    try:
        if is_capped() or sys.platform != "linux":
            told = _unpack(kind, file, target, allowance)
        else:
            with telling_damage(what):
                local_path(file, "")  # of object storage: the other process opens what was fetched, by its number
            tries = len(allowance.limits.passwords)  # a second each: archives make them slow on purpose
            seconds = allowance.limits.page_seconds + allowance.most / _BYTES_A_SECOND + tries
            paths = [f"/proc/{os.getpid()}/fd/{one.fileno()}" for one in (file, target)]
            told = guarded(_unpack_paths, (kind, *paths, allowance), seconds, allowance.limits.page_bytes)
        allowance.unpacked += told.count
        sharing.share(file, target, {"pieces": [astuple(piece) for piece in told.pieces], "failure": told.failure})
        return UnpackedContainer(target, told, what)
    except BaseException:
        target.close()
        raise


def _unpack_paths(kind: str, source: str, target: str, allowance: Allowance) -> Unpacked:
    """Runs in the guarded process, which opens the same files again."""
    with open(source, "rb") as file, open(target, "r+b") as out:
        return _unpack(kind, file, out, allowance)


def _unpack(kind: str, file: BinaryIO, target: BinaryIO, allowance: Allowance) -> Unpacked:
    module, what, missing = _UNPACKERS[kind]
    before = allowance.unpacked
    sink = Sink(target, allowance)
    failure: DocumentError | None = None
    try:
        with telling_damage(what):
            file.seek(0)
            _function(module, missing)(file, sink, allowance.limits)
    except DocumentError as error:
        failure = error
    target.flush()
    count, allowance.unpacked = allowance.unpacked - before, before  # the caller counts it
    reason = (failure.kind, str(failure)) if failure else None
    return Unpacked(sink.pieces, reason, isinstance(failure, RefusedError), count)


def _function(module: str, missing: str) -> _Unpacker:
    try:
        found: _Unpacker = importlib.import_module(f"embedpipe.pages.containers.{module}").unpack
    except ImportError:
        raise DocumentError("needs_converter", missing) from None
    return found
