"""Mails as Outlook saves them (MSG, [MS-OXMSG]), with olefile: attachments are members, their own text is not read.

A mail that is attached is a folder of the same file. It is handed on as a mail of its own in the internet's format,
with nothing in it but what is attached, so that it is read as every other mail is.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.mime.application import MIMEApplication
from email.mime.message import MIMEMessage
from email.mime.multipart import MIMEMultipart
from typing import Any, BinaryIO, cast

import olefile

from embedpipe.core.errors import DocumentError
from embedpipe.pages.containers.contract import telling_damage
from embedpipe.pages.containers.kinds import MAIL
from embedpipe.pages.containers.naming import decoded
from embedpipe.pages.containers.unpacking import Sink
from embedpipe.pages.contract import Limits

_PROPERTIES = "__properties_version1.0"
_ATTACHMENT = "__attach_version1.0_#"
_UNICODE, _BYTES, _BINARY, _STORAGE = "001F", "001E", "0102", "000D"
_SUBJECT, _CLASS, _NAME, _LONG_NAME, _SHORT_NAME = "0037", "001A", "3001", "3707", "3704"
_TYPE, _CONTENT_ID, _DATA = "370E", "3712", "3701"
_METHOD, _FLAGS, _HIDDEN = 0x3705, 0x3714, 0x7FFE
_OF_ATTACHMENT = 8
"""Bytes before the first property of an attachment."""
_ENTRY = 16

_BY_REFERENCE = (2, 3, 4, 7)
_EMBEDDED, _OBJECT = 5, 6
_SHOWN_IN_TEXT = 4
_SEALED, _SIGNED = "ipm.note.smime", "ipm.note.smime.multipartsigned"
_DEEPEST = 10


@dataclass(frozen=True, slots=True)
class _Attachment:
    """What a mail says of something that is attached."""

    path: list[str]
    name: str
    method: int
    is_shown: bool


class _Mail:
    """A mail, or one that is attached to it.

    Args:
        ole: The file.
        path: Of the mail's storage in it.
    """

    def __init__(self, ole: Any, path: list[str]) -> None:
        self._ole, self._path = ole, path
        message_class = self.text(path, _CLASS).lower()
        self.is_signed = message_class.startswith(_SIGNED)
        if message_class.startswith(_SEALED) and not self.is_signed:
            why = "encrypted or signed as a whole: save its attachments from the program that opens it"
            raise DocumentError("encrypted", why)

    def text(self, path: list[str], number: str) -> str:
        """A property that is text; "" where there is none."""
        if (raw := self.read(path, number, _UNICODE)) is not None:
            return raw.decode("utf-16-le", "replace").rstrip("\0")
        raw = self.read(path, number, _BYTES)
        return decoded([raw.rstrip(b"\0")], "cp1252")[0] if raw else ""

    def read(self, path: list[str], number: str, kind: str) -> bytes | None:
        """A property that has a stream of its own."""
        place = [*path, f"__substg1.0_{number}{kind}"]
        if not self._ole.exists(place) or self._ole.get_type(place) != olefile.STGTY_STREAM:
            return None
        with self._ole.openstream(place) as stream:
            return cast("bytes", stream.read())

    def _numbers(self, path: list[str]) -> dict[int, int]:
        """The properties of an attachment that are numbers."""
        place = [*path, _PROPERTIES]
        if not self._ole.exists(place):
            return {}
        with self._ole.openstream(place) as stream:
            raw = stream.read()
        entries = (raw[at : at + _ENTRY] for at in range(_OF_ATTACHMENT, len(raw) - _ENTRY + 1, _ENTRY))
        return {int.from_bytes(e[2:4], "little"): int.from_bytes(e[8:12], "little") for e in entries}

    def attachments(self) -> Iterator[_Attachment]:
        """What is attached, in its order; also pictures that the text shows."""
        depth = len(self._path) + 1
        storages = self._ole.listdir(streams=False, storages=True)
        for path in sorted(p for p in storages if len(p) == depth and p[:-1] == self._path):
            if not path[-1].lower().startswith(_ATTACHMENT):
                continue
            numbers = self._numbers(path)
            name = next(filter(None, (self.text(path, number) for number in (_LONG_NAME, _SHORT_NAME, _NAME))), "")
            kind = self.text(path, _TYPE).lower()
            is_picture = kind.startswith(("image/", "text/")) and bool(self.text(path, _CONTENT_ID))
            in_text = numbers.get(_HIDDEN, 0) & 1 or numbers.get(_FLAGS, 0) & _SHOWN_IN_TEXT
            method = numbers.get(_METHOD, 1)
            yield _Attachment(path, name, method, bool((is_picture and in_text) or method == _OBJECT))

    def embedded(self, attachment: _Attachment) -> "_Mail":
        """The mail that is attached; raises DocumentError."""
        return _Mail(self._ole, [*attachment.path, f"__substg1.0_{_DATA}{_STORAGE}"])

    def content(self, attachment: _Attachment) -> bytes:
        """What a file that is attached holds; raises DocumentError."""
        content = self.read(attachment.path, _DATA, _BINARY)
        if content is None:
            raise DocumentError("unreadable", "the mail names it, and does not hold it")
        return content

    def name_of_embedded(self, attachment: _Attachment) -> str:
        """What a mail that is attached is called."""
        inside = [*attachment.path, f"__substg1.0_{_DATA}{_STORAGE}"]
        name = self.text(inside, _SUBJECT) or attachment.name or "mail"
        return f"{name.replace('/', '_')}.eml"  # a subject has no folders


def unpack(file: BinaryIO, sink: Sink, limits: Limits) -> None:
    """Unpacks what is attached to a mail; raises DocumentError and whatever olefile raises."""
    del limits
    with olefile.OleFileIO(file) as ole:
        mail = _Mail(ole, [])
        for attachment in mail.attachments():
            if attachment.is_shown:
                continue  # as logos in other mails: not attached for their own sake
            name = mail.name_of_embedded(attachment) if attachment.method == _EMBEDDED else attachment.name
            try:
                with telling_damage("the Outlook mail"):
                    if attachment.method in _BY_REFERENCE:
                        sink.end(name, is_link=True)
                    elif attachment.method == _EMBEDDED:
                        sink.put(name, _as_mail(mail.embedded(attachment), 1).as_bytes(), MAIL)
                    else:
                        sink.put(name, mail.content(attachment), MAIL if mail.is_signed else "")
            except DocumentError as error:
                if error.kind in ("memory", "too_large"):
                    raise
                sink.fail(name, error.kind, str(error))


def _as_mail(mail: _Mail, depth: int) -> Message:
    """A mail in the internet's format with what is attached to one of Outlook, and nothing else."""
    if depth > _DEEPEST:
        raise DocumentError("too_large", f"more than {_DEEPEST} mails, one attached to the other")
    whole = MIMEMultipart()
    for attachment in mail.attachments():
        if attachment.is_shown or attachment.method in _BY_REFERENCE:
            continue
        part: MIMEApplication | MIMEMessage
        if attachment.method == _EMBEDDED:
            part = MIMEMessage(_as_mail(mail.embedded(attachment), depth + 1))
            name = mail.name_of_embedded(attachment)
        else:
            part, name = MIMEApplication(mail.content(attachment)), attachment.name
        part.add_header("Content-Disposition", "attachment", filename=("utf-8", "", os.path.basename(name)))
        whole.attach(part)
    return whole
