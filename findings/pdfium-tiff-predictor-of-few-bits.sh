#!/usr/bin/env bash
# Surprise: PDFium undoes the TIFF predictor (/Predictor 2) of images with 2 or 4 bits a sample as if they had 8, and of colour
# images with 1 bit as if they were grey: the picture is noise. Grey with 1 bit, and 8 and 16 bits, are right; MuPDF is right
# with all of them.
# Expected: the difference is taken sample by sample, of any depth (TIFF 6.0, section 14; ISO 32000-2 7.4.4.4).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check PyMuPDF==1.28.2 pypdfium2==5.15.2 numpy pillow
venv/bin/python - <<'PYTHON'
import sys
import zlib

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
def packed(samples, bits):
    """Samples of a row of pixels as bytes."""
    return np.packbits((samples[:, None] >> np.arange(bits - 1, -1, -1)) & 1).astype(np.uint8).tobytes()


print("expected: the picture is the same with and without the predictor")
wrong = {"MuPDF": [], "PDFium": []}
for bits, colours in ((1, 1), (1, 3), (2, 1), (4, 1), (4, 3), (8, 1), (8, 3)):
    samples = np.random.default_rng(0).integers(0, 2**bits, (8, 3))[:, :colours].astype(np.int64)
    steps = np.diff(samples, axis=0, prepend=0) % 2**bits
    space = b"/DeviceRGB" if colours == 3 else b"/DeviceGray"
    entries = b"/Type/XObject/Subtype/Image/Width 8/Height 1/BitsPerComponent %d/ColorSpace%s/Filter/FlateDecode" % (bits, space)
    predicted = b"/DecodeParms<</Predictor 2/Columns 8/Colors %d/BitsPerComponent %d>>" % (colours, bits)
    pages = [
        pdf(
            page=b"/Resources<</XObject<</i 5 0 R>>>>",
            content=b"200 0 0 100 0 0 cm /i Do",
            more=[stream(entries + more, zlib.compress(packed(values.ravel(), bits)))],
        )
        for more, values in ((b"", samples), (predicted, steps))
    ]
    for name, draw in (("MuPDF", with_mupdf), ("PDFium", with_pdfium)):
        plain, other = (draw(page).astype(int) for page in pages)
        if np.abs(plain - other).max() > 2:
            wrong[name].append((bits, colours))
for name, cases in wrong.items():
    print(f"observed: {name} differs for (bits, colours): {cases}")
if wrong == {"MuPDF": [], "PDFium": [(1, 3), (2, 1), (4, 1), (4, 3)]}:
    sys.exit(0)
print("the behaviour is no longer seen")
sys.exit(1)
PYTHON
