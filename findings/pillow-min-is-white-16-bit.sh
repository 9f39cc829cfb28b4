#!/usr/bin/env bash
# Surprise: Pillow opens a grey TIFF of 16 bits with PhotometricInterpretation 0 (WhiteIsZero) as I;16 without inverting
# it, while it inverts the same picture with 8 bits: white paper comes out black.
# Expected: both give the same picture (TIFF 6.0: 0 is white), or the 16-bit one is refused.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check pillow==13.0.0
venv/bin/python - <<'PYTHON'
import io
import struct
import sys

import PIL
from PIL import Image


def tiff(bits):
    """A TIFF of 8 x 8 pixels, all of the stored value 0, which WhiteIsZero makes white."""
    pixels = bytes(8 * 8 * bits // 8)
    entries = [
        (256, 4, 8),  # width
        (257, 4, 8),  # height
        (258, 3, bits),
        (259, 3, 1),  # no compression
        (262, 3, 0),  # WhiteIsZero
        (273, 4, 8),  # where the pixels are
        (277, 3, 1),
        (278, 4, 8),
        (279, 4, len(pixels)),
    ]
    directory = struct.pack("<H", len(entries))
    for tag, kind, value in entries:
        directory += struct.pack("<HHI", tag, kind, 1) + struct.pack("<I", value)
    return struct.pack("<2sHI", b"II", 42, 8 + len(pixels)) + pixels + directory + struct.pack("<I", 0)


print("Pillow", PIL.__version__)
print("expected: stored 0 is white with 8 and with 16 bits")
seen = {}
for bits in (8, 16):
    with Image.open(io.BytesIO(tiff(bits))) as picture:
        seen[bits] = picture.getpixel((0, 0))
        print(f"observed: {bits} bits: mode {picture.mode}, stored 0 is read as {seen[bits]}")
if seen == {8: 255, 16: 0}:
    sys.exit(0)
print("the behaviour is no longer seen")
sys.exit(1)
PYTHON
