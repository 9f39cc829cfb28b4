"""Which pairs of pages show the same picture.

Thumbnails decide what is clearly not the same: first both as a whole, then block by block. Only pages of the pairs that
are left are drawn, and looked at closely. Never more than some thousand sketches, or a hundred pictures, are in memory.
"""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, groupby
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from embedpipe.core.machine import available_cores
from embedpipe.core.records import PARTIAL, PageImage, Recipe
from embedpipe.embedding.page_pictures import documents_of, page_jpegs
from embedpipe.embedding.streaming import page_renderer, stream_pages
from embedpipe.index.near_duplicates import Groups, connected
from embedpipe.index.same_page.agreement import SAME_PICTURE, SIZE, SMALL, Contrast, agreement, contrast
from embedpipe.index.same_page.sketches import (
    SAME_PLACE,
    Overlay,
    Sketch,
    Target,
    correlations,
    inky_blocks,
    inside,
    overlay,
    shape_inside,
    sketch,
    spectrum,
)
from embedpipe.pages.documents import ReadOptions
from embedpipe.pages.extras.thumbnails import pixels_of
from embedpipe.pages.rendering import Renderer
from embedpipe.store.page_table import Key
from embedpipe.store.workspace import Sources, Workspace

ALIKE = 0.36
"""Correlation of two sketches as wholes from which their blocks are compared, see docs/quality.md."""

LIKELY = 0.35
"""Likeness of two sketches from which the pages may be the same one."""

UNLIKE = 0.35
"""Agreement of two sketches below which the pages are clearly not the same one."""

NEARLY_BLANK = 3
"""Pages with ink in fewer of the 64 blocks of their sketch are the same only where all pixels are."""

_SKETCHES = 4096
"""In memory at once, 220 MB."""

_PICTURES = 128
"""In memory at once while pairs are looked at closely, 330 MB."""

_AT_A_TIME = 64
"""Pairs that are looked at before the groups are: those that are in one group by then need not be."""

_LISTED = 65_536
"""Pairs that are made lists at once, which are ten times as large."""

_AT_ONCE = 128
"""Pairs whose sketches are laid over each other as wholes in one call, 6 MB."""

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
        not_compared: Pairs that should have been, with a page that could not be drawn.
        unreadable: Rows of these that could not be drawn.
        nearly_blank: Rows with next to nothing on them.
        stand_ins: Rows whose documents have more than their pages show, as is seen only now: they are compared with
            none.
    """

    groups: Groups
    agreements: dict[Pair, float] = field(default_factory=dict)
    sketched: int = 0
    compared: int = 0
    not_compared: int = 0
    unreadable: set[int] = field(default_factory=set)
    nearly_blank: set[int] = field(default_factory=set)
    stand_ins: set[int] = field(default_factory=set)

    def agree(self, pair: Pair, value: float) -> None:
        """Notes that two rows show the same page."""
        self.agreements[pair] = value
        self.groups.join(*pair)


def verify(workspace: Workspace, keys: Sequence[Key], pairs: _Pairs, *, same_picture: float = SAME_PICTURE) -> Verified:
    """Compares the pictures of pairs of pages.

    Args:
        workspace: Where thumbnails and documents are.
        keys: The page of each row.
        pairs: Rows, int64 (m, 2); the first of a pair is laid below.
        same_picture: Least agreement of the pictures of one page.
    """
    options = ReadOptions(Recipe(size=SIZE, resize="aspect"))
    with ThreadPoolExecutor(available_cores()) as pool, page_renderer(options, len(pairs)) as renderer:
        found = Verified(Groups(len(keys)))
        comparison = _Comparison(workspace, keys, same_picture, pool, renderer, found, workspace.sources())
        for some in _chunks(_by_component(pairs, len(keys)), _SKETCHES):
            likely = comparison.likely(some)
            closest = sorted(likely, key=lambda pair: (-likely[pair].likeness, pair))
            rows = np.array(closest, np.int64).reshape(-1, 2)
            for few in _chunks(_by_component(rows, len(keys)), _PICTURES):
                comparison.look_closely([(int(i), int(j)) for i, j in few])
    return comparison.found


def _by_component(pairs: _Pairs, n: int) -> _Pairs:
    """Pairs of rows that hang together, one after the other, else as they were: so each page is drawn about once."""
    return pairs[np.argsort(connected(pairs, n)[pairs[:, 0]], kind="stable")]


def _chunks(pairs: _Pairs, most: int) -> Iterator[_Pairs]:
    """Cuts pairs into runs of few pages."""
    start, seen = 0, set[int]()
    blocks = (pairs[first : first + _LISTED].tolist() for first in range(0, len(pairs), _LISTED))
    for number, pair in enumerate(chain.from_iterable(blocks)):
        if len(seen) + sum(row not in seen for row in pair) > most:
            yield pairs[start:number]
            start, seen = number, set()
        seen.update(pair)
    if start < len(pairs):
        yield pairs[start:]


@dataclass(slots=True)
class _Small:
    """What is known of the pages of a run from their thumbnails, by row.

    Attributes:
        sketches: Small pictures of one size.
        shapes: Height and width of the page in its sketch.
        digests: Of the thumbnails.
    """

    sketches: dict[int, Sketch] = field(default_factory=dict)
    shapes: dict[int, tuple[int, int]] = field(default_factory=dict)
    digests: dict[int, bytes] = field(default_factory=dict)

    def compare(self, pairs: Sequence[Pair]) -> list[Overlay | None]:
        """How one page is laid over others, each the second of a pair; None for those that are clearly not the same.

        Args:
            pairs: Their first rows are one and the same.
        """
        row = pairs[0][0]
        target, below = Target.of(self.sketches[row]), inside(self.sketches[row], self.shapes[row])
        overlays = []
        for _, other in pairs:
            laid = overlay(self.sketches[other], target, LIKELY)
            if laid is not None and laid.likeness >= LIKELY:
                above = inside(self.sketches[other], self.shapes[other])
                likely = agreement(above, below, laid.affine, UNLIKE, SMALL) >= UNLIKE
                overlays.append(laid if likely else None)
            else:
                overlays.append(None)
        return overlays


@dataclass(slots=True)
class _Comparison:
    """What the steps share."""

    workspace: Workspace
    keys: Sequence[Key]
    same_picture: float
    pool: ThreadPoolExecutor
    renderer: Renderer
    found: Verified
    sources: Sources
    pictureless: set[int] = field(default_factory=set)  # rows that are not asked for in every run of pairs

    def likely(self, pairs: _Pairs) -> dict[Pair, Overlay]:
        """The pairs that may show the same page, for all that thumbnails tell."""
        rows = np.unique(pairs).tolist()
        small = self._small([row for row in rows if row not in self.pictureless])
        missing = set(rows) - small.sketches.keys()
        self.pictureless |= missing
        self.found.unreadable |= missing
        self.found.not_compared += int(np.isin(pairs, list(missing)).any(axis=1).sum())
        sparse = {row for row, own in small.sketches.items() if inky_blocks(own) < NEARLY_BLANK}
        self.found.nearly_blank |= sparse
        known = [(i, j) for i, j in self._apart(pairs.tolist()) if not missing & {i, j}]
        equal = [pair for pair in known if sparse.issuperset(pair) and len({small.digests[row] for row in pair}) == 1]
        likely = dict.fromkeys(equal, SAME_PLACE)
        wanted = self._alike([pair for pair in known if pair not in likely], small)
        self.found.sketched += len(wanted)
        overlays = self.pool.map(small.compare, [list(own) for _, own in groupby(wanted, key=itemgetter(0))])
        return likely | {pair: own for pair, own in zip(wanted, chain.from_iterable(overlays), strict=True) if own}

    def _small(self, rows: Sequence[int]) -> _Small:
        small = _Small()
        pictures = page_jpegs(self.workspace, [self.keys[row] for row in rows], sources=self.sources) if rows else {}
        there = [row for row in rows if pictures.get(self.keys[row])]

        def small_of(row: int) -> tuple[Sketch, tuple[int, int]]:
            pixels = pixels_of(pictures[self.keys[row]])
            return sketch(pixels), shape_inside(pixels.shape)

        for row, (own, shape) in zip(there, self.pool.map(small_of, there), strict=True):
            small.sketches[row], small.shapes[row] = own, shape
            small.digests[row] = hashlib.sha256(pictures[self.keys[row]]).digest()
        return small

    def _alike(self, pairs: list[Pair], small: _Small) -> list[Pair]:
        """The pairs whose sketches are alike as wholes."""
        row_of = {row: place for place, row in enumerate(small.sketches)}
        if not pairs:
            return []
        spectra = np.stack([spectrum(own) for own in small.sketches.values()])
        places = np.array([(row_of[i], row_of[j]) for i, j in pairs], np.int64).reshape(-1, 2)
        some = (places[start : start + _AT_ONCE] for start in range(0, len(places), _AT_ONCE))
        alike = [value for own in some for value in correlations(spectra[own[:, 0]], spectra[own[:, 1]])]
        return [pair for pair, value in zip(pairs, alike, strict=True) if value >= ALIKE]

    def look_closely(self, pairs: Sequence[Pair]) -> None:
        """Joins the pairs whose pictures agree; pages with the same pixels are joined at once."""
        wanted = self._apart(pairs)
        pictures: dict[int, Contrast] = {}
        sketches: dict[int, Sketch] = {}
        same: dict[bytes, list[int]] = {}
        blank = self.found.nearly_blank
        for row, pixels in self._drawn(np.unique(np.array(wanted, np.int64))):
            pictures[row], sketches[row] = contrast(pixels), sketch(pixels)
            (blank.add if inky_blocks(sketches[row]) < NEARLY_BLANK else blank.discard)(row)
            digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()
            same.setdefault(digest, []).append(row)
        for first, *others in map(sorted, same.values()):
            for other in others:
                self.found.agree((first, other), 1.0)

        def agreement_of(pair: Pair) -> float:
            i, j = pair
            laid = overlay(sketches[i], sketches[j])  # once more: thumbnails are too coarse to lay one over the other
            if laid is None or laid.likeness < LIKELY:
                return -1.0
            return agreement(pictures[i], pictures[j], laid.affine, self.same_picture)

        shown = [(i, j) for i, j in wanted if i in pictures and j in pictures and not blank & {i, j}]
        for start in range(0, len(shown), _AT_A_TIME):
            some = self._apart(shown[start : start + _AT_A_TIME])
            self.found.compared += len(some)
            for pair, value in zip(some, list(self.pool.map(agreement_of, some)), strict=True):
                if value >= self.same_picture:
                    self.found.agree(pair, value)
        self.found.not_compared += len(self._apart([pair for pair in wanted if self.found.unreadable & {*pair}]))

    def _apart(self, pairs: Sequence[Sequence[int]]) -> list[Pair]:
        """The pairs that are in no group together yet."""
        root = self.found.groups.root
        return [(i, j) for i, j in pairs if root(i) != root(j)]

    def _drawn(self, rows: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Pictures of some rows, uint8 (H, W, 3), in no fixed order; rows without one are noted."""
        row_of = {self.keys[row]: row for row in rows.tolist()}
        missing = set(rows.tolist())
        for page in stream_pages(documents_of(self.sources, list(row_of)), self.renderer):
            if isinstance(page, PageImage):
                row = row_of[page.info.ref.document_sha256, page.info.ref.page_index]
                missing.discard(row)
                if page.info.outcome in PARTIAL:
                    self.found.stand_ins.add(row)
                    continue
                yield row, page.pixels
        self.found.unreadable |= missing
