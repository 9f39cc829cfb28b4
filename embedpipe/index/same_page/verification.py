"""Which pairs of pages show the same picture.

Every page is drawn once and sketched, and only likely pairs are looked at closely. Never more than some thousand
sketches, or a hundred pictures, are in memory.
"""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from embedpipe.core.machine import available_cores
from embedpipe.core.records import PARTIAL, Document, PageImage, Recipe
from embedpipe.embedding.streaming import page_renderer, stream_pages
from embedpipe.index.near_duplicates import Groups, connected
from embedpipe.index.same_page.agreement import SAME_PICTURE, SIZE, Contrast, agreement, contrast
from embedpipe.index.same_page.sketches import Overlay, Sketch, inky_blocks, overlay, sketch
from embedpipe.pages.documents import ReadOptions
from embedpipe.pages.rendering import Renderer

LIKELY = 0.35
"""Likeness of two sketches from which the pages are looked at closely, see docs/quality.md."""

NEARLY_BLANK = 3
"""Pages with ink in fewer of the 64 blocks of their sketch are the same only where all pixels are."""

_SKETCHES = 8192
"""In memory at once, 300 MB."""

_PICTURES = 128
"""In memory at once while pairs are looked at closely, 330 MB."""

_AT_A_TIME = 64
"""Pairs that are looked at before the groups are: those that are in one group by then need not be."""

Page = tuple[Document, int]
Pair = tuple[int, int]
_Pairs = NDArray[np.int64]


@dataclass(slots=True)
class Verified:
    """What was found out about pairs of rows.

    Attributes:
        groups: Rows that show the same page, joined.
        agreements: Of the pairs that agree; 1 for the same pixels. Pairs in one group already were not looked at.
        sketched: Pairs whose sketches were compared.
        compared: Pairs that were looked at closely.
        unreadable: Rows that could not be drawn.
        nearly_blank: Rows with next to nothing on them.
        stand_ins: Rows whose documents have more than their pages show, as is seen only now: they are compared with
            none.
    """

    groups: Groups
    agreements: dict[Pair, float] = field(default_factory=dict)
    sketched: int = 0
    compared: int = 0
    unreadable: set[int] = field(default_factory=set)
    nearly_blank: set[int] = field(default_factory=set)
    stand_ins: set[int] = field(default_factory=set)

    def agree(self, pair: Pair, value: float) -> None:
        """Notes that two rows show the same page."""
        self.agreements[pair] = value
        self.groups.join(*pair)


def verify(pages: Sequence[Page | None], pairs: _Pairs, *, same_picture: float = SAME_PICTURE) -> Verified:
    """Compares the pictures of pairs of pages.

    Args:
        pages: Of each row; None where its document is gone.
        pairs: Rows, int64 (m, 2); the first of a pair is laid below.
        same_picture: Least agreement of the pictures of one page.
    """
    options = ReadOptions(Recipe(size=SIZE, resize="aspect"))
    with ThreadPoolExecutor(available_cores()) as pool, page_renderer(options, len(pairs)) as renderer:
        comparison = _Comparison(pages, same_picture, pool, renderer, Verified(Groups(len(pages))))
        for some in _chunks(_by_component(pairs, len(pages)), _SKETCHES):
            likely = comparison.likely(some)
            closest = sorted(likely, key=lambda pair: (-likely[pair].likeness, pair))
            rows = np.array(closest, np.int64).reshape(-1, 2)
            for few in _chunks(_by_component(rows, len(pages)), _PICTURES):
                comparison.look_closely([(int(i), int(j)) for i, j in few], likely)
    return comparison.found


def _by_component(pairs: _Pairs, n: int) -> _Pairs:
    """Pairs of rows that hang together, one after the other, else as they were: so each page is drawn about once."""
    return pairs[np.argsort(connected(pairs, n)[pairs[:, 0]], kind="stable")]


def _chunks(pairs: _Pairs, most: int) -> Iterator[_Pairs]:
    """Cuts pairs into runs of few pages."""
    start, seen = 0, set[int]()
    for number, pair in enumerate(pairs.tolist()):
        if len(seen) + sum(row not in seen for row in pair) > most:
            yield pairs[start:number]
            start, seen = number, set()
        seen.update(pair)
    if start < len(pairs):
        yield pairs[start:]


@dataclass(slots=True)
class _Comparison:
    """What the steps share."""

    pages: Sequence[Page | None]
    same_picture: float
    pool: ThreadPoolExecutor
    renderer: Renderer
    found: Verified

    def likely(self, pairs: _Pairs) -> dict[Pair, Overlay]:
        """The pairs whose sketches are alike; pages with the same pixels are joined at once."""
        sketches: dict[int, Sketch] = {}
        same: dict[bytes, list[int]] = {}
        for row, pixels in self._drawn(np.unique(pairs)):
            sketches[row] = sketch(pixels)
            digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()
            same.setdefault(digest, []).append(row)
        for rows in same.values():
            first, *others = sorted(rows)
            for other in others:
                self.found.agree((first, other), 1.0)
        sparse = {row for row, own in sketches.items() if inky_blocks(own) < NEARLY_BLANK}
        self.found.nearly_blank |= sparse
        shown = sketches.keys() - sparse
        wanted = [(i, j) for i, j in self._apart(pairs.tolist()) if i in shown and j in shown]
        self.found.sketched += len(wanted)
        overlays = self.pool.map(lambda pair: overlay(sketches[pair[0]], sketches[pair[1]]), wanted)
        return {pair: own for pair, own in zip(wanted, overlays, strict=True) if own and own.likeness >= LIKELY}

    def look_closely(self, pairs: Sequence[Pair], likely: dict[Pair, Overlay]) -> None:
        """Joins the pairs whose pictures agree."""
        wanted = self._apart(pairs)
        rows = np.unique(np.array(wanted, np.int64))
        pictures: dict[int, Contrast] = {row: contrast(pixels) for row, pixels in self._drawn(rows)}

        def agreement_of(pair: Pair) -> float:
            return agreement(pictures[pair[0]], pictures[pair[1]], likely[pair].affine, self.same_picture)

        shown = [(i, j) for i, j in wanted if i in pictures and j in pictures]
        for start in range(0, len(shown), _AT_A_TIME):
            some = self._apart(shown[start : start + _AT_A_TIME])
            self.found.compared += len(some)
            for pair, value in zip(some, list(self.pool.map(agreement_of, some)), strict=True):
                if value >= self.same_picture:
                    self.found.agree(pair, value)

    def _apart(self, pairs: Sequence[Sequence[int]]) -> list[Pair]:
        """The pairs that are in no group together yet."""
        root = self.found.groups.root
        return [(i, j) for i, j in pairs if root(i) != root(j)]

    def _drawn(self, rows: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Pictures of some rows, uint8 (H, W, 3), in no fixed order; rows without one are noted."""
        row_of = {(page[0].sha256, page[1]): row for row in rows.tolist() if (page := self.pages[row])}
        missing = set(rows.tolist())
        for page in stream_pages([page for row in row_of.values() if (page := self.pages[row])], self.renderer):
            if isinstance(page, PageImage):
                ref = page.info.ref
                row = row_of[ref.document_sha256, ref.page_index]
                missing.discard(row)
                if page.info.outcome in PARTIAL:
                    self.found.stand_ins.add(row)
                    continue
                yield row, page.pixels
        self.found.unreadable |= missing
