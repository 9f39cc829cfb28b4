"""Whether two pictures show the same page."""

import random

import numpy as np
import pymupdf
import pytest
from PIL import Image

from embedpipe.index.same_page.agreement import SAME_PICTURE, SIZE, contrast
from embedpipe.index.same_page.agreement import agreement as agreement_of
from embedpipe.index.same_page.sketches import overlay, sketch
from embedpipe.samples.scanning import scan


def page(amount: str = "4,318.50") -> pymupdf.Page:
    """A page of text with one amount on it."""
    rng = random.Random(3)
    document = pymupdf.open()
    drawn = document.new_page()
    for line in range(38):
        words = " ".join("".join(rng.choices("abcdefghijklmnop", k=rng.randint(3, 9))) for _ in range(9))
        drawn.insert_text((60, 70 + 18 * line), words, fontsize=10)
    drawn.insert_text((400, 770), f"Total {amount}", fontsize=12)
    return drawn


def pixels(image: Image.Image) -> np.ndarray:
    """A picture at the size at which pages are compared."""
    zoom = SIZE / max(image.size)
    return np.asarray(image.convert("RGB").resize((round(image.width * zoom), round(image.height * zoom))))


def agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Of two pictures, the second laid over the first; -1 where it cannot be."""
    laid = overlay(sketch(first), sketch(second))
    return -1.0 if laid is None else agreement_of(contrast(first), contrast(second), laid.affine)


def drawn(source: pymupdf.Page) -> np.ndarray:
    """A page as it is rendered."""
    pixmap = source.get_pixmap(dpi=120)
    return pixels(Image.frombytes("RGB", (pixmap.width, pixmap.height), pixmap.samples))


def test_a_page_agrees_with_itself_and_with_its_scan() -> None:
    """Skew, noise, shade and size change little."""
    original = drawn(page())
    assert agreement(original, original) == pytest.approx(1.0, abs=0.05)
    assert agreement(original, pixels(scan(random.Random(1), page(), color=False))) > SAME_PICTURE


@pytest.mark.parametrize("other", ["7,902.66", "1.00", ""])
def test_another_amount_is_another_page(other: str) -> None:
    """One changed number among thirty-eight lines of text is enough, whichever page comes first."""
    first, second = drawn(page()), drawn(page(other))
    assert agreement(first, second) < SAME_PICTURE
    assert agreement(second, first) < SAME_PICTURE


def test_what_cannot_be_laid_over_a_page_is_another_one() -> None:
    """A white sheet and noise."""
    white = np.full((SIZE, 680, 3), 255, np.uint8)
    assert agreement(drawn(page()), white) < SAME_PICTURE
    noise = np.random.default_rng(0).integers(0, 255, (SIZE, 680, 3)).astype(np.uint8)
    assert agreement(drawn(page()), noise) < SAME_PICTURE
