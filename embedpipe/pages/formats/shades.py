"""Shades of a page: those of more than 8 bits, and those that lie too close together to be seen."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embedpipe.pages.contract import BLANK_INK, ink

SIXTEEN_BITS = 65535

_LEAST_CONTRAST = 8.0
"""Steps of the stored values by which something has to stand out: less is rounding, or shows through the paper."""

_EDGE = 16
"""This part of each side is not looked at: shadows of a lid lie there, and what scaling does at an edge."""

_ABOVE_NOISE = 8.0
"""Standard deviations of the paper by which something has to stand out; grain and noise reach about four."""


def is_deep(image: Image.Image) -> bool:
    """Whether a picture has more than 8 bits a pixel and channel, as Pillow holds it."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def eight_bits(image: Image.Image, highest: int = SIXTEEN_BITS) -> Image.Image:
    """Scales deep grey to 8 bits: 16-bit values by their range, anything else from its darkest to its lightest.

    Args:
        image: A deep picture.
        highest: The value of white, as the file tells it; where a pixel is higher, the range is that of 16 bits.
    """
    values = np.asarray(image).astype(np.float32)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if image.mode != "F" and low >= 0 and high <= SIXTEEN_BITS:
        low, high = 0.0, float(highest if high <= highest else SIXTEEN_BITS)
    scaled = (np.nan_to_num(values, nan=high, posinf=high, neginf=low) - low) * (255.0 / max(high - low, 1e-12))
    return Image.fromarray(scaled.round().clip(0, 255).astype(np.uint8))


def as_floats(image: Image.Image) -> Image.Image:
    """The values of a deep picture as they are stored, for `visible`."""
    return Image.fromarray(np.nan_to_num(np.asarray(image).astype(np.float32), posinf=0.0, neginf=0.0))


def high_value(bits: int, told: float | None = None) -> int:
    """The value of white: of so many bits, or of the fewest bits that the highest told value fits in."""
    if told is not None and 0 < told < 2**bits:
        bits = max(int(told).bit_length(), 1)
    return int(2**bits - 1)


def visible(pixels: NDArray[np.uint8], stored: NDArray[np.float32] | None = None) -> tuple[NDArray[np.uint8], str]:
    """A page of low contrast with its shades stretched, so that it is not taken for blank.

    Stretched is only what stands out from the paper far more than its noise does; noise is told by the median of
    absolute deviations (Hampel 1974). Other pages are returned as they are.

    Args:
        pixels: The page, uint8 (H, W, 3).
        stored: The same with the values of the file, float32 (H, W), where these have more than 8 bits.

    Returns:
        The page, uint8 (H, W, 3), and what was done, or "".
    """
    if ink(pixels) >= BLANK_INK:
        return pixels, ""
    values = pixels.astype(np.float32) if stored is None else stored[:, :, None]
    top, left = (side // _EDGE for side in values.shape[:2])
    darkest = values[top : len(values) - top, left : values.shape[1] - left].min(axis=2)
    distance = np.abs(darkest - np.median(darkest))
    noise = 1.4826 * float(np.median(distance))
    reach = float(np.quantile(distance, 1 - 2 * BLANK_INK))
    if reach < max(_LEAST_CONTRAST, _ABOVE_NOISE * noise):
        return pixels, ""
    low, high = (float(np.quantile(values, q)) for q in (BLANK_INK / 2, 1 - BLANK_INK / 2))
    scaled = ((values - low) * (255.0 / max(high - low, 1e-12))).round().clip(0, 255).astype(np.uint8)
    stretched = np.ascontiguousarray(np.broadcast_to(scaled, (*scaled.shape[:2], 3)))
    if ink(stretched) < BLANK_INK:
        return pixels, ""
    return stretched, "its contrast is low: its shades were stretched"
