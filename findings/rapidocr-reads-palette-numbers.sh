#!/usr/bin/env bash
# Surprise: RapidOCR reads a picture with a palette (PNG or GIF of few colours, as scanners and screenshots save them) as the
# numbers of its palette instead of its colours: white paper and black print may come out as 0 and 1, which no network tells
# apart, and no text is found.
# Expected: the same picture with and without a palette is read alike.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check rapidocr==3.10.0 onnxruntime 
venv/bin/python - <<'PYTHON' 2>&1 | grep -v INFO
import sys
from importlib.metadata import version

from PIL import Image, ImageDraw, ImageFont
from rapidocr import RapidOCR
from rapidocr.utils.load_image import LoadImage

page = Image.new("RGB", (600, 120), "white")
ImageDraw.Draw(page).text((20, 30), "Invoice 2024", fill="black", font=ImageFont.load_default(60))
page.save("colours.png")
page.quantize(4, dither=Image.Dither.NONE).save("palette.png")
with Image.open("palette.png") as saved:
    same = saved.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
read, engine = LoadImage(), RapidOCR()
print("rapidocr", version("rapidocr"))
print("expected: both files have white paper (255), and both are read")
seen = {}
for name in ("colours.png", "palette.png"):
    pixels = read(name)
    seen[name] = int(pixels[0, 0, 0]), int(pixels.max()), " ".join(engine(name).txts or ())
    print(f"observed: {name}: paper {seen[name][0]}, largest value {seen[name][1]}, text {seen[name][2]!r}")
colours, palette = seen["colours.png"], seen["palette.png"]
if same and colours[:2] == (255, 255) and "2024" in colours[2] and palette[1] < 4 and not palette[2]:
    sys.exit(0)
print("the behaviour is no longer seen")
sys.exit(1)
PYTHON
exit "${PIPESTATUS[0]}"
