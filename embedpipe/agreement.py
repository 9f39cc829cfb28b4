"""Whether two pictures show the same page: what features cannot tell of a form that was filled twice.

The second picture is laid over the first: blocks of it are found again nearby, and the affine map that most of them
agree on takes away shift, skew and scale. Then every small block with ink is compared with its place in the other by
normalised cross-correlation (Lewis 1995), which ignores brightness and contrast. A new scan changes every block a
little; another name or amount changes a few blocks altogether, so the worst blocks decide.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

SIZE = 960
"""Pixels of the long side at which pages are compared: a digit is then about as large as a block."""

SAME_PICTURE = 0.65
"""Agreement from which two pages are the same one, see docs/quality.md."""

_BLOCK, _STEP, _SLACK = 14, 7, 4
_COARSE_BLOCK, _COARSE_STEP, _COARSE_SLACK, _COARSE_ZOOM = 32, 20, 20, 3
_INK = 16.0  # mean square contrast of a block, in grey values of 255, from which it counts
_EDGE = 0.06  # of each side is left out: the lid of the scanner shows there
_WORST = 3  # this many blocks must disagree: one may be a speck of dust
_FOUND = 0.5  # correlation from which a coarse block was found again
_FEWEST = 6  # blocks for six numbers of a map
_TRUSTED = 0.3  # share of blocks that must agree on the map

_Grey = NDArray[np.float32]


def agreement(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """How well two pictures agree where they agree least, -1..1.

    It is 1 for the same pixels, about 0 where something else stands, -1 where the one cannot be laid over the other.

    Args:
        first: A page with a long side of `SIZE` pixels, uint8 (H, W, 3).
        second: Another one; it is scaled to the first.
    """
    shape = (first.shape[1], first.shape[0])
    a, b = _contrast(first), _contrast(np.asarray(Image.fromarray(second).resize(shape, Image.Resampling.BICUBIC)))
    laid = _laid_over(a, b)
    if laid is None:
        return -1.0
    b = laid
    corners = _corners(a.shape, _BLOCK, _STEP, _EDGE)
    inky = np.maximum(_energy(a, corners), _energy(b, corners)) > _INK
    corners = corners[inky]
    if not len(corners):
        return 1.0  # what there is stands at the edge
    there, back = _best_matches(a, b, corners), _best_matches(b, a, corners)
    worst = np.sort(np.minimum(there.correlation, back.correlation))
    return float(worst[min(_WORST, len(worst)) - 1])


@dataclass(frozen=True, slots=True)
class _Matches:
    """Where blocks were found: correlation (n,), and how far they moved, (n, 2)."""

    correlation: NDArray[np.float64]
    moves: NDArray[np.int64]


def _contrast(pixels: NDArray[np.uint8]) -> _Grey:
    """What stands out from the paper around it."""
    grey = pixels.mean(axis=2, dtype=np.float32)
    contrast: _Grey = ndimage.gaussian_filter(grey, 1.0) - ndimage.gaussian_filter(grey, 8.0)
    return contrast


def _corners(shape: tuple[int, ...], block: int, step: int, edge: float) -> NDArray[np.int64]:
    """Top left corners of blocks that cover a picture but for its edge, (n, 2)."""
    ranges = [np.arange(round(edge * side), round((1 - edge) * side) - block + 1, step) for side in shape]
    return np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 2)


def _energy(picture: _Grey, corners: NDArray[np.int64]) -> NDArray[np.float32]:
    middle = corners + _BLOCK // 2
    energy: NDArray[np.float32] = ndimage.uniform_filter(picture * picture, _BLOCK)[middle[:, 0], middle[:, 1]]
    return energy


def _laid_over(a: _Grey, b: _Grey) -> _Grey | None:
    """The second picture, moved by the affine map on which most coarse blocks agree; None where they do not."""
    small_a, small_b = (ndimage.zoom(ndimage.gaussian_filter(x, 1.0), 1 / _COARSE_ZOOM, order=1) for x in (a, b))
    corners = _corners(small_a.shape, _COARSE_BLOCK, _COARSE_STEP, 0.0)
    if len(corners) < _FEWEST:
        return b
    found = _best_matches(small_a, small_b, corners, _COARSE_BLOCK, _COARSE_SLACK)
    good = found.correlation > _FOUND
    places = (corners[good] + _COARSE_BLOCK / 2) * _COARSE_ZOOM
    affine = _agreed_map(places, places + found.moves[good] * _COARSE_ZOOM)
    if affine is None:
        return None
    laid: _Grey = ndimage.affine_transform(b, affine[:2].T, affine[2], output_shape=a.shape, order=1, mode="nearest")
    return laid


def _agreed_map(places: NDArray[np.floating], targets: NDArray[np.floating]) -> NDArray[np.float64] | None:
    """The affine map (3, 2) of most of the points, by least squares over those that follow it; None for too few."""
    points = np.column_stack([places, np.ones(len(places))])
    keep = np.ones(len(points), bool)
    affine: NDArray[np.float64] | None = None
    for _ in range(6):
        if keep.sum() < _FEWEST or keep.mean() < _TRUSTED:
            return None
        affine = np.linalg.lstsq(points[keep], targets[keep], rcond=None)[0].astype(np.float64)
        errors = np.linalg.norm(points @ affine - targets, axis=1)
        keep = errors <= max(1.5, 1.5 * float(np.median(errors[keep])))
    return affine


def _best_matches(a: _Grey, b: _Grey, corners: NDArray[np.int64], block: int = _BLOCK, slack: int = _SLACK) -> _Matches:
    """The best normalised cross-correlation of each block of `a` with `b` up to `slack` pixels away."""
    wide, shifts = block + 2 * slack, 2 * slack + 1
    rows, columns = corners.T
    own = np.lib.stride_tricks.sliding_window_view(a, (block, block))[rows, columns]
    own = own - own.mean(axis=(1, 2), keepdims=True)
    around = np.lib.stride_tricks.sliding_window_view(np.pad(b, slack), (wide, wide))[rows, columns]
    spectrum = np.fft.rfft2(around) * np.fft.rfft2(own, (wide, wide)).conj()
    products = np.fft.irfft2(spectrum, (wide, wide))[:, :shifts, :shifts]
    sums, squares = _window_sums(around, block), _window_sums(around * around, block)
    energy = (
        np.maximum(squares - sums * sums / block**2, 1e-3)
        * np.maximum((own * own).sum(axis=(1, 2)), 1e-3)[:, None, None]
    )
    correlation = (products / np.sqrt(energy)).reshape(len(corners), -1)
    best = correlation.argmax(axis=1)
    moves = np.column_stack(np.divmod(best, shifts)) - slack
    return _Matches(correlation[np.arange(len(best)), best], moves)


def _window_sums(windows: NDArray[np.float32], block: int) -> NDArray[np.float64]:
    """Sums over every block inside each window, (n, shifts, shifts)."""
    total: NDArray[np.float64] = np.pad(
        windows.cumsum(axis=1, dtype=np.float64).cumsum(axis=2), ((0, 0), (1, 0), (1, 0))
    )
    sums: NDArray[np.float64] = total[:, block:, block:] - total[:, :-block, block:]
    sums += total[:, :-block, :-block] - total[:, block:, :-block]
    return sums
