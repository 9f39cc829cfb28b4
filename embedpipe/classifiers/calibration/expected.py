"""How many answers are expected to be right, with the range that this lies in, from held-out documents."""

import math

import numpy as np
from numpy.typing import NDArray

from embedpipe.classifiers.calibration.confidence import LEVEL, Interval
from embedpipe.classifiers.calibration.decisions import Calibration

_BINS = 5
_ROWS_A_BIN = 8  # of fewer held-out rows no bin is made
_DRAWS = 4000
_PRIOR = 0.5  # of Jeffreys: a share of few rows is never known to be all or none


def expected_right(calibration: Calibration, confidence: NDArray[np.float64], kinds: NDArray[np.int64]) -> Interval:
    """The share of answers that is right, as far as held-out documents of the same kinds of source tell.

    Post-stratification by confidence: the held-out answers are cut into bins of equally many, and the shares that are
    right in each are averaged as the new answers fall into them. Each share is drawn from its posterior (beta with
    Jeffreys' prior), as if only one document of each group had been measured: those of one group say the same.

    Args:
        calibration: Of documents.
        confidence: Of the answers, (n,), n > 0.
        kinds: Kind of source of each, of `source_kinds.codes`, (n,); each was measured.
    """
    drawn, value, rng = np.zeros(_DRAWS), 0.0, np.random.default_rng(0)
    for kind in np.unique(kinds):
        rows = np.flatnonzero(calibration.rows_of(int(kind)))
        rows = rows[np.argsort(calibration.confidence[rows], kind="stable")]
        bins = np.array_split(rows, max(1, min(_BINS, len(rows) // _ROWS_A_BIN)))
        starts = [calibration.confidence[own[0]] for own in bins[1:] if len(own)]
        places = np.searchsorted(starts, confidence[kinds == kind], side="right")
        for number, own in enumerate(bins):
            share = float(np.sum(places == number)) / len(confidence)
            right = calibration.told[own] == calibration.truth[own]
            found = _drawn(right, None if calibration.groups is None else calibration.groups[own], rng)
            drawn += share * found[0]
            value += share * found[1]
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high))


def share_right(right: NDArray[np.bool_], groups: NDArray[np.int64] | None) -> Interval:
    """The share of measured answers that is right, with its range; (0, 1) for none.

    Args:
        right: Whether each answer is, (n,).
        groups: What belongs together, (n,).
    """
    drawn, _ = _drawn(right, groups, np.random.default_rng(0))
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(right.mean()) if len(right) else 0.5, float(low), float(high))


def _drawn(
    right: NDArray[np.bool_], groups: NDArray[np.int64] | None, rng: np.random.Generator
) -> tuple[NDArray[np.float64], float]:
    """Draws of a share from its posterior, and their mean."""
    n = len(right) if groups is None else len(np.unique(groups))
    share = float(right.mean()) if len(right) else 0.5
    a, b = share * n + _PRIOR, (1 - share) * n + _PRIOR
    return rng.beta(a, b, _DRAWS), a / (a + b)


def out_of_hundred(interval: Interval) -> tuple[int, int, int]:
    """A share and its range as whole numbers of a hundred; never all or none where that is not sure."""
    about = round(100 * interval.value)
    if 0 < interval.value < 1:
        about = min(max(about, 1), 99)
    return about, math.floor(100 * interval.low), math.ceil(100 * interval.high)
