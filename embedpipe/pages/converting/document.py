"""A document that is read by the PDF that a program has made of it."""

from dataclasses import replace
from typing import Any

from embedpipe.pages.contract import ReadOptions, Rendering
from embedpipe.pages.formats.pdf import PdfDocument


class ConvertedDocument:
    """The PDF of a document; each of its pages says what made it.

    Attributes:
        page_count: Of the PDF.
        pdf: PyMuPDF's document.
        taken_by_camera: Never.
        made_by: The program, and its version.

    Raises:
        DocumentError: As `PdfDocument`.
    """

    def __init__(self, path: str, options: ReadOptions) -> None:
        self._opened = PdfDocument(path, options)
        self.page_count = self._opened.page_count
        self.pdf: Any = self._opened.pdf
        self.taken_by_camera = False
        self.made_by = ""

    def render(self, index: int) -> Rendering:
        """Renders a page of the PDF."""
        drawn = self._opened.render(index)
        told = f"converted by {self.made_by}"  # begins with `table.CONVERTED_BY`
        return replace(drawn, message=f"{told}; {drawn.message}" if drawn.message else told)

    def close(self) -> None:
        """Closes the PDF."""
        self._opened.close()
