"""The reader of DjVu, with djvu-rs."""

from collections.abc import Iterator
from contextlib import contextmanager

import djvu_rs

from embedpipe.core.errors import DocumentError
from embedpipe.pages.contract import ReadOptions, Rendering, first_line
from embedpipe.pages.formats.pictures import Picture, check_size, draw


class DjvuDocument:
    """A DjVu document of one file.

    Pages are decoded at their own size and then made small as pictures are: what the library draws at a smaller size
    leaves out most of the ink of a page of one bit.

    Attributes:
        pdf: None, see `OpenDocument`.
        taken_by_camera: Never.

    Raises:
        DocumentError: It cannot be opened, has no pages, or has too many.
    """

    def __init__(self, path: str, options: ReadOptions) -> None:
        self._options = options
        self.pdf = None
        self.taken_by_camera = False
        with _errors("not_a_document", "not a readable DjVu"):
            self._document = djvu_rs.Document.open(path)
            self.page_count = int(self._document.page_count())
        if self.page_count < 1:
            raise DocumentError("no_pages", "the DjVu opens but has no pages")
        if self.page_count > options.limits.pages:
            raise DocumentError("too_large", f"{self.page_count} pages, more than --max-pages {options.limits.pages}")

    def render(self, index: int) -> Rendering:
        """Renders page `index`, with the text that lies behind it; raises DocumentError."""
        with _errors("page_error", "cannot be rendered"):
            page = self._document.page(index)
            check_size(page.width, page.height, self._options.limits)
            image = page.render().to_pil().convert("RGB")
            drawn = draw(Picture(image, image.size), self._options)
        return Rendering(drawn.pixels, drawn.width, drawn.height, message=drawn.message, text=_text(page))

    def close(self) -> None:
        """Lets go of the file."""
        del self._document


def _text(page: djvu_rs.Page) -> str:
    """The text behind a page; "" where there is none, or it is damaged."""
    try:
        with _errors("page_error", ""):
            return page.text() or ""
    except DocumentError:
        return ""


@contextmanager
def _errors(kind: str, what: str) -> Iterator[None]:
    """Turns all that the library raises into DocumentError, also where its own code gave up."""
    try:
        yield
    except (DocumentError, MemoryError):
        raise
    except Exception as error:
        raise DocumentError(kind, f"{what}: {first_line(error)}") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of a library in Rust: derived from nothing better
            raise
        raise DocumentError(kind, f"{what}: {first_line(error)}") from error
