"""Files to page images: one reader per kind of file, chosen by content and never by name.

Pages are rendered straight to the size that the network takes. Nothing here guards against pages that never end or eat
the memory: `rendering` runs these readers in worker processes that can be killed.
"""

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import pymupdf
from numpy.typing import NDArray
from PIL import Image

from embedpipe.core.errors import DocumentError
from embedpipe.core.records import Recipe
from embedpipe.pages.augmentation import Variants
from embedpipe.pages.source_kinds import taken_by_camera

BLANK_INK = 0.0002
"""Pages with a smaller share of ink are blank: 15 pixels of a page of 320 x 226."""

INK_CONTRAST = 24
"""Shades of 255 by which ink stands out from its background; paper grain and JPEG noise stay below."""

SHAPE_STEP = 16
"""Sides are multiples of this, so that pages of nearly the same format share a batch; stretches by 4 % at most."""

PHOTO_CROP = 0.875
"""The share of the short side that the usual photo recipe keeps: 224 of 256 pixels."""

pymupdf.TOOLS.mupdf_display_errors(False)
pymupdf.TOOLS.mupdf_display_warnings(False)


@dataclass(frozen=True, slots=True)
class Limits:
    """What is refused with the outcome `too_large`.

    Attributes:
        file_bytes: Largest file.
        pages: Most pages of one document.
        pixels: Largest image, in pixels of the stored picture.
    """

    file_bytes: int = 2 * 1024**3
    pages: int = 20_000
    pixels: int = 100_000_000


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What the readers need to know: how to render, what to refuse, passwords to try, and what else is wanted.

    Attributes:
        recipe: Size and resize rule; with `variants`, that of the larger page that they are made of.
        interpolation: How images are scaled.
        limits: What is refused.
        passwords: To try on encrypted PDFs.
        cues: Whether to tell the cues of each page.
        variants: Changed copies that are wanted instead of each page.
    """

    recipe: Recipe = field(default_factory=Recipe)
    interpolation: str = "bicubic"
    limits: Limits = field(default_factory=Limits)
    passwords: tuple[str, ...] = ()
    cues: bool = False
    variants: Variants | None = None


@dataclass(frozen=True, slots=True)
class Rendering:
    """Pixels of one page, uint8 (H, W, 3), with the page's own width and height and what the reader noticed."""

    pixels: NDArray[np.uint8]
    width: float
    height: float
    repaired: bool = False
    message: str = ""

    @property
    def ink(self) -> float:
        """Share of pixels that stand out from the most common shade."""
        darkest = self.pixels.min(axis=2)  # a yellow word on white is dark in one channel only
        background = int(np.bincount(darkest.ravel(), minlength=256).argmax())
        return float(np.mean(np.abs(darkest.astype(np.int16) - background) > INK_CONTRAST))


class OpenDocument(Protocol):
    """A document that was opened by a reader."""

    page_count: int

    def render(self, index: int) -> Rendering:
        """Renders page `index`, counted from 0; raises DocumentError."""

    def close(self) -> None:
        """Lets go of the file."""


Region = tuple[float, float, float, float]


def plan(width: float, height: float, recipe: Recipe) -> tuple[Region, tuple[int, int]]:
    """Which part of a page is drawn, and onto how many pixels.

    Args:
        width: Width of the page in any unit, > 0.
        height: Height in the same unit, > 0.
        recipe: Size and resize rule.

    Returns:
        The region (left, top, right, bottom) in the page's unit, and (columns, rows) in pixels.
    """
    whole = (0.0, 0.0, width, height)
    size = recipe.size
    if recipe.resize == "squash":
        return whole, (size, size)
    if recipe.resize == "crop":
        half = min(width, height) * PHOTO_CROP / 2
        middle = (width / 2, height / 2)
        return (middle[0] - half, middle[1] - half, middle[0] + half, middle[1] + half), (size, size)
    short = round(size * min(width, height) / max(width, height) / SHAPE_STEP) * SHAPE_STEP
    short = min(max(short, recipe.shortest), size)
    return whole, ((size, short) if width >= height else (short, size))


class PdfDocument:
    """A PDF, opened with PyMuPDF. Scripts, launch actions and attachments are never touched.

    Attributes:
        pdf: The document, for `extraction`.
        password: The one that opened it, or "".

    Raises:
        DocumentError: It cannot be opened, is encrypted, has no pages, or has too many.
    """

    def __init__(self, path: str, options: ReadOptions) -> None:
        self._options = options
        self.password = ""
        pymupdf.TOOLS.reset_mupdf_warnings()
        try:
            self.pdf = _open_pdf(path)
            if not self.pdf.is_pdf:  # MuPDF opens whatever it knows
                self.pdf.close()
                raise DocumentError("not_a_document", "not a PDF")
        except (DocumentError, MemoryError):
            raise
        except Exception as error:  # MuPDF raises RuntimeError, ValueError and classes of its own
            raise DocumentError(_kind(error, "not_a_document"), f"not a readable PDF: {_first_line(error)}") from error
        try:
            self.page_count = self._count_pages()
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
            raise DocumentError(_kind(error, "no_pages"), f"the page tree is broken: {_first_line(error)}") from error
        if count < 1:
            raise DocumentError("no_pages", "the PDF opens but has no pages")
        if count > self._options.limits.pages:
            raise DocumentError("too_large", f"{count} pages, more than --max-pages {self._options.limits.pages}")
        return count

    def render(self, index: int) -> Rendering:
        """Renders page `index` with annotations and form fields, on white."""
        pymupdf.TOOLS.reset_mupdf_warnings()
        try:
            page = self.pdf[index]
            width, height = page.rect.width, page.rect.height
            if not (width > 0 and height > 0):
                raise DocumentError("page_error", f"the page is {width:g} x {height:g} points")
            region, (columns, rows) = plan(width, height, self._options.recipe)
            scale = pymupdf.Matrix(columns / (region[2] - region[0]), rows / (region[3] - region[1]))
            picture = page.get_pixmap(matrix=scale, clip=region, colorspace=pymupdf.csRGB, alpha=False)
        except (DocumentError, MemoryError):
            raise
        except Exception as error:
            raise DocumentError(_kind(error, "page_error"), f"cannot be rendered: {_first_line(error)}") from error
        pixels = np.frombuffer(picture.samples_mv, np.uint8).reshape(picture.h, picture.stride)[:, : picture.w * 3]
        pixels = _exact_size(pixels.reshape(picture.h, picture.w, 3), columns, rows)
        message = pymupdf.TOOLS.mupdf_warnings().partition("\n")[0]
        repaired = bool(self.pdf.is_repaired)  # it may notice only now
        return Rendering(pixels, width, height, repaired, message)

    def close(self) -> None:
        """Closes the file."""
        self.pdf.close()


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


def _exact_size(pixels: NDArray[np.uint8], columns: int, rows: int) -> NDArray[np.uint8]:
    """Gives a picture that rounding made a pixel too large or too small the planned size; pads with white."""
    exact = np.full((rows, columns, 3), 255, np.uint8)
    part = pixels[:rows, :columns]
    if part.size == 0:
        raise DocumentError("page_error", "the page has no area")
    exact[: part.shape[0], : part.shape[1]] = part
    return exact


class ImageDocument:
    """A picture, or the pictures of a TIFF, opened with Pillow; of animations only the first frame counts.

    Attributes:
        taken_by_camera: Whether the picture that was rendered last says so.

    Raises:
        DocumentError: It cannot be opened or is larger than `Limits.pixels`.
    """

    def __init__(self, path: str, options: ReadOptions, image_format: str) -> None:
        self._options = options
        with _pillow_errors("not_a_document"):
            self._image = Image.open(path, formats=[image_format])
            # the frames of a TIFF are pages; those of a GIF are moments of one picture
            self.page_count = int(getattr(self._image, "n_frames", 1)) if image_format == "TIFF" else 1
        self._stored = self._image.size  # before a draft changes it
        self.taken_by_camera = False
        if self.page_count > options.limits.pages:
            self.close()
            raise DocumentError("too_large", f"{self.page_count} pages, more than --max-pages {options.limits.pages}")

    def render(self, index: int) -> Rendering:
        """Renders picture `index`: turned as EXIF says, transparency on white, deep grey scaled to 8 bits."""
        image = self._image
        with _pillow_errors("page_error"):
            image.seek(index)
            if image.width * image.height > self._options.limits.pixels:
                most = f"--max-pixels {self._options.limits.pixels // 1_000_000} megapixels"
                raise DocumentError("too_large", f"{image.width} x {image.height} pixels, more than {most}")
            if image.format == "TIFF":
                image.load()  # Pillow turns it here, and only it
                self._stored = image.size
            turn = _EXIF_TURNS.get(image.getexif().get(0x0112, 1))
            self.taken_by_camera = taken_by_camera(image)
            sideways = turn in _SIDEWAYS
            stored = self._stored
            width, height = (stored[1], stored[0]) if sideways else stored
            region, (columns, rows) = plan(width, height, self._options.recipe)
            if sideways:  # planned on the upright picture; the stored one is scaled, and the small result turned
                region, (columns, rows) = (region[1], region[0], region[3], region[2]), (rows, columns)
            image.draft(image.mode, (columns * 2, rows * 2))  # JPEG may skip detail below twice the size
            x, y = image.width / stored[0], image.height / stored[1]  # not quite the same: both sides are rounded up
            region = (region[0] * x, region[1] * y, region[2] * x, region[3] * y)
            small = _on_white(image, (columns, rows), region, _RESAMPLING[self._options.interpolation])
            if turn is not None:
                small = small.transpose(turn)
        return Rendering(np.asarray(small), width, height)

    def close(self) -> None:
        """Closes the file."""
        self._image.close()


_T = Image.Transpose
_EXIF_TURNS = {
    2: _T.FLIP_LEFT_RIGHT,
    3: _T.ROTATE_180,
    4: _T.FLIP_TOP_BOTTOM,
    5: _T.TRANSPOSE,
    6: _T.ROTATE_270,
    7: _T.TRANSVERSE,
    8: _T.ROTATE_90,
}
_SIDEWAYS = (_T.TRANSPOSE, _T.ROTATE_270, _T.TRANSVERSE, _T.ROTATE_90)
_RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


_DEEPEST_GREY = 65535.0


def _on_white(image: Image.Image, size: tuple[int, int], region: Region, resampling: Image.Resampling) -> Image.Image:
    """Scales a region of an image of any mode to RGB, with what is transparent shown on white."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = _eight_bits(image)
    transparent = image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info
    image = image.convert("RGBA" if transparent else "L" if image.mode in ("1", "L") else "RGB")
    image = image.resize(size, resampling, box=region, reducing_gap=3.0)
    if transparent:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scales deep grey to 8 bits: 16-bit values by their full range, anything else from its darkest to its lightest."""
    values = np.asarray(image).astype(np.float32)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if image.mode != "F" and low >= 0 and high <= _DEEPEST_GREY:
        low, high = 0.0, _DEEPEST_GREY
    scaled = (np.nan_to_num(values, nan=high, posinf=high, neginf=low) - low) * (255.0 / max(high - low, 1e-12))
    return Image.fromarray(scaled.round().clip(0, 255).astype(np.uint8))


class _pillow_errors:  # noqa: N801 - used like a function in `with`
    """Turns all that Pillow raises on odd files into DocumentError."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._warnings = warnings.catch_warnings()

    def __enter__(self) -> None:
        self._warnings.__enter__()
        warnings.simplefilter("ignore")
        self._limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # `Limits.pixels` is checked before decoding

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> Literal[False]:
        self._warnings.__exit__(None, None, None)
        Image.MAX_IMAGE_PIXELS = self._limit
        if isinstance(error, Exception) and not isinstance(error, DocumentError | MemoryError):
            raise DocumentError(self._kind, f"not a readable picture: {_first_line(error)}") from error
        return False


def _first_line(error: BaseException) -> str:
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _kind(error: Exception, otherwise: str) -> str:
    """MuPDF reports a failed allocation as a plain exception whose text names the C function."""
    text = str(error)
    return "memory" if "alloc" in text and "failed" in text else otherwise


@dataclass(frozen=True, slots=True)
class Reader:
    """How one kind of file is recognised and opened.

    Attributes:
        name: What people call it.
        suffixes: Names that promise this kind of file, lower case, with the dot.
        recognises: Whether the first kilobyte of a file is of this kind.
        open: Opens a path; raises DocumentError.
    """

    name: str
    suffixes: tuple[str, ...]
    recognises: Callable[[bytes], bool]
    open: Callable[[str, ReadOptions], OpenDocument]


def _picture(image_format: str, suffixes: tuple[str, ...], *magics: bytes) -> Reader:
    def open_picture(path: str, options: ReadOptions) -> OpenDocument:
        return ImageDocument(path, options, image_format)

    return Reader(image_format, suffixes, lambda head: head.startswith(magics), open_picture)


READERS: dict[str, Reader] = {
    "png": _picture("PNG", (".png",), b"\x89PNG\r\n\x1a\n"),
    "jpeg": _picture("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), b"\xff\xd8\xff"),
    "tiff": _picture("TIFF", (".tif", ".tiff"), b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "gif": _picture("GIF", (".gif",), b"GIF87a", b"GIF89a"),
    "bmp": _picture("BMP", (".bmp", ".dib"), b"BM"),
    "webp": Reader(
        "WEBP",
        (".webp",),
        lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP",
        lambda path, options: ImageDocument(path, options, "WEBP"),
    ),
    # the last: its mark may come anywhere in the first kilobyte, also in a picture's description
    "pdf": Reader("PDF", (".pdf",), lambda head: b"%PDF-" in head, PdfDocument),
}
"""The kinds of file that are read. An allow-list: nothing else reaches a decoder."""

SUFFIXES = frozenset(suffix for reader in READERS.values() for suffix in reader.suffixes)


def recognise(head: bytes) -> str | None:
    """Key in `READERS` for a file that begins with `head` (1024 bytes are enough), or None."""
    return next((key for key, reader in READERS.items() if reader.recognises(head)), None)


def open_document(path: str, reader: str, options: ReadOptions) -> OpenDocument:
    """Opens a file with a reader of the table; raises DocumentError."""
    opener: Any = READERS[reader].open
    return opener(path, options)  # type: ignore[no-any-return]
