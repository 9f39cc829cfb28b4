"""Files to page images: one reader per kind of file, chosen by content and never by name.

Pages are rendered straight to the size that the network takes. Nothing here guards against pages that never end or eat
the memory: `rendering` runs these readers in worker processes that can be killed.
"""

import re
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from embedpipe.core.errors import DocumentError
from embedpipe.core.files import sha256_of
from embedpipe.core.records import Document
from embedpipe.pages.containers.kinds import ZIP_READERS
from embedpipe.pages.containers.opening import held_file, on_the_disk
from embedpipe.pages.contract import (
    BLANK_INK,
    INK_CONTRAST,
    PHOTO_CROP,
    SHAPE_STEP,
    THUMBNAILS,
    WORDS,
    Limits,
    OpenDocument,
    ReadOptions,
    Region,
    Rendering,
    plan,
)
from embedpipe.pages.converting.conversions import Converted, convert, needs_converting
from embedpipe.pages.converting.table import CONVERTERS, active, converter_of

__all__ = [
    "BLANK_INK",
    "BOOKS",
    "CONVERTED",
    "INK_CONTRAST",
    "PHOTO_CROP",
    "READERS",
    "SHAPE_STEP",
    "SUFFIXES",
    "THUMBNAILS",
    "WORDS",
    "Converted",
    "Limits",
    "OpenDocument",
    "ReadOptions",
    "Reader",
    "Region",
    "Rendering",
    "named_reader",
    "needs_converting",
    "open_document",
    "plan",
    "promises_converted",
    "reader_name",
    "recognise",
    "text_reader",
]


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
    return Reader(image_format, suffixes, lambda head: head.startswith(magics), partial(_open_picture, image_format))


def _open_picture(image_format: str, path: str, options: ReadOptions) -> OpenDocument:
    from embedpipe.pages.formats.pictures import ImageDocument  # noqa: PLC0415 - see `load_decoders`

    return ImageDocument(path, options, image_format)


def _brands(head: bytes) -> set[bytes]:
    """What a file says that its boxes are (ISO 14496-12): the first of its brands, and those it is compatible with."""
    end = int.from_bytes(head[:4], "big")
    if head[4:8] != b"ftyp" or not _BRAND_BEGIN <= end <= len(head):
        return set()
    return {head[8:12]} | {head[at : at + 4] for at in range(_BRAND_BEGIN, end - 3, 4)}


def _open_tiff(path: str, options: ReadOptions) -> OpenDocument:
    from embedpipe.pages.formats.tiff import TiffDocument  # noqa: PLC0415 - see `load_decoders`

    return TiffDocument(path, options)


def _open_pdf(path: str, options: ReadOptions) -> OpenDocument:
    from embedpipe.pages.formats.pdf import PdfDocument  # noqa: PLC0415 - see `load_decoders`

    return PdfDocument(path, options)


def _open_converted(path: str, options: ReadOptions) -> OpenDocument:
    from embedpipe.pages.converting.document import ConvertedDocument  # noqa: PLC0415 - see `load_decoders`

    return ConvertedDocument(path, options)


def _book(name: str, kind: str, suffixes: tuple[str, ...], recognises: Callable[[bytes], bool]) -> Reader:
    def opened(path: str, options: ReadOptions) -> OpenDocument:
        from embedpipe.pages.formats.books import BookDocument  # noqa: PLC0415 - see `load_decoders`

        return BookDocument(kind, path, options, None if recognises is _never else recognises)

    return Reader(name, suffixes, recognises, opened)


def _never(_: bytes) -> bool:
    """Of kinds that are ZIP files: only the names in them tell, see `containers.kinds.zip_kind`."""
    return False


def _open_heif(path: str, options: ReadOptions) -> OpenDocument:
    if not _load_heif():
        raise DocumentError("needs_converter", "pictures in HEIF, as phones take them, need the extra heif")
    return _open_picture("HEIF", path, options)


def _open_avif(path: str, options: ReadOptions) -> OpenDocument:
    from PIL import features  # noqa: PLC0415 - see `load_decoders`

    if not features.check("avif"):
        raise DocumentError("needs_converter", "this Pillow was built without AVIF: install Pillow 11.3 or newer")
    return _open_picture("AVIF", path, options)


def _open_djvu(path: str, options: ReadOptions) -> OpenDocument:
    try:
        from embedpipe.pages.formats.djvu import DjvuDocument  # noqa: PLC0415 - an extra
    except ImportError:
        raise DocumentError("needs_converter", "DjVu documents need the extra djvu") from None
    return DjvuDocument(path, options)


def _open_photoshop(path: str, options: ReadOptions) -> OpenDocument:
    try:
        from embedpipe.pages.formats.photoshop import PhotoshopDocument  # noqa: PLC0415 - an extra
    except ImportError:
        raise DocumentError("needs_converter", "pictures of Photoshop need the extra psd") from None
    return PhotoshopDocument(path, options)


def _open_caj(path: str, options: ReadOptions) -> OpenDocument:
    from embedpipe.pages.formats.caj import CajDocument  # noqa: PLC0415 - see `load_decoders`

    return CajDocument(path, options)


def _load_heif() -> bool:
    """Has Pillow open HEIF; False where the extra is not installed."""
    try:
        from pi_heif import register_heif_opener  # noqa: PLC0415 - an extra
    except ImportError:
        return False
    register_heif_opener()
    return True


def load_decoders() -> None:
    """Loads the libraries of all readers, for a process that opens documents; whoever only names kinds does without."""
    from embedpipe.pages.formats import books, pictures, tiff  # noqa: F401, PLC0415 - half of what a start of `info` took

    _load_heif()


_BRAND_BEGIN = 16
_HEIF = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})

_XML = rb"(?:\xef\xbb\xbf)?(?>\s+|<\?.*?\?>|<!--.*?-->|<!DOCTYPE\s+svg[^\[>]*(?:\[.*?\]\s*)?>)*+"
_SVG, _FB2 = (re.compile(_XML + name + rb"[\s>]", re.DOTALL) for name in (rb"<(?:svg:)?svg", rb"<FictionBook"))

READERS: dict[str, Reader] = {
    "png": _picture("PNG", (".png",), b"\x89PNG\r\n\x1a\n"),
    "jpeg": _picture("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), b"\xff\xd8\xff"),
    "tiff": Reader(
        "TIFF", (".tif", ".tiff"), lambda head: head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")), _open_tiff
    ),
    "gif": _picture("GIF", (".gif",), b"GIF87a", b"GIF89a"),
    "bmp": _picture("BMP", (".bmp", ".dib"), b"BM"),
    "webp": replace(
        _picture("WEBP", (".webp",)), recognises=lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    ),
    "jpeg2000": _picture(
        "JPEG2000", (".jp2", ".j2k", ".jpf", ".jpx", ".j2c"), b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51\xff"
    ),
    "avif": Reader("AVIF", (".avif", ".avifs"), lambda head: bool(_brands(head) & {b"avif", b"avis"}), _open_avif),
    "heif": Reader(
        "HEIF",
        (".heic", ".heif", ".hif", ".heics", ".heifs"),
        lambda head: bool((brands := _brands(head)) & _HEIF) and not brands & {b"avif", b"avis"},
        _open_heif,
    ),
    "djvu": Reader(
        "DjVu",
        (".djvu", ".djv"),
        lambda head: head.startswith(b"AT&TFORM") and head[12:16] in (b"DJVU", b"DJVM"),
        _open_djvu,
    ),
    "psd": Reader(
        "PSD", (".psd", ".psb"), lambda head: head.startswith((b"8BPS\0\x01", b"8BPS\0\x02")), _open_photoshop
    ),
    "caj": Reader(
        "CAJ",
        (".caj", ".kdh", ".nh"),
        lambda head: head.startswith((b"CAJ\0", b"KDH ", b"HN\0\0", b"\xc8" + bytes(7))),
        _open_caj,
    ),
    "xps": _book("XPS", "xps", (".xps", ".oxps"), _never),
    "epub": _book("EPUB", "epub", (".epub",), _never),
    "cbz": _book("CBZ", "cbz", (".cbz",), _never),
    "fb2": _book("FB2", "fb2", (".fb2",), lambda head: bool(_FB2.match(head))),
    "mobi": _book("MOBI", "mobi", (".mobi", ".azw", ".prc"), lambda head: head[60:68] in (b"BOOKMOBI", b"TEXtREAd")),
    "svg": _book("SVG", "svg", (".svg",), lambda head: bool(_SVG.match(head))),
    # by its name, and on request: see `text_reader`
    "txt": _book("TXT", "txt", (".txt", ".text", ".md", ".markdown"), _never),
    # made PDFs of by a program that is found on the machine: known as `containers.kinds` tells, see `named_reader`
    **{key: Reader(one.name, one.suffixes, _never, _open_converted) for key, one in CONVERTERS.items()},
    # the last: its mark may come anywhere in the first kilobyte, also in a picture's description
    "pdf": Reader("PDF", (".pdf",), lambda head: b"%PDF-" in head, _open_pdf),
}
"""The kinds of file that are read. An allow-list: nothing else reaches a decoder."""

BOOKS = frozenset({"xps", "epub", "fb2", "mobi", "svg", "cbz", "txt"})
"""Keys of the kinds that MuPDF opens besides PDF."""

CONVERTED = frozenset(CONVERTERS)
"""Keys of the kinds that a program makes PDFs of; a `readers.toml` may name more."""

SUFFIXES = frozenset(
    suffix for key, reader in READERS.items() for suffix in reader.suffixes if key not in {"txt", *CONVERTED}
)
"""Names that promise a document; texts are documents only where that is asked for, and what a program converts is known
by its content alone: a `.doc` may be a plain text."""


def named_reader(words: str) -> str | None:
    """The key of the reader of a file that `containers.kinds` calls so, with the article; None where there is none."""
    return ZIP_READERS.get(words) or (converter_of(words) if words else None)


def promises_converted(path: str) -> bool:
    """Whether a name is that of a document that a program is to convert."""
    return path.lower().endswith(tuple(suffix for one in active().values() for suffix in one.suffixes))


def reader_name(key: str) -> str:
    """What people call the kind of file that a reader reads."""
    if key in READERS:
        return READERS[key].name
    return active()[key].name if key in active() else key


def recognise(head: bytes) -> str | None:
    """Key in `READERS` for a file that begins with `head` (1024 bytes are enough), or None."""
    return next((key for key, reader in READERS.items() if reader.recognises(head)), None)


def text_reader(path: str, head: bytes, limits: Limits) -> str | None:
    """The key of the reader of texts, where a file is to be read as one: by its name, and without a zero byte."""
    wanted = limits.texts and path.lower().endswith(READERS["txt"].suffixes)
    is_utf16 = head.startswith((b"\xff\xfe", b"\xfe\xff"))
    return "txt" if wanted and head and (is_utf16 or b"\0" not in head) else None


def open_document(path: str, reader: str, options: ReadOptions, converted: Converted | None = None) -> OpenDocument:
    """Opens a file, or a member of a container, with a reader of the table.

    Args:
        path: Where it is.
        reader: Key of its reader.
        options: How it is read.
        converted: Its PDF, where its reader is one that needs it and it was made before.

    Raises:
        DocumentError: It cannot be opened.
    """
    if needs_converting(reader):
        made = converted or convert(_document_at(path, reader, options.limits), options.limits)
        opened: Any = _open_converted(made.path, options)
        opened.made_by = made.made_by
        return opened  # type: ignore[no-any-return]
    opener: Any = READERS[reader].open
    held = held_file(path, options.limits)
    if held is None:
        return opener(path, options)  # type: ignore[no-any-return]
    opened = opener(held.path, options)
    weakref.finalize(opened, held.close)  # a reader may open its file again as long as it lives
    return opened  # type: ignore[no-any-return]


def _document_at(path: str, reader: str, limits: Limits) -> Document:
    """What is needed to convert a document that nobody has hashed."""
    try:
        with on_the_disk(path, limits) as file:
            return Document(path, sha256_of(Path(file)), 0, 0, reader)
    except OSError as error:
        raise DocumentError("unreadable", f"cannot be read: {error.strerror or error}") from None
