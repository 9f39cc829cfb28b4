#!/usr/bin/env bash
# Surprise: MuPDF draws content whose optional-content membership says AllOn even where all its layers are off, and never what
# says AnyOff, as soon as one of its layers is off. So drawings with layers come with what should be hidden. AnyOn and
# AllOff are right, and PDFium is right with all four.
# Expected: what ISO 32000-2 8.11.2.2 says of the four policies.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check PyMuPDF==1.28.2 pypdfium2==5.15.2 numpy pillow
venv/bin/python - <<'PYTHON'
import itertools
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
print("expected: a policy shows its content as it says, for two layers that are on or off")
policies = {"AllOn": all, "AnyOn": any, "AnyOff": lambda on: not all(on), "AllOff": lambda on: not any(on)}
wrong = {}
for name, rule in policies.items():
    for layers in itertools.product((True, False), repeat=2):
        off = b" ".join(number for number, on in zip((b"5 0 R", b"6 0 R"), layers, strict=True) if not on)
        data = pdf(
            page=b"/Resources<</Properties<</both 7 0 R>>>>",
            content=b"/OC /both BDC 1 0 0 rg 10 10 100 50 re f EMC",
            catalog=b"/OCProperties<</OCGs[5 0 R 6 0 R]/D<</OFF[%s]>>>>" % off,
            more=[
                b"<</Type/OCG/Name(one)>>",
                b"<</Type/OCG/Name(two)>>",
                b"<</Type/OCMD/OCGs[5 0 R 6 0 R]/P/%s>>" % name.encode(),
            ],
        )
        wanted = rule(layers)
        if shown(with_pdfium(data)) != wanted:
            sys.exit("PDFium differs from what was expected")
        if shown(with_mupdf(data)) != wanted:
            wrong.setdefault(name, []).append(layers)
for name, cases in wrong.items():
    print(f"observed: MuPDF is wrong about {name} for layers on: {cases}")
mixed = [(True, False), (False, True), (False, False)]
if wrong == {"AllOn": mixed, "AnyOff": mixed}:
    sys.exit(0)
print("the behaviour is no longer seen")
sys.exit(1)
PYTHON
