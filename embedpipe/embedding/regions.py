"""A box of a page, such as its letterhead or a seal, as the network sees it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embedpipe.core.errors import UsageError
from embedpipe.core.records import Document, Recipe
from embedpipe.embedding.streaming import render_pages
from embedpipe.pages.documents import Region, plan

if TYPE_CHECKING:  # a caller with a backbone has loaded its library
    from embedpipe.backbones.building import Backbone

_LARGEST = 2048
"""Pixels of the long side of a page that a box is cut from."""

_LEAST = 0.02
_SIDES = 4


def parse_box(text: str) -> Region:
    """Reads `x0,y0,x1,y1`: left, top, right and bottom as shares of the page.

    Raises:
        UsageError: It is no box of at least a fiftieth of each side.
    """
    try:
        left, top, right, bottom = (float(piece) for piece in text.split(","))
    except ValueError:
        raise UsageError(f"--box {text}: write x0,y0,x1,y1 as shares of the page, such as 0,0,1,0.2") from None
    if not (0 <= left <= right - _LEAST and right <= 1 and 0 <= top <= bottom - _LEAST and bottom <= 1):
        raise UsageError(f"--box {text}: needs 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1, and no sliver")
    return left, top, right, bottom


def box_features(
    backbone: "Backbone", pages: Sequence[tuple[Document, int]], box: Region
) -> dict[tuple[str, int], NDArray[np.float32]]:
    """Features of the same box of several pages, as the network makes them of a page of the box's shape.

    Args:
        backbone: Its recipe says how large the box is drawn.
        pages: Documents and page indices.
        box: Left, top, right, bottom, as shares of the page.

    Returns:
        float32 (dim,) by (sha256, page index); pages that cannot be rendered are missing.
    """
    recipe = backbone.identity.recipe
    size = min(_LARGEST, round(recipe.size / max(box[2] - box[0], box[3] - box[1])))
    shapes: dict[tuple[int, ...], dict[tuple[str, int], NDArray[np.uint8]]] = {}
    for key, pixels in render_pages(pages, size).items():
        cut = _cut(pixels, box, recipe)
        shapes.setdefault(cut.shape, {})[key] = cut
    return {
        key: row
        for boxes in shapes.values()
        for key, row in zip(boxes, backbone(np.stack(list(boxes.values()))), strict=True)
    }


def _cut(pixels: NDArray[np.uint8], box: Region, recipe: Recipe) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    edges = (box[0] * width, box[1] * height, box[2] * width, box[3] * height)
    inner, size = plan(edges[2] - edges[0], edges[3] - edges[1], recipe)
    region = (edges[0] + inner[0], edges[1] + inner[1], edges[0] + inner[2], edges[1] + inner[3])
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC, box=region))
