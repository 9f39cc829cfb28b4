#!/usr/bin/env bash
# Surprise: where the function of a shading has no /Range and gives a value above 1 or below 0, MuPDF wraps it around (1.5 becomes
# about 0.5, -0.5 becomes about 0.5), while it clips the same value in a plain fill. With /Range, and in PDFium, it is clipped.
# Expected: the nearest value that the colour space allows (ISO 32000-2 8.6.5.3 and 8.7.4.5).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check PyMuPDF==1.28.2 pypdfium2==5.15.2 numpy pillow
venv/bin/python - <<'PYTHON'
import sys

import numpy as np
import pymupdf
import pypdfium2


def pdf(page=b"", content=b"", catalog=b"", more=()):
    """A PDF of one page of 200 x 100 points; the objects `more` have the numbers from 5 on."""
    objects = [
        b"<</Type/Catalog/Pages 2 0 R" + catalog + b">>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 100]/Contents 4 0 R" + page + b">>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(content), content),
        *more,
    ]
    data, places = b"%PDF-1.7\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"trailer<</Root 1 0 R/Size %d>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, len(data))
    return data + b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1) + table + end


def with_mupdf(data):
    """The page as MuPDF draws it, RGB, one pixel a point."""
    drawn = pymupdf.open("pdf", data)[0].get_pixmap()
    return np.frombuffer(drawn.samples, np.uint8).reshape(drawn.height, drawn.width, drawn.n)


def with_pdfium(data):
    """The page as PDFium draws it, RGB, one pixel a point."""
    return np.asarray(pypdfium2.PdfDocument(data)[0].render(scale=1).to_pil().convert("RGB"))


def shown(picture):
    """Whether the red rectangle is in the picture."""
    return bool((picture[..., 1] < 128).any())


print("PyMuPDF", pymupdf.VersionBind, "PDFium", pypdfium2.PDFIUM_INFO)
def at_three_quarters(draw, highest, more=b""):
    """Blue at 0.75 of a shading from 0 to ``highest``."""
    function = b"<</FunctionType 2/Domain[0 1]/N 1/C0[1 0 0]/C1[0 0 %d]%s>>" % (highest, more)
    shading = b"<</ShadingType 2/ColorSpace/DeviceRGB/Coords[0 0 200 0]/Function %s>>" % function
    return int(draw(pdf(page=b"/Resources<</Shading<</s %s>>>>" % shading, content=b"/s sh"))[50, 150, 2])


clip = b"/Range[0 1 0 1 0 1]"
print("expected: 255 where the function gives 1.5, and 0 where it gives -0.75")
seen = []
for highest in (2, -1):
    row = (at_three_quarters(with_mupdf, highest), at_three_quarters(with_mupdf, highest, clip), at_three_quarters(with_pdfium, highest))
    seen.append(row)
    print(f"observed: function up to {highest}: MuPDF {row[0]}, with /Range {row[1]}, PDFium {row[2]}")
if [row[1:] for row in seen] == [(255, 255), (0, 0)] and 100 < seen[0][0] < 150 and 40 < seen[1][0] < 90:
    sys.exit(0)
print("the behaviour is no longer seen")
sys.exit(1)
PYTHON
