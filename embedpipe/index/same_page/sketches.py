"""Small pictures of pages, all of one size: how a page is laid over another, and whether it is worth a closer look.

Blocks of the one are found again in the other by normalised cross-correlation (Lewis 1995), and the affine map that
most of them agree on takes away shift, skew and scale.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from PIL import Image

SIDE = 192
"""Rows and columns of a sketch; the page lies in the middle with its long side as long."""

Sketch = NDArray[np.int8]
"""What stands out from the paper, int8 (SIDE, SIDE), with a standard deviation of `_SPREAD`."""

_SPREAD = 24.0
_SMOOTH, _PAPER = 0.6, 5.0  # standard deviations in pixels: what is finer is noise, what is coarser is light
_FAINT = 1.0  # grey values of 255: a page with less contrast is not made to look like one with more
_BLOCK, _SLACK = 24, 10
_INK = 70.0  # mean square of a block from which it counts
_FOUND = 0.5  # correlation from which a block was found again
_FEWEST = 6  # blocks for the six numbers of an affine map; fewer only give a shift
_ROUNDS = 6
_WHOLE = 48  # rows and columns that are left of a sketch where wholes are compared
_NEARLY = 0.95  # of the least likeness: what half of the blocks must reach
_CORNERS = np.stack(np.meshgrid(*2 * [np.arange(0, SIDE, _BLOCK)], indexing="ij"), axis=-1).reshape(-1, 2)
_FREQUENCIES = np.fft.fftfreq(SIDE)[:, None] ** 2 + np.fft.rfftfreq(SIDE) ** 2
_KEPT, _LIGHT = (np.exp(-2 * (np.pi * spread) ** 2 * _FREQUENCIES) for spread in (_SMOOTH, _PAPER))
_BAND = (_KEPT - _LIGHT).astype(np.float32)
"""What is neither noise nor light, as shares of the spectrum: the difference of two Gaussians."""

_COARSE = np.fft.fftfreq(_WHOLE)[:, None] ** 2 + np.fft.rfftfreq(_WHOLE) ** 2
_BLUR = np.exp(-2 * (np.pi * 2.5 * _WHOLE / SIDE) ** 2 * _COARSE).astype(np.float32)
"""A Gaussian of 2.5 pixels of a sketch: a scan that is turned and scaled is still alike as a whole."""

_BLUR[0, 0] = _BLUR[_WHOLE // 2] = _BLUR[:, _WHOLE // 2] = 0  # no mean, and nothing that has no partner


@dataclass(frozen=True, slots=True)
class Overlay:
    """How a page is laid over another.

    Attributes:
        affine: From places of the first to places of the second, rows and columns as shares of the long side, measured
            from the middle: (row, column, 1) @ affine, float64 (3, 2).
        likeness: Mean correlation of the blocks with ink, those that do not follow the map counting 0; 0..1.
    """

    affine: NDArray[np.float64]
    likeness: float


SAME_PLACE = Overlay(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]), 1.0)
"""A page over itself."""


def shape_inside(shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns that a picture of some shape takes in its sketch."""
    rows, columns = (max(1, round(side * SIDE / max(shape[:2]))) for side in shape[:2])
    return rows, columns


def inside(one: Sketch, shape: tuple[int, int]) -> NDArray[np.float32]:
    """The page without the paper beside it, float32 of some shape (`shape_inside`)."""
    top, left = ((SIDE - side) // 2 for side in shape)
    return one[top : top + shape[0], left : left + shape[1]].astype(np.float32)


def spectrum(one: Sketch) -> NDArray[np.complex64]:
    """The coarse part of a sketch at unit length, as a spectrum: complex64 (_WHOLE, _WHOLE / 2 + 1)."""
    half = _WHOLE // 2
    full = scipy.fft.rfft2(one.astype(np.float32))[:, : half + 1]
    coarse = np.concatenate([full[:half], full[-half:]]) * _BLUR
    own: NDArray[np.complex64] = (coarse / max(float(np.linalg.norm(scipy.fft.irfft2(coarse))), 1e-6)).astype(
        np.complex64
    )
    return own


def correlations(first: NDArray[np.complex64], second: NDArray[np.complex64]) -> NDArray[np.float32]:
    """How alike sketches are as wholes, with the best shift of up to `_SLACK` pixels, float32 (n,), -1..1.

    Args:
        first: Their spectra, (n, _WHOLE, _WHOLE / 2 + 1).
        second: Those of the others.
    """
    planes = scipy.fft.irfft2(first.conj() * second)
    most = _SLACK * _WHOLE // SIDE + 1
    near = np.arange(-most, most + 1)
    best: NDArray[np.float32] = planes[:, near[:, None], near].max(axis=(1, 2))
    return best


def sketch(pixels: NDArray[np.uint8]) -> Sketch:
    """The sketch of a page, uint8 (H, W, 3) of any size."""
    grey = np.asarray(Image.fromarray(pixels).convert("L"))
    beside = [((max(grey.shape) - side) // 2, (max(grey.shape) - side + 1) // 2) for side in grey.shape]
    square = Image.fromarray(np.pad(grey, beside, constant_values=round(float(np.median(grey)))))
    small = np.asarray(square.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32)
    contrast = scipy.fft.irfft2(scipy.fft.rfft2(small) * _BAND, (SIDE, SIDE))
    contrast *= _SPREAD / max(float(contrast.std()), _FAINT)
    whole: Sketch = contrast.round().clip(-127, 127).astype(np.int8)
    return whole


def inky_blocks(one: Sketch) -> int:
    """How many of the 64 blocks of a sketch have ink."""
    return len(_inky(one.astype(np.float32)))


@dataclass(frozen=True, slots=True)
class Target:
    """A sketch in which blocks of others are searched for.

    Attributes:
        padded: With room for shifts around.
        energy: Of the block that begins at each pixel, without its mean.
    """

    padded: NDArray[np.float32]
    energy: NDArray[np.float32]

    @classmethod
    def of(cls, b: Sketch) -> Self:
        """Prepares a sketch once for all that are laid over it."""
        padded = np.pad(b, _SLACK).astype(np.int32)
        sums, squares = _block_sums(padded), _block_sums(padded * padded)
        return cls(padded.astype(np.float32), np.maximum(squares - sums * sums / np.float32(_BLOCK**2), 1.0))


def overlay(first: Sketch, second: Sketch | Target, least: float = 0.0) -> Overlay | None:
    """How the second page is laid over the first; None where too few of its blocks are found again.

    Args:
        first: The sketch of a page.
        second: That of another one.
        least: Where the likeness is clearly smaller, not all blocks are looked at, and the answer is None.
    """
    a, target = first.astype(np.float32), second if isinstance(second, Target) else Target.of(second)
    corners = _inky(a)
    some, rest = corners[::2], corners[1::2]
    matches = _best_matches(a, target, some)
    found = _agreed(a, some, *matches)
    if found is None or found.likeness < _NEARLY * least:
        return None
    others = _best_matches(a, target, rest)
    correlation, moves = np.concatenate([matches[0], others[0]]), np.concatenate([matches[1], others[1]])
    return _agreed(a, np.concatenate([some, rest]), correlation, moves)


def _agreed(
    a: NDArray[np.float32],
    corners: NDArray[np.int64],
    correlation: NDArray[np.float32],
    moves: NDArray[np.float64],
) -> Overlay | None:
    """The map that most of some blocks of a sketch agree on; None where none of them was found again."""
    good = correlation > _FOUND
    if not good.any():
        return None
    places = corners + _middles_of_ink(a, corners) - SIDE / 2
    affine, follows = _agreed_map(places[good], (places + moves)[good])
    likeness = float(correlation[good][follows].sum() / len(corners))
    affine[2] /= SIDE
    return Overlay(affine, likeness)


def _inky(a: NDArray[np.float32]) -> NDArray[np.int64]:
    energy = (a * a).reshape(SIDE // _BLOCK, _BLOCK, SIDE // _BLOCK, _BLOCK).mean(axis=(1, 3)).ravel()
    corners: NDArray[np.int64] = _CORNERS[energy > _INK]
    return corners


def _middles_of_ink(a: NDArray[np.float32], corners: NDArray[np.int64]) -> NDArray[np.float64]:
    """Where the ink of each block lies in it, on the whole, (n, 2): there it shows how far a turned page moved."""
    blocks = np.lib.stride_tricks.sliding_window_view(a * a, (_BLOCK, _BLOCK))[corners[:, 0], corners[:, 1]]
    middles = np.arange(_BLOCK) + 0.5
    sums = [blocks.sum(axis=axis, dtype=np.float64) for axis in (2, 1)]
    return np.column_stack([own @ middles / own.sum(axis=1) for own in sums])


def _best_matches(
    a: NDArray[np.float32], target: Target, corners: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Correlation of each block of `a` with its best place in the target, (n,), and how far that is away, (n, 2)."""
    wide, shifts = _BLOCK + 2 * _SLACK, 2 * _SLACK + 1
    rows, columns = corners.T
    own = np.lib.stride_tricks.sliding_window_view(a, (_BLOCK, _BLOCK))[rows, columns]
    own = own - own.mean(axis=(1, 2), keepdims=True)
    around = np.lib.stride_tricks.sliding_window_view(target.padded, (wide, wide))[rows, columns]
    spectrum = scipy.fft.rfft2(around) * scipy.fft.rfft2(own, (wide, wide)).conj()
    products = scipy.fft.irfft2(spectrum, (wide, wide))[:, :shifts, :shifts]
    beside = np.lib.stride_tricks.sliding_window_view(target.energy, (shifts, shifts))[rows, columns]
    own_energy = np.einsum("nij,nij->n", own, own)[:, None, None]
    correlation = products / np.sqrt(beside * own_energy)
    best = np.column_stack(np.divmod(correlation.reshape(len(corners), -1).argmax(axis=1), shifts))
    return _peaks(correlation, best), best + _between(correlation, best) - _SLACK


def _peaks(correlation: NDArray[np.float32], best: NDArray[np.int64]) -> NDArray[np.float32]:
    peaks: NDArray[np.float32] = correlation[np.arange(len(best)), best[:, 0], best[:, 1]]
    return peaks


def _between(correlation: NDArray[np.float32], best: NDArray[np.int64]) -> NDArray[np.float64]:
    """How far the top of a parabola through each peak and its neighbours lies from the peak, (n, 2)."""
    away = np.zeros(best.shape)
    top, last = _peaks(correlation, best), correlation.shape[1] - 1
    for axis in (0, 1):
        step = np.eye(2, dtype=np.int64)[axis]
        before, after = (_peaks(correlation, (best + sign * step).clip(0, last)) for sign in (-1, 1))
        bend = 2 * top - before - after
        inside = (best[:, axis] > 0) & (best[:, axis] < last) & (bend > 0)
        away[inside, axis] = (after - before)[inside] / (2 * bend[inside])
    return away


def _block_sums(padded: NDArray[np.int32]) -> NDArray[np.float32]:
    """Sums over the block that begins at each pixel, of whole numbers."""
    total = np.zeros((padded.shape[0] + 1, padded.shape[1] + 1), np.int32)
    np.cumsum(padded, axis=0, out=total[1:, 1:])
    np.cumsum(total[1:, 1:], axis=1, out=total[1:, 1:])
    wide = total[:, _BLOCK:] - total[:, :-_BLOCK]
    sums: NDArray[np.float32] = (wide[_BLOCK:] - wide[:-_BLOCK]).astype(np.float32)
    return sums


def _agreed_map(
    places: NDArray[np.floating], targets: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The affine map (3, 2) of most of the points by least squares, and which follow it; a shift where they are few."""
    points = np.column_stack([places, np.ones(len(places))])
    moves = targets - places
    middle = np.array([_median(moves[:, 0]), _median(moves[:, 1])])
    keep = np.linalg.norm(moves - middle, axis=1) <= _SLACK / 2
    affine = np.vstack([np.eye(2), middle])
    for _ in range(_ROUNDS):
        if keep.sum() >= _FEWEST:
            affine = np.linalg.lstsq(points[keep], targets[keep], rcond=None)[0]
        errors = np.linalg.norm(points @ affine - targets, axis=1)
        before, keep = keep, errors <= max(1.0, 1.5 * _median(errors[keep]) if keep.any() else 1.0)
        if np.array_equal(before, keep):  # further rounds would change nothing
            break
    return affine, keep


def _median(values: NDArray[np.floating]) -> float:
    """The same as `np.median` of some values, (n,), which takes ten times as long for so few."""
    ordered, half = np.sort(values), len(values) // 2
    return float(ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2)
