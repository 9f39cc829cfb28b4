#!/usr/bin/env bash
# Surprise: PDFium takes a code of four bytes in the encoding GBK2K-H, which is GB 18030, for two codes of two bytes: the
# character (rare ones, as in names of people and places) is lost, in its text there are two U+FFFD, and all that follows on the
# line is one character further to the right. MuPDF reads it. Codes of one and two bytes are right in both.
# Expected: one character (ISO 32000-2 table 116: codes of this encoding have 1, 2 or 4 bytes).
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


def page(text):
    """A PDF with a text of 10 points from x = 20 on, in a Chinese font that is not embedded."""
    font = b"""<</Type/Font/Subtype/Type0/BaseFont/STSong-Light/Encoding/GBK2K-H/DescendantFonts[<</Type/Font/Subtype/CIDFontType0
        /BaseFont/STSong-Light/CIDSystemInfo<</Registry(Adobe)/Ordering(GB1)/Supplement 4>>/FontDescriptor<</Type/FontDescriptor
        /FontName/STSong-Light/Flags 4/FontBBox[-25 -254 1000 880]/ItalicAngle 0/Ascent 752/Descent -271/CapHeight 737/StemV 58
        >>>>]>>"""
    content = b"BT /F 10 Tf 20 50 Td <%s> Tj ET" % text.encode("gb18030").hex().encode()
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


def with_mupdf(data):
    """The text, and where its last character begins."""
    spans = [span for block in pymupdf.open("pdf", data)[0].get_text("rawdict")["blocks"] for span in block["lines"][0]["spans"]]
    characters = [character for span in spans for character in span["chars"]]
    return "".join(character["c"] for character in characters), round(characters[-1]["origin"][0])


def with_pdfium(data):
    """The text, and where its last character begins."""
    text = pypdfium2.PdfDocument(data)[0].get_textpage()
    return text.get_text_range(), round(text.get_charbox(text.count_chars() - 1, loose=True)[0])


print("PyMuPDF", pymupdf.VersionBind, "PDFium", pypdfium2.PDFIUM_INFO)
seen = []
for text in ("\u5f20\u4e09\u6807", "\u5f20\u3400\u6807"):
    data = page(text)
    seen.append((with_mupdf(data), with_pdfium(data)))
    print(f"bytes {text.encode('gb18030').hex(' ')}: expected {text!r} and its last character at 40")
    print(f"observed: MuPDF {seen[-1][0]}, PDFium {seen[-1][1]}")
    if seen[-1][0] != (text, 40):
        sys.exit("MuPDF differs from what was expected")
if [theirs for _, theirs in seen] == [("\u5f20\u4e09\u6807", 40), ("\u5f20\ufffd\ufffd\u6807", 50)]:
    sys.exit(0)
print("the behaviour is no longer seen")
sys.exit(1)
PYTHON
