"""Which labelled pages figures and decisions may come from, where the network itself was trained on some of them.

This is the one place that decides it, for fitting, evaluating, comparing and checking labels alike.
"""

import contextlib

import numpy as np
from numpy.typing import NDArray

from embedpipe.classifiers.folds import FOLDS, LEARNT, grouped_folds
from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.core.errors import LabelsError

FEWEST_UNSEEN = 10
"""Documents that a trained network has not seen, below which no figure is claimed."""


def honest_folds(pages: LabelledPages, seed: int = 0, n_folds: int = FOLDS) -> NDArray[np.int64]:
    """As `folds.grouped_folds`, of the pages that the network has not seen; the others are `LEARNT` from, (n,).

    A network that was trained on a page's type gives features that contain it, also for a classifier that never saw
    the page: figures of such pages would be too high. New documents meet a classifier that has learnt from seen and
    unseen ones alike, and so do those that are held out here. With too few unseen documents nothing is held out.

    Args:
        pages: Labelled ones, with groups.
        seed: Of the division.
        n_folds: How many folds, fewer where there are fewer groups.

    Raises:
        LabelsError: There are fewer than two types, or fewer than two groups.
    """
    folds = grouped_folds(pages, n_folds, seed)
    if pages.seen is None or not pages.seen.any():
        return folds
    seen = np.isin(pages.groups, pages.groups[pages.seen])  # groups may have been joined since
    folds = np.full(len(folds), LEARNT)
    if len(np.unique(pages.documents[~seen])) >= FEWEST_UNSEEN:
        with contextlib.suppress(LabelsError):  # all of one type, or of one group
            folds[~seen] = grouped_folds(pages.take(~seen), n_folds, seed)
    return folds


def held_out_of(pages: LabelledPages, folds: NDArray[np.int64]) -> LabelledPages:
    """The pages that are held out in some fold."""
    return pages.take(folds != LEARNT)
