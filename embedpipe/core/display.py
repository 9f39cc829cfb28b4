"""File names and other people's text: kept losslessly in files, shown safely to people."""

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
