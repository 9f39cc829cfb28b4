"""Whether two pictures show the same page: what features cannot tell of a form that was filled twice.

The second picture is laid over the first, as their sketches told (`sketches`). Then every small block with ink is
compared with its place in the other by normalised cross-correlation (Lewis 1995), which ignores brightness and
contrast. A new scan changes every block a little; another name or amount changes a few blocks altogether, so the
worst decide.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

SIZE = 960
"""Pixels of the long side at which pages are compared: a digit is then about as large as a block."""

SAME_PICTURE = 0.65
"""Agreement from which two pages are the same one, see docs/quality.md."""

Contrast = NDArray[np.float32]
"""What stands out from the paper around it, float32 (H, W)."""

_CELL = 7  # a block is two cells wide and high, and begins at every cell
_SLACK = 3  # pixels that a block may lie beside its place
_INK = 16.0  # mean square contrast of a block, in grey values of 255, from which it counts
_EDGE = 0.06  # of each side is left out: the lid of the scanner shows there
_WORST = 3  # this many blocks must disagree: one may be a speck of dust
_FLAT = 1.0  # mean square contrast of a block that is divided by, at least


def contrast(pixels: NDArray[np.uint8]) -> Contrast:
    """The contrast of a page of any size, uint8 (H, W, 3), scaled to a long side of `SIZE`."""
    image = Image.fromarray(pixels).convert("L")
    zoom = SIZE / max(image.size)
    size = max(round(image.width * zoom), 1), max(round(image.height * zoom), 1)
    grey = np.asarray(image.resize(size, Image.Resampling.BICUBIC) if size != image.size else image, np.float32)
    stands_out: Contrast = ndimage.gaussian_filter(grey, 1.0) - ndimage.gaussian_filter(grey, 8.0)
    return stands_out


def agreement(first: Contrast, second: Contrast, affine: NDArray[np.float64]) -> float:
    """How well two pages agree where they agree least, -1..1.

    It is 1 for the same pixels, about 0 where something else stands.

    Args:
        first: The contrast of a page.
        second: That of another one.
        affine: From places of the first to those of the second, as of `sketches.Overlay`.
    """
    worst = np.sort(_block_agreements(first, _laid_over(first.shape, second, affine)))
    return float(worst[min(_WORST, len(worst)) - 1]) if len(worst) else 1.0


def _laid_over(shape: tuple[int, ...], second: Contrast, affine: NDArray[np.float64]) -> Contrast:
    """The second picture in the place of the first."""
    rows, columns = shape
    matrix = affine[:2].T[::-1, ::-1]  # columns before rows
    middle = np.array([second.shape[1], second.shape[0]]) / 2
    offset = middle + affine[2, ::-1] * SIZE - matrix @ np.array([columns, rows]) / 2
    values = (*matrix[0], offset[0], *matrix[1], offset[1])
    data = tuple(map(float, values))
    laid = Image.fromarray(second).transform((columns, rows), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)
    return np.asarray(laid)


def _block_agreements(a: Contrast, b: Contrast) -> NDArray[np.float32]:
    """The best correlation of each block with ink, however it is moved by up to `_SLACK` pixels, (n,)."""
    rows, columns = a.shape[0] // _CELL * _CELL, a.shape[1] // _CELL * _CELL
    a = a[:rows, :columns]
    padded = np.pad(b, _SLACK)
    squares = padded * padded
    mean = _blocks(a)
    own = np.maximum(_blocks(a * a) - mean * mean, _FLAT)
    best = np.full(own.shape, -1.0, np.float32)
    for down in range(2 * _SLACK + 1):
        for right in range(2 * _SLACK + 1):
            window = np.s_[down : down + rows, right : right + columns]
            other = _blocks(padded[window])
            energy = np.maximum(_blocks(squares[window]) - other * other, _FLAT)
            np.maximum(best, (_blocks(a * padded[window]) - mean * other) / np.sqrt(own * energy), out=best)
    inky = np.maximum(own, _blocks(squares[_SLACK : _SLACK + rows, _SLACK : _SLACK + columns])) > _INK
    top, left = (round(_EDGE * side / _CELL) for side in (rows, columns))
    inner = np.s_[top : own.shape[0] - top, left : own.shape[1] - left]
    found: NDArray[np.float32] = best[inner][inky[inner]]
    return found


def _blocks(picture: Contrast) -> Contrast:
    """Means over blocks of two by two cells that begin at every cell."""
    rows, columns = picture.shape
    lines = picture.reshape(rows // _CELL, _CELL, columns).sum(axis=1)
    cells = lines.reshape(len(lines), columns // _CELL, _CELL).sum(axis=2)
    wide = cells[:, 1:] + cells[:, :-1]
    means: Contrast = (wide[1:] + wide[:-1]) / np.float32(4 * _CELL**2)
    return means
