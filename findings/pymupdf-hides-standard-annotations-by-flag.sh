#!/usr/bin/env bash
# Surprise: MuPDF does not draw a stamp whose Invisible flag (bit 1 of /F) is set, though that flag speaks of annotations of
# types that are not in the standard only; PDFium draws it. A page that is judged by its stamp (PAID, DRAFT) differs.
# Expected: it is drawn (ISO 32000-2 table 167: Hidden, bit 2, is what hides all types).
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
form = b"<</Type/XObject/Subtype/Form/BBox[0 0 100 50]/Length 25>>stream\n1 0 0 rg 0 0 100 50 re f \nendstream"
print("expected: shown with no flag and with Invisible, not with Hidden")
seen = []
for name, flag in (("none", 0), ("Invisible", 1), ("Hidden", 2)):
    annotation = b"<</Type/Annot/Subtype/Stamp/F %d/Rect[10 10 110 60]/AP<</N 6 0 R>>>>" % flag
    data = pdf(page=b"/Annots[5 0 R]", more=[annotation, form])
    seen.append((shown(with_mupdf(data)), shown(with_pdfium(data))))
    print(f"observed: flag {name}: MuPDF shows it: {seen[-1][0]}, PDFium: {seen[-1][1]}")
if seen == [(True, True), (False, True), (False, False)]:
    sys.exit(0)
print("the behaviour is no longer seen")
sys.exit(1)
PYTHON
