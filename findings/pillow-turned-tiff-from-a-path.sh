#!/usr/bin/env bash
# Surprise: Pillow shows one TIFF as two pictures: opened by its path it is sheared, opened from the same bytes in memory it is
# right. It is grey (or has a palette), is not compressed, and has an Orientation of 5 to 8. By its path Pillow maps such a file
# into memory with lines as long as those of the page once it is turned, and turns that: the size is that of the unturned page.
# Expected: the same picture both ways, turned, as it is with LZW or in colour.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check pillow==13.0.0
venv/bin/python - <<'PYTHON'
import io
import sys

import PIL
from PIL import Image

page = Image.new("L", (100, 40), 255)
page.paste(0, (0, 0, 10, 40))  # a black bar at the left, which is at the top once the page is turned to the right
wanted = page.transpose(Image.Transpose.ROTATE_270)


def right(mode, compression):
    """Whether the page is right when it is opened by its path, and from memory."""
    page.convert(mode).save("page.tif", compression=compression, tiffinfo={274: 6})
    with open("page.tif", "rb") as file:
        sources = ("page.tif", io.BytesIO(file.read()))
    found = []
    for source in sources:
        with Image.open(source) as picture:
            size = picture.size
            picture.load()
        same = picture.convert("L").tobytes() == wanted.tobytes() and picture.size == wanted.size
        found.append((same, size, picture.size))
    return found


print("Pillow", PIL.__version__)
print("expected: the turned page, 40 x 100, always")
seen = []
for mode, compression in (("L", None), ("P", None), ("RGB", None), ("L", "tiff_lzw")):
    found = right(mode, compression)
    seen.append(tuple(same for same, *_ in found))
    for name, (same, before, after) in zip(("path", "memory"), found, strict=True):
        print(f"observed: {mode}, {compression or 'not compressed'}, from {name}: right: {same}, size {before}, once loaded {after}")
if seen == [(False, True), (False, True), (True, True), (True, True)]:
    sys.exit(0)
print("the behaviour is no longer seen")
sys.exit(1)
PYTHON
