"""Small pictures of pages, and how one is laid over another."""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pymupdf
import pytest
from PIL import Image

from embedpipe.index.same_page import sketches
from embedpipe.index.same_page.sketches import SIDE, inky_blocks, overlay, sketch
from embedpipe.index.same_page.verification import LIKELY, NEARLY_BLANK


def text(seed: int) -> Image.Image:
    """A page of made-up words, in paragraphs."""
    rng = random.Random(seed)
    with pymupdf.open() as document:
        page = document.new_page()
        for line in range(40):
            if rng.random() < 0.8:
                words = " ".join("".join(rng.choices("abcdefghijklmnop", k=rng.randint(3, 9))) for _ in range(7))
                page.insert_text((60, 70 + 17 * line), words[: rng.randint(15, 70)], fontsize=11)
        pixmap = page.get_pixmap(dpi=100)
        return Image.frombytes("RGB", (pixmap.width, pixmap.height), pixmap.samples)


def test_sketches_of_all_pages_have_one_size() -> None:
    """Wide, tall and tiny pictures."""
    for size in ((900, 300), (300, 900), (20, 30), (1, 1)):
        assert sketch(np.asarray(Image.new("RGB", size, "white"))).shape == (SIDE, SIDE)


def test_a_turned_and_moved_page_is_laid_back() -> None:
    """The map says by how much it was turned; a corner of the page is found to half a pixel of the sketch."""
    page = text(1)
    found = overlay(
        sketch(np.asarray(page)), sketch(np.asarray(page.rotate(1.5, Image.Resampling.BICUBIC, fillcolor="white")))
    )
    assert found is not None
    assert found.likeness > 2 * LIKELY
    turn = np.deg2rad(1.5)
    corner = np.array([0.4, 0.3])  # down and right of the middle; against the clock, right goes up and down goes right
    expected = [
        corner[0] * np.cos(turn) - corner[1] * np.sin(turn),
        corner[1] * np.cos(turn) + corner[0] * np.sin(turn),
    ]
    np.testing.assert_allclose([*corner, 1.0] @ found.affine, expected, atol=0.5 / SIDE)


def test_the_size_of_the_picture_does_not_matter() -> None:
    """The same page at half the dots per inch is laid over as it is."""
    page = text(1)
    found = overlay(sketch(np.asarray(page)), sketch(np.asarray(page.reduce(2))))
    assert found is not None
    np.testing.assert_allclose(found.affine, [[1, 0], [0, 1], [0, 0]], atol=0.005)


@pytest.mark.parametrize("seed", range(2, 6))
def test_another_page_of_text_is_not_likely(seed: int) -> None:
    """Though its lines lie in the same places."""
    found = overlay(sketch(np.asarray(text(1))), sketch(np.asarray(text(seed))))
    assert found is None or found.likeness < LIKELY


def test_a_page_number_alone_is_nearly_blank(make_pdf: Callable[..., Path]) -> None:
    """It takes up one block of the sketch, a page of text many; a white one has none."""
    with pymupdf.open(make_pdf("number.pdf", ["7"], size=10)) as document:
        pixmap = document[0].get_pixmap(dpi=100)
    number = Image.frombytes("RGB", (pixmap.width, pixmap.height), pixmap.samples)
    assert 0 < inky_blocks(sketch(np.asarray(number))) < NEARLY_BLANK
    assert inky_blocks(sketch(np.asarray(text(1)))) > 10
    assert inky_blocks(sketch(np.full((300, 200, 3), 255, np.uint8))) == 0


@pytest.mark.parametrize("n", [1, 2, 5, 8, 63, 64])
def test_short_medians_are_those_of_numpy(n: int) -> None:
    """To the last bit: what is laid over what must not change."""
    values = np.random.default_rng(n).normal(size=n)
    assert sketches._median(values) == np.median(values)
