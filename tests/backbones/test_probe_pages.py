"""The made-up pages that weights are rounded for and precision is tried on."""

import numpy as np
import pytest

from embedpipe.backbones.probe_pages import coloured_pages, even_pages, rounding_pages, sample_pages, trial_pages


@pytest.mark.parametrize("size", [32, 128, 384])
def test_sample_pages_are_pages(size: int) -> None:
    """The sample pages are of the size asked for, the same every time, differ, and are mostly paper."""
    sample = sample_pages(size)
    assert sample.shape == (3, size, size, 3)
    assert sample.dtype == np.uint8
    np.testing.assert_array_equal(sample, sample_pages(size))
    assert len({page.tobytes() for page in sample}) == 3
    assert ((sample == 255).mean(axis=(1, 2, 3)) > 0.5).all()


@pytest.mark.parametrize("size", [32, 128])
def test_coloured_pages_are_coloured(size: int) -> None:
    """Coloured pages are the same for a seed, others for another one, and every second one is even."""
    pages = coloured_pages(size, 8, seed=0)
    assert pages.shape == (8, size, size, 3)
    assert pages.dtype == np.uint8
    np.testing.assert_array_equal(pages, coloured_pages(size, 8, seed=0))
    assert not np.array_equal(pages, coloured_pages(size, 8, seed=1))
    assert [len(np.unique(page.reshape(-1, 3), axis=0)) == 1 for page in pages] == [False, True] * 4


def test_a_precision_is_tried_on_other_pages_than_weights_are_rounded_for() -> None:
    """But for the sample pages, no page is both rounded for and tried."""
    rounded = {page.tobytes() for page in rounding_pages(64)}
    tried = {page.tobytes() for page in (*trial_pages((64, 64)), *even_pages(64))}
    assert (len(rounded), len(tried)) == (51, 24)
    assert rounded & tried == {page.tobytes() for page in sample_pages(64)}
