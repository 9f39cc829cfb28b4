"""Whether two pictures show the same page: which features do not show of a form that was filled twice.

The second picture is laid over the first, as their sketches say (`sketches`). Then every small block with ink is
compared with its place in the other by normalised cross-correlation (Lewis 1995), which ignores brightness and
contrast. A new scan changes every block a little; another name or amount changes a few blocks altogether, so the
worst decide.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy import ndimage


@dataclass(frozen=True, slots=True)
class Grain:
    """At what size pages are compared; all in pixels of that size.

    Attributes:
        size: The long side.
        cell: A block is two cells wide and high, and begins at every cell.
        slack: How far a block may lie beside its place.
        smooth: Standard deviation of what is smoothed away as noise.
        paper: Standard deviation of what counts as the paper around.
        fewest: Blocks with much ink, off the edges, that it takes to say that two pages are the same one.
    """

    size: int
    cell: int
    slack: int
    smooth: float
    paper: float
    fewest: int = 0


FINE = Grain(960, cell=7, slack=2, smooth=1.0, paper=8.0, fewest=30)
"""A digit is about as large as a block: what decides that two pages are the same one."""

SMALL = Grain(192, cell=5, slack=1, smooth=0.5, paper=4.0)
"""Of thumbnails, whose blocks hold a line or two of text: what decides that two pages are clearly not the same one."""

SIZE = FINE.size
"""Pixels of the long side at which pages are compared."""

SAME_PICTURE = 0.88
"""Agreement from which two pages are the same one, see docs/quality.md."""

Contrast = NDArray[np.float32]
"""What stands out from the paper around it, float32 (H, W)."""

_INK = 16.0  # mean square contrast of a block, in grey values of 255, from which it counts
_MUCH = 0.75  # this share of the blocks with ink have less than those that count whole
_HALF = 0.5  # weight from which a block counts as one with much ink
_EDGE = 0.06  # of each side is left out: the lid of the scanner shows there
_STRIP = 10  # rows of blocks that are looked at before it is asked whether that was enough
_FLAT = 1.0  # mean square contrast of a block that is divided by, at least


def contrast(pixels: NDArray[np.uint8], grain: Grain = FINE) -> Contrast:
    """The contrast of a page of any size, uint8 (H, W, 3), scaled to the size at which it is compared."""
    image = Image.fromarray(pixels).convert("L")
    zoom = grain.size / max(image.size)
    size = max(round(image.width * zoom), 1), max(round(image.height * zoom), 1)
    if size != image.size:
        image = image.resize(size, Image.Resampling.BICUBIC)
    grey = np.asarray(image, np.float32)
    paper = np.asarray(image.filter(ImageFilter.GaussianBlur(grain.paper)), np.float32)
    stands_out: Contrast = ndimage.gaussian_filter(grey, grain.smooth, truncate=3.0) - paper
    return stands_out


def agreement(
    first: Contrast, second: Contrast, affine: NDArray[np.float64], least: float = -1.0, grain: Grain = FINE
) -> float:
    """How well two pages agree where they agree least, -1..1.

    It is 1 for the same pixels, about 0 where something else stands, and 0 where there is next to nothing to compare.

    Args:
        first: The contrast of a page.
        second: That of another one.
        affine: From places of the first to those of the second, as of `sketches.Overlay`.
        least: Where the answer is smaller anyway, not all of the page is looked at.
        grain: That of the contrasts.
    """
    laid = _laid_over(first.shape, second, affine, grain)
    a, b = (_whole_cells(picture, grain.cell) for picture in (first, laid))
    own, other = _blocks(a * a, grain.cell), _blocks(b * b, grain.cell)
    weights = _weights(own, other)
    if (weights > _HALF).sum() < grain.fewest:
        return 0.0
    b = np.pad(b, grain.slack)
    worst = 0.0
    for top in range(0, len(own) - 1, _STRIP):
        strip = slice(top, min(top + _STRIP + 1, len(own)))  # a row more, for the squares of blocks across the cut
        if weights[strip].any():
            lost = (1 - _best_agreements(a, b, own, strip, grain)) * weights[strip]
            worst = max(worst, float(_squares(lost).max(initial=0.0)))
            if 1 - worst < least:
                break
    return 1 - worst


def _squares(lost: Contrast) -> Contrast:
    """Means over squares of two by two neighbouring blocks: one block may be a speck of dust."""
    wide = lost[:, 1:] + lost[:, :-1]
    means: Contrast = ((wide[1:] + wide[:-1]) / 4).astype(np.float32)
    return means


def _whole_cells(picture: Contrast, cell: int) -> Contrast:
    return picture[: len(picture) // cell * cell, : picture.shape[1] // cell * cell]


def _weights(own: Contrast, other: Contrast) -> Contrast:
    """How much each block counts, 0..1: as much as it has ink, beside the blocks of its page that have much."""
    shares = [x / float(np.quantile(x[x > _INK], _MUCH)) if (x > _INK).any() else x * 0 for x in (own, other)]
    weights: Contrast = np.minimum(np.maximum(*shares), 1).astype(np.float32)
    weights[np.maximum(own, other) <= _INK] = 0
    top, left = (round(_EDGE * side) for side in own.shape)
    weights[:top] = weights[len(own) - top :] = weights[:, :left] = weights[:, own.shape[1] - left :] = 0
    return weights


def _laid_over(shape: tuple[int, ...], second: Contrast, affine: NDArray[np.float64], grain: Grain) -> Contrast:
    """The second picture in the place of the first."""
    rows, columns = shape
    matrix = affine[:2].T[::-1, ::-1]  # columns before rows
    middle = np.array([second.shape[1], second.shape[0]]) / 2
    offset = middle + affine[2, ::-1] * grain.size - matrix @ np.array([columns, rows]) / 2
    values = (*matrix[0], offset[0], *matrix[1], offset[1])
    data = tuple(map(float, values))
    laid = Image.fromarray(second).transform((columns, rows), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)
    return np.asarray(laid)


def _best_agreements(a: Contrast, b: Contrast, own: Contrast, strip: slice, grain: Grain) -> Contrast:
    """The best correlation of each block of some rows of blocks, however it is moved by up to the slack.

    The mean is not taken off: contrast is without it on the whole, and the same stroke at the rim of a block counts.

    Args:
        a: The first picture, cut to whole cells.
        b: The second one, with the slack more on each side.
        own: Energies of the first's blocks.
        strip: Which rows of blocks.
        grain: Of both.
    """
    cell, slack = grain.cell, grain.slack
    first, last = strip.start * cell, (strip.stop + 1) * cell
    here, energy, columns = a[first:last], own[strip], a.shape[1]
    around = b[first : last + 2 * slack]
    squares = around * around
    best = np.full(energy.shape, -1.0, np.float32)
    for down in range(2 * slack + 1):
        for right in range(2 * slack + 1):
            window = np.s_[down : down + len(here), right : right + columns]
            scale = np.sqrt(np.maximum(energy, _FLAT) * np.maximum(_blocks(squares[window], cell), _FLAT))
            np.maximum(best, _blocks(here * around[window], cell) / scale, out=best)
    return best


def _blocks(picture: Contrast, cell: int) -> Contrast:
    """Means over blocks of two by two cells that begin at every cell."""
    rows, columns = picture.shape
    lines = picture.reshape(rows // cell, cell, columns).sum(axis=1)
    cells = lines.reshape(len(lines), columns // cell, cell).sum(axis=2)
    wide = cells[:, 1:] + cells[:, :-1]
    means: Contrast = (wide[1:] + wide[:-1]) / np.float32(4 * cell**2)
    return means
