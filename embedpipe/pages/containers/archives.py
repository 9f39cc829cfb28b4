"""ZIP, TAR and compressed files, with the standard library. All of it is read in place; no member is written."""

import bz2
import contextlib
import gzip
import io
import lzma
import os
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, BinaryIO, cast

from embedpipe.core.errors import DocumentError
from embedpipe.pages.containers import sharing
from embedpipe.pages.containers.contract import CHUNK, Allowance, Member, copied, filled, found_in, telling_damage
from embedpipe.pages.containers.kinds import BZIP2, GZIP, HEAD, is_tar, zip_kind
from embedpipe.pages.containers.naming import Names, decoded

_LARGEST_DIRECTORY = 128 * 1024**2
_XZ_MEMORY = 512 * 1024**2
_UTF8_NAME = 0x800
_ENCRYPTED = 0x1
_AES = 99
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_METHOD_NAMES = {9: "Deflate64", 93: "Zstandard", 95: "XZ", 98: "PPMd"}
_OF_DOS = "cp437"


class _Guarded:
    """A file that refuses to be read in one huge piece: that is what made-up directories and headers ask for."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        """Reads as the file does."""
        if size > _LARGEST_DIRECTORY:
            raise DocumentError("too_large", f"its directory is of {size} bytes")
        return self._file.read(size)


class Told:
    """Content of a member; what goes wrong while it is read is a DocumentError."""

    def __init__(self, file: Any, what: str) -> None:
        self._file, self._what = file, what

    def read(self, size: int = -1) -> bytes:
        """Reads as the file does."""
        with telling_damage(self._what):
            content: bytes = self._file.read(size)
            return content

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class ZipContainer:
    """A ZIP.

    Args:
        file: Opened for reading.
        passwords: To try on its members.
    """

    def __init__(self, file: BinaryIO, passwords: Sequence[str] = ()) -> None:
        self._guarded = _Guarded(file)
        self._passwords = [word for text in passwords for word in _in_bytes(text)]
        self._sealed: Any = None
        self._entries: dict[int, Any] = {}
        with telling_damage("the ZIP"):
            self._zip = zipfile.ZipFile(cast("Any", self._guarded))
        self._infos = [info for info in self._zip.infolist() if not info.orig_filename.endswith(("/", "\\"))]
        self.stands_for = zip_kind({info.filename for info in self._infos})
        self._found: dict[str, Member] = {}

    def __iter__(self) -> Iterator[Member]:
        """Its members as its directory has them."""
        if not self._found:
            names = Names()
            for info, raw in zip(self._infos, self._names(), strict=True):
                is_link = stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG)
                name = names(raw)
                self._found[name] = Member(name, info.file_size, partial(self._open, info), is_link)
        return iter(list(self._found.values()))

    def _names(self) -> list[str]:
        """Their names; those of old and of many Chinese programs are in no encoding that is told."""
        untold = [info for info in self._infos if not info.flag_bits & _UTF8_NAME and not info.filename.isascii()]
        raw = [info.orig_filename.split("\0", 1)[0].encode(_OF_DOS, "replace") for info in untold]
        read = dict(zip(map(id, untold), decoded(raw, _OF_DOS), strict=True)) if raw else {}
        return [read.get(id(info), info.filename) for info in self._infos]

    def _open(self, info: zipfile.ZipInfo) -> BinaryIO:
        is_sealed = bool(info.flag_bits & _ENCRYPTED)
        if info.compress_type not in _METHODS and not (is_sealed and info.compress_type == _AES):
            method = _METHOD_NAMES.get(info.compress_type, str(info.compress_type))
            raise DocumentError("unreadable", f"packed by the method {method}, which is not read: unpack it first")
        if is_sealed:
            return self._open_sealed(info)
        with telling_damage("the ZIP"):
            return cast("BinaryIO", Told(self._zip.open(info), "the ZIP"))

    def _open_sealed(self, info: zipfile.ZipInfo) -> BinaryIO:
        """Opens a member that is packed with a password.

        Of the old encryption one byte tells whether a password is right: one in 256 wrong ones seems so. Where several
        seem so, the one is taken with which the whole member has the right checksum.
        """
        archive, entry = (self._zip, info) if info.compress_type != _AES else self._found_for_aes(info)
        seeming = [word for word in self._passwords if _opens(archive, entry, word)]
        if len(seeming) > 1:
            seeming = [word for word in seeming if _is_whole(archive, entry, word)][:1] or seeming[:1]
        if not seeming:
            tried = "none of the passwords opens it" if self._passwords else "packed with a password"
            raise DocumentError("encrypted", f"{tried}: put it on a line of its own in a --password-file")
        self._passwords.sort(key=lambda word: word != seeming[0])  # most likely that of the next one, too
        with telling_damage("the ZIP"):
            return cast("BinaryIO", Told(archive.open(entry, pwd=seeming[0]), "the ZIP"))

    def _found_for_aes(self, info: zipfile.ZipInfo) -> tuple[Any, Any]:
        """The same ZIP by a library that knows the encryption of WinZip and 7-Zip, and the same member in it."""
        if self._sealed is None:
            try:
                import pyzipper  # noqa: PLC0415 - an extra
            except ImportError:
                raise DocumentError("needs_converter", "packed with AES: that needs the extra archives") from None
            with telling_damage("the ZIP"):
                self._sealed = pyzipper.AESZipFile(self._guarded)
                self._entries = {entry.header_offset: entry for entry in self._sealed.infolist()}
        return self._sealed, self._entries[info.header_offset]

    def find(self, name: str) -> Member:
        """The member of a name; raises DocumentError."""
        if not self._found:
            iter(self)
        return found_in(self._found, name)

    def close(self) -> None:
        """Closes it; the file stays open."""
        self._zip.close()
        if self._sealed is not None:
            self._sealed.close()


def _in_bytes(password: str) -> list[bytes]:
    """A password as programs may have written it: in UTF-8, or as Windows in China does."""
    forms = [password.encode("utf-8", "surrogateescape")]
    with contextlib.suppress(UnicodeEncodeError):
        forms.append(password.encode("gb18030"))
    return list(dict.fromkeys(form for form in forms if form))


def _opens(archive: Any, entry: Any, password: bytes) -> bool:
    """Whether a password seems to be that of a member."""
    try:
        with telling_damage("the ZIP"):
            archive.open(entry, pwd=password).close()
    except DocumentError as error:
        if type(error.__cause__) is RuntimeError:  # how both libraries say that it is not
            return False
        raise
    return True


def _is_whole(archive: Any, entry: Any, password: bytes) -> bool:
    """Whether a member can be read to its end with a password."""
    try:
        with telling_damage("the ZIP"), archive.open(entry, pwd=password) as content:
            while content.read(CHUNK):
                pass
    except DocumentError:
        return False
    return True


class TarContainer:
    """A TAR that is not compressed."""

    stands_for = ""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        with telling_damage("the TAR"):
            self._tar = tarfile.open(fileobj=cast("Any", _Guarded(file)), mode="r:")  # noqa: SIM115
        self._found: dict[str, Member] = {}
        self._read = False

    def __iter__(self) -> Iterator[Member]:
        """Its members; raises DocumentError where it ends too early, or is damaged."""
        if self._read:
            yield from list(self._found.values())
            return
        names = Names()
        with telling_damage("the TAR"):
            infos = iter(self._tar)
        while True:
            with telling_damage("the TAR"):
                info = next(infos, None)
            if info is None:
                break
            if not info.isdir():
                name = names(_unescaped(info.name))
                self._found[name] = Member(name, info.size, partial(self._open, info), not info.isfile())
                yield self._found[name]
        self._check_end()
        self._read = True

    def _check_end(self) -> None:
        """Looks whether it ends as it should: `tarfile` takes the first damaged header for the end."""
        with telling_damage("the TAR"):
            self._file.seek(self._tar.offset)
            block = self._file.read(tarfile.BLOCKSIZE)
        if not block or block.strip(b"\0"):
            raise DocumentError("unreadable", "the TAR is damaged or cut: what comes after is not read")

    def _open(self, info: tarfile.TarInfo) -> BinaryIO:
        with telling_damage("the TAR"):
            return cast("BinaryIO", Told(self._tar.extractfile(info), "the TAR"))

    def find(self, name: str) -> Member:
        """The member of a name; raises DocumentError."""
        if name not in self._found and not self._read:
            next((member for member in self if member.name == name), None)
        return found_in(self._found, name)

    def close(self) -> None:
        """Closes it; the file stays open."""
        self._tar.close()


class SingleContainer:
    """A file that was compressed alone, such as `a.pdf.gz`: its one member is that file."""

    stands_for = ""

    def __init__(self, name: str, open_content: Callable[[], BinaryIO]) -> None:
        self._member = Member(Names()(name), -1, open_content)

    def __iter__(self) -> Iterator[Member]:
        """The one."""
        return iter([self._member])

    def find(self, name: str) -> Member:
        """The one; its container may have another name by now."""
        return self._member if name else found_in({}, name)

    def close(self) -> None:
        """Nothing is open."""


class _UnpackedTar(TarContainer):
    """A TAR that was compressed: unpacked as a whole into a file without a name, for it can only be read in order."""

    def close(self) -> None:
        """Closes it, and with that removes what was unpacked."""
        super().close()
        self._file.close()


def compressed(file: BinaryIO, kind: str, name: str, allowance: Allowance) -> TarContainer | SingleContainer:
    """A compressed file: a TAR with all its members, else a container of the one file.

    Args:
        file: Opened for reading.
        kind: How it is compressed.
        name: Its own name, which tells that of the file in it.
        allowance: Counts what a TAR unpacks to.
    """
    what = f"the {kind} file"

    def content() -> BinaryIO:
        file.seek(0)
        return cast("BinaryIO", Told(_decompressing(file, kind), what))

    if not is_tar(filled(content(), HEAD)):
        stem, dot, suffix = name.rpartition(".")
        return SingleContainer(stem if dot and suffix.lower() in ("gz", "bz2", "xz") else f"{name}.unpacked", content)
    if (shared := sharing.find(file)) is not None:
        return _UnpackedTar(shared[0])
    unpacked = cast("BinaryIO", tempfile.TemporaryFile(prefix="embedpipe-"))  # noqa: SIM115 - its container closes it
    try:
        with telling_damage(what):
            copied(content(), unpacked, allowance.most, allowance)
            sharing.share(file, unpacked)
            unpacked.seek(0)
        return _UnpackedTar(unpacked)
    except BaseException:
        unpacked.close()
        raise


def _decompressing(file: BinaryIO, kind: str) -> Any:
    if kind == GZIP:
        return gzip.GzipFile(fileobj=file, mode="rb")
    if kind == BZIP2:
        return bz2.BZ2File(file)
    return io.BufferedReader(_Xz(file))


class _Xz(io.RawIOBase):
    """Decompressed XZ; unlike `lzma.LZMAFile` with a cap on what its dictionary takes of the memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decompressor = self._begun()

    @staticmethod
    def _begun() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer as far as one step goes; 0 at the end."""
        while True:
            more = b""
            if self._decompressor.eof:
                more = self._decompressor.unused_data or self._file.read(HEAD)
                if not (more := more.lstrip(b"\0")):  # streams may be padded
                    return 0
                self._decompressor = self._begun()
            elif self._decompressor.needs_input and not (more := self._file.read(1 << 16)):
                raise EOFError("it was cut")
            content = self._decompressor.decompress(more, len(buffer))
            if content:
                buffer[: len(content)] = content
                return len(content)


def _unescaped(name: str) -> str:
    """A name whose bytes are not UTF-8, in the encoding that it is plausible in."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return decoded([os.fsencode(name)], "cp1252")[0]
    return name
