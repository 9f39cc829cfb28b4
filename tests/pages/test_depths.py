"""White stays white, and what a file calls transparent is, at any number of bits."""

import os
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from embedpipe.pages.contract import ReadOptions
from embedpipe.pages.documents import open_document


def drawn(file: Path, reader: str) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    """The pixels of a picture."""
    document = open_document(os.fspath(file), reader, ReadOptions())
    try:
        return document.render(0).pixels
    finally:
        document.close()


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_white_of_jpeg2000_is_white(tmp_path: Path, bits: int, channels: int) -> None:
    """Grey, colours and colours with transparency: paper is white and print is black."""
    white = (1 << bits) - 1
    values = np.full((80, 60, channels), white, np.uint8 if bits == 8 else np.uint16)
    values[20:40, 10:50, : min(channels, 3)] = 0
    data = imagecodecs.jpeg2k_encode(values.squeeze(), level=0, bitspersample=bits, codecformat="jp2")
    (tmp_path / "a.jp2").write_bytes(data)
    pixels = drawn(tmp_path / "a.jp2", "jpeg2000")
    height = pixels.shape[0]
    assert pixels[height * 3 // 4].min() == 255
    assert pixels[height * 3 // 8, pixels.shape[1] // 2].max() == 0


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize(("bits", "colour", "sample"), [(8, 0, 0xAA), (4, 0, 0xA), (2, 0, 2), (16, 2, 0x8000)])
def test_the_transparent_value_of_a_png_is_transparent(tmp_path: Path, bits: int, colour: int, sample: int) -> None:
    """The upper half has the value that is transparent, the lower one is black: white above, black below."""
    channels = 3 if colour == 2 else 1
    rows = [int("".join(f"{value:0{bits}b}" * 8 * channels), 2).to_bytes(bits * channels) for value in (sample, 0)]
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, bits, colour, 0, 0, 0))
        + chunk(b"tRNS", struct.pack(">H", sample) * channels)
        + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows for _ in range(4))))
        + chunk(b"IEND", b"")
    )
    pixels = drawn(tmp_path / "a.png", "png")
    assert pixels[pixels.shape[0] // 8].min() == 255
    assert pixels[-pixels.shape[0] // 8].max() == 0
