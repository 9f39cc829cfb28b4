#!/usr/bin/env bash
# Surprise: OpenCV gives a black picture, not None, for a TIFF whose compression its libtiff does not have, where the number of
# the compression is unknown to it: JPEG 2000 (34712, microscopes and maps), JPEG XL (50002). It writes a line to the console,
# and the picture has the right size. With Zstandard (50000), which its libtiff knows and was built without, it gives None.
# Expected: None, which is how imread and imdecode say that a picture cannot be read.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check opencv-python-headless==5.0.0.93 tifffile==2026.3.3 imagecodecs==2026.3.6 numpy
venv/bin/python - <<'PYTHON'
import io
import sys

import cv2
import numpy as np
import tifffile

print("OpenCV", cv2.__version__)
print("expected: None, or the picture, which is 200 everywhere")
pixels = np.full((64, 64, 3), 200, np.uint8)
seen = {}
for compression in ("none", "zstd", "jpeg2000", "jpegxl"):
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, photometric="rgb", compression=compression)
    data = file.getvalue()
    if not (tifffile.imread(io.BytesIO(data)) == 200).all():
        sys.exit("the file is not as meant")
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    seen[compression] = None if picture is None else (picture.shape, int(picture.min()), int(picture.max()))
    print(f"observed: {compression}: shape, smallest and largest value: {seen[compression]}")
black, whole = ((64, 64, 3), 0, 0), ((64, 64, 3), 200, 200)
if seen == {"none": whole, "zstd": None, "jpeg2000": black, "jpegxl": black}:
    sys.exit(0)
print("the behaviour is no longer seen")
sys.exit(1)
PYTHON
