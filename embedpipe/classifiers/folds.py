"""How labelled pages are divided so that figures are honest, and how work on the folds is spread over the cores."""

import itertools
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from embedpipe.classifiers.bundles import WORDS
from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.classifiers.parts import Part
from embedpipe.core.errors import LabelsError
from embedpipe.core.machine import available_cores
from embedpipe.core.threads import beside_each_other

_T = TypeVar("_T")

FOLDS = 5

MANY_PAGES = 20_000
"""Of more pages one fold is fitted at a time, which uses all cores by itself: each holds two copies of its pages."""

LEARNT = -1
"""In place of a fold: the page is always learnt from and never held out."""

ROUNDS = 100
"""Folds whose numbers differ by a multiple of this are held out in one round, see `rounds_of`."""


def grouped_folds(pages: LabelledPages, n_folds: int = FOLDS, seed: int = 0) -> NDArray[np.int64]:
    """Which fold holds each page out: groups stay together, types are spread evenly, (n,).

    Raises:
        LabelsError: There are fewer than two types, or fewer than two groups.
    """
    types = np.unique(pages.y)
    if len(types) < 2:  # noqa: PLR2004
        raise LabelsError(f"all labelled pages are of the type {types[0]!r}: label documents of another type as well")
    if len(np.unique(pages.groups)) < 2:  # noqa: PLR2004
        raise LabelsError("all labelled pages are of one group: label more documents")
    largest = max(int(np.sum(pages.y == kind)) for kind in types)
    n_folds = min(n_folds, len(np.unique(pages.groups)), max(largest, 2))
    if largest < 2:  # noqa: PLR2004
        raise LabelsError("each type has one labelled page only: label more documents")
    folds = np.zeros(len(pages.y), np.int64)
    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a type with fewer groups than folds is said in the metrics
        for fold, (_, held_out) in enumerate(splitter.split(pages.X, pages.y, pages.groups)):
            folds[held_out] = fold
    return folds


def rounds_of(folds: NDArray[np.int64]) -> NDArray[np.int64]:
    """In which round each page is held out, (n,).

    One classifier answers for all pages of a round, and has learnt from none of them. Each fold is a round of its own,
    but where folds of many pages share one (`lessons.drawn`): weights and calibrations are then learnt in the other
    folds as ever, from answers of a classifier that saw none of these pages.

    Args:
        folds: Of `grouped_folds` or of the functions of `held_out`, (n,).
    """
    return np.where(folds == LEARNT, LEARNT, folds % ROUNDS)


def in_each_fold(
    work: Callable[..., None],
    folds: NDArray[np.int64],
    parts: Sequence[Part] = (),
    others: Sequence[Callable[[], Any]] = (),
) -> list[Any]:
    """Calls a function for each fold, and each part where there are any; several at a time.

    Args:
        work: The function; takes the number of a fold, and a part where there are any.
        folds: Of pages, (n,).
        parts: For each of these in each fold.
        others: What is called besides, so that no core is idle at the end; what these give is returned.
    """
    numbers = [int(fold) for fold in np.unique(folds) if fold != LEARNT]
    jobs = [(number, part) for number in numbers for part in parts] if parts else [(number,) for number in numbers]
    if len(folds) <= MANY_PAGES:
        return beside_each_other([*(partial(work, *job) for job in jobs), *others], FOLDS)[len(jobs) :]
    for number in numbers:
        if parts:
            at_once(partial(work, number), parts)
        else:
            work(number)
    return beside_each_other(others, FOLDS) if others else []


def at_once(work: Callable[[Part], _T], parts: Sequence[Part]) -> list[_T]:
    """What a function gives for each part; words beside the others, which are done one after the other.

    Copies of all features for several parts would be too large, but words are learnt from some pages only.
    """
    words, others = ([part for part in parts if (part.name == WORDS) == those] for those in (True, False))

    def several(some: Sequence[Part]) -> list[_T]:
        return [work(part) for part in some]

    sides = Parallel(n_jobs=min(available_cores(), 2), prefer="threads")(
        delayed(several)(some) for some in (others, words) if some
    )
    found = dict(zip([part.name for part in (*others, *words)], itertools.chain(*sides), strict=True))
    return [found[part.name] for part in parts]
