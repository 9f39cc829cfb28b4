"""Augmentation keeps what makes a page the page it is."""

import numpy as np
import pytest
from numpy.typing import NDArray

from embedpipe.core.records import Recipe
from embedpipe.pages.augmentation import Augmentation, Variants, augment, fit_page, larger

SHAPE = (96, 64)


@pytest.fixture(scope="module")
def page() -> NDArray[np.uint8]:
    """A page with a black square in its top left quarter, and lines in its lower half."""
    pixels = np.full((108, 72, 3), 250, np.uint8)
    pixels[12:40, 8:30] = 10
    pixels[60:100:8, 10:60] = 60
    return pixels


def variants(page: NDArray[np.uint8], count: int, how: Augmentation | None = None) -> list[NDArray[np.uint8]]:
    """The first variants of a page."""
    return [augment(page, SHAPE, np.random.default_rng([0, n]), how) for n in range(count)]


def test_shape_and_dtype_are_those_asked_for(page: NDArray[np.uint8]) -> None:
    """Every variant is uint8 RGB of the shape that was asked for."""
    for variant in variants(page, 20):
        assert variant.shape == (*SHAPE, 3)
        assert variant.dtype == np.uint8


def test_the_same_seed_gives_the_same_variant_and_another_one_another(page: NDArray[np.uint8]) -> None:
    """Everything is drawn from the generator."""
    first, again = variants(page, 8), variants(page, 8)
    np.testing.assert_array_equal(first, again)
    assert len({variant.tobytes() for variant in first}) == 8


def test_a_variant_depends_on_page_number_and_seed_alone(page: NDArray[np.uint8]) -> None:
    """Asked for alone or with others it is the same picture; page, number and seed each give another one."""
    key = ("ab" * 32, 3)
    both = dict(Variants((1, 2), Recipe(96)).of_page(page, SHAPE, key))
    [(number, alone)] = Variants((2,), Recipe(96)).of_page(page, SHAPE, key)
    assert number == 2
    np.testing.assert_array_equal(alone, both[2])
    others = [
        Variants((2,), Recipe(96), seed=1).of_page(page, SHAPE, key)[0][1],
        Variants((2,), Recipe(96)).of_page(page, SHAPE, (key[0], 4))[0][1],
        Variants((2,), Recipe(96)).of_page(page, SHAPE, ("cd" * 32, 3))[0][1],
    ]
    assert len({picture.tobytes() for picture in [*both.values(), *others]}) == 5


def test_pages_are_rendered_larger_for_variants() -> None:
    """By an eighth, whatever the resize rule, and with the same layers."""
    assert larger(Recipe(320, "squash", "stages")) == Recipe(360, "squash", "stages")


def test_a_page_is_never_mirrored_or_turned_over(page: NDArray[np.uint8]) -> None:
    """Of the page and its mirror images, each variant is nearest to the page."""
    plain = fit_page(page, SHAPE).astype(np.float64)
    others = [plain[:, ::-1], plain[::-1], plain[::-1, ::-1]]
    for variant in variants(page, 200):
        distance = np.abs(variant - plain).mean()
        assert all(distance < np.abs(variant - other).mean() for other in others)


def test_what_lies_beyond_the_page_looks_like_its_paper(page: NDArray[np.uint8]) -> None:
    """A page that is made smaller lies on paper of its own colour: no dark frame tells that it was moved."""
    yellow = page.copy()
    yellow[page[..., 0] == 250] = (250, 240, 180)
    how = Augmentation(scale=(0.8, 0.8), degrees=0, contrast=(1, 1), brightness=(1, 1), often=0)
    for variant in variants(yellow, 10, how):
        np.testing.assert_allclose(variant[0], np.tile((250, 240, 180), (SHAPE[1], 1)), atol=3)
        np.testing.assert_allclose(variant[-1], np.tile((250, 240, 180), (SHAPE[1], 1)), atol=3)


def test_without_any_change_the_page_stays_itself(page: NDArray[np.uint8]) -> None:
    """With all ranges empty a variant is the page, scaled."""
    still = Augmentation(0, (1, 1), 0, 0, (1, 1), (1, 1), 0)
    variant = augment(page, page.shape[:2], np.random.default_rng(0), still)
    np.testing.assert_array_equal(variant, page)
    assert fit_page(page, page.shape[:2]) is page


@pytest.mark.parametrize("kind", ["blur", "noise", "quality"])
def test_each_disturbance_changes_the_picture(page: NDArray[np.uint8], kind: str) -> None:
    """Blur, noise and JPEG each do something, alone."""
    values = {"blur": (0.01, 0.01), "noise": (0.0, 0.0), "quality": (100.0, 100.0)}
    strong = {"blur": (2.0, 2.0), "noise": (20.0, 20.0), "quality": (5.0, 5.0)}
    still = {"degrees": 0, "scale": (1, 1), "stretch": 0, "shift": 0, "contrast": (1, 1), "brightness": (1, 1)}
    mild = augment(page, SHAPE, np.random.default_rng(1), Augmentation(**still, often=1, **values))
    harsh = augment(
        page, SHAPE, np.random.default_rng(1), Augmentation(**still, often=1, **values | {kind: strong[kind]})
    )
    assert np.abs(mild.astype(int) - harsh).mean() > 1
