"""Which part of a picture a score rests on."""

import numpy as np
import pytest
from numpy.typing import NDArray

from embedpipe.classifiers.reasons.occlusion import Box, covered, deciding_boxes, occlusion_map, paper_colour


def page(height: int = 160, width: int = 120) -> NDArray[np.uint8]:
    """White paper with two dark squares: one at the top left, a fainter one at the bottom right."""
    pixels = np.full((height, width, 3), 255, np.uint8)
    pixels[10:30, 10:30] = 0
    pixels[-30:-10, -30:-10] = 128
    return pixels


def darkness(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """A score that rests on all that is dark."""
    return (255.0 - pixels).sum(axis=(1, 2, 3)) / 1e5


def test_the_map_is_high_where_the_score_comes_from() -> None:
    """The darkest part has the largest drop, bare paper none."""
    drops = occlusion_map(page(), darkness)
    assert drops.shape == (16, 12)
    assert np.unravel_index(drops.argmax(), drops.shape) in [(r, c) for r in (1, 2) for c in (1, 2)]
    assert drops[5:10].max() == 0
    assert 0 < drops[-2, -2] < drops.max()


def test_what_is_paper_already_is_not_asked_again() -> None:
    """The score is asked for the whole page and for covers that change something, in batches."""
    asked: list[int] = []

    def count(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        asked.append(len(pixels))
        return darkness(pixels)

    steps: list[tuple[int, int]] = []
    occlusion_map(page(), count, batch_size=8, progress=lambda done, total: steps.append((done, total)))
    total = steps[-1][1]
    assert sum(asked) == 1 + total < 40
    assert max(asked) <= 8
    assert [done for done, _ in steps] == [*range(8, total, 8), total]


def test_a_blank_page_has_no_drops() -> None:
    """Nothing can be covered on it."""
    drops = occlusion_map(np.full((64, 64, 3), 250, np.uint8), darkness)
    assert drops.max() == drops.min() == 0
    assert deciding_boxes(drops, 0.1) == []


def test_the_map_is_negative_where_a_part_speaks_against() -> None:
    """Covering what lowers the score raises it."""
    assert occlusion_map(page(), lambda pixels: -darkness(pixels)).min() < 0


@pytest.mark.parametrize("shape", [(320, 64), (64, 320), (40, 40)])
def test_the_grid_follows_the_shape_of_the_page(shape: tuple[int, int]) -> None:
    """Cells are about square, sixteen along the long side."""
    rows, columns = occlusion_map(np.full((*shape, 3), 255, np.uint8), darkness).shape
    assert max(rows, columns) == 16
    assert rows / columns == pytest.approx(shape[0] / shape[1], rel=0.1)


def test_covers_have_the_colour_of_the_paper() -> None:
    """White on white paper, dark on a dark slide; the picture itself stays as it was."""
    pixels = page()
    copy = covered(pixels, [Box(0, 0, 0.5, 0.5)])
    assert (copy[:80, :60] == 255).all()
    assert (copy[80:] == pixels[80:]).all()
    assert (pixels[15, 15] == 0).all()
    assert paper_colour(255 - page()).tolist() == [0, 0, 0]


def test_boxes_are_tight_and_apart() -> None:
    """Two separate hills give two boxes of their own size, the higher one first; a low plain gives none."""
    drops = np.zeros((10, 8))
    drops[1:3, 1:4] = 1.0
    drops[7:9, 5:8] = 0.7
    drops[5, 0] = 0.3
    first, second = deciding_boxes(drops, 0.5)
    assert (first.x0, first.y0, first.x1, first.y1, first.drop) == (1 / 8, 1 / 10, 4 / 8, 3 / 10, 1.0)
    assert (second.x0, second.y0, second.x1, second.y1, second.drop) == (5 / 8, 7 / 10, 1.0, 9 / 10, 0.7)
    assert deciding_boxes(drops, 1.1) == []


def test_a_box_may_be_the_whole_picture() -> None:
    """Where all parts count alike, the box reaches all edges."""
    [box] = deciding_boxes(np.ones((4, 5)), 0.5)
    assert (box.x0, box.y0, box.x1, box.y1) == (0, 0, 1, 1)
