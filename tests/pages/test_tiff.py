"""TIFF as it is meant, where Pillow shows it otherwise: compared with the same page in 8 bits."""

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from pages.test_documents import read, refusal
from pages.test_pixel_shapes import add_chunk, alike, page
from PIL import Image

from embedpipe.pages.contract import BLANK_INK
from embedpipe.pages.documents import ReadOptions, open_document

GREY = np.asarray(page())


@pytest.fixture
def expected(tmp_path: Path) -> NDArray[np.uint8]:
    """The page as it is drawn from 8 bits."""
    page().save(tmp_path / "expected.png")
    return read(tmp_path / "expected.png", "png").pixels


def deep(bits: int) -> NDArray[np.uint16]:
    """The page in so many bits."""
    return (GREY.astype(np.float64) * ((2**bits - 1) / 255)).round().astype(np.uint16)


def write(file: Path, values: NDArray[Any], **how: Any) -> Path:
    """A TIFF by tifffile, without what it says of itself."""
    tifffile.imwrite(file, values, metadata=None, **how)
    return file


@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
def test_sixteen_bits_with_zero_as_white_are_no_negative(
    tmp_path: Path, expected: NDArray[np.uint8], compression: str | None
) -> None:
    """0 is white where the file says so."""
    file = write(tmp_path / "a.tif", 65535 - deep(16), photometric="miniswhite", compression=compression)
    assert alike(read(file, "tiff").pixels, expected)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_planes_of_sixteen_bits_are_colours(
    tmp_path: Path, expected: NDArray[np.uint8], planar: str, order: str
) -> None:
    """A page stored plane by plane is the page that is stored pixel by pixel."""
    values = np.stack([deep(16)] * 3, axis=0 if planar == "separate" else 2)
    file = write(tmp_path / "a.tif", values, photometric="rgb", planarconfig=planar, byteorder=order)
    assert alike(read(file, "tiff").pixels, expected)


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_bits_between_eight_and_sixteen_have_their_own_range(
    tmp_path: Path, expected: NDArray[np.uint8], bits: int
) -> None:
    """White is the highest value of so many bits, packed ones too."""
    assert alike(read(packed(tmp_path / "a.tif", bits), "tiff").pixels, expected)


def packed(file: Path, bits: int) -> Path:
    """A grey TIFF of packed bits, each row begins at a byte; written by hand, for no library at hand writes it."""
    rows = ((deep(bits)[:, :, None] >> np.arange(bits - 1, -1, -1)) & 1).reshape(len(GREY), -1)
    strip = np.packbits(rows.astype(np.uint8), axis=1).tobytes()
    height, width = GREY.shape
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: len(strip)}
    entries = b"".join(
        code.to_bytes(2, "little") + b"\4\0\1\0\0\0" + value.to_bytes(4, "little") for code, value in tags.items()
    )
    directory = len(tags).to_bytes(2, "little") + entries + b"\0" * 4
    file.write_bytes(b"II*\0" + (8 + len(strip)).to_bytes(4, "little") + strip + directory)
    return file


def test_the_range_may_be_told_by_the_highest_value(tmp_path: Path, expected: NDArray[np.uint8]) -> None:
    """12 bits in words of 16, as MaxSampleValue tells; a value above it means that it tells nothing."""
    tag = (281, "H", 1, 4095, True)
    assert alike(read(write(tmp_path / "a.tif", deep(12), extratags=[tag]), "tiff").pixels, expected)
    assert alike(read(write(tmp_path / "b.tif", deep(16), extratags=[tag]), "tiff").pixels, expected)


def test_the_range_may_be_told_by_the_significant_bits(tmp_path: Path, expected: NDArray[np.uint8]) -> None:
    """12 bits in words of 16, as sBIT of PNG tells."""
    Image.fromarray(deep(12)).save(tmp_path / "a.png")
    add_chunk(tmp_path / "a.png", b"sBIT", b"\x0c")
    assert alike(read(tmp_path / "a.png", "png").pixels, expected)


def test_a_narrow_range_is_stretched_before_it_is_called_blank(tmp_path: Path) -> None:
    """Text between 30000 and 30400 of 65535 is text."""
    values = (30000 + GREY.astype(np.float64) * 400 / 255).astype(np.uint16)
    drawn = read(write(tmp_path / "a.tif", values), "tiff")
    assert drawn.ink > 0.05
    assert "contrast" in drawn.message


@pytest.mark.parametrize("kind", ["flat", "noise", "gradient"])
def test_a_page_with_nothing_on_it_is_blank_however_deep(tmp_path: Path, kind: str) -> None:
    """Grain and uneven light are no ink."""
    rng = np.random.default_rng(0)
    values = np.full(GREY.shape, 60000.0)
    values += {"flat": 0, "noise": rng.normal(0, 300, GREY.shape), "gradient": np.linspace(0, 2000, GREY.shape[1])}[
        kind
    ]
    assert read(write(tmp_path / "a.tif", values.astype(np.uint16)), "tiff").ink < BLANK_INK


def test_thumbnails_levels_and_masks_are_no_pages(tmp_path: Path) -> None:
    """Of a page, its thumbnail, its smaller copy, its mask and another page two pages are left, in their order."""
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        for values, kind in ((GREY[::8, ::8], 1), (GREY, 0), (GREY[::2, ::2], 1), (GREY > 99, 4), (255 - GREY, 2)):
            tiff.write(values, subfiletype=kind, metadata=None)
    document = open_document(str(tmp_path / "a.tif"), "tiff", ReadOptions())
    assert document.page_count == 2
    drawn = [document.render(index) for index in range(2)]
    document.close()
    assert [(page.width, page.height) for page in drawn] == [(400, 600)] * 2
    assert drawn[0].pixels.mean() > 128 > drawn[1].pixels.mean()


def test_a_file_of_thumbnails_alone_keeps_them(tmp_path: Path) -> None:
    """A picture that is only there as a smaller copy is better than none."""
    file = write(tmp_path / "a.tif", GREY, subfiletype=1)
    assert read(file, "tiff").ink > 0.05


def test_a_compression_that_pillow_lacks_is_read(tmp_path: Path, expected: NDArray[np.uint8]) -> None:
    """JPEG 2000 within TIFF."""
    assert imagecodecs.JPEG2K.available
    file = write(tmp_path / "a.tif", GREY, compression="jpeg2000", tile=(304, 400))
    assert alike(read(file, "tiff").pixels, expected)


def test_a_compression_that_is_not_read_is_said_by_its_name(tmp_path: Path) -> None:
    """The message names it and says what to do."""
    file = write(tmp_path / "a.tif", GREY)
    content = bytearray(file.read_bytes())
    with tifffile.TiffFile(file) as tiff:
        at = tiff.pages[0].tags[259].valueoffset
    content[at : at + 2] = (34661).to_bytes(2, "little")  # JBIG
    file.write_bytes(content)
    error = refusal(file, "tiff")
    assert error.kind == "page_error"
    assert "JBIG" in str(error)
    assert "save it again" in str(error)
