"""Made-up pages, always the same ones: those that weights are rounded for, and those that precision is tried on."""

import numpy as np
from numpy.typing import NDArray


def sample_pages(size: int) -> NDArray[np.uint8]:
    """White paper with grey lines of words, bars, and a picture, as pages are; uint8 (3, size, size, 3)."""
    random = np.random.default_rng(0)
    pages = np.full((3, size, size, 3), 255, np.uint8)
    for top in range(size // 10, size - size // 10, 4):
        words = random.integers(90, 255, (2, size * 4 // 5, 1), np.uint8)
        pages[0, top, size // 10 : size // 10 + words.shape[1]] = words[0]
        pages[1, top, size // 10 : size // 2] = words[1, : size // 2 - size // 10]
    pages[1, :: max(size // 8, 1)] = 60
    pages[2, size // 4 : size // 2] = random.integers(0, 255, (size // 2 - size // 4, size, 3), np.uint8)
    return pages


def rounding_pages(size: int) -> list[NDArray[np.uint8]]:
    """What weights are rounded for: 51 pages, uint8 (size, size, 3)."""
    return [*sample_pages(size), *coloured_pages(size, 48, seed=0)]


def trial_pages(shape: tuple[int, int]) -> NDArray[np.uint8]:
    """What a precision is tried on: sample pages, others than rounded for, scans, noise; uint8 (18, *shape, 3).

    Args:
        shape: Rows and columns; narrow pages are square ones squeezed.
    """
    size = max(shape)
    coloured = coloured_pages(size, 12, seed=1)[::2]
    pages = np.concatenate([sample_pages(size), coloured, _scanned_pages(size, 6), _noise_pages(size, 3)])
    rows, columns = (np.arange(side) * size // side for side in shape)
    squeezed: NDArray[np.uint8] = pages[:, rows[:, np.newaxis], columns]
    return squeezed


def _scanned_pages(size: int, count: int) -> NDArray[np.uint8]:
    """Grey or tinted paper under uneven light with few words: hardly a page turns further where weights are coarse."""
    random = np.random.default_rng(9)
    across = np.linspace(0, 1, size)
    pages = np.empty((count, size, size, 3), np.uint8)
    for page in pages:
        down, right = random.uniform(-40, 40, 2)
        light = (down * across[:, np.newaxis] + right * across)[..., np.newaxis]
        paper = random.integers(110, 256) + random.integers(-10, 11, 3)
        shades = paper + light + random.normal(0, 2, (size, size, 1))
        shades[size - size // 20 :] *= random.uniform(0.2, 1)  # the lid
        for top in range(size // 10, size - size // 10, int(random.integers(6, 30))):
            words = random.random((random.integers(1, size), 1))
            shades[top, : len(words)] *= words
        page[:] = np.clip(shades, 0, 255)
    return pages


def _noise_pages(size: int, count: int) -> NDArray[np.uint8]:
    """Squares of random colours, unlike any page: what a network does with the unexpected."""
    squares = np.random.default_rng(2).integers(0, 256, (count, -(-size // 16), -(-size // 16), 3), np.uint8)
    return squares.repeat(16, axis=1).repeat(16, axis=2)[:, :size, :size]


def even_pages(size: int) -> NDArray[np.uint8]:
    """Pages of one colour all over, where errors of weights do not average out; uint8 (6, size, size, 3)."""
    return coloured_pages(size, 12, seed=1)[1::2]


def coloured_pages(size: int, count: int, seed: int) -> NDArray[np.uint8]:
    """Slides, forms and covers at their most colourful: areas of one colour with lines of words over them.

    Every second page has one colour all over.

    Args:
        size: Pixels of each side.
        count: How many.
        seed: Of everything random.

    Returns:
        uint8 (count, size, size, 3).
    """
    random = np.random.default_rng(seed)
    pages = np.empty((count, size, size, 3), np.uint8)
    for number, page in enumerate(pages):
        page[:] = random.integers(0, 256, 3) if number % 8 else 255
        if number % 2:
            continue
        for _ in range(random.integers(1, 8)):
            top, bottom = np.sort(random.integers(0, size, 2))
            left, right = np.sort(random.integers(0, size, 2))
            page[top:bottom, left:right] = random.integers(0, 256, 3)
        for top in range(size // 10, size - size // 10, 5):
            words = random.random((random.integers(1, size), 1))
            page[top, : len(words)] = (page[top, : len(words)] * words).astype(np.uint8)
    return pages
