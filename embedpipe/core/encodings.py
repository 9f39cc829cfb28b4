"""Text files of people, in whatever encoding their programs write, and what had to be assumed to read them.

A mark at the begin is obeyed, and what is UTF-8 is read as such. Else the encoding is assumed only where what comes out
is plausible: statistical guesses are wrong on a few short names, and a wrong one makes new types without a word.
"""

import codecs
import itertools
import re
from dataclasses import dataclass

from embedpipe.core.errors import EmbedpipeError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8", "UTF-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le", "UTF-32"),  # begins as UTF-16 does
    (codecs.BOM_UTF32_BE, "utf-32-be", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16"),
    (b"\x84\x31\x95\x33", "gb18030", "GB18030"),
)
_COMMON = 0.75
"""Share of the characters that are among the 3,755 most common ones in plausible Chinese."""
_LONGEST_RUN, _MEAN_RUN = 3, 2.0
"""Letters with accents that follow each other in a Western text; other alphabets have nothing else."""
_WESTERN_SIGNS = frozenset("€„…‹›‘’“”–—¡§©ª«®°º»¿\N{NO-BREAK SPACE}")
_KOREAN_ENDS, _ENOUGH = 0xC8, 10
"""Korean syllables look like the first half of the common Chinese characters, and never like the other half."""
_ZEROS = 0.1
"""Share of zero bytes in UTF-16, where each ASCII letter has one."""


@dataclass(frozen=True, slots=True)
class Text:
    """What a file says.

    Attributes:
        text: Without a mark.
        encoding: What it was read as, for people.
        assumed: Whether that was assumed, and not said by a mark or the content itself.
        line: The first that is not UTF-8, where that is why.
    """

    text: str
    encoding: str
    assumed: bool = False
    line: int = 0


def decode(content: bytes, name: str) -> Text:
    """Reads the content of a text file.

    Args:
        content: All of it.
        name: Of the file, for messages.

    Raises:
        EmbedpipeError: It is in no encoding that can be told, or damaged.
    """
    for mark, codec, encoding in _MARKS:
        if content.startswith(mark):
            return Text(_strictly(content[len(mark) :], codec, encoding, name), encoding)
    if content.count(0) > _ZEROS * len(content):
        codec = "utf-16-be" if content[::2].count(0) > content[1::2].count(0) else "utf-16-le"
        text = _strictly(content, codec, "UTF-16", name)
        if "\0" in text:
            raise EmbedpipeError(f"{name}, line {_line(text.partition(chr(0))[0])}: holds zero bytes, so it is no text")
        return Text(text, "UTF-16", assumed=True)
    try:
        return Text(content.decode("utf-8"), "UTF-8")
    except UnicodeDecodeError as error:
        line = _line(content[: error.start].decode("utf-8", "replace"))
    lines = [text for text in content.decode("utf-8", "replace").splitlines() if not text.isascii()]
    wrong = sum("\N{REPLACEMENT CHARACTER}" in text for text in lines)
    if len(lines) - wrong >= wrong:
        raise EmbedpipeError(f"{name}, line {line}: not UTF-8, which the rest is: write that line again")
    for codec, encoding, plausible in (
        ("gb18030", "GB18030", _is_chinese),
        ("cp1252", "Windows-1252", _is_western),
        ("mac_roman", "Mac Roman", _is_western),
    ):
        try:
            text = content.decode(codec)
        except UnicodeDecodeError:
            continue
        if plausible(text):
            return Text(text, encoding, assumed=True, line=line)
    raise EmbedpipeError(
        f"{name}, line {line}: not UTF-8, and neither plausible Chinese in GB18030 nor Western text in Windows-1252: "
        "save it as UTF-8 (in Excel: CSV UTF-8)"
    )


def _strictly(content: bytes, codec: str, encoding: str, name: str) -> str:
    try:
        return content.decode(codec)
    except UnicodeDecodeError as error:
        line = _line(content[: error.start].decode(codec, "replace"))
        raise EmbedpipeError(f"{name}, line {line}: damaged: it is not {encoding} there; save it as UTF-8") from None


def _line(before: str) -> int:
    return 1 + len(re.findall(r"\r\n|\r|\n", before))


def _is_chinese(text: str) -> bool:
    """Whether most of what is not ASCII are characters or marks that are common in simplified Chinese."""
    others = [c for c in text if not c.isascii()]
    if sum(map(_is_common, others)) < _COMMON * len(others):
        return False
    rows = [c.encode("gb18030")[0] for c in set(others)]
    return len(rows) < _ENOUGH or max(rows) > _KOREAN_ENDS


def _is_common(character: str) -> bool:
    """Whether a character is of the first level of GB 2312, or a Chinese mark or wide letter."""
    try:
        first, second = character.encode("gb2312")
    except (UnicodeEncodeError, ValueError):
        return False
    level_one, marks, wide = 0xB0 <= first <= 0xD7, first == 0xA1, first == 0xA3  # noqa: PLR2004
    return second >= 0xA1 and (level_one or marks or wide)  # noqa: PLR2004


def _is_western(text: str) -> bool:
    """Whether what is not ASCII are letters with accents as Western words have them, and marks between words."""
    others = [c for c in text if not c.isascii()]
    runs = [len(run) for run in re.findall(r"[^\W\d_a-zA-Z]+", text)]
    if not all(c.isalpha() or c in _WESTERN_SIGNS for c in others):
        return False
    if max(runs, default=0) > _LONGEST_RUN or sum(runs) > _MEAN_RUN * len(runs):
        return False
    return not any(a.islower() and b.isupper() and not b.isascii() for a, b in itertools.pairwise(text))
