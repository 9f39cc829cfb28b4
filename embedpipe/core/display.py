"""File names and other people's text: kept losslessly in files, shown safely to people."""

import functools
import os
import unicodedata
from urllib.parse import quote_from_bytes, unquote_to_bytes


def path_to_text(path: str) -> str:
    """Writes a path as text that UTF-8 can hold, losslessly: bytes that are not UTF-8 become `bytes:%XX...`."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return "bytes:" + quote_from_bytes(os.fsencode(path))
    return "bytes:" + quote_from_bytes(os.fsencode(path)) if path.startswith("bytes:") else path


def text_to_path(text: str) -> str:
    """Reverses `path_to_text`."""
    if text.startswith("bytes:"):
        return os.fsdecode(unquote_to_bytes(text.removeprefix("bytes:")))
    return text


@functools.lru_cache(4096)  # types and groups come again with each document
def name_of(text: str) -> str:
    """The name of a type or a group: one form of each character (NFC), nothing around it that nobody sees.

    The same name comes in two forms: a Mac splits letters and their accents in names of files.
    """
    text = unicodedata.normalize("NFC", text)
    seen = [n for n, character in enumerate(text) if not _unseen(character)]
    return text[seen[0] : seen[-1] + 1] if seen else ""


def _unseen(character: str) -> bool:
    return character.isspace() or unicodedata.category(character) in ("Cf", "Zs")


def alike(text: str) -> str:
    """The same for names that differ only in case, spaces or the width of their characters."""
    return "".join(c for c in unicodedata.normalize("NFKC", text).casefold() if not _unseen(c))


def on_disk(path: str) -> str:
    """A path as it is on the disk: as given, or else with its letters in the form that is there.

    Names can be of any form on Linux, and tables, Macs and archives change them. A path that is in no form on the disk
    stays as it is.
    """
    if os.path.lexists(path) or path.isascii():
        return path
    found, parts = "", path.split(os.sep)
    for number, part in enumerate(parts):
        here = found + part
        if part and not part.isascii() and not os.path.lexists(here):
            here = found + _form_on_disk(found or os.curdir, part)
        found = here + (os.sep if number < len(parts) - 1 else "")
    return found if os.path.lexists(found) else path


def _form_on_disk(folder: str, name: str) -> str:
    wanted = unicodedata.normalize("NFC", name)
    for form in (wanted, unicodedata.normalize("NFD", name)):
        if os.path.lexists(os.path.join(folder, form)):
            return form
    try:
        there = os.listdir(folder)
    except OSError:
        return name
    return next((entry for entry in there if unicodedata.normalize("NFC", entry) == wanted), name)


def whole_number(text: str, most: int = 10**9) -> int | None:
    """Reads plain digits; None for anything else, also for digits of other scripts and for numbers above `most`."""
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(most))):
        return None
    return number if (number := int(text)) <= most else None


def display(text: str) -> str:
    """Makes a text one line that a terminal, a picture or a page can show, and that UTF-8 can hold.

    Control characters, line ends, direction marks and lone surrogates (bytes of file names that are not UTF-8) become
    U+FFFD: they could break the line, reverse what follows, or not be written at all. Exotic spaces become spaces.
    """
    return text if text.isprintable() else "".join(map(_displayed, text))


def _displayed(character: str) -> str:
    if character.isprintable():
        return character
    return " " if unicodedata.category(character) == "Zs" else "\N{REPLACEMENT CHARACTER}"
