"""Pages as another scanner, another margin or another copy would show them: random changes that keep the type.

A page is never mirrored, and never turned by more than a few degrees: text that reads the other way is no document.
Everything is drawn from a generator that the caller seeds for each page and epoch, so a run can be repeated, and
goes on after a kill, without keeping any state.
"""

import io
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from embedpipe.core.records import Recipe

Range = tuple[float, float]

VERSION = 1
"""Raised when what follows makes another picture of the same page and seed, so that none is taken for another."""

LARGER = 1.125
"""How much larger pages are rendered than they are wanted: what an enlarged variant of a page needs to stay sharp."""


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How far pages are changed.

    Attributes:
        degrees: Largest rotation to either side.
        scale: Smallest and largest enlargement; above 1 the page is cropped, below 1 it lies on more paper.
        stretch: Largest change of the shape, as a share.
        shift: Largest shift along each side, as a share of it.
        contrast: Factors on the distance from white.
        brightness: Factors on the whole picture.
        often: Probability of each of blur, noise and JPEG.
        blur: Standard deviations of the blur, in pixels.
        noise: Standard deviations of the noise, in shades of 255.
        quality: Qualities of the JPEG.
    """

    degrees: float = 2.0
    scale: Range = (0.92, 1.15)
    stretch: float = 0.04
    shift: float = 0.04
    contrast: Range = (0.7, 1.2)
    brightness: Range = (0.88, 1.05)
    often: float = 0.3
    blur: Range = (0.3, 1.0)
    noise: Range = (2.0, 10.0)
    quality: Range = (30.0, 90.0)


@dataclass(frozen=True, slots=True)
class Variants:
    """Variants that are wanted of each page.

    Attributes:
        numbers: Which, from 1; each number is another variant, and always the same one.
        recipe: Size and resize rule that the network takes pages with.
        seed: Of everything random.
    """

    numbers: tuple[int, ...]
    recipe: Recipe
    seed: int = 0

    def of_page(
        self, pixels: NDArray[np.uint8], shape: tuple[int, int], page: tuple[str, int]
    ) -> list[tuple[int, NDArray[np.uint8]]]:
        """The variants of a page with their numbers.

        Args:
            pixels: As rendered by the recipe `larger(self.recipe)`.
            shape: Rows and columns that the network takes the page with.
            page: SHA-256 and index: a variant depends on them, and not on which other pages there are.
        """
        sha256, index = page
        seeds = ([self.seed, number, int(sha256, 16), index] for number in self.numbers)
        return [
            (number, augment(pixels, shape, np.random.default_rng(seed)))
            for number, seed in zip(self.numbers, seeds, strict=True)
        ]


def larger(recipe: Recipe) -> Recipe:
    """How pages are rendered that variants are to be made of."""
    return replace(recipe, size=round(recipe.size * LARGER))


def augment(
    pixels: NDArray[np.uint8], shape: tuple[int, int], random: np.random.Generator, how: Augmentation | None = None
) -> NDArray[np.uint8]:
    """One random variant of a page.

    Args:
        pixels: uint8 (H, W, 3), rendered somewhat larger than it is wanted, so that little sharpness is lost.
        shape: Rows and columns of the result.
        random: Decides everything; the same state gives the same variant.
        how: How far pages are changed.

    Returns:
        uint8 (*shape, 3).
    """
    how = how or Augmentation()
    image = _moved(Image.fromarray(pixels), shape, random, how)
    image = image.point(_shades(random, how) * 3)
    blurred, noisy, compressed = random.random(3) < how.often
    if blurred:
        image = image.filter(ImageFilter.GaussianBlur(random.uniform(*how.blur)))
    if noisy:
        image = _noisy(image, random.uniform(*how.noise), random)
    if compressed:
        image = _compressed(image, round(random.uniform(*how.quality)))
    return np.asarray(image)


def fit_page(pixels: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """The page itself, uint8 (H, W, 3), scaled to (rows, columns) and else unchanged."""
    if pixels.shape[:2] == shape:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((shape[1], shape[0]), Image.Resampling.BICUBIC))


def _moved(image: Image.Image, shape: tuple[int, int], random: np.random.Generator, how: Augmentation) -> Image.Image:
    """Rotation, scale, stretch and shift in one step, so that the page is resampled once."""
    rows, columns = shape
    angle = np.deg2rad(random.uniform(-how.degrees, how.degrees))
    scale, stretch = random.uniform(*how.scale), 1 + random.uniform(-how.stretch, how.stretch)
    right, down = random.uniform(-how.shift, how.shift, 2)
    # from the result's pixels, measured from its middle, to the page's
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    zoom = np.diag([image.width / columns, image.height / rows]) / scale
    matrix = zoom @ turn @ np.diag([stretch, 1 / stretch])
    middle = np.array([image.width * (0.5 + right), image.height * (0.5 + down)])
    corner = middle - matrix @ (columns / 2, rows / 2)
    values = (*matrix[0], corner[0], *matrix[1], corner[1])
    return image.transform(
        (columns, rows),
        Image.Transform.AFFINE,
        tuple(map(float, values)),
        Image.Resampling.BICUBIC,
        fillcolor=_paper(image),
    )


def _paper(image: Image.Image) -> tuple[int, ...]:
    """The colour of the page's edge: what lies beyond it must not look like a frame."""
    pixels = np.asarray(image)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return tuple(int(shade) for shade in np.median(edge, axis=0))


def _shades(random: np.random.Generator, how: Augmentation) -> list[int]:
    contrast, brightness = random.uniform(*how.contrast), random.uniform(*how.brightness)
    shades = (255 - (255 - np.arange(256)) * contrast) * brightness
    return [int(shade) for shade in shades.round().clip(0, 255)]


def _noisy(image: Image.Image, sigma: float, random: np.random.Generator) -> Image.Image:
    noise = random.normal(0, sigma, (image.height, image.width, 1))  # grey: what scanners add is seldom coloured
    return Image.fromarray((np.asarray(image) + noise).round().clip(0, 255).astype(np.uint8))


def _compressed(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")
