"""What the readers of all kinds of file share: what is asked of them, what they give, and how a page is laid out."""

import math
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from embedpipe.core.display import whole_number
from embedpipe.core.records import Recipe

if TYPE_CHECKING:
    from embedpipe.pages.augmentation import Variants
    from embedpipe.pages.extras.ocr import Recogniser

BLANK_INK = 0.0002
"""Pages with a smaller share of ink are blank: 15 pixels of a page of 320 x 226."""

INK_CONTRAST = 24
"""Shades of 255 by which ink stands out from its background; paper grain and JPEG noise stay below."""

SHAPE_STEP = 16
"""Sides are multiples of this, so that pages of nearly the same format share a batch; stretches by 4 % at most."""

THUMBNAILS, WORDS = "thumbnails", "words"
"""What can be made of a page in the same pass besides its picture, see `ReadOptions.extras`."""

_PAPER = math.sqrt(2)
"""Long side over short side of a sheet of paper."""

_LONGEST = 6000
"""Pixels of the long side of the longest strip."""

PHOTO_CROP = 0.875
"""The share of the short side that the usual photo recipe keeps: 224 of 256 pixels."""

_CODE = re.compile(r"^code=\d+: ")
_PATH = re.compile(r"""\s*(['"])(?:/[^'"]*/|[A-Za-z]:[\\/]).*\1""")

_MOST_PAGES = 10**15
"""Last page that can be asked for: `1-999999999999` is what people write for "all from here"."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which pages of each document are wanted.

    Attributes:
        ranges: Pairs of 1-based first and last page numbers; 0 stands for the last page. Empty means all.
    """

    ranges: tuple[tuple[int, int], ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Selection":
        """Reads `all`, `1-3` or `1,last`.

        Raises:
            ValueError: The text is none of these.
        """
        if text.strip() == "all":
            return cls()
        ranges = []
        for part in text.split(","):
            first, dash, last = (piece.strip() for piece in part.partition("-"))
            start, end = (
                0 if piece == "last" else _page_number(piece, text) for piece in (first, last if dash else first)
            )
            if end and not 1 <= start <= end:  # nothing comes after the last page
                raise ValueError(text)
            ranges.append((start, end))
        return cls(tuple(ranges))

    def indices(self, page_count: int) -> list[int]:
        """The 0-based indices of the wanted pages of a document with `page_count` pages, ascending."""
        if not self.ranges:
            return list(range(page_count))
        wanted: set[int] = set()
        for first, last in self.ranges:
            wanted.update(range((first or page_count) - 1, min(last or page_count, page_count)))
        return sorted(i for i in wanted if i >= 0)


def _page_number(piece: str, text: str) -> int:
    number = whole_number(piece, _MOST_PAGES)
    if not number:
        raise ValueError(text)
    return number


@dataclass(frozen=True, slots=True)
class Limits:
    """What documents and their pages may cost. None of it changes the features.

    Attributes:
        file_bytes: Largest file; a larger one has the outcome `too_large`.
        pages: Most pages of one document; one with more has the outcome `too_large`.
        pixels: Largest image, in pixels of the stored picture; a larger one has the outcome `too_large`.
        page_seconds: A page that takes longer has the outcome `timeout`.
        page_bytes: Address space of a worker beyond what it starts with; past it the outcome is `memory`.
        members: Most members of one file, those of containers in it included.
        depth: Most containers that a document may lie in, one in the other.
        unpacked_bytes: Most bytes that one file may unpack to; also at most so many times its size as documents do.
        convert_seconds: A document that takes a program longer to make a PDF of has the outcome `timeout`.
        texts: Whether plain texts, by names such as `a.txt` and `a.md`, are documents.
        attachments: Whether files that are attached to PDFs are looked into.
        passwords: To try on members of archives; those of `ReadOptions` are added to them.
    """

    file_bytes: int = 2 * 1024**3
    pages: int = 20_000
    pixels: int = 100_000_000
    page_seconds: float = 30.0
    page_bytes: int = 2 * 1024**3
    members: int = 200_000
    depth: int = 6
    unpacked_bytes: int = 64 * 1024**3
    convert_seconds: float = 180.0
    texts: bool = False
    attachments: bool = False
    passwords: tuple[str, ...] = field(default=(), repr=False)

    def with_passwords(self, passwords: tuple[str, ...]) -> "Limits":
        """The same with more passwords to try."""
        return replace(self, passwords=tuple(dict.fromkeys((*self.passwords, *passwords))))


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What the readers need to know: how to render, what to refuse, passwords to try, and what else is wanted.

    Attributes:
        recipe: Size and resize rule; with `variants`, that of the larger page that they are made of.
        interpolation: How images are scaled.
        limits: What is refused.
        passwords: To try on encrypted PDFs and members of archives.
        cues: Whether to tell the cues of each page.
        extras: What else is made of each page: `THUMBNAILS`, `WORDS`.
        recogniser: Reads the words from the picture of each page, whether the document tells them or not.
        variants: Changed copies that are wanted instead of each page.
    """

    recipe: Recipe = field(default_factory=Recipe)
    interpolation: str = "bicubic"
    limits: Limits = field(default_factory=Limits)
    passwords: tuple[str, ...] = ()
    cues: bool = False
    extras: frozenset[str] = frozenset()
    variants: "Variants | None" = None
    recogniser: "Recogniser | None" = None

    def __post_init__(self) -> None:
        """Hands the passwords on to those who open containers."""
        if self.passwords:
            object.__setattr__(self, "limits", self.limits.with_passwords(self.passwords))


@dataclass(frozen=True, slots=True)
class Rendering:
    """Pixels of one page, uint8 (H, W, 3), with the page's own width and height and what the reader noticed.

    `stands_for` is one of `records.PARTIAL` where the document has more than its pages show, else "". Of a PDF, `page`
    is PyMuPDF's page and `drawing` its display list, for those who read more than its picture: to load the page and to
    go through its content again would take as long as the rest. `text` is what lies behind a page of another kind.
    """

    pixels: NDArray[np.uint8]
    width: float
    height: float
    repaired: bool = False
    message: str = ""
    stands_for: str = ""
    page: Any = None
    drawing: Any = None
    text: str = ""

    @property
    def ink(self) -> float:
        """Share of pixels that stand out from the most common shade."""
        return ink(self.pixels)


def ink(pixels: NDArray[np.uint8]) -> float:
    """Share of pixels that stand out from the most common shade; pixels are uint8 (H, W, 3)."""
    red, green, blue = (pixels[:, :, channel] for channel in range(3))
    darkest = np.minimum(np.minimum(red, green), blue)  # a yellow word on white is dark in one channel only
    from PIL import Image  # noqa: PLC0415 - who only asks does without it

    counts = np.array(Image.fromarray(darkest).histogram())
    away = np.abs(np.arange(len(counts)) - counts.argmax())
    return float(counts[away > INK_CONTRAST].sum() / darkest.size)


class OpenDocument(Protocol):
    """A document that was opened by a reader.

    Attributes:
        page_count: How many pages it has.
        pdf: PyMuPDF's document, for those who read more than pictures; None for other kinds of file.
        taken_by_camera: Whether the picture that was rendered last says so.
    """

    page_count: int
    pdf: Any
    taken_by_camera: bool

    def render(self, index: int) -> Rendering:
        """Renders page `index`, counted from 0; raises DocumentError."""

    def close(self) -> None:
        """Lets go of the file."""


Region = tuple[float, float, float, float]


def plan(width: float, height: float, recipe: Recipe) -> tuple[Region, tuple[int, int]]:
    """Which part of a page is drawn, and onto how many pixels.

    Args:
        width: Width of the page in any unit, > 0.
        height: Height in the same unit, > 0.
        recipe: Size and resize rule.

    Returns:
        The region (left, top, right, bottom) in the page's unit, and (columns, rows) in pixels.
    """
    whole = (0.0, 0.0, width, height)
    size = recipe.size
    if recipe.resize == "area":
        size = min(round(size * math.sqrt(max(width, height) / min(width, height) / _PAPER)), _LONGEST)
    if recipe.resize == "squash":
        return whole, (size, size)
    if recipe.resize == "crop":
        half = min(width, height) * PHOTO_CROP / 2
        middle = (width / 2, height / 2)
        return (middle[0] - half, middle[1] - half, middle[0] + half, middle[1] + half), (size, size)
    short = round(size * min(width, height) / max(width, height) / SHAPE_STEP) * SHAPE_STEP
    short = min(max(short, recipe.shortest), size)
    return whole, ((size, short) if width >= height else (short, size))


def first_line(error: BaseException) -> str:
    """The class and the first line of an error of another library, without the path of a file.

    What is said of a file is kept with its content: the next file with the same bytes lies elsewhere.
    """
    error = _told_by(error)
    name = "" if _is_of_mupdf(error) else f"{type(error).__name__}: "
    text = _PATH.sub("", _CODE.sub("", str(error).strip().partition("\n")[0]))
    return f"{name}{text}" if text else type(error).__name__


def failure_kind(error: Exception, otherwise: str) -> str:
    """MuPDF reports a failed allocation as a plain exception whose text names the C function."""
    text = str(_told_by(error))
    return "memory" if "alloc" in text and "failed" in text else otherwise


def _told_by(error: BaseException) -> BaseException:
    """The error of MuPDF itself, where PyMuPDF says only that a file, which it names, cannot be opened."""
    return error.__cause__ if error.__cause__ is not None and _is_of_mupdf(error.__cause__) else error


def _is_of_mupdf(error: BaseException) -> bool:
    return type(error).__name__.startswith("FzError")
