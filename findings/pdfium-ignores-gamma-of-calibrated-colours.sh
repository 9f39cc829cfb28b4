#!/usr/bin/env bash
# Surprise: PDFium ignores /Gamma of CalGray everywhere, and of CalRGB in images, though it counts it in fills of CalRGB. A grey
# of 0.25 of linear light (gamma 1, as some scanners write) is drawn as 64 instead of 137: such scans are much darker in PDFium
# than in MuPDF, and an image does not match the fill beside it.
# Expected: 0.25 of linear light is 137 of 255 on an sRGB screen, in images and fills.
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
white = b"/WhitePoint[0.9505 1 1.089]/Gamma "
srgb = b"/Matrix[0.4124 0.2126 0.0193 0.3576 0.7152 0.1192 0.1805 0.0722 0.9505]"
print("expected: about 137 of 255")
seen = {}
for name, space, channels in (
    ("CalGray", b"[/CalGray<<%s1>>]" % white, 1),
    ("CalRGB", b"[/CalRGB<<%s[1 1 1]%s>>]" % (white, srgb), 3),
):
    values = b"0.25 " * channels
    entries = b"/Type/XObject/Subtype/Image/Width 1/Height 1/BitsPerComponent 8/ColorSpace%s" % space
    fill = pdf(page=b"/Resources<</ColorSpace<</c %s>>>>" % space, content=b"/c cs %s sc 0 0 200 100 re f" % values)
    image = pdf(
        page=b"/Resources<</XObject<</i 5 0 R>>>>",
        content=b"200 0 0 100 0 0 cm /i Do",
        more=[stream(entries, b"\x40" * channels)],
    )
    for kind, data in (("fill", fill), ("image", image)):
        row = seen[name, kind] = (int(with_mupdf(data)[50, 100, 1]), int(with_pdfium(data)[50, 100, 1]))
        print(f"observed: {name}, {kind}: MuPDF {row[0]}, PDFium {row[1]}")
right = all(abs(first - 137) < 3 for first, _ in seen.values())
if right and [abs(second - 137) < 3 for _, second in seen.values()] == [False, False, True, False]:
    sys.exit(0)
print("the behaviour is no longer seen")
sys.exit(1)
PYTHON
