#!/usr/bin/env bash
# Surprise: PDFium draws an annotation (a stamp, a note) whose layer (/OC) is off, while it hides content of the page and form
# XObjects of the same layer. MuPDF hides all three.
# Expected: nothing of a layer that is off is drawn (ISO 32000-2 8.11.3.3 and table 166).
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
form = b"<</Type/XObject/Subtype/Form/BBox[0 0 100 50]%s/Length 25>>stream\n1 0 0 rg 0 0 100 50 re f \nendstream"
hidden = b"/OCProperties<</OCGs[6 0 R]/D<</OFF[6 0 R]>>>>"
layer = b"<</Type/OCG/Name(draft)>>"
stamp = pdf(
    page=b"/Annots[5 0 R]",
    catalog=hidden,
    more=[b"<</Type/Annot/Subtype/Stamp/F 4/Rect[10 10 110 60]/AP<</N 7 0 R>>/OC 6 0 R>>", layer, form % b""],
)
picture = pdf(
    page=b"/Resources<</XObject<</x 5 0 R>>>>", content=b"/x Do", catalog=hidden, more=[form % b"/OC 6 0 R", layer]
)
print("expected: neither is shown")
seen = [(shown(with_mupdf(data)), shown(with_pdfium(data))) for data in (stamp, picture)]
print(f"observed: stamp in a hidden layer: MuPDF shows it: {seen[0][0]}, PDFium: {seen[0][1]}")
print(f"observed: form XObject in a hidden layer: MuPDF shows it: {seen[1][0]}, PDFium: {seen[1][1]}")
if seen == [(False, True), (False, False)]:
    sys.exit(0)
print("the behaviour is no longer seen")
sys.exit(1)
PYTHON
