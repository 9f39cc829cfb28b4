"""Cheap facts of a page besides its picture: size, place, what it is made of. Extra inputs for a classifier.

A page's facts are numbers of a fixed order. They never fail: what cannot be measured is zero, and `known` says so.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pymupdf

CUES = (
    "known",
    "log_width",
    "log_height",
    "landscape",
    "log_pages",
    "last_page",
    "vector_page",
    "text_area",
    "image_area",
    "vector_area",
    "log_characters",
    "log_images",
    "log_fonts",
    "embedded_fonts",
    "font_size",
    "largest_font_size",
)
"""What each number is. `vector_page`: it comes from a PDF, so that what follows is known; shares are 0..1."""

UNKNOWN = (0.0,) * len(CUES)

_GRID = 64
"""Areas are counted on a grid of so many cells a side: quick, and nothing counts twice."""

_KINDS = {"text": 0, "image": 1, "path": 2, "shade": 2}
_LARGEST = 1000.0


def page_cues(
    width: float, height: float, index: int, page_count: int, page: "pymupdf.Page | None"
) -> tuple[float, ...]:
    """The facts of a page.

    Args:
        width: Of the page; any unit for pictures, points for PDF.
        height: In the same unit.
        index: Of the page, from 0.
        page_count: Of its document.
        page: Of a PDF; None for a picture.

    Returns:
        A number for each of `CUES`, all finite.
    """
    longest = max(width, height)
    # pictures have no size on paper: only their shape is known
    scale = 1.0 if page is not None else 842.0 / longest
    values = [1.0, np.log(width * scale), np.log(height * scale), float(width > height)]
    values += [np.log(page_count), float(index == page_count - 1)]
    values += [1.0, *areas(page), *_text(page)] if page is not None else [0.0] * (len(CUES) - len(values))
    return tuple(float(v) for v in np.nan_to_num(values, posinf=0.0, neginf=0.0))


def areas(page: Any) -> list[float]:
    """Shares of the page that text, images and drawings cover."""
    cells = np.zeros((3, _GRID, _GRID), bool)
    bounds = page.rect
    for what, box in page.get_bboxlog():
        kind = next((number for name, number in _KINDS.items() if name in what), None)
        if kind is None or what.startswith(("ignore", "clip")):
            continue
        left, right = (_cell(x - bounds.x0, bounds.width) for x in (box[0], box[2]))
        top, bottom = (_cell(y - bounds.y0, bounds.height) for y in (box[1], box[3]))
        cells[kind, top : bottom + 1, left : right + 1] = True
    return [float(share) for share in cells.mean(axis=(1, 2))]


def _cell(offset: float, length: float) -> int:
    return int(min(max(offset / length, 0.0), 1.0 - 1e-9) * _GRID)


def _text(page: Any) -> list[float]:
    """Characters, images, fonts, how many of them are embedded, and their usual and largest size."""
    import pymupdf  # noqa: PLC0415 - who only names cues does without it

    flags = pymupdf.TEXTFLAGS_DICT & ~pymupdf.TEXT_PRESERVE_IMAGES
    spans = [
        (span["size"], len(span["text"]))
        for block in page.get_text("dict", flags=flags)["blocks"]
        for line in block.get("lines", ())
        for span in line["spans"]
    ]
    sizes = np.repeat([size for size, _ in spans], [count for _, count in spans]).clip(0, _LARGEST) / 10.0
    fonts = page.get_fonts()
    embedded = np.mean([font[1] != "n/a" for font in fonts]) if fonts else 0.0
    median, largest = (float(np.median(sizes)), float(np.quantile(sizes, 0.99))) if len(sizes) else (0.0, 0.0)
    counts = (len(sizes), len(page.get_images()), len(fonts))
    return [*(float(np.log1p(count)) for count in counts), float(embedded), median, largest]


def as_block(cues: list[tuple[float, ...]]) -> NDArray[np.float32]:
    """Facts of pages as columns beside their features, float32 (n, len(CUES))."""
    return np.array(cues, np.float32).reshape(-1, len(CUES))


def of_part(cues: NDArray[np.float32], indices: list[int], page_count: int) -> NDArray[np.float32]:
    """The cues of pages of a pile as they are in the part that becomes a document.

    Args:
        cues: In the pile, (n, len(CUES)).
        indices: Of the pages in the part, from 0.
        page_count: Of the part.
    """
    changed = cues.copy()
    changed[:, CUES.index("log_pages")] = np.log(page_count)
    changed[:, CUES.index("last_page")] = np.array(indices) == page_count - 1
    return changed * cues[:, :1]
