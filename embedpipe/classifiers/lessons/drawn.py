"""Which of many labelled pages are held out: so many that figures of them are good, and the others are learnt from."""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from embedpipe.classifiers.folds import FOLDS, LEARNT, ROUNDS, grouped_folds
from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.classifiers.lessons.held_out import honest_folds
from embedpipe.core.errors import LabelsError
from embedpipe.store.features import FeatureStore
from embedpipe.store.workspace import Workspace

MOST_PAGES = 20_000
"""Pages that figures and decisions are measured on, or some more, where there are more."""

_LEFT = 0.5
"""Share of a type's pages that are learnt from at least while a round is held out, unless one group has more."""

_FEW_FOLDS = 3

_Work = TypeVar("_Work", bound=Callable[..., Any])


def by_few_threads(work: _Work) -> _Work:
    """Multiplies matrices by one thread at a time while a function works on a store of at most `MOST_PAGES` pages.

    More threads wait busily for each other where a matrix is small: on a machine with other work to do, fitting took
    three times as long by them. Folds, which are fitted beside each other, use all cores anyway.
    """

    @wraps(work)
    def limited(workspace: Workspace, store: FeatureStore, *args: Any, **kwargs: Any) -> Any:
        few = sum(part.rows for part in store.origin.parts) <= MOST_PAGES
        with ThreadpoolController().limit(limits=1, user_api="blas") if few else contextlib.nullcontext():
            return work(workspace, store, *args, **kwargs)

    return cast("_Work", limited)


def drawn_folds(pages: LabelledPages, seed: int = 0) -> NDArray[np.int64]:
    """As `honest_folds`, of about `MOST_PAGES` pages where there are more, (n,); the others are `LEARNT` from.

    Figures of 2,500 documents are as good as those of 12,500, and five classifiers of nearly all pages take five times
    as long as the one that is wanted. So groups of each type are drawn until about a fifth of its pages are held out,
    and again for another round, until there are enough; of 100,000 pages one round is. The pages of a round are folds
    of one round (`folds.rounds_of`), so that there are at least five folds.

    Args:
        pages: Labelled ones, with groups.
        seed: Of the division.

    Raises:
        LabelsError: There are fewer than two types, or fewer than two groups.
    """
    pages = replace(pages, X=pages.X[:, :0], words=None, variants=None)  # they are copied below
    folds = honest_folds(pages, seed)
    rows = np.flatnonzero(folds != LEARNT)
    if len(rows) <= MOST_PAGES:
        return folds
    own = pages.take(rows)
    count, share = _rounds(len(rows))
    rounds = _drawn(own, count, share, seed)
    folds[:] = LEARNT
    for number in np.unique(rounds[rounds != LEARNT]).tolist():
        some, parts = np.flatnonzero(rounds == number), np.zeros(1, np.int64)
        with contextlib.suppress(LabelsError):  # all of one type, or of one group
            parts = grouped_folds(own.take(some), -(-FOLDS // count), seed)
        folds[rows[some]] = number + ROUNDS * parts
    return folds


def judged_folds(pages: LabelledPages, seed: int = 0) -> NDArray[np.int64]:
    """As `honest_folds`, where an answer about every page is wanted; of many pages in three folds, to save time, (n,).

    Raises:
        LabelsError: There are fewer than two types, or fewer than two groups.
    """
    return honest_folds(pages, seed, FOLDS if len(pages.y) <= MOST_PAGES else _FEW_FOLDS)


def careless_folds(n: int) -> NDArray[np.int64]:
    """Folds of n pages at random, as people split them who forget that pages of one document look alike, (n,).

    Of many pages about as many are held out as of `drawn_folds`.
    """
    order = np.random.default_rng(0).permutation(n)
    if n <= MOST_PAGES:
        return order % FOLDS
    count, share = _rounds(n)
    folds = order % count + ROUNDS * (order // count % -(-FOLDS // count))
    return np.where(order < round(n * count * share), folds, LEARNT)


def _rounds(n: int) -> tuple[int, float]:
    """How many rounds hold out enough of n pages, and which share of them each."""
    return min(-(-MOST_PAGES * FOLDS // n), FOLDS), min(1 / FOLDS, MOST_PAGES / n)


def _drawn(pages: LabelledPages, rounds: int, share: float, seed: int) -> NDArray[np.int64]:
    """In which round each page is held out, `LEARNT` where in none, (n,): whole groups, of each type as many."""
    rng, types = np.random.default_rng(seed), np.unique(pages.y.astype(str), return_inverse=True)[1]
    names, owner = np.unique(pages.groups, return_inverse=True)
    counts = np.zeros((len(names), int(types.max()) + 1), np.int64)
    np.add.at(counts, (owner, types), 1)
    kinds, drawn = counts.argmax(axis=1), np.full(len(names), LEARNT)
    for kind, total in enumerate(counts.sum(axis=0).tolist()):
        own = rng.permutation(np.flatnonzero(kinds == kind))
        if len(own) < 2:  # noqa: PLR2004 - never learnt and tested at once
            continue
        for number in range(rounds):
            taken, left = 0, own[drawn[own] == LEARNT].tolist()
            for group in left:
                size = int(counts[group, kind])
                if taken < share * total and taken + size <= (1 - _LEFT) * total:
                    drawn[group], taken = number, taken + size
            if left and not taken:
                drawn[min(left, key=lambda group: int(counts[group].sum()))] = number
    found: NDArray[np.int64] = drawn[owner]
    return found
