#!/usr/bin/env bash
# Surprise: Pillow reads the white of a colour JPEG 2000 picture with more than 8 bits a channel as black: reducing to 8 bits
# rounds the largest values up to 256, which wraps to 0. Values below are right, so paper turns black and print stays.
# Expected: white is 255, as for 8 bits; imagecodecs and PyMuPDF read the same bytes so.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check pillow==13.0.0 imagecodecs==2026.3.6 PyMuPDF==1.28.2 numpy
venv/bin/python - <<'PYTHON'
import io
import sys

import imagecodecs
import numpy as np
import PIL
import pymupdf
from PIL import Image

print("Pillow", PIL.__version__)
print("expected: white is (255, 255, 255) and half grey about (128, 128, 128), with any number of bits")
seen = {}
for bits in (8, 10, 12, 16):
    white = (1 << bits) - 1
    pixels = np.full((32, 32, 3), white, dtype=np.uint8 if bits == 8 else np.uint16)
    pixels[0, 0] = (white + 1) // 2
    data = imagecodecs.jpeg2k_encode(pixels, level=0, bitspersample=bits)
    if not np.array_equal(imagecodecs.jpeg2k_decode(data), pixels) or pymupdf.Pixmap(data).pixel(5, 5) != (255, 255, 255):
        sys.exit("the picture is not what was meant")
    with Image.open(io.BytesIO(data)) as picture:
        seen[bits] = picture.getpixel((5, 5)), picture.getpixel((0, 0))
        print(f"observed: {bits} bits: mode {picture.mode}, white {seen[bits][0]}, half grey {seen[bits][1]}")
grey, black, white = (128,) * 3, (0,) * 3, (255,) * 3
if seen == {8: (white, grey), 10: (black, grey), 12: (black, grey), 16: (black, grey)}:
    sys.exit(0)
print("the behaviour is no longer seen")
sys.exit(1)
PYTHON
