"""Small files of kinds that nothing in the test tools writes: DjVu, Photoshop and CAJ, made by hand."""

import io
import struct
import zlib

import numpy as np
import pymupdf
from PIL import Image


def bar(width: int = 200, height: int = 280) -> Image.Image:
    """A white page with a dark bar over the upper two fifths."""
    pixels = np.full((height, width, 3), 255, np.uint8)
    pixels[: height * 2 // 5] = 25
    return Image.fromarray(pixels)


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack(">I", len(content)) + content + b"\0" * (len(content) % 2)


def djvu(image: Image.Image | None = None, text: str = "", dpi: int = 100) -> bytes:
    """A page whose picture is stored as a JPEG, with a text behind it."""
    image = image or bar()
    jpeg = io.BytesIO()
    image.save(jpeg, "JPEG", quality=95)
    info = struct.pack(">HHBBHBB", image.width, image.height, 24, 0, 0, 22, 1)
    info = info[:6] + struct.pack("<H", dpi) + info[8:]
    page = b"DJVU" + _chunk(b"INFO", info) + _chunk(b"BGjp", jpeg.getvalue())
    if text:
        raw = text.encode()
        zone = struct.pack(">BHHHHH", 1, 0x8000, 0x8000, 0x8000 + image.width, 0x8000 + image.height, 0x8000)
        zone += len(raw).to_bytes(3, "big") + (0).to_bytes(3, "big")
        page += _chunk(b"TXTa", len(raw).to_bytes(3, "big") + raw + b"\1" + zone)
    return b"AT&T" + _chunk(b"FORM", page)


def psd(image: Image.Image | None = None, depth: int = 8, version: int = 1, *, flattened: bool = True) -> bytes:
    """A picture without layers, its channels one after the other as they are."""
    image = image or bar()
    modes = {"1": 0, "L": 1, "RGB": 3, "CMYK": 4}
    values = np.atleast_3d(np.asarray(image)).astype(np.uint16)
    if image.mode == "CMYK":
        values = 255 - values
    channels = (values * 257).astype(">u2") if depth == 16 else values.astype(np.uint8)
    count = values.shape[2]
    head = b"8BPS" + struct.pack(">H6xHIIHH", version, count, image.height, image.width, depth, modes[image.mode])
    told = struct.pack(">IB", 1, flattened) + bytes(16) + struct.pack(">I", 1)
    resource = (
        b"8BIM" + struct.pack(">H", 1057) + b"\0\0" + struct.pack(">I", len(told)) + told + b"\0" * (len(told) % 2)
    )
    layers = bytes(4 if version == 1 else 8)
    pixels = b"".join(channels[:, :, n].tobytes() for n in range(count))
    return head + bytes(4) + struct.pack(">I", len(resource)) + resource + layers + b"\0\0" + pixels


def small_pdf(pages: int = 1) -> bytes:
    """A PDF whose first page has a dark bar, and the others a shorter one each."""
    with pymupdf.open() as document:
        for number in range(pages):
            page = document.new_page(width=200, height=280)
            page.draw_rect((0, 0, 200, 112 - 10 * number), color=None, fill=(0.1, 0.1, 0.1))
        return bytes(document.tobytes(no_new_id=True))


def caj(pages: int = 1, told: int | None = None) -> bytes:
    """The objects of pages without the tree above them and the table, as CAJ holds them."""
    objects = []
    for number in range(pages):
        draw = zlib.compress(b"0.1 g 0 %d 200 %d re f" % (168 + 10 * number, 112 - 10 * number))
        page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 280]/Contents %d 0 R>>" % (20 + number)
        objects.append(b"%d 0 obj%s\rendobj\r\n" % (10 + number, page))
        stream = b"<</Length %d/Filter/FlateDecode>>stream\r\n%s\r\nendstream" % (len(draw), draw)
        objects.append(b"%d 0 obj%s\rendobj\r\n" % (20 + number, stream))
    head = b"CAJ\0\1\0\2\0\0\0\0\0\3\0\0\0" + struct.pack("<II", pages if told is None else told, 32) + bytes(8)
    return head + struct.pack("<I", 64) + bytes(28) + b"".join(objects) + b"<?xml version='1.0'?><x/>"


def kdh(pages: int = 1) -> bytes:
    """A PDF behind the mask of KDH."""
    pdf = small_pdf(pages) + b"\n"
    mask = (b"FZHMEI" * (len(pdf) // 6 + 1))[: len(pdf)]
    return b"KDH 2.00 Copyright".ljust(254, b"\0") + bytes(a ^ b for a, b in zip(pdf, mask, strict=True))
