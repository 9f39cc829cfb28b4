"""The shape of a picture's pixels: a standard fax has half as many lines as columns to the inch."""

import contextlib
import math
from typing import Any

from PIL import Image

Shape = tuple[float, float]
"""By how much a pixel is wider, and higher, than that side of it which is the shorter one: one of the two is 1."""

SQUARE: Shape = (1.0, 1.0)

LARGEST_RATIO = 4.0
"""Of width and height of a pixel; what is stretched further was written by mistake."""

_SQUARE_ENOUGH = 0.02
"""Resolutions that differ by less are rounded ones."""

_X_RESOLUTION, _Y_RESOLUTION = 282, 283
_GIF_ASPECT_AT = 12


def pixel_shape(x: Any, y: Any) -> Shape:
    """The shape of a pixel, from the pixels to the inch, or to any other unit, across and down."""
    try:
        ratio = float(x) / float(y)
    except (TypeError, ValueError, ArithmeticError):
        return SQUARE
    if not math.isfinite(ratio) or not 1 / LARGEST_RATIO <= ratio <= LARGEST_RATIO or abs(ratio - 1) < _SQUARE_ENOUGH:
        return SQUARE
    return (1.0, ratio) if ratio > 1 else (1 / ratio, 1.0)


def swapped(shape: Shape) -> Shape:
    """The shape of a pixel of the picture that is turned by a quarter."""
    return shape[1], shape[0]


def in_square_pixels(size: tuple[int, int], shape: Shape) -> tuple[int, int]:
    """Width and height of a picture once its pixels are square."""
    return round(size[0] * shape[0]), round(size[1] * shape[1])


def stored_shape(image: Image.Image, exif: Any, path: str) -> Shape:
    """The shape of a picture's pixels, as its file tells it: not yet turned.

    Args:
        image: As Pillow opened it, at the frame that is meant.
        exif: Its tags, as a mapping.
        path: Its file.
    """
    with contextlib.suppress(Exception):  # damaged values raise many kinds, and say nothing of the picture
        if image.format == "TIFF":
            tags = image.tag_v2  # type: ignore[attr-defined]
            return pixel_shape(tags.get(_X_RESOLUTION), tags.get(_Y_RESOLUTION))
        if image.format == "GIF":
            return _gif_shape(path)
        told = next((image.info[key] for key in ("jfif_density", "aspect", "dpi") if key in image.info), None)
        if told is not None and all(float(value) > 0 for value in told):
            return pixel_shape(*told)
        return pixel_shape(exif.get(_X_RESOLUTION), exif.get(_Y_RESOLUTION))
    return SQUARE


def _gif_shape(path: str) -> Shape:
    """GIF tells width by height of a pixel in one byte, (byte + 15) / 64; 0 for nothing."""
    with open(path, "rb") as file:
        value = file.read(_GIF_ASPECT_AT + 1)[_GIF_ASPECT_AT]
    return pixel_shape(64, value + 15) if value else SQUARE
