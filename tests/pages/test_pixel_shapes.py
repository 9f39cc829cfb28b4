"""Pictures whose pixels are no squares come out in their shape, and square ones as they always did."""

import os
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pages.test_documents import STORED_AS, read
from PIL import Image

from embedpipe.core.records import Document
from embedpipe.pages.documents import Limits, ReadOptions
from embedpipe.pages.extraction import extract
from embedpipe.pages.formats.pixel_shapes import LARGEST_RATIO, SQUARE, pixel_shape


def page(size: tuple[int, int] = (400, 600)) -> Image.Image:
    """A page with bars of several lengths, so that no turn or stretch of it looks like itself."""
    pixels = np.full((600, 400), 255, np.uint8)
    for number in range(9):
        top = 40 + 60 * number
        pixels[top : top + 25, 30 : 110 + 30 * number] = 30
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


def alike(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    """Whether two pictures of one shape differ by little."""
    return one.shape == other.shape and float(np.abs(one.astype(float) - other).mean()) < 8


def save_gif(image: Image.Image, file: Path) -> None:
    """Pixels twice as high as wide, told in the one byte that GIF has for it."""
    image.save(file, "GIF")
    content = bytearray(file.read_bytes())
    content[12] = round(0.5 * 64 - 15)
    file.write_bytes(content)


def add_chunk(file: Path, name: bytes, data: bytes) -> None:
    """Puts a chunk behind the header of a PNG."""
    content = file.read_bytes()
    chunk = len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")
    file.write_bytes(content[:33] + chunk + content[33:])


def save_png_without_unit(image: Image.Image, file: Path) -> None:
    """A PNG that tells the shape of its pixels and no size."""
    image.save(file, "PNG")
    add_chunk(file, b"pHYs", (2).to_bytes(4, "big") + (1).to_bytes(4, "big") + b"\0")


SAVED: dict[str, tuple[str, Callable[[Image.Image, Path], None]]] = {
    "tiff": ("tiff", lambda image, file: image.save(file, "TIFF", dpi=(204, 102))),
    "tiff without unit": (
        "tiff",
        lambda image, file: image.save(file, "TIFF", tiffinfo={282: 2.0, 283: 1.0, 296: 1}),
    ),
    "jpeg": ("jpeg", lambda image, file: image.save(file, "JPEG", dpi=(204, 102), quality=95)),
    "png": ("png", lambda image, file: image.save(file, "PNG", dpi=(204, 102))),
    "png without unit": ("png", save_png_without_unit),
    "gif": ("gif", save_gif),
}


@pytest.mark.parametrize("how", [*SAVED, "bmp"])
def test_a_standard_fax_has_the_shape_of_the_page(tmp_path: Path, how: str) -> None:
    """Half as many lines to the inch as columns: the page is as the one with square pixels."""
    page().save(tmp_path / "square.png")
    if how == "bmp":
        page((400, 300)).save(tmp_path / "a", "BMP")
        content = bytearray((tmp_path / "a").read_bytes())
        content[38:46] = (8031).to_bytes(4, "little") + (4016).to_bytes(4, "little")
        (tmp_path / "a").write_bytes(content)
        key = "bmp"
    else:
        key, save = SAVED[how]
        save(page((400, 300)), tmp_path / "a")
    drawn, expected = read(tmp_path / "a", key), read(tmp_path / "square.png", "png")
    assert (drawn.width, drawn.height) == (400, 600)
    assert alike(drawn.pixels, expected.pixels)


@pytest.mark.parametrize("key", ["tiff", "jpeg"])
@pytest.mark.parametrize("orientation", STORED_AS)
def test_resolutions_are_of_the_stored_picture(tmp_path: Path, key: str, orientation: int) -> None:
    """Where the picture was turned by a quarter, so are its pixels."""
    page().save(tmp_path / "square.png")
    exif, turn = Image.Exif(), STORED_AS[orientation]
    exif[0x0112] = orientation
    stored = page((400, 300)) if turn is None else page((400, 300)).transpose(turn)
    dpi = (102, 204) if orientation >= 5 else (204, 102)
    stored.save(tmp_path / "a", {"tiff": "TIFF", "jpeg": "JPEG"}[key], dpi=dpi, exif=exif)
    drawn = read(tmp_path / "a", key)
    assert (drawn.width, drawn.height) == (400, 600)
    assert alike(drawn.pixels, read(tmp_path / "square.png", "png").pixels)


def mixed(file: Path) -> Path:
    """A TIFF whose pictures have resolutions of their own: standard, fine, and one that was scanned sideways."""
    first, others = page((400, 300)).convert("1"), [page().convert("1"), page((200, 600)).convert("1")]
    for image, dpi in zip(others, ((204, 204), (102, 204)), strict=True):
        image.encoderinfo = {"dpi": dpi}
    first.save(file, "TIFF", save_all=True, append_images=others, dpi=(204, 102), compression="group4")
    return file


def test_each_picture_of_a_tiff_has_its_own_resolution(tmp_path: Path) -> None:
    """The pages of one file may be standard and fine, in any order of reading."""
    file = mixed(tmp_path / "a.tif")
    for index in (0, 1, 2, 0):
        drawn = read(file, "tiff", index)
        assert (drawn.width, drawn.height) == (400, 600)
        assert drawn.pixels.shape == (160, 112, 3)


def test_parts_of_a_tiff_keep_them(tmp_path: Path) -> None:
    """What `split` writes has the shape of the pages that it was cut from."""
    file = mixed(tmp_path / "a.tif")
    status = os.stat(file)
    document = Document(str(file), "0" * 64, status.st_size, status.st_mtime_ns, "tiff")
    (tmp_path / "out").mkdir()
    [part] = extract(document, [(1, 2)], tmp_path / "out", ReadOptions(limits=Limits(page_seconds=60)))
    for index in (0, 1):
        drawn = read(part, "tiff", index)
        assert (drawn.width, drawn.height) == (400, 600)


@pytest.mark.parametrize("dpi", [(300, 300), (300, 299), (0, 0), (300, 1), (1, 300), (72, 400)])
def test_square_pixels_and_mistakes_change_nothing(tmp_path: Path, dpi: tuple[int, int]) -> None:
    """The pixels are those of the file that tells no resolution."""
    page().save(tmp_path / "a", "TIFF")
    page().save(tmp_path / "b", "TIFF", tiffinfo={282: float(dpi[0]), 283: float(dpi[1]), 296: 2})
    assert np.array_equal(read(tmp_path / "a", "tiff").pixels, read(tmp_path / "b", "tiff").pixels)


@given(x=st.floats(), y=st.one_of(st.floats(), st.none(), st.text()))
def test_any_values_give_a_sane_shape(x: float, y: object) -> None:
    """Nothing is made smaller, and nothing is stretched further than the largest ratio."""
    shape = pixel_shape(x, y)
    assert min(shape) == 1
    assert max(shape) <= LARGEST_RATIO
    assert pixel_shape(x, x) == SQUARE
