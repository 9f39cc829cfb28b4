"""Mails and mailboxes, with the standard library: their attachments are members, their own text is not read.

A mailbox is read in pieces: its messages are found by the lines between them, and each is known by where it begins, so
that one of them is found again without reading those before it.
"""

import email
import email.errors
import email.header
import io
import mimetypes
import re
from collections.abc import Iterator
from email.message import Message
from functools import partial
from typing import Any, BinaryIO, cast

from embedpipe.core.errors import DocumentError
from embedpipe.pages.containers.contract import CHUNK, Member, Span, telling_damage
from embedpipe.pages.containers.kinds import MAIL, MAILBOX_BEGIN
from embedpipe.pages.containers.naming import Names, decoded

MOST_MAIL_BYTES = 160 * 1024**2
"""A mail is parsed in memory, and takes a few times its size there; servers refuse mails from 25 to 150 megabytes."""

_TEXTS = ("text/plain", "text/html", "text/enriched", "text/watch-html", "text/x-amp-html")
_NOT_ATTACHED = (
    *("application/pkcs7-signature", "application/x-pkcs7-signature", "application/pgp-signature"),
    *("message/delivery-status", "message/disposition-notification", "text/rfc822-headers"),
)
_SEALED = ("multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime")
_BETWEEN = re.compile(rb"\n" + MAILBOX_BEGIN.pattern)
_LOOK_AHEAD = 1024
_PLACE = re.compile(r"(\d{1,15})@(\d{1,18})\.eml")


class MailContainer:
    """A mail.

    Raises:
        DocumentError: It is too large to be parsed.
    """

    stands_for = ""

    def __init__(self, file: BinaryIO) -> None:
        with telling_damage("the mail"):
            content = file.read(MOST_MAIL_BYTES + 1)
            if len(content) > MOST_MAIL_BYTES:
                raise DocumentError("too_large", f"a mail of more than {MOST_MAIL_BYTES // 1024**2} megabytes")
            self._message = email.message_from_bytes(content)
            self._found = {member.name: member for member in _attachments(self._message)}

    def __iter__(self) -> Iterator[Member]:
        """Its attachments, in the order in which they lie."""
        return iter(self._found.values())

    def find(self, name: str) -> Member:
        """The attachment of a name; raises DocumentError."""
        if name not in self._found:
            raise DocumentError("unreadable", "it is not attached to its mail any more; run `embed` on that again")
        return self._found[name]

    def close(self) -> None:
        """Nothing is open."""


def _attachments(message: Message) -> Iterator[Member]:
    names, pending = Names(), [(message, False)]
    number = 0
    while pending:
        part, shown = pending.pop()
        kind = part.get_content_type()
        if kind in _SEALED:
            why = "encrypted or signed as a whole: save its attachments from the program that opens it"
            raise DocumentError("encrypted", why)
        if part.is_multipart() and not kind.startswith("message/"):
            inside = cast("list[Message]", part.get_payload())
            pending += [(below, kind == "multipart/related") for below in reversed(inside)]
            continue
        number += 1
        if _is_attached(part, kind, shown=shown):
            is_mail = part.is_multipart()
            otherwise = f"part-{number}{'.eml' if is_mail else mimetypes.guess_extension(kind) or '.bin'}"
            name = names(_name_of(part) or otherwise, otherwise)
            yield Member(name, -1, partial(_opened, part), kind=MAIL if is_mail else "")


def _is_attached(part: Message, kind: str, *, shown: bool) -> bool:
    """Whether a part is an attachment: not the text, nor a picture that the text shows, nor a signature."""
    if part.get_content_disposition() == "attachment":
        return kind not in _NOT_ATTACHED
    if kind in _NOT_ATTACHED or (kind in _TEXTS and not part.get_filename()):
        return False
    return not (shown and part["Content-ID"] and kind.startswith(("image/", "text/")))


def _name_of(part: Message) -> str:
    """What the sender calls an attachment; mail programs write names in three ways, and some in none."""
    told = Message()
    for header, value in part.raw_items():
        if header.lower() in ("content-disposition", "content-type"):
            told[header] = _readable(str(value))
    name = told.get_filename() or ""
    if "=?" not in name:
        return name
    try:
        pieces = email.header.decode_header(name)
        return "".join(
            text if isinstance(text, str) else text.decode(charset or "ascii", "replace") for text, charset in pieces
        )
    except (email.errors.MessageError, ValueError, LookupError):
        return name


def _readable(header: str) -> str:
    """A header with bytes that are not ASCII, which it should not have, in the encoding that they are plausible in."""
    raw = header.encode("utf-8", "surrogateescape")
    return header if raw.isascii() else decoded([raw], "cp1252")[0]


def _opened(part: Message) -> BinaryIO:
    with telling_damage("the mail"):
        if part.is_multipart():
            return io.BytesIO(cast("list[Message]", part.get_payload())[0].as_bytes())
        content: Any = part.get_payload(decode=True)
        return io.BytesIO(content or b"")


class MailboxContainer:
    """A mailbox in the format mbox, as Thunderbird, Apple Mail and Google Takeout write it.

    A message begins after a line `From ...` that a header follows; lines of a text are quoted, or no header follows.
    """

    stands_for = ""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __iter__(self) -> Iterator[Member]:
        """Its messages."""
        begun, number = -1, 0
        for place in self._places(0):
            if begun >= 0:
                number += 1
                yield self._message(number, begun, place)
            begun = place

    def _message(self, number: int, begin: int, end: int) -> Member:
        return Member(f"{number}@{begin}.eml", end - begin, partial(self._open, begin, end), kind=MAIL)

    def _places(self, start: int) -> Iterator[int]:
        """Where messages begin, from a message on; at last where the file ends."""
        buffer, base, ended = b"\n", start - 1, False
        while not ended:
            with telling_damage("the mailbox"):
                self._file.seek(base + len(buffer))
                more = self._file.read(CHUNK)
            ended = len(more) < CHUNK
            buffer += more
            whole = len(buffer) if ended else len(buffer) - _LOOK_AHEAD
            for match in _BETWEEN.finditer(buffer):
                if match.start() < whole:
                    yield base + match.start() + 1
            base, buffer = base + whole, buffer[whole:]
        yield base

    def _open(self, begin: int, end: int) -> BinaryIO:
        message = Span(self._file, begin, end, "the mailbox")
        message.skip_line(_LOOK_AHEAD)  # the line before it
        return cast("BinaryIO", message)

    def find(self, name: str) -> Member:
        """The message that begins where a name says; raises DocumentError."""
        match = _PLACE.fullmatch(name)
        places = self._places(int(match[2])) if match else iter(())
        begin, end = next(places, -1), next(places, -1)
        if not match or begin != int(match[2]) or end < 0:
            raise DocumentError("unreadable", "it is not in its mailbox any more; run `embed` on that again")
        return self._message(int(match[1]), begin, end)

    def close(self) -> None:
        """The file stays open."""
