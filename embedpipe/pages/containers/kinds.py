"""What a file is by its content: which kinds are containers, and what people call those that no reader opens.

This is the one place that names kinds of file besides `documents.READERS`.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

ZIP, TAR, GZIP, BZIP2, XZ, MAIL, MAILBOX = ("zip", "tar", "gzip", "bzip2", "xz", "mail", "mailbox")
SEVENZIP, OUTLOOK = ("7z", "msg")
CONTAINERS = (ZIP, TAR, GZIP, BZIP2, XZ, MAIL, MAILBOX, SEVENZIP, OUTLOOK)
"""Kinds of container, see `opening`."""

PDF = "pdf"
"""A document that may also be gone into, for what is attached to it."""

HEAD = 1024
"""Bytes from the begin of a file that are looked at."""

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_STARTS = (
    (ZIP, (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08PK\x03\x04")),
    (GZIP, (b"\x1f\x8b\x08",)),
    (BZIP2, tuple(b"BZh%d1AY&SY" % level for level in range(1, 10))),
    (XZ, (b"\xfd7zXZ\0",)),
    (SEVENZIP, (b"7z\xbc\xaf\x27\x1c",)),
    (OUTLOOK, (_OLE,)),
)
_HEADER = re.compile(rb"([!-9;-~]{1,76}):[ \t]?")
_OF_MAILS = frozenset(
    {b"received", b"message-id", b"return-path", b"delivered-to", b"mime-version", b"from", b"x-uidl"}
)
_ALSO_OF_MAILS = _OF_MAILS | {b"to", b"subject", b"date", b"content-type", b"reply-to", b"dkim-signature", b"sender"}
_LEAST_HEADERS = 2
_WEB_ARCHIVE = re.compile(
    rb"^(?:Snapshot-Content-Location:|From: ?<?(?:Saved|Gespeichert) )", re.IGNORECASE | re.MULTILINE
)
MAILBOX_BEGIN = re.compile(rb"From [^\r\n]{0,500}\r?\n(?:>From [^\r\n]{0,500}\r?\n)?[!-9;-~]{1,76}:")

_BLOCK = 512
_CHECKSUM = slice(148, 156)


def container_kind(head: bytes) -> str:
    """Which kind of container begins with some bytes, "" for none.

    Of ZIP files only `zip_kind` can tell, of those that begin as Outlook mails do (OLE) only `other_kind`.

    Args:
        head: The first `HEAD` bytes of a file, or all of it.
    """
    for kind, starts in _STARTS:
        if head.startswith(starts):
            return kind
    if is_tar(head):
        return TAR
    if MAILBOX_BEGIN.match(head):
        return MAILBOX
    return MAIL if _is_mail(head) else ""


def is_tar(head: bytes) -> bool:
    """Whether a TAR begins with some bytes: its first block has the right checksum, also in formats without a name."""
    block, told = head[:_BLOCK], head[_CHECKSUM].strip(b" \0")
    if len(block) < _BLOCK or not block[0] or not told.isdigit():
        return False
    zeroed = sum(block) - sum(head[_CHECKSUM]) + len(head[_CHECKSUM]) * ord(" ")
    return int(told, 8) == zeroed if not told.strip(b"01234567") else False


def _is_mail(head: bytes) -> bool:
    """Whether a text begins as mails do: with headers, some of which only mails have; pages saved as MHTML are none."""
    found = set()
    for line in head.splitlines():
        if not line or line[:1] in (b" ", b"\t"):
            if not line:
                break
            continue
        if not (match := _HEADER.match(line)):
            return False
        found.add(match[1].lower())
        if len(head) == HEAD and head.endswith(line):
            break  # it may be cut
    known = len(found & _ALSO_OF_MAILS)
    return known >= _LEAST_HEADERS and bool(found & _OF_MAILS) and not _WEB_ARCHIVE.search(head)


XPS, EPUB, COMIC = ("an XPS document", "an EPUB book", "a comic book")
ZIP_READERS = {XPS: "xps", EPUB: "epub", COMIC: "cbz"}
"""Keys in `documents.READERS` of ZIP files that are one document, by what they are called."""

_ZIPS: tuple[tuple[str, Callable[[Collection[str]], bool]], ...] = (
    ("a Word document", lambda names: "word/document.xml" in names or "word/document2.xml" in names),
    ("an Excel workbook", lambda names: "xl/workbook.xml" in names or "xl/workbook.bin" in names),
    ("a PowerPoint presentation", lambda names: "ppt/presentation.xml" in names),
    ("a Visio drawing", lambda names: "visio/document.xml" in names),
    (XPS, lambda names: any(name.lower().endswith(".fdseq") for name in names)),
    ("an OFD document", lambda names: "OFD.xml" in names),
    (COMIC, lambda names: "ComicInfo.xml" in names),
    (EPUB, lambda names: "META-INF/container.xml" in names and "mimetype" in names),
    ("an OpenDocument file", lambda names: "content.xml" in names and "META-INF/manifest.xml" in names),
    ("an iWork document", lambda names: "Index/Document.iwa" in names or "index.apxl" in names),
    ("an Android app", lambda names: "AndroidManifest.xml" in names),
    ("a Java program", lambda names: "META-INF/MANIFEST.MF" in names and any(n.endswith(".class") for n in names)),
    ("an Office document", lambda names: "[Content_Types].xml" in names and "_rels/.rels" in names),
)
"""ZIP files that are one document or program, by the names in them, and no containers of documents."""


@dataclass(frozen=True, slots=True)
class MoreKinds:
    """Kinds of file that a user has named: words with the article, and what tells them; they go before the others.

    Attributes:
        starts: What a file may begin with.
        holds: Names in a ZIP, all of them.
    """

    starts: tuple[tuple[str, tuple[bytes, ...]], ...] = ()
    holds: tuple[tuple[str, tuple[str, ...]], ...] = ()


more: Callable[[], MoreKinds] = MoreKinds
"""Gives the kinds that count now; set by `converting.table`."""


def zip_kind(names: Collection[str]) -> str:
    """What a ZIP with such names is, with its article; "" for an archive."""
    for words, held in more().holds:
        if all(name in names for name in held):
            return words
    return next((words for words, tells in _ZIPS if tells(names)), "")


_MARKS = (
    ("an RTF document", (b"{\\rtf",)),
    ("a RAR archive", (b"Rar!\x1a\x07",)),
    ("a Zstandard archive", (b"\x28\xb5\x2f\xfd",)),
    ("a DjVu document", (b"AT&TFORM",)),
    ("a PostScript document", (b"%!PS", b"\xc5\xd0\xd3\xc6")),
    ("an Outlook mail store", (b"!BDN",)),
    ("an Outlook attachment", (b"\x78\x9f\x3e\x22",)),
)
OUTLOOK_MAIL = "an Outlook mail"
_STREAMS = (
    ("a locked Office document", "EncryptedPackage"),
    (OUTLOOK_MAIL, "__properties_version1.0"),
    ("a Word document", "WordDocument"),
    ("an Excel workbook", "Workbook"),
    ("an Excel workbook", "Book"),
    ("a PowerPoint presentation", "PowerPoint Document"),
    ("a Visio drawing", "VisioDocument"),
    ("an HWP document", "HwpSummaryInformation"),
)
_DIRECTORY_BYTES = 8192


def other_kind(head: bytes, read_at: Callable[[int, int], bytes] | None = None) -> str:
    """What people call a file that no reader opens, with its article; "" where that is not known.

    Args:
        head: The first `HEAD` bytes.
        read_at: Reads so many bytes from an offset, for kinds that the head does not tell.
    """
    for words, marks in (*more().starts, *_MARKS):
        if head.startswith(marks):
            return words
    if not head.startswith(_OLE):
        return ""
    if read_at is not None:
        shift, sector = int.from_bytes(head[30:32], "little"), int.from_bytes(head[48:52], "little")
        directory = read_at((sector + 1) << min(shift, 16), _DIRECTORY_BYTES)
        for words, name in _STREAMS:
            if f"{name}\0".encode("utf-16-le") in directory:
                return words
    return "an old Office document"
