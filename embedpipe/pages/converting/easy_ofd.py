"""A program for the package easyofd, which has none: `python easy_ofd.py INPUT OUTPUT` makes a PDF of an OFD document.

It runs as a script, in a process of its own, and imports nothing of embedpipe. Fonts that the machine lacks, which is
most of those that Chinese documents name, would be drawn in Helvetica, as boxes, after a search of seconds for each
letter: they are drawn in MuPDF's own CJK font instead.
"""

import io
import logging
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

_POINTS = 72 / 200


def main() -> int:
    """Converts a file, or prints the version."""
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write(f"easyofd {version('easyofd')}\n")
        return 0
    source, target = map(Path, sys.argv[1:])
    logging.disable(logging.CRITICAL)
    import pymupdf  # noqa: PLC0415 - not for the version
    from loguru import logger  # noqa: PLC0415 - of easyofd
    from reportlab.pdfbase import pdfmetrics  # noqa: PLC0415 - likewise
    from reportlab.pdfbase.ttfonts import TTFont  # noqa: PLC0415

    logger.remove()
    letters = pymupdf.Font("cjk").buffer

    def fallback(name: str) -> Any:
        font = TTFont(name, io.BytesIO(letters))
        pdfmetrics.registerFont(font)
        return font

    pdfmetrics.findFontAndRegister = fallback
    from easyofd.ofd import OFD  # noqa: PLC0415 - prints as it loads

    document = OFD()
    document.read(source.read_bytes(), fmt="binary")
    made = pymupdf.open("pdf", document.to_pdf())
    sized = pymupdf.open()
    for page in made:  # it makes points of what are pixels at 200 dpi
        paper = sized.new_page(width=page.rect.width * _POINTS, height=page.rect.height * _POINTS)
        paper.show_pdf_page(paper.rect, made, page.number)
    sized.save(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
