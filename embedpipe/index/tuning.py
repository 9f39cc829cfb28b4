"""How hard an index must search: recall measured against exact search, on pages that are not their own answer."""

import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from embedpipe.index.plans import efforts
from embedpipe.index.search import PageIndex, Setting
from embedpipe.index.segments import Queries

NEIGHBOURS = 10
QUERIES = 300
_DRAWN = 500
"""Pages by which the drift of the scaling is measured: 0.1 s."""
_NEAR = 0.6
"""Cosine from which pages are near enough for their estimates to matter by themselves, and not only their order."""
_KEPT = 64
"""So many of the nearest pages are kept for each query: those as near as the tenth count as well as it."""
_OVER_FETCH = (1, 2, 4, 8, 16, 32)
_RANKING_SECONDS = 15e-6
"""What it takes to read a page's features and compare them."""
_TIE = 1e-6


@dataclass(slots=True, eq=False)
class Truth:
    """The truly nearest pages of some pages, found while all pages go by.

    Attributes:
        page_ids: The queries, (q,).
        unit: Their rows, (q, dim).
        cosines: Of the nearest pages so far, best first, (q, m).
        ids: Their ids; never the query's own.
    """

    page_ids: NDArray[np.int64]
    unit: NDArray[np.float32]
    cosines: NDArray[np.float32]
    ids: NDArray[np.int64]

    @classmethod
    def of(cls, page_ids: NDArray[np.int64], unit: NDArray[np.float32]) -> "Truth":
        """Begins with nothing found."""
        n = len(page_ids)
        return cls(page_ids, unit, np.full((n, _KEPT), -2, np.float32), np.full((n, _KEPT), -1, np.int64))

    def look(self, ids: NDArray[np.int64], unit: NDArray[np.float32]) -> None:
        """Takes some more pages, (n,) and (n, dim)."""
        cosines = self.unit @ unit.T
        cosines[self.page_ids[:, None] == ids] = -2
        nearest = np.argpartition(-cosines, min(_KEPT, len(ids)) - 1, axis=1)[:, :_KEPT]
        both = np.concatenate([self.cosines, np.take_along_axis(cosines, nearest, axis=1)], axis=1)
        both_ids = np.concatenate([self.ids, ids[nearest]], axis=1)
        best = np.argsort(-both, axis=1, kind="stable")[:, :_KEPT]
        self.cosines, self.ids = np.take_along_axis(both, best, axis=1), np.take_along_axis(both_ids, best, axis=1)

    def found(self, candidates: NDArray[np.int64]) -> NDArray[np.float64]:
        """Share of the nearest pages among the candidates of each query, (q,): what is left after ranking again."""
        k = min(NEIGHBOURS, self.ids.shape[1])
        counts = np.zeros(len(self.ids))
        for query, (near, cosines, those) in enumerate(zip(self.ids, self.cosines, candidates, strict=True)):
            here = near[(cosines >= cosines[k - 1] - _TIE) & (near >= 0)]
            counts[query] = min(len(np.intersect1d(here, those)), k) / max(min(k, int((near >= 0).sum())), 1)
        return counts


def tune(index: PageIndex, truth: Truth) -> Setting:
    """The least effort whose measured recall, less its standard error, is what is wanted; else the most there is."""
    best: tuple[float, Setting] | None = None
    most: Setting | None = None
    slack, queries = 0.0, Queries.of(index.scaler, truth.unit)
    for effort in efforts(index.empty):
        seconds = 0.0
        for over_fetch in _OVER_FETCH:
            fetch = (NEIGHBOURS + 1) * over_fetch  # the page itself is among what is found
            if "efSearch" in effort or over_fetch == 1:  # a graph finds more where more is asked for; lists do not
                begin = time.perf_counter()
                most_fetched = fetch if "efSearch" in effort else (NEIGHBOURS + 1) * _OVER_FETCH[-1]
                estimates, ids = index.candidates(queries, min(most_fetched, len(index)), effort)
                seconds = (time.perf_counter() - begin) / len(truth.unit)
                slack = max(slack, _slack(truth, estimates, ids))
            shares = truth.found(ids[:, :fetch])
            recall, error = float(shares.mean()), float(shares.std() / np.sqrt(len(shares)))
            setting = replace(index.setting, recall=recall, effort=effort, over_fetch=over_fetch, queries=len(shares))
            if most is None or recall > most.recall:
                most = setting
            cost = seconds + NEIGHBOURS * over_fetch * _RANKING_SECONDS
            if recall - error >= setting.wanted and (best is None or cost < best[0]):
                best = cost, setting
        if best is not None and seconds > best[0]:
            break
    chosen = best[1] if best else most
    return replace(chosen or index.setting, slack=slack)


def drifted(index: PageIndex) -> Setting:
    """The setting with what has become of the nearest pages since the index was trained, by the scaling alone.

    Pages drawn from all that it holds are compared with each other, by the scaling of the training, which the trained
    segments have, and by that of the store now.
    """
    ids = index.page_ids
    ids = ids[np.sort(np.random.default_rng(0).permutation(len(ids))[:_DRAWN])]
    values, good = index.stored_rows(ids)
    X = values[good].astype(np.float32)
    if len(X) <= NEIGHBOURS + 1 or not index.rescaled:
        return replace(index.setting, agreement=1.0, drift=0.0)
    now, before = (_pairwise(unit) for unit in (index.unit(X), index.trained_unit(X)))
    near, nearest = (np.argsort(-cosines, axis=1, kind="stable")[:, :NEIGHBOURS] for cosines in (now, before))
    shares = [len(np.intersect1d(one, other)) / NEIGHBOURS for one, other in zip(near, nearest, strict=True)]
    more = np.r_[0.0, np.take_along_axis(now - before, near, axis=1)[np.take_along_axis(now, near, axis=1) >= _NEAR]]
    return replace(index.setting, agreement=float(np.mean(shares)), drift=max(float(np.quantile(more, 0.999)), 0.0))


def _pairwise(unit: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosines of all pairs of rows, (n, n); no row is near itself."""
    cosines: NDArray[np.float32] = unit @ unit.T
    np.fill_diagonal(cosines, -2)
    return cosines


def _slack(truth: Truth, estimates: NDArray[np.float32], ids: NDArray[np.int64]) -> float:
    """By how much the estimates of near pages fall short of their cosines, nearly at most."""
    short = [0.0]
    for near, cosines, those, guesses in zip(truth.ids, truth.cosines, ids, estimates, strict=True):
        _, one, other = np.intersect1d(near, those, return_indices=True)
        short += (cosines[one] - guesses[other]).tolist()
    return float(np.quantile(short, 0.999)) + 0.01
