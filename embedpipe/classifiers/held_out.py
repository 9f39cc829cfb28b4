"""Which labelled pages figures and decisions may come from, where the network itself was trained on some of them.

This is the one place that decides it, for fitting, evaluating, comparing and checking labels alike.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedpipe.classifiers.evaluation import FOLDS, LEARNT, ROUNDS, LabelledPages, grouped_folds
from embedpipe.core.errors import LabelsError

FEWEST_UNSEEN = 10
"""Documents that a trained network has not seen, below which no figure is claimed."""

MOST_PAGES = 20_000
"""Pages that figures and decisions are measured on, or a few more, where there are more."""

_ENOUGH = 0.9
"""Of that number; a fifth of 100,000 pages may be a few less."""

_MOST_FOLDS = 50


def honest_folds(pages: LabelledPages, seed: int = 0) -> NDArray[np.int64]:
    """As `evaluation.grouped_folds`, of the pages that the network has not seen; the others are `LEARNT` from, (n,).

    A network that was trained on a page's type gives features that contain it, also for a classifier that never saw
    the page: figures of such pages would be too high. New documents meet a classifier that has learnt from seen and
    unseen ones alike, and so do those that are held out here. With too few unseen documents nothing is held out.

    Args:
        pages: Labelled ones, with groups.
        seed: Of the division.

    Raises:
        LabelsError: There are fewer than two types, or fewer than two groups.
    """
    folds = grouped_folds(pages, seed=seed)
    if pages.seen is None or not pages.seen.any():
        return folds
    seen = np.isin(pages.groups, pages.groups[pages.seen])  # groups may have been joined since
    folds = np.full(len(folds), LEARNT)
    if len(np.unique(pages.documents[~seen])) >= FEWEST_UNSEEN:
        with contextlib.suppress(LabelsError):  # all of one type, or of one group
            folds[~seen] = grouped_folds(pages.take(~seen), seed=seed)
    return folds


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
    kinds = {fold: len(np.unique(y[folds == fold].astype(str))) for fold in np.unique(folds).tolist()}
    found, held_out = np.full(len(folds), LEARNT), list[NDArray[np.int64]]()
    for fold in sorted(kinds, key=lambda fold: (-kinds[fold], fold)):
        if sum(map(len, held_out)) < _ENOUGH * MOST_PAGES:
            held_out.append(np.flatnonzero(folds == fold))
    for number, rows in enumerate(held_out):
        found[rows] = number + ROUNDS * divide(rows, -(-FOLDS // len(held_out)))
    return found


def held_out_of(pages: LabelledPages, folds: NDArray[np.int64]) -> LabelledPages:
    """The pages that are held out in some fold."""
    return pages.take(folds != LEARNT)
