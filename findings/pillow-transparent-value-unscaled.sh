#!/usr/bin/env bash
# Surprise: Pillow scales grey PNG samples of 2 and 4 bits to 0..255, and colour samples of 16 bits to 8, but not the
# transparent value that the file names in tRNS: no pixel equals it any more, and the background that the file calls
# transparent comes out opaque in its own colour. With 8 bits it is transparent.
# Expected: the alpha of these pixels is 0 with any number of bits (PNG specification, tRNS).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check pillow==13.0.0 PyMuPDF==1.28.2
venv/bin/python - <<'PYTHON'
import io
import struct
import sys
import zlib

import PIL
import pymupdf
from PIL import Image


def chunk(kind, data):
    """A chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(bits, colour, sample):
    """A PNG of 8 x 8 pixels, all of which have the value that tRNS calls transparent."""
    channels = 3 if colour == 2 else 1
    packed = int("".join(f"{sample:0{bits}b}" * 8 * channels), 2).to_bytes(bits * channels)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, bits, colour, 0, 0, 0))
        + chunk(b"tRNS", struct.pack(">H", sample) * channels)
        + chunk(b"IDAT", zlib.compress((b"\0" + packed) * 8))
        + chunk(b"IEND", b"")
    )


print("Pillow", PIL.__version__)
print("expected: alpha 0 in each case")
seen, second = {}, {}
for name, bits, colour, sample in (
    ("grey, 8 bits", 8, 0, 0xAA),
    ("grey, 4 bits", 4, 0, 0xA),
    ("grey, 2 bits", 2, 0, 0x2),
    ("colour, 16 bits", 16, 2, 0x8000),
):
    data = png(bits, colour, sample)
    with Image.open(io.BytesIO(data)) as picture:
        seen[name] = picture.convert("RGBA").getpixel((1, 1))
    other = pymupdf.Pixmap(data)
    second[name] = other.pixel(1, 1)[-1] if other.alpha else 255
    print(f"observed: {name}: {seen[name]}; alpha in PyMuPDF {second[name]}")
grey = (170, 170, 170)
if list(seen.values()) == [(*grey, 0), (*grey, 255), (*grey, 255), (128, 128, 128, 255)] and not any(second.values()):
    sys.exit(0)
print("the behaviour is no longer seen")
sys.exit(1)
PYTHON
