"""Which part of a picture a score rests on: parts are covered one after the other, and the score is computed again.

Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, 2013, arXiv:1311.2901, section 4.2. They cover
with grey; here the cover has the paper's colour, so that what is left is a page that could have been printed.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

COVER = 1 / 8
"""Side of the cover as a share of the picture's long side: smaller ones change little, larger ones give no place."""

_MOST_BOXES = 4
_PEAK_SHARE = 2 / 3  # of the largest drop: where nothing is as high, no further box begins
_BOX_SHARE = 0.5  # of the largest drop: what is below ends a box

Score = Callable[[NDArray[np.uint8]], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Box:
    """A part of a picture in shares of its width and height; `drop` is how far the score falls without it."""

    x0: float
    y0: float
    x1: float
    y1: float
    drop: float = 0.0


def occlusion_map(
    pixels: NDArray[np.uint8], score: Score, *, batch_size: int = 16, progress: Callable[[int, int], None] | None = None
) -> NDArray[np.float64]:
    """How far a score falls when the parts of a picture are covered.

    The picture is cut into cells of about half a cover's side. A cover takes two by two of them, and a cell gets the
    mean of the drops of all covers that touch it. What has the paper's colour already is not covered.

    Args:
        pixels: uint8 (H, W, 3).
        score: Of pictures uint8 (n, H, W, 3), (n,).
        batch_size: Pictures at a time.
        progress: Called with how many covers of how many are done.

    Returns:
        Drops, (rows, columns); negative where the score rises.
    """
    height, width = pixels.shape[:2]
    cell = max(height, width) * COVER / 2
    rows, columns = max(2, round(height / cell)), max(2, round(width / cell))
    places = [
        Box(column / columns, row / rows, (column + 2) / columns, (row + 2) / rows)
        for row in range(rows - 1)
        for column in range(columns - 1)
    ]
    paper = paper_colour(pixels)
    changed = [place for place, box in enumerate(places) if (pixels[_area(pixels, box)] != paper).any()]
    whole = float(score(pixels[None])[0])
    drops = np.zeros(len(places))
    for start in range(0, len(changed), batch_size):
        batch = changed[start : start + batch_size]
        drops[batch] = whole - score(np.stack([covered(pixels, [places[place]]) for place in batch]))
        if progress is not None:
            progress(start + len(batch), len(changed))
    return _spread(drops.reshape(rows - 1, columns - 1))


def paper_colour(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The median of a picture's pixels, (3,)."""
    colour: NDArray[np.uint8] = np.median(pixels.reshape(-1, 3), axis=0).astype(np.uint8)
    return colour


def covered(pixels: NDArray[np.uint8], boxes: Iterable[Box]) -> NDArray[np.uint8]:
    """A copy of a picture with the paper's colour over some of its parts."""
    copy = pixels.copy()
    for box in boxes:
        copy[_area(pixels, box)] = paper_colour(pixels)
    return copy


def _area(pixels: NDArray[np.uint8], box: Box) -> tuple[slice, slice]:
    height, width = pixels.shape[:2]
    return (
        slice(round(box.y0 * height), round(box.y1 * height)),
        slice(round(box.x0 * width), round(box.x1 * width)),
    )


def deciding_boxes(drops: NDArray[np.float64], smallest: float) -> list[Box]:
    """Where the drops are largest: rectangles that grow from a peak as long as what they take in is high as well.

    Args:
        drops: Of `occlusion_map`.
        smallest: No box, if no drop is as large as this.

    Returns:
        Boxes that do not overlap, strongest first.
    """
    free, bar = drops.copy(), _BOX_SHARE * float(drops.max())
    rows, columns = drops.shape
    boxes: list[Box] = []
    peak = _PEAK_SHARE * float(drops.max())
    while drops.max() >= smallest and free.max() >= peak and len(boxes) < _MOST_BOXES:
        row, column = np.unravel_index(free.argmax(), free.shape)
        top, left, bottom, right = _grown(free, (int(row), int(column)), bar)
        drop = float(free[top:bottom, left:right].max())
        boxes.append(Box(left / columns, top / rows, right / columns, bottom / rows, drop))
        free[top:bottom, left:right] = -np.inf
    return boxes


def _grown(free: NDArray[np.float64], peak: tuple[int, int], bar: float) -> tuple[int, int, int, int]:
    """A rectangle (top, left, bottom, right) around a cell: its best side moves out while its mean reaches a bar."""
    top, left = peak
    bottom, right = top + 1, left + 1
    while True:
        sides = {
            (-1, 0, 0, 0): free[top - 1 : top, left:right] if top else free[:0],
            (0, -1, 0, 0): free[top:bottom, left - 1 : left] if left else free[:0],
            (0, 0, 1, 0): free[bottom : bottom + 1, left:right],
            (0, 0, 0, 1): free[top:bottom, right : right + 1],
        }
        means = {step: float(cells.mean()) for step, cells in sides.items() if cells.size}
        step = max(means, key=lambda side: means[side], default=None)
        if step is None or means[step] < bar:
            return top, left, bottom, right
        top, left, bottom, right = (edge + move for edge, move in zip((top, left, bottom, right), step, strict=True))


def _spread(drops: NDArray[np.float64]) -> NDArray[np.float64]:
    """The means of the covers that touch each cell, one row and one column more than there are covers."""
    rows, columns = drops.shape
    sums, counts = np.zeros((rows + 1, columns + 1)), np.zeros((rows + 1, columns + 1))
    for down in (0, 1):
        for across in (0, 1):
            sums[down : down + rows, across : across + columns] += drops
            counts[down : down + rows, across : across + columns] += 1
    means: NDArray[np.float64] = sums / counts
    return means
