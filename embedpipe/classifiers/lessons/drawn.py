"""Which of many labelled pages are held out: so many that figures of them are good, and the others are learnt from."""

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedpipe.classifiers.evaluation import FOLDS, LEARNT, ROUNDS, LabelledPages, grouped_folds
from embedpipe.classifiers.held_out import honest_folds
from embedpipe.core.errors import LabelsError

MOST_PAGES = 20_000
"""Pages that figures and decisions are measured on, or a few more, where there are more."""

_ENOUGH = 0.9
"""Share of the mean size of folds below which one is held out only where others do not suffice: groups are large."""

_MOST_FOLDS = 50
_FEW_FOLDS = 3


def drawn_folds(pages: LabelledPages, seed: int = 0) -> NDArray[np.int64]:
    """As `honest_folds`, of about `MOST_PAGES` pages where there are more, (n,); the others are `LEARNT` from.

    Figures of 2,500 documents are as good as those of 12,500, and five classifiers of nearly all pages take five times
    as long as the one that is wanted. So only as many of the folds are held out as are needed, those with most types
    first. Of 100,000 pages and more that is one: its pages are folds of one round (`evaluation.rounds_of`).

    Args:
        pages: Labelled ones, with groups.
        seed: Of the division.

    Raises:
        LabelsError: There are fewer than two types, or fewer than two groups.
    """
    folds = honest_folds(pages, seed)
    rows = np.flatnonzero(folds != LEARNT)
    if len(rows) <= MOST_PAGES:
        return folds
    own, count = pages.take(rows), _folds_of(len(rows))
    divided = folds[rows] if count == FOLDS else grouped_folds(own, count, seed)

    def divide(some: NDArray[np.int64], parts: int) -> NDArray[np.int64]:
        with contextlib.suppress(LabelsError):  # all of one type, or of one group
            return grouped_folds(own.take(some), parts, seed)
        return np.zeros(len(some), np.int64)

    folds[:] = LEARNT
    folds[rows] = _drawn(divided, own.y, divide)
    return folds


def judged_folds(pages: LabelledPages, seed: int = 0) -> NDArray[np.int64]:
    """As `honest_folds`, where an answer about every page is wanted; of many pages in three folds, to save time, (n,).

    Raises:
        LabelsError: There are fewer than two types, or fewer than two groups.
    """
    return honest_folds(pages, seed, FOLDS if len(pages.y) <= MOST_PAGES else _FEW_FOLDS)


def careless_folds(n: int) -> NDArray[np.int64]:
    """Folds of n pages at random, as people split them who forget that pages of one document look alike, (n,).

    Of many pages as many are held out as of `drawn_folds`.
    """
    order = np.random.default_rng(0).permutation(n)
    if n <= MOST_PAGES:
        return order % FOLDS
    return _drawn(order % _folds_of(n), np.zeros(n), lambda some, parts: np.arange(len(some)) % parts)


def _folds_of(n: int) -> int:
    """How many folds n pages are divided into, of `MOST_PAGES` at most unless that would be very many."""
    return min(max(FOLDS, -(-n // MOST_PAGES)), _MOST_FOLDS)


def _drawn(
    folds: NDArray[np.int64], y: NDArray[Any], divide: Callable[[NDArray[np.int64], int], NDArray[np.int64]]
) -> NDArray[np.int64]:
    """Some of the folds, the others being `LEARNT` from; of few, each is divided into folds of one round, (n,)."""
    numbers, sizes = np.unique(folds, return_counts=True)
    kinds = {fold: len(np.unique(y[folds == fold].astype(str))) for fold in numbers.tolist()}
    small = dict(zip(numbers.tolist(), sizes < _ENOUGH * sizes.mean(), strict=True))
    order = sorted(kinds, key=lambda fold: (small[fold], -kinds[fold], fold))
    rounds = min(-(-MOST_PAGES * len(numbers) // len(folds)), len(numbers))
    found = np.full(len(folds), LEARNT)
    for number, fold in enumerate(order[:rounds]):
        rows = np.flatnonzero(folds == fold)
        found[rows] = number + ROUNDS * divide(rows, -(-FOLDS // rounds))
    return found
