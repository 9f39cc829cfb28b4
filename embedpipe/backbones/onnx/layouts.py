"""What a detector of regions finds on a page, as shares of the page that each type of region covers."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

DISTANCES = 4
"""From a place to the left, top, right and bottom of the region around it."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How regions are read from the outputs of a detector.

    Attributes:
        types: Of regions, in the order of its scores.
        strides: Pixels of the page per place, of each of its outputs.
        threshold: Regions of a lower score are left out.
        raster: Squares across and down the page on which shares are counted.
    """

    types: tuple[str, ...]
    strides: tuple[int, ...] = (8, 16, 32, 64)
    threshold: float = 0.4
    raster: int = 64

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Layout":
        """Reverses `dataclasses.asdict`, also after it went through JSON."""
        return cls(**{**values, "types": tuple(values["types"]), "strides": tuple(values["strides"])})

    def in_place_of_raw(self, rows: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
        """Rows (n, k + types) of rows (n, k + ...) that end with scores and distances, see `shares`."""
        places = sum(-(-height // stride) * -(-width // stride) for stride in self.strides)
        end = rows.shape[1] - (len(self.types) + DISTANCES) * places
        return np.hstack([rows[:, :end], self.shares(rows[:, end:], height, width)])

    def shares(self, raw: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float32]:
        """Shares of pages that regions of each type cover; where regions overlap, the one of the higher score counts.

        Args:
            raw: Scores and distances of each place, stride by stride, (n, (types + 4) * places).
            rows: Height of the pages, pixels.
            columns: Their width.

        Returns:
            float32 (n, types), 0..1.
        """
        centres, scales = self._places(rows, columns)
        return np.stack([self._covered(*self._regions(page, centres, scales)) for page in raw])

    def _regions(
        self, page: NDArray[np.float32], centres: list[NDArray[np.float32]], scales: list[NDArray[np.float32]]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Types (k,) of a page's regions, best last, and boxes (k, 4): left, top, right, bottom, 0..1."""
        height = len(self.types) + DISTANCES
        edges = height * np.cumsum([0, *(len(places) for places in centres)])
        table = np.hstack([page[a:b].reshape(height, -1) for a, b in itertools.pairwise(edges)])
        scores, distances = table[: len(self.types)], table[len(self.types) :]
        best = scores.max(axis=0)
        found = np.flatnonzero(best >= self.threshold)
        found = found[np.argsort(best[found], kind="stable")]
        far = distances.T[found] * np.concatenate(scales)[found]
        centre = np.concatenate(centres)[found]
        return scores[:, found].argmax(axis=0), np.hstack([centre - far[:, :2], centre + far[:, 2:]])

    def _covered(self, kinds: NDArray[np.int64], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Share of the page that each type covers, (types,)."""
        squares = np.full((self.raster, self.raster), len(self.types), np.int64)
        edges = np.clip(np.rint(boxes * self.raster), 0, self.raster).astype(np.int64)
        for kind, (left, top, right, bottom) in zip(kinds.tolist(), edges.tolist(), strict=True):
            squares[top:bottom, left:right] = kind
        counts = np.bincount(squares.ravel(), minlength=len(self.types) + 1)[:-1]
        return (counts / squares.size).astype(np.float32)

    def _places(self, rows: int, columns: int) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]:
        """Of each stride: centres of its places (k, 2), and what a distance of 1 is (k, 4), in shares of the page."""
        centres, scales = [], []
        for stride in self.strides:
            down, across = np.mgrid[: -(-rows // stride), : -(-columns // stride)]
            centre = np.stack([across.ravel(), down.ravel()], axis=1) + 0.5
            scale = np.array([stride / columns, stride / rows], np.float32)
            centres.append(centre.astype(np.float32) * scale)
            scales.append(np.broadcast_to(np.tile(scale, 2), (len(centre), DISTANCES)))
        return centres, scales
