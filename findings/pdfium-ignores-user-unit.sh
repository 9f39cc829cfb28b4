#!/usr/bin/env bash
# Surprise: PDFium draws a page with /UserUnit (PDF 1.6: one unit is that many points, for plans of more than five metres) as
# if it were not there: asked for 72 dpi, the picture of a page of 400 x 200 points has half of its width and height. MuPDF
# counts it, so the two libraries disagree about the size of such a page, and about boxes on it.
# Expected: the size in points is that of the box times /UserUnit.
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
data = pdf(page=b"/UserUnit 2", content=b"1 0 0 rg 10 10 30 20 re f")
print("expected: 400 x 200 pixels at 72 dpi")
first, second = with_mupdf(data).shape[1::-1], with_pdfium(data).shape[1::-1]
stated = pypdfium2.PdfDocument(data)[0].get_size()
print(f"observed: MuPDF {first}, PDFium {second}, which states a size of {stated} points")
if first == (400, 200) and second == (200, 100) and stated == (200.0, 100.0):
    sys.exit(0)
print("the behaviour is no longer seen")
sys.exit(1)
PYTHON
