"""The reader of what MuPDF opens besides PDF: XPS, books, comic books, SVG and texts.

Books have no pages of their own: their text is laid out on pages of one size, in one size of letters. The features of
their pages depend on that, so it is part of what a reader of that name is, and never changes.
"""

import zipfile
from collections.abc import Callable

import numpy as np
import pymupdf

from embedpipe.core.encodings import decode
from embedpipe.core.errors import DocumentError, EmbedpipeError
from embedpipe.pages.contract import ReadOptions, Rendering, failure_kind, first_line
from embedpipe.pages.formats.pdf import picture_of
from embedpipe.pages.formats.shades import visible

LAYOUT_WIDTH, LAYOUT_HEIGHT, LETTERS = 420.0, 595.0, 11.0
"""Points of a page of a book (A5), and of its letters."""

_FORMATS = {
    "xps": "XPS",
    "epub": "EPUB",
    "fb2": "FictionBook2",
    "mobi": "MOBI",
    "svg": "SVG",
    "cbz": "zip",
    "txt": "Text",
}
"""What MuPDF calls them."""

_LOCKS = frozenset({"META-INF/rights.xml", "META-INF/sinf.xml", "META-INF/license.lcpl"})
"""Files of books that only the program of a shop opens; MuPDF would lay out what is encrypted."""


class BookDocument:
    """A document of a kind that MuPDF opens besides PDF. Scripts, links and other files are never opened.

    Args:
        kind: One of `_FORMATS`.
        path: The file.
        options: What is asked.
        recognises: Whether a file is of the kind by its first kilobyte; None for those that are ZIP files. The others
            are read into memory, where names of other files in them lead nowhere.

    Attributes:
        pdf: MuPDF's document: words and cues come from it as from a PDF.
        taken_by_camera: Never.

    Raises:
        DocumentError: It cannot be opened, is locked, has no pages, or has too many.
    """

    def __init__(
        self, kind: str, path: str, options: ReadOptions, recognises: Callable[[bytes], bool] | None = None
    ) -> None:
        self._kind, self._options = kind, options
        self.taken_by_camera = False
        pymupdf.TOOLS.reset_mupdf_warnings()
        try:
            self.pdf = _opened(kind, path, recognises)
            if self.pdf.metadata.get("format") != _FORMATS[kind]:  # MuPDF opens whatever it knows
                self.pdf.close()
                raise DocumentError("not_a_document", f"not {kind.upper()}")
            if self.pdf.is_reflowable:
                self.pdf.layout(width=LAYOUT_WIDTH, height=LAYOUT_HEIGHT, fontsize=LETTERS)
            self.page_count = int(self.pdf.page_count)
        except (DocumentError, MemoryError):
            raise
        except Exception as error:  # MuPDF raises RuntimeError, ValueError and classes of its own
            message = f"not a readable {kind}: {first_line(error)}"
            raise DocumentError(failure_kind(error, "not_a_document"), message) from error
        if self.page_count < 1:
            self.close()
            raise DocumentError("no_pages", "it opens but has no pages")
        if self.page_count > options.limits.pages:
            count = self.page_count
            self.close()
            raise DocumentError("too_large", f"{count} pages, more than --max-pages {options.limits.pages}")

    def render(self, index: int) -> Rendering:
        """Renders page `index` on white."""
        pymupdf.TOOLS.reset_mupdf_warnings()
        try:
            if not 0 <= index < self.page_count:
                raise DocumentError("page_error", f"it has {self.page_count} pages")
            page = self.pdf[index]
            pixels, width, height, drawing = picture_of(page, self._options.recipe)
        except (DocumentError, MemoryError):
            raise
        except Exception as error:
            message = f"cannot be rendered: {first_line(error)}"
            raise DocumentError(failure_kind(error, "page_error"), message) from error
        pixels, faint = visible(np.ascontiguousarray(pixels))
        told = (faint, pymupdf.TOOLS.mupdf_warnings().partition("\n")[0])
        return Rendering(pixels, width, height, message="; ".join(filter(None, told)), page=page, drawing=drawing)

    def close(self) -> None:
        """Closes the file."""
        self.pdf.close()


def _text(path: str) -> bytes:
    """A text in UTF-8, whatever it is in."""
    with open(path, "rb") as file:
        content = file.read()
    try:
        return decode(content, "the text").text.encode()
    except EmbedpipeError as error:
        raise DocumentError("not_a_document", str(error)) from error


def _refuse_locked(locked: bool) -> None:
    if locked:
        raise DocumentError("encrypted", "locked by its seller (DRM), for their program only")


def _is_locked_mobi(content: bytes) -> bool:
    """Whether the first record of a Palm database says that its text is encrypted."""
    begin = int.from_bytes(content[78:82], "big")
    return content[begin + 12 : begin + 14] not in (b"", b"\0\0")


def _opened(kind: str, path: str, recognises: Callable[[bytes], bool] | None) -> pymupdf.Document:
    if recognises is not None:
        with open(path, "rb") as file:
            content = file.read()
        if not recognises(content[:1024]):
            raise DocumentError("not_a_document", f"not {kind.upper()}")
        if kind == "mobi":
            _refuse_locked(_is_locked_mobi(content))
        return pymupdf.open(stream=content, filetype=kind)
    if kind == "txt":
        return pymupdf.open(stream=_text(path), filetype="txt")
    if kind == "epub":
        with zipfile.ZipFile(path) as archive:
            _refuse_locked(not _LOCKS.isdisjoint(archive.namelist()))
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:  # MuPDF cannot be told such names
        with open(path, "rb") as file:
            return pymupdf.open(stream=file.read(), filetype=kind)
    return pymupdf.open(path, filetype=kind)
