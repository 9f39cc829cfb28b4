"""Words of a page as counts of hashed character n-grams: features of any script that no text can be read back from.

The hashing trick (Weinberger et al., 2009) over character n-grams, which need no word boundaries: Chinese has none.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embedpipe.core.records import TEXT_WORDS, Words
from embedpipe.pages.extras.word_rows import HEADS

if TYPE_CHECKING:
    from scipy.sparse import csr_array

BUCKETS = 2**18
"""Of n-grams anywhere on a page; those of one bucket are not told apart."""

WIDTH = BUCKETS + HEADS
"""Of the rows: the n-grams of a page's head have columns of their own, see `word_rows`."""

HEAD_CHARACTERS = 150
"""First characters of a page that are its head."""

FEWEST_CHARACTERS = 16
"""A page with fewer has no words: what it shows is a picture, with a page number at most."""

_LENGTHS = (2, 3, 4)
_MOST_CHARACTERS = 20_000
"""Of one page; more would make a hidden text of megabytes cost more than the picture."""

_DIGIT, _SPACE = re.compile(r"\d"), re.compile(r"\s+")

_EASTERN = re.compile("[\u3001-\u30ff\u3400-\u9fff\uf900-\ufaff\ufe30-\ufe4f\uff01-\uff9f\U00020000-\U0003ffff]")
_SINGLE = re.compile(r"^\S(?:\n\S)+$", re.MULTILINE)
"""Lines of one character each."""

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio: Fibonacci hashing (Knuth, 1973)


def hashed(text: str, origin: str = TEXT_WORDS) -> Words:
    """Words of a text; of one with fewer than `FEWEST_CHARACTERS` there are none.

    Letters lose their case and width (NFKC), digits become one digit, and runs of white space one space.

    Args:
        text: Any; all beyond its first 20,000 characters is ignored.
        origin: One of `records.WORD_ORIGINS`.
    """
    plain = unicodedata.normalize("NFKC", text[:_MOST_CHARACTERS]).lower()
    plain = _SPACE.sub(" ", _DIGIT.sub("0", plain)).strip()
    characters = len(plain) - plain.count(" ")
    if characters < FEWEST_CHARACTERS:
        return Words(characters=characters)
    whole, head = _grams(plain), _grams(plain[:HEAD_CHARACTERS])
    columns, counts = np.unique(np.concatenate([whole, BUCKETS + head % np.uint32(HEADS)]), return_counts=True)
    return Words(columns, np.minimum(counts, 2**16 - 1).astype(np.uint16), characters, origin)


def _grams(plain: str) -> NDArray[np.uint32]:
    """Buckets of all n-grams of a text."""
    codes = np.frombuffer(f" {plain} ".encode("utf-32-le", "replace"), np.uint32).astype(np.uint64)
    return np.concatenate([_hashes(codes, length) for length in _LENGTHS])


def _hashes(codes: NDArray[np.uint64], length: int) -> NDArray[np.uint32]:
    """Buckets of all n-grams of one length, in their order."""
    state = np.full(len(codes) - length + 1, length, np.uint64)
    for offset in range(length):
        state = (state ^ codes[offset : offset + len(state)]) * _MULTIPLIER
        state ^= state >> np.uint64(29)
    return (state >> np.uint64(64 - 18)).astype(np.uint32)


def words_of_page(page: Any, drawing: Any = None) -> Words:
    """Words of a page of a PDF, also of hidden text, such as scanners with recognition write.

    Args:
        page: PyMuPDF's page.
        drawing: Its display list, where it has been drawn: reading that is twice as fast as going through it again.
    """
    import pymupdf  # noqa: PLC0415 - only workers read documents

    flags = pymupdf.TEXTFLAGS_TEXT & ~pymupdf.TEXT_PRESERVE_IMAGES
    if drawing is None or page.rotation:  # the text of a turned page is read upright
        text = page.get_textpage(flags=flags).extractText()  # as `get_text`, which takes half as long again
    else:
        text = pymupdf.TextPage(drawing.get_textpage(flags=flags)).extractText()
    return hashed(_SINGLE.sub(_column, text[: 2 * _MOST_CHARACTERS]))


def _column(lines: re.Match[str]) -> str:
    """In one line what is written downwards, which MuPDF breaks (findings/pymupdf-breaks-vertical-lines.sh)."""
    column = lines[0].replace("\n", "")
    return column if 2 * len(_EASTERN.findall(column)) >= len(column) else lines[0]


def as_rows(words: Sequence[Words | None]) -> "csr_array":
    """Counts of pages as sparse rows, float32 (n, WIDTH); None counts as no words."""
    from scipy.sparse import csr_array  # noqa: PLC0415 - workers, which make the words, do without it

    lengths = [len(own.columns) if own else 0 for own in words]
    starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    there = [own for own in words if own]
    columns = np.concatenate([own.columns for own in there]) if there else np.empty(0, np.uint32)
    counts = np.concatenate([own.counts for own in there]) if there else np.empty(0, np.uint16)
    shape = (len(lengths), WIDTH)
    return csr_array((counts.astype(np.float32), columns.astype(np.int32), starts), shape=shape)
