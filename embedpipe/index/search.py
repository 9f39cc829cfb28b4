"""Searching the index: candidates from its segments, ranked again with the exact features of the store."""

import itertools
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedpipe.core.errors import ArtifactError
from embedpipe.core.records import Identity
from embedpipe.index.row_reader import Spans, checksums, read_rows
from embedpipe.index.segments import Effort, Queries, Segment, document_keys
from embedpipe.store.features import FeatureStore
from embedpipe.store.moments import Moments, Scaling, same_scaling
from embedpipe.store.parts import ROW_BITS

log = logging.getLogger(__name__)

_EXACT_PAGES = 1000
"""Among so few pages every one is compared, with its features from the store."""
_BLOCK = 4096
_SCALED = 128
"""Rows that are scaled at a time: what lies in between stays in the caches of the processor."""
_FIRST_RANGE = 16
_MOST_EFFORT = 1 << 20
_DRIFTED_FETCH = 2
"""So many times more candidates are ranked again once the scaling is not that of the training any more."""
_FEW = 256
"""Up to so many pages are left out by looking for as many more."""
_NOBODY = np.empty(0, np.int64)
_NONE = -2.0
"""Where there is no page: less than any cosine."""

Masks = list[NDArray[np.bool_] | None]
"""Which rows of each segment may be found; None for all."""

Part = tuple[str, str]
"""Name and SHA-256 of a part."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What an index is, and how it is searched.

    Attributes:
        factory: As FAISS names it.
        wanted: Share of the truly nearest pages that was asked for.
        recall: Share that was measured, on pages of the store that are not their own answer; 1 for exact search.
        effort: `nprobe` or `efSearch`.
        over_fetch: So many times more candidates are ranked again than pages are asked for.
        slack: By how much an estimated cosine of a near page may be too small.
        queries: Pages that the recall was measured on; 0 for exact search.
        trained_pages: Pages of the store when the index was trained.
        requested: What was asked for: `auto`, or the factory.
        memory: Bytes that it may take; None for the usual share.
        agreement: Share of the nearest pages that the scaling of the training finds as well as that of the store.
        drift: By how much more the cosine of a near page may be than by the scaling of the training.
    """

    factory: str = "Flat"
    wanted: float = 1.0
    recall: float = 1.0
    effort: Effort = field(default_factory=dict)
    over_fetch: int = 1
    slack: float = 0.0
    queries: int = 0
    trained_pages: int = 0
    requested: str = "auto"
    memory: int | None = None
    agreement: float = 1.0
    drift: float = 0.0


@dataclass(slots=True, eq=False)
class PageIndex:
    """Nearest pages by cosine of the scaled features. Made by `page_index.fresh_index`; a snapshot that never changes.

    Attributes:
        store: The snapshot of the store that it is of.
        parts: The parts that it holds, by number.
        scaler: Fitted on all pages that it holds: cosines are those of the features scaled so.
        setting: What it is.
        segments: The pages.
        forgotten: Page ids in the segments that the store does not hold any more, ascending.
        spans: Where the features of each part lie in its file, by the part's number.
        empty: A trained FAISS index without rows; None for exact search.
        trained_scaler: What the rows of trained segments were scaled with; None for exact search.
        moments: Of each part, by its number: what `scaler` follows from.
        hidden: Page ids that it holds and that are never found: their documents are not current.
    """

    store: FeatureStore
    parts: dict[int, Part]
    scaler: Scaling
    setting: Setting
    segments: list[Segment]
    forgotten: NDArray[np.int64]
    spans: dict[int, Spans]
    empty: Any = None
    trained_scaler: Scaling | None = None
    moments: dict[int, Moments] = field(default_factory=dict)
    hidden: NDArray[np.int64] = field(default_factory=lambda: _NOBODY)
    _kept: Masks | None = field(default=None, init=False, repr=False)

    @property
    def identity(self) -> Identity:
        """The space."""
        return self.store.identity

    @property
    def page_ids(self) -> NDArray[np.int64]:
        """The pages that it holds, int64, ascending."""
        ids = np.sort(np.concatenate([_NOBODY, *(segment.page_ids for segment in self.segments)]))
        return ids[~_among(ids, self.forgotten)] if len(self.forgotten) else ids

    def __len__(self) -> int:
        """Number of pages."""
        return sum(map(len, self.segments)) - len(self.forgotten)

    def pages_of_documents(self, sha256s: Iterable[str]) -> NDArray[np.int64]:
        """Page ids of documents, those of a document in the order of its pages; unknown documents have none.

        Documents are distinguished by 64 bits of their hashes; compare the whole ones where it matters, with
        `FeatureStore.pages_of`.
        """
        found = [segment.pages_of(key) for key in document_keys(list(sha256s)) for segment in self.segments]
        ids = np.concatenate([np.empty(0, np.int64), *found])
        return ids[~_among(ids, self._never)]

    @property
    def _never(self) -> NDArray[np.int64]:
        """Ids of pages that are never found."""
        return np.union1d(self.forgotten, self.hidden) if len(self.hidden) else self.forgotten

    def search(
        self,
        X: NDArray[np.float32],
        k: int,
        *,
        allowed: NDArray[np.int64] | None = None,
        excluded: NDArray[np.int64] | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The k nearest pages of each query.

        Args:
            X: Features as the store holds them, float32 (n, dim).
            k: How many; fewer where fewer pages may be found.
            allowed: Ids of the only pages to look among, int64; None for all. Ids that it does not hold are ignored.
            excluded: Ids of pages to leave out, int64.

        Returns:
            Cosines, best first, and page ids, both (n, k).
        """
        queries = self.queries(X)
        out = self._never if excluded is None else np.union1d(self._never, excluded)
        if allowed is None and len(out) <= _FEW:  # dropped from what is found: cheaper than a mask over all pages
            masks: Masks = [None] * len(self.segments)
            pages = sum(len(segment) - len(segment.rows_of(out)) for segment in self.segments)
        else:
            masks, pages, out = *self._masks(allowed, excluded), _NOBODY
        k = min(k, pages)
        if not k:
            return np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
        exact = all(segment.exact for segment in self.segments)
        if not exact and (pages <= _EXACT_PAGES or 2 * k > pages):
            cosines, ids = self._compare(queries.unit, self._ids(allowed, excluded), k)
        else:
            fetch = k if exact else k * self._over_fetch
            effort = self._effort(pages / max(len(self), 1), fetch + len(out))
            cosines, ids = self.candidates(queries, fetch + len(out), effort, masks)
            cosines, ids = _first(np.where(_among(ids, out), _NONE, cosines), ids, fetch)
            if not exact:
                cosines, ids = self._rank_again(queries.unit, cosines, ids)
            cosines, ids = _first(cosines, ids, k)
            short = np.flatnonzero((ids < 0).any(axis=1))
            if len(short):  # the lists or the part of the graph that were looked at held too few
                cosines[short], ids[short] = self._compare(queries.unit[short], self._ids(allowed, excluded), k)
        width = int((ids >= 0).sum(axis=1).min(initial=k))  # pages may be damaged
        return cosines[:, :width], ids[:, :width]

    def range_search(
        self, X: NDArray[np.float32], threshold: float
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
        """All pages whose cosine with a query is at least a threshold, as far as the recall of the index goes.

        Args:
            X: Features as the store holds them, float32 (n, dim); some thousand at a time bound the memory.
            threshold: The least cosine.

        Returns:
            Limits (n + 1,), cosines and page ids, both (limits[-1],): those of query i, best first, are at
            `limits[i]:limits[i + 1]`.
        """
        wanted = self.queries(X)
        if not len(self) or not len(X):
            return np.zeros(len(X) + 1, np.int64), np.empty(0, np.float32), _NOBODY
        if all(segment.exact for segment in self.segments):
            masks, _ = self._masks(None, None)
            found = [s.range_search(wanted, threshold, mask) for s, mask in zip(self.segments, masks, strict=True)]
        else:
            found = list(self._growing_range(wanted, threshold))
        queries, cosines, ids = (np.concatenate(columns) for columns in zip(*found, strict=True))
        order = np.lexsort((ids, -cosines, queries))
        limits = np.r_[0, np.bincount(queries, minlength=len(X)).cumsum()].astype(np.int64)
        return limits, cosines[order], ids[order]

    def near(self, X: NDArray[np.float32], k: int, threshold: float) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The k nearest pages of each query above a cosine, as the index estimates it.

        They are not ranked again: no row of the store is read, so that every page of a million can be asked for.

        Args:
            X: Features as the store holds them, float32 (n, dim).
            k: How many at most.
            threshold: The least cosine; where cosines are estimated, somewhat smaller ones are let through.

        Returns:
            Page ids, (n, k), -1 where there is none, and for which queries there would have been more, (n,).
        """
        masks, pages = self._masks(None, None)
        fetch = min(k + 1, pages)
        cosines, ids = self.candidates(self.queries(X), fetch, self._effort(1.0, fetch), masks)
        ids = np.where(cosines >= threshold - self._slack, ids, -1)
        ids = np.pad(ids, ((0, 0), (0, k + 1 - fetch)), constant_values=-1)
        return ids[:, :k], ids[:, k] >= 0

    def unit(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features as the index compares them: scaled, of unit length."""
        return _unit(self.scaler, X)

    def trained_unit(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features as what was trained compares them: with the scaling that it was trained with."""
        return _unit(self.trained_scaler or self.scaler, X)

    @property
    def rescaled(self) -> bool:
        """Whether the scaling is another one than that of the training."""
        return self.trained_scaler is not None and not same_scaling(self.trained_scaler, self.scaler)

    def queries(self, X: NDArray[np.float32]) -> Queries:
        """Features as segments look for them."""
        return Queries.of(self.scaler, self.unit(X), self.trained_unit(X) if self.rescaled else None)

    @property
    def _over_fetch(self) -> int:
        return self.setting.over_fetch * (_DRIFTED_FETCH if self.rescaled else 1)

    @property
    def _slack(self) -> float:
        return self.setting.slack + self.setting.drift

    def exact_rows(self, page_ids: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Unit rows of pages from the store, (n, dim), and which of them could be read whole, (n,)."""
        values, good = self.stored_rows(page_ids)
        return self.unit(values.astype(np.float32)), good

    def stored_rows(self, page_ids: NDArray[np.int64]) -> tuple[NDArray[np.float16], NDArray[np.bool_]]:
        """Features of pages from the store, as they are there, (n, dim), and which could be read whole, (n,)."""
        values = np.zeros((len(page_ids), self.store.dim), np.float16)
        checks = np.zeros(len(page_ids), np.uint32)
        for segment in self.segments:
            rows, order, checks_here = self._places(segment, page_ids)
            checks[order] = checks_here
            numbers = page_ids[order] >> ROW_BITS
            cuts = np.r_[0, np.flatnonzero(np.diff(numbers)) + 1, len(order)].tolist() if len(order) else [0]
            for first, last in itertools.pairwise(cuts):
                values[order[first:last]] = self._read(int(numbers[first]), rows[first:last])
        good = checksums(values) == checks
        if not good.all():
            log.warning("%s was changed: %d of its pages are left out", self.store.path, int((~good).sum()))
        return values, good

    def _places(
        self, segment: Segment, page_ids: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint32]]:
        """Those of some pages that are in a segment, in the order of their ids.

        Returns:
            Their rows in their part's file, where they stand in `page_ids`, and their checksums.
        """
        order = np.argsort(page_ids, kind="stable")
        places = np.searchsorted(segment.page_ids, page_ids[order]).clip(max=len(segment) - 1)
        here = segment.page_ids[places] == page_ids[order]
        order, places = order[here], places[here]
        first_ids = page_ids[order] >> ROW_BITS << ROW_BITS
        gone = np.searchsorted(self.forgotten, page_ids[order]) - np.searchsorted(self.forgotten, first_ids)
        return places - np.searchsorted(segment.page_ids, first_ids) - gone, order, segment.checksums[places]

    def _read(self, number: int, rows: NDArray[np.int64]) -> NDArray[np.float16]:
        """Features of rows of a part, not checked; zeros where there are none."""
        name, spans = self.parts[number][0], self.spans[number]
        try:
            if len(spans.starts):
                return read_rows(os.path.join(self.store.path, name), spans, rows, self.store.dim)
            return self.store.raw_features(name)[rows]
        except (OSError, LookupError, ArtifactError):  # it was removed since
            return np.zeros((len(rows), self.store.dim), np.float16)

    def _masks(self, allowed: NDArray[np.int64] | None, excluded: NDArray[np.int64] | None) -> tuple[Masks, int]:
        """Which rows of each segment may be found, and how many they are."""
        if self._kept is None:
            self._kept = []
            for segment in self.segments:
                gone = segment.rows_of(self._never)
                left = np.ones(len(segment), bool)
                left[gone] = False
                self._kept.append(left if len(gone) else None)
        masks: Masks = []
        wanted, out = (None if ids is None else np.unique(ids) for ids in (allowed, excluded))
        for segment, kept in zip(self.segments, self._kept, strict=True):
            mask: NDArray[np.bool_] | None = kept
            if wanted is not None:
                rows = segment.rows_of(wanted)
                mask = np.zeros(len(segment), bool)
                mask[rows] = True if kept is None else kept[rows]
            if out is not None:
                mask = np.ones(len(segment), bool) if mask is None else mask.copy()
                mask[segment.rows_of(out)] = False
            masks.append(mask)
        counts = (len(s) if m is None else int(np.count_nonzero(m)) for s, m in zip(self.segments, masks, strict=True))
        return masks, sum(counts)

    def _ids(self, allowed: NDArray[np.int64] | None, excluded: NDArray[np.int64] | None) -> NDArray[np.int64]:
        """The pages that may be found."""
        masks, _ = self._masks(allowed, excluded)
        return np.concatenate(
            [s.page_ids if mask is None else s.page_ids[mask] for s, mask in zip(self.segments, masks, strict=True)]
        )

    def _effort(self, share: float, fetch: int) -> Effort:
        """Looks at so many more lists or nodes as pages are left out: else few of those looked at would count."""
        return scaled_effort(self.setting.effort, 1 / max(share, 1e-6), fetch)

    def candidates(
        self, queries: Queries, fetch: int, effort: Effort, masks: Masks | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The best of all segments, as they see them; ids are -1 where there are fewer."""
        found = [
            s.search(queries, fetch, effort, mask)
            for s, mask in zip(self.segments, masks or [None] * len(self.segments), strict=True)
            if mask is None or mask.any()
        ]
        cosines = np.concatenate([np.where(ids < 0, _NONE, cosines) for cosines, ids in found], axis=1)
        return _first(cosines, np.concatenate([ids for _, ids in found], axis=1), fetch)

    def _rank_again(
        self, unit: NDArray[np.float32], estimates: NDArray[np.float32], ids: NDArray[np.int64], least: float = _NONE
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Candidates in the order of their exact cosines; those estimated below `least` are left out, as -1."""
        cosines = np.full(ids.shape, _NONE, np.float32)
        for row in range(len(ids)):
            here = np.flatnonzero((ids[row] >= 0) & (estimates[row] >= least))
            if len(here):
                exact, good = self.exact_rows(ids[row, here])
                cosines[row, here] = np.where(good, exact @ unit[row], _NONE)
        return _first(cosines, ids, ids.shape[1])

    def _compare(
        self, unit: NDArray[np.float32], ids: NDArray[np.int64], k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The nearest of some pages, by comparing each of them; ids are -1 where pages are damaged."""
        best = np.full((len(unit), k), _NONE, np.float32), np.full((len(unit), k), -1, np.int64)
        for first in range(0, len(ids), _BLOCK):
            block = ids[first : first + _BLOCK]
            rows, good = self.exact_rows(block)
            cosines = np.concatenate([best[0], unit @ rows[good].T], axis=1)
            found = np.concatenate([best[1], np.broadcast_to(block[good], (len(unit), int(good.sum())))], axis=1)
            best = _first(cosines, found, k)
        return best

    def _growing_range(
        self, wanted: Queries, threshold: float
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]]:
        """Looks for more and more neighbours, until none of the farther half of a query's is near enough."""
        (masks, _), least = self._masks(None, None), threshold - self._slack
        queries, fetch = np.arange(len(wanted)), 2 * max(_FIRST_RANGE, self._over_fetch)
        while len(queries):
            fetch = min(fetch, len(self))
            some = wanted.take(queries)
            estimates, ids = self.candidates(some, fetch, self._effort(1.0, fetch), masks)
            cosines, ranked = self._rank_again(some.unit, estimates, ids, least)
            near = (cosines >= threshold) & (ranked >= 0)
            farther = ids[:, ids.shape[1] // 2 :]
            more = [np.isin(far, found[here]).any() for far, found, here in zip(farther, ranked, near, strict=True)]
            done = ~np.array(more) | (fetch == len(self)) | (ids[:, -1] < 0)
            yield queries[done].repeat(near[done].sum(axis=1)), cosines[done][near[done]], ranked[done][near[done]]
            queries, fetch = queries[~done], 4 * fetch


def _unit(scaler: Scaling, X: NDArray[np.float32]) -> NDArray[np.float32]:
    if not len(X):
        return np.empty((0, X.shape[1]), np.float32)
    unit = np.empty(X.shape, np.float32)
    for first in range(0, len(X), _SCALED):
        scaled = scaler.transform(X[first : first + _SCALED])
        unit[first : first + _SCALED] = scaled / np.maximum(np.linalg.norm(scaled, axis=1, keepdims=True), 1e-12)
    return unit


def _first(
    cosines: NDArray[np.float32], ids: NDArray[np.int64], k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The k best of each row, best first, of equal ones that with the smaller id; ids are -1 where there is no page."""
    if cosines.shape[1] < k:
        missing = ((0, 0), (0, k - cosines.shape[1]))
        cosines, ids = np.pad(cosines, missing, constant_values=_NONE), np.pad(ids, missing, constant_values=-1)
    order = np.lexsort((ids, -cosines), axis=1)[:, :k]
    cosines, ids = np.take_along_axis(cosines, order, axis=1), np.take_along_axis(ids, order, axis=1)
    return cosines, np.where(cosines > _NONE, ids, -1)


def scaled_effort(effort: Effort, factor: float, fetch: int) -> Effort:
    """An effort times a factor; a graph keeps at least as many nodes in sight as are asked for."""
    scaled = {name: int(min(value * factor, _MOST_EFFORT)) for name, value in effort.items()}
    return {name: max(value, fetch) if name == "efSearch" else value for name, value in scaled.items()}


def _among(ids: NDArray[np.int64], ascending: NDArray[np.int64]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.isin(ids, ascending, kind="sort")
    return found
