"""The reader of PDFs, with PyMuPDF."""

import os

import numpy as np
import pymupdf
from numpy.typing import NDArray

from embedpipe.core.errors import DocumentError
from embedpipe.core.records import Recipe
from embedpipe.pages.contract import ReadOptions, Rendering, failure_kind, first_line, plan
from embedpipe.pages.formats.pdf_fonts import CJK_FALLBACK, cjk_fallbacks
from embedpipe.pages.formats.pdf_mending import (
    hide_annotations,
    mend_boxes,
    page_object,
    settle_layers,
    settle_signatures,
)
from embedpipe.pages.formats.shades import visible
from embedpipe.pages.formats.stand_ins import stand_in, unshowable

_FONTS_SHOWN = 3

pymupdf.TOOLS.mupdf_display_errors(False)
pymupdf.TOOLS.mupdf_display_warnings(False)


class PdfDocument:
    """A PDF, opened with PyMuPDF. Scripts, launch actions and attachments are never touched.

    Args:
        path: The file.
        options: What is asked.
        content: The PDF itself, where the file is of another kind.

    Attributes:
        pdf: The document, for `extraction`.
        password: The one that opened it, or "".
        taken_by_camera: Never; what a page shows tells.

    Raises:
        DocumentError: It cannot be opened, is encrypted, has no pages or too many, or is a form whose pages only
            Adobe's programs lay out.
    """

    def __init__(self, path: str, options: ReadOptions, content: bytes | None = None) -> None:
        self._options = options
        self.password = ""
        self.taken_by_camera = False
        pymupdf.TOOLS.reset_mupdf_warnings()
        try:
            self.pdf = _open_pdf(path) if content is None else pymupdf.open(stream=content, filetype="pdf")
            if not self.pdf.is_pdf:  # MuPDF opens whatever it knows
                self.pdf.close()
                raise DocumentError("not_a_document", "not a PDF")
        except (DocumentError, MemoryError):
            raise
        except Exception as error:  # MuPDF raises RuntimeError, ValueError and classes of its own
            raise _refusal(error) from error
        try:
            self.page_count = self._count_pages()
            if why := unshowable(self.pdf):
                raise DocumentError("needs_converter", why)
            self._stand_in = stand_in(self.pdf)
            self._mended: dict[int, str] = {}
            self._instead: dict[int, str] = {}
        except DocumentError:
            self.close()
            raise

    def _count_pages(self) -> int:
        locked = self.pdf.needs_pass  # asked once: it tries the empty password, and with it loses the key of another
        if locked:
            self.password = next(filter(self.pdf.authenticate, self._options.passwords), "")
        if locked and not self.password:
            raise DocumentError("encrypted", "needs a password: put it on a line of its own in a --password-file")
        try:
            count = int(self.pdf.page_count)
        except MemoryError:
            raise
        except Exception as error:
            raise DocumentError(
                failure_kind(error, "no_pages"), f"the page tree is broken: {first_line(error)}"
            ) from error
        if count < 1:
            raise DocumentError("no_pages", "the PDF opens but has no pages")
        if count > self._options.limits.pages:
            raise DocumentError("too_large", f"{count} pages, more than --max-pages {self._options.limits.pages}")
        return count

    def render(self, index: int) -> Rendering:
        """Renders page `index` on white, after it was mended, with form fields, and with annotations unless hidden."""
        pymupdf.TOOLS.reset_mupdf_warnings()
        try:
            mended = self._mend(index)
            page = self.pdf[index]
            pixels, width, height, drawing = picture_of(page, self._options.recipe)
        except (DocumentError, MemoryError):
            raise
        except Exception as error:
            raise DocumentError(
                failure_kind(error, "page_error"), f"cannot be rendered: {first_line(error)}"
            ) from error
        pixels, faint = visible(pixels)
        stands = self._stand_in if index == 0 else None
        warned = pymupdf.TOOLS.mupdf_warnings().partition("\n")[0]
        told = (stands.message if stands else "", mended, faint, self._instead.get(index, ""), warned)
        return Rendering(
            pixels,
            width,
            height,
            repaired=bool(self.pdf.is_repaired or mended),  # MuPDF may notice only now
            message="; ".join(text for text in told if text),
            stands_for=stands.outcome if stands else "",
            page=page,
            drawing=drawing,
        )

    def _mend(self, index: int) -> str:
        """Mends a page once, before it is loaded; what is too broken for that is drawn as it is."""
        if index not in self._mended:
            self._mended[index] = ""
            try:
                page = page_object(self.pdf, index)
                settle_layers(self.pdf, page)
                if self._options.recipe.annotations == "hide":
                    hide_annotations(page)
                settle_signatures(page)
                self._instead[index] = _instead(cjk_fallbacks(page))
                self._mended[index] = mend_boxes(page)
            except MemoryError:
                raise
            except Exception:  # noqa: BLE001 - MuPDF raises many kinds; drawing says what is wrong
                return ""
        return self._mended[index]

    def close(self) -> None:
        """Closes the file."""
        self.pdf.close()


def _instead(fonts: list[str]) -> str:
    """Says what is drawn for fonts that the file does not hold."""
    return f"drawn in {CJK_FALLBACK}, for the file does not hold {', '.join(fonts[:_FONTS_SHOWN])}" if fonts else ""


def picture_of(page: pymupdf.Page, recipe: Recipe) -> tuple[NDArray[np.uint8], float, float, pymupdf.DisplayList]:
    """A page of any kind that MuPDF opens, drawn as a recipe says.

    Returns:
        Pixels, uint8 (H, W, 3), the page's width and height in points, and its display list, for `Rendering.drawing`.

    Raises:
        DocumentError: The page has no area; and whatever MuPDF raises.
    """
    width, height = page.rect.width, page.rect.height
    if not (width > 0 and height > 0):
        raise DocumentError("page_error", f"the page is {width:g} x {height:g} points")
    region, (columns, rows) = plan(width, height, recipe)
    scale = pymupdf.Matrix(columns / (region[2] - region[0]), rows / (region[3] - region[1]))
    drawing = page.get_displaylist()  # as `page.get_pixmap` makes one; the text is read from it as well
    picture = drawing.get_pixmap(matrix=scale, clip=region, colorspace=pymupdf.csRGB, alpha=False)
    pixels = np.frombuffer(picture.samples_mv, np.uint8).reshape(picture.h, picture.stride)[:, : picture.w * 3]
    return _exact_size(pixels.reshape(picture.h, picture.w, 3), columns, rows), width, height, drawing


def _open_pdf(path: str) -> pymupdf.Document:
    """Opens a PDF also where its name is not UTF-8, which MuPDF cannot be told: by its number."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        handle = os.open(path, os.O_RDONLY)
        try:
            return pymupdf.open(f"/dev/fd/{handle}", filetype="pdf")
        finally:
            os.close(handle)
    return pymupdf.open(path, filetype="pdf")


def _refusal(error: Exception) -> DocumentError:
    """Why a PDF cannot be opened."""
    text = first_line(error)
    if "encryption" in text.lower() or "security handler" in text.lower():
        message = f"encrypted for certificates or by a method that is not read ({text}): save it without encryption"
        return DocumentError("encrypted", message)
    return DocumentError(failure_kind(error, "not_a_document"), f"not a readable PDF: {text}")


def _exact_size(pixels: NDArray[np.uint8], columns: int, rows: int) -> NDArray[np.uint8]:
    """Gives a picture that rounding made a pixel too large or too small the planned size; pads with white."""
    exact = np.full((rows, columns, 3), 255, np.uint8)
    part = pixels[:rows, :columns]
    if part.size == 0:
        raise DocumentError("page_error", "the page has no area")
    exact[: part.shape[0], : part.shape[1]] = part
    return exact
