#!/usr/bin/env bash
# Surprise: PyMuPDF's page.set_cropbox(page.mediabox) raises ValueError where the MediaBox does not begin at 0 0.
# Expected: the MediaBox itself is always a valid CropBox (PDF 32000-1, 14.11.2: the default of CropBox is the MediaBox).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check pymupdf==1.28.2
venv/bin/python - <<'PYTHON'
import sys

import pymupdf

with pymupdf.open() as new:
    new.new_page(width=300, height=400).insert_text((50, 50), "a page")
    new.xref_set_key(new[0].xref, "MediaBox", "[100 200 400 600]")
    content = new.tobytes()

print("PyMuPDF", pymupdf.VersionBind)
with pymupdf.open(stream=content, filetype="pdf") as document:
    page = document[0]
    print("MediaBox", page.mediabox, "CropBox", page.cropbox)
    print("expected: set_cropbox(page.mediabox) is accepted and changes nothing")
    try:
        page.set_cropbox(page.mediabox)
    except ValueError as error:
        print("observed: ValueError:", error)
        sys.exit(0)
print("observed: accepted: the behaviour is no longer seen")
sys.exit(1)
PYTHON
