"""Where the picture of a page comes from: drawn by a PDF, scanned, or photographed. Told in a millisecond or two.

A classifier that was fitted on one kind of page has shown nothing about another: to a frozen network a scan of a page
looks more different from the page than another type does. So the kind of each page is detected; what was measured on
one kind is never promised of another (`decisions`).
"""

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embedpipe.pages.cues import areas

if TYPE_CHECKING:
    import pymupdf

DIGITAL, SCAN, PHOTO = KINDS = ("digital", "scan", "photo")
"""`digital`: text or drawings of a PDF. `scan`: a picture in even light, also a fax or a screenshot. `photo`: one by a
camera, or in uneven light."""

UNKNOWN = ""
"""The kind of a page that was stored by an earlier version, or that could not be detected."""

_LEAST_PIXELS = 100_000
"""A page of fewer pixels, 300 x 333, cannot be read: smaller pictures are logos."""

_LITTLE_TEXT = 0.02
"""Share of the page that a scanner's stamp covers at most; the invisible text of OCR is not counted."""

_PICTURE = 0.3
_SMALL_PICTURE = 0.03

_WHITE, _WHITE_SHARE = 254, 0.2
_SQUARES = 6
_UNEVEN = 40.0
"""Shades of 255 between bright and dark parts of the paper, from which the light counts as uneven."""


def page_kind(pixels: NDArray[np.uint8], page: "pymupdf.Page | None", *, camera: bool = False) -> str:
    """The kind of a page.

    Args:
        pixels: The page as it was rendered, uint8 (H, W, 3).
        page: Of a PDF; None for a picture.
        camera: The picture's file says that a camera took it.

    Returns:
        One of `KINDS`.
    """
    if page is not None and not _is_picture(page):
        return DIGITAL
    return PHOTO if camera or _uneven_light(pixels) else SCAN


def _is_picture(page: Any) -> bool:
    """Whether a PDF page shows pictures and no text of its own."""
    images = page.get_images()
    if sum(image[2] * image[3] for image in images) < _LEAST_PIXELS and (images or page.get_fonts()):
        return False
    text, picture, drawn = areas(page)
    return text < _LITTLE_TEXT and picture >= min(_PICTURE, max(_SMALL_PICTURE, drawn))


def _uneven_light(pixels: NDArray[np.uint8]) -> bool:
    """Whether the brightest parts of squares of the page differ, and little of it is white."""
    grey = pixels.mean(axis=2)
    if np.mean(pixels.min(axis=2) >= _WHITE) >= _WHITE_SHARE:
        return False
    squares = [part for rows in np.array_split(grey, _SQUARES) for part in np.array_split(rows, _SQUARES, axis=1)]
    paper = [np.quantile(part, 0.9) for part in squares if part.size]
    return bool(np.quantile(paper, 0.95) - np.quantile(paper, 0.1) > _UNEVEN)


def taken_by_camera(image: Any) -> bool:
    """Whether the Exif tags of a Pillow image hold exposure time or aperture, which scanners do not have."""
    from PIL import ExifTags  # noqa: PLC0415 - answering needs the names of kinds only

    with contextlib.suppress(Exception):  # damaged tags raise many kinds, and say nothing of the picture
        tags = image.getexif().get_ifd(ExifTags.IFD.Exif)
        return ExifTags.Base.ExposureTime in tags or ExifTags.Base.FNumber in tags
    return False


def document_kind(kinds: Sequence[str], weights: NDArray[np.float64]) -> str:
    """The kind of most of a document's pages, by their weights; `UNKNOWN` where that of no page is known.

    Args:
        kinds: Of the pages.
        weights: What each page counts, (n,).
    """
    sums = {kind: float(weights[[k == kind for k in kinds]].sum()) for kind in KINDS if kind in kinds}
    # of two that weigh the same the later one is taken: less has been measured of it
    return max(sums, key=lambda kind: (sums[kind], KINDS.index(kind)), default=UNKNOWN)


def codes(kinds: Sequence[str]) -> NDArray[np.int64]:
    """Kinds as numbers: places in `KINDS`, -1 for any other, (n,)."""
    return np.array([KINDS.index(kind) if kind in KINDS else -1 for kind in kinds], np.int64)
