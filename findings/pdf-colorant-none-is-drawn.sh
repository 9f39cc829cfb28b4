#!/usr/bin/env bash
# Surprise: the colorant None of a PDF means that nothing is marked, and both great free renderers mark all the same: MuPDF fills
# a path with the alternate colour (black here), PDFium leaves that out, but draws an image in None as black.
# Expected: neither marks anything (ISO 32000-2 8.6.6.4).
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


def stream(entries, data):
    """A stream object."""
    return b"<<%s/Length %d>>stream\n%s\nendstream" % (entries, len(data), data)


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
space = b"[/Separation/None/DeviceGray<</FunctionType 2/Domain[0 1]/N 1/C0[1]/C1[0]>>]"
path = pdf(page=b"/Resources<</ColorSpace<</c %s>>>>" % space, content=b"/c cs 1 sc 0 0 200 100 re f")
image = pdf(
    page=b"/Resources<</XObject<</i 5 0 R>>>>",
    content=b"200 0 0 100 0 0 cm /i Do",
    more=[stream(b"/Type/XObject/Subtype/Image/Width 1/Height 1/BitsPerComponent 8/ColorSpace%s" % space, b"\x55")],
)
print("expected: the page stays white (255)")
seen = [(int(with_mupdf(data)[50, 100, 0]), int(with_pdfium(data)[50, 100, 0])) for data in (path, image)]
print(f"observed: path: MuPDF {seen[0][0]}, PDFium {seen[0][1]}")
print(f"observed: image of tint 1/3: MuPDF {seen[1][0]}, PDFium {seen[1][1]}")
if seen[0] == (0, 255) and seen[1][0] < 255 and seen[1][1] == 0:
    sys.exit(0)
print("the behaviour is no longer seen")
sys.exit(1)
PYTHON
