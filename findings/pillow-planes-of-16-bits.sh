#!/usr/bin/env bash
# Surprise: Pillow reads a colour TIFF of 16 bits whose planes lie one after the other (PlanarConfiguration 2) as if each byte
# were a pixel: high and low bytes take turns, so that the left half of the picture appears at twice its width, as noise.
# Compressed (Deflate), or with the colours of a pixel side by side, the same picture is right.
# Expected: the same picture from all three (TIFF 6.0, PlanarConfiguration), or the file is refused.
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
import zlib

import PIL
from PIL import Image

SIDE = 8
COLOUR = (0x1234, 0x8001, 0xFEDC)


def tiff(planes, compression):
    """A TIFF of one colour, in planes or not."""
    if planes:
        parts = [struct.pack("<H", value) * SIDE**2 for value in COLOUR]
    else:
        parts = [struct.pack("<3H", *COLOUR) * SIDE**2]
    if compression == 8:
        parts = [zlib.compress(part) for part in parts]
    places, data = [], b""
    for part in parts:
        places.append(8 + len(data))
        data += part + b"\0" * (len(part) % 2)
    entries = [
        (256, "I", [SIDE]),
        (257, "I", [SIDE]),
        (258, "H", [16, 16, 16]),
        (259, "H", [compression]),
        (262, "H", [2]),  # RGB
        (273, "I", places),
        (277, "H", [3]),
        (278, "I", [SIDE]),
        (279, "I", [len(part) for part in parts]),
        (284, "H", [2 if planes else 1]),
    ]
    directory = struct.pack("<H", len(entries))
    for tag, kind, values in entries:
        packed = struct.pack(f"<{len(values)}{kind}", *values)
        if len(packed) > 4:
            place, data = 8 + len(data), data + packed
            packed = struct.pack("<I", place)
        directory += struct.pack("<HHI", tag, {"H": 3, "I": 4}[kind], len(values)) + packed.ljust(4, b"\0")
    return struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data + directory + struct.pack("<I", 0)


print("Pillow", PIL.__version__)
high = tuple(value >> 8 for value in COLOUR)
print("expected:", high, "everywhere")
seen = []
for planes, compression in ((False, 1), (True, 8), (True, 1)):
    with Image.open(io.BytesIO(tiff(planes, compression))) as picture:
        seen.append([picture.getpixel((x, 3)) for x in (0, 1, 2)])
    name = f"{'planes' if planes else 'side by side'}, {'Deflate' if compression == 8 else 'not compressed'}"
    print(f"observed: {name}: {picture.mode}, pixels {seen[-1]}")
low = tuple(value & 255 for value in COLOUR)
if seen == [[high] * 3, [high] * 3, [low, high, low]]:
    sys.exit(0)
print("the behaviour is no longer seen")
sys.exit(1)
PYTHON
