"""A small picture of each page, kept so that nothing that shows or compares pages has to draw them again."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LONG_SIDE = 192
"""Pixels: lines of text can be seen, and words not read."""

_QUALITY = 50


def thumbnail(pixels: NDArray[np.uint8], width: float, height: float) -> bytes:
    """A page as a small JPEG of about 2 KB.

    JPEG, for WebP of the same size takes five times as long to write, which `embed` would feel.

    Args:
        pixels: The whole page, uint8 (H, W, 3); a stretched one gets its shape back.
        width: Of the page, in any unit.
        height: In the same unit.
    """
    scale = LONG_SIDE / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    red = np.ascontiguousarray(pixels[:, :, 0])
    grey = all(np.array_equal(red, pixels[:, :, channel]) for channel in (1, 2))  # most pages: a third of the work
    picture = Image.fromarray(red if grey else pixels).resize(size, Image.Resampling.BOX)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY, optimize=True)
    return file.getvalue()


def pixels_of(picture: bytes) -> NDArray[np.uint8]:
    """A kept picture as uint8 (H, W, 3).

    Raises:
        OSError: It is not one.
    """
    with Image.open(io.BytesIO(picture), formats=["JPEG"]) as opened:
        return np.asarray(opened.convert("RGB"))
