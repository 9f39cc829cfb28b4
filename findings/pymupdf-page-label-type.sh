#!/usr/bin/env bash
# Surprise: PyMuPDF takes the /Type of a page label for its prefix where it has none: with `/Type/PageLabel`, which the standard
# allows in each such dictionary, page 1 is called "ageLabel1". PyMuPDF looks for names in the text of the dictionary; so a slash
# in a prefix ends it as well, and a prefix in UTF-16 stays hexadecimal digits ("<FEFF7B2C>1"). PDFium reads all of them.
# Expected: labels as ISO 32000-2 table 161 (12.4.2) has them.
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


def labels(rule):
    """What PyMuPDF and PDFium call the only page of a PDF."""
    pdf = pymupdf.open()
    pdf.new_page()
    pdf.xref_set_key(pdf.pdf_catalog(), "PageLabels", f"<</Nums[0<<{rule}>>]>>")
    data = pdf.tobytes()
    return pymupdf.open("pdf", data)[0].get_label(), pypdfium2.PdfDocument(data).get_page_label(0)


print("PyMuPDF", pymupdf.VersionBind, "PDFium", pypdfium2.PDFIUM_INFO)
rules = {
    "/S/D/P(A-)": "A-1",
    "/Type/PageLabel/S/D": "1",
    "/S/D/P(2024/)": "2024/1",
    "/S/D/P<FEFF7B2C>": "\u7b2c1",
}
seen = []
for rule, expected in rules.items():
    seen.append(labels(rule))
    print(f"<<{rule}>> expected: {expected}; observed: PyMuPDF {seen[-1][0]}, PDFium {seen[-1][1]}")
wrong = ["A-1", "ageLabel1", "20241", "<FEFF7B2C>1"]
if [ours for ours, _ in seen] == wrong and [theirs for _, theirs in seen] == list(rules.values()):
    sys.exit(0)
print("the behaviour is no longer seen")
sys.exit(1)
PYTHON
