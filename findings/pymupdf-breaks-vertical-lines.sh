#!/usr/bin/env bash
# Surprise: PyMuPDF ends the line after each character of vertical writing (Chinese, Japanese): `get_text` gives one character a
# line, each is a word and a line of its own, and `search_for` finds nothing of two characters. The lines say `wmode` 1, so the
# writing mode is known. PDFium gives the columns, and so does PyMuPDF 1.24.14.
# Expected: a column of text is a line, as horizontal text is.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check PyMuPDF==1.28.2 pypdfium2==5.15.2
venv/bin/python - <<'PYTHON'
import sys

import pymupdf
import pypdfium2

TEXT = "\u53d1\u7968\u53f7\u7801"  # number of an invoice


def page(encoding):
    """A PDF with the text in a Chinese font that is not embedded."""
    font = b"""<</Type/Font/Subtype/Type0/BaseFont/STSong-Light/Encoding/%s/DescendantFonts[<</Type/Font/Subtype/CIDFontType0
        /BaseFont/STSong-Light/CIDSystemInfo<</Registry(Adobe)/Ordering(GB1)/Supplement 4>>/FontDescriptor<</Type/FontDescriptor
        /FontName/STSong-Light/Flags 4/FontBBox[-25 -254 1000 880]/ItalicAngle 0/Ascent 752/Descent -271/CapHeight 737/StemV 58
        >>>>]>>""" % encoding.encode()
    content = b"BT /F 12 Tf 100 90 Td <%s> Tj ET" % TEXT.encode("gbk").hex().encode()
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 100]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(content), content),
        font,
    ]
    data, places = b"%PDF-1.7\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"trailer<</Root 1 0 R/Size %d>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, len(data))
    return data + b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1) + table + end


print("PyMuPDF", pymupdf.VersionBind, "PDFium", pypdfium2.PDFIUM_INFO)
print(f"expected: {TEXT!r} as one line, which is found once when its middle is searched for")
seen = {}
for name, encoding in (("horizontal", "GBK-EUC-H"), ("vertical", "GBK-EUC-V")):
    ours = pymupdf.open("pdf", page(encoding))[0]
    theirs = pypdfium2.PdfDocument(page(encoding))[0].get_textpage().get_text_range()
    modes = {line["wmode"] for block in ours.get_text("dict")["blocks"] for line in block["lines"]}
    seen[name] = ours.get_text().split(), modes, len(ours.search_for(TEXT[1:3])), theirs
    print(f"observed: {name}: lines {seen[name][0]}, wmode {modes}, found {seen[name][2]}; PDFium {theirs!r}")
if seen == {"horizontal": ([TEXT], {0}, 1, TEXT), "vertical": (list(TEXT), {1}, 0, TEXT)}:
    sys.exit(0)
print("the behaviour is no longer seen")
sys.exit(1)
PYTHON
