"""What a scanner makes of a page."""

import random

import numpy as np
import pymupdf
from PIL import Image

SCAN_DPI = 100


def choose_edge(rng: random.Random) -> int:
    """Return the grey that shows beside the paper: white like the lid of most scanners, or darker, where it is open."""
    return 255 if rng.random() < 0.6 else rng.randint(70, 190)


def scan(rng: random.Random, page: pymupdf.Page, *, color: bool, edge: int = 255) -> Image.Image:
    """Return a page as a scanner sees it: a little turned, on greyish paper, with noise and uneven light.

    `edge` is the grey of the corners that the turned page leaves free.
    """
    pixmap = page.get_pixmap(dpi=SCAN_DPI, colorspace=pymupdf.csRGB if color else pymupdf.csGRAY)
    image = Image.frombytes("RGB" if color else "L", (pixmap.width, pixmap.height), pixmap.samples)
    corners = (edge, edge, edge) if color else edge
    image = image.rotate(rng.choice((-1, 1)) * rng.uniform(0.4, 1.4), Image.Resampling.BILINEAR, fillcolor=corners)
    pixels = np.asarray(image, np.float32).reshape(pixmap.height, pixmap.width, -1)
    light = np.linspace(rng.uniform(0.84, 0.97), rng.uniform(0.84, 0.97), pixmap.width, dtype=np.float32)
    noise = np.random.default_rng(rng.getrandbits(32)).standard_normal(pixels.shape[:2], np.float32)[..., None]
    spoiled = np.clip((pixels * 0.88 + 30) * light[:, None] + noise * rng.uniform(3, 8), 0, 255).astype(np.uint8)
    return Image.fromarray(spoiled if color else spoiled[..., 0])
