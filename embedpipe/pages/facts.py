"""What is known of how a document is read: library, layers, fonts, profiles. Told by a guarded worker, for people."""

from collections.abc import Iterable, Iterator
from importlib.metadata import version
from typing import Any

import pymupdf
from PIL import Image
from PIL import __version__ as pillow_version

from embedpipe.core.errors import DocumentError
from embedpipe.core.records import Document
from embedpipe.pages.containers.opening import on_the_disk
from embedpipe.pages.converting.conversions import Conversions
from embedpipe.pages.converting.document import ConvertedDocument
from embedpipe.pages.converting.fonts import named_fonts
from embedpipe.pages.converting.running import network_is_cut
from embedpipe.pages.documents import (
    BOOKS,
    Converted,
    OpenDocument,
    ReadOptions,
    needs_converting,
    open_document,
    reader_name,
)
from embedpipe.pages.extraction import run_guarded
from embedpipe.pages.formats import books
from embedpipe.pages.formats.colours import profile_of
from embedpipe.pages.formats.pdf import PdfDocument
from embedpipe.pages.formats.pdf_fonts import CJK_FALLBACK
from embedpipe.pages.formats.pdf_labels import page_labels
from embedpipe.pages.formats.pdf_mending import hidden_layers
from embedpipe.pages.formats.pictures import ORIENTATION, ImageDocument

_MOST_PAGES = 100
"""Pages whose fonts are looked at."""

_EXTRAS = {"heif": "pi-heif", "djvu": "djvu-rs", "psd": "psd-tools"}
"""Distributions of libraries that are extras: they are here, for the document was opened."""

_STANDARD = ("Courier", "Helvetica", "Times", "Symbol", "ZapfDingbats")


def facts_of(documents: Iterable[Document], options: ReadOptions) -> Iterator[dict[str, Any] | DocumentError]:
    """How documents are opened and read.

    Args:
        documents: As they were found.
        options: How they are read.

    Yields:
        Of each its facts by name, all of them numbers, texts and lists of texts; or why it cannot be opened.
    """
    documents = list(documents)
    converted: list[Converted | DocumentError | None] = []
    with Conversions(options.limits) as conversions:
        for one in documents:
            try:
                converted.append(conversions.convert(one) if needs_converting(one.reader) else None)
            except DocumentError as error:
                converted.append(error)
        calls = (
            (_facts, (one, options, made), options.limits.page_seconds)
            for one, made in zip(documents, converted, strict=True)
        )
        yield from run_guarded(calls, options)


def _facts(document: Document, options: ReadOptions, converted: Converted | DocumentError | None) -> dict[str, Any]:
    if isinstance(converted, DocumentError):
        raise converted
    opened = open_document(document.path, document.reader, options, converted)
    try:
        facts: dict[str, Any] = {"kind": reader_name(document.reader), "page_count": opened.page_count}
        facts["library"] = _library(document.reader)
        if isinstance(opened, ConvertedDocument):
            facts |= _of_converted(document, opened, options)
        elif isinstance(opened, PdfDocument):
            facts |= _of_pdf(opened)
        elif document.reader in BOOKS:
            if opened.pdf.is_reflowable:
                size = f"{books.LAYOUT_WIDTH:g} x {books.LAYOUT_HEIGHT:g} points"
                facts["laid_out"] = f"pages of {size}, letters of {books.LETTERS:g} points"
        elif isinstance(opened, ImageDocument):
            facts |= _of_picture(opened)
        return facts
    finally:
        opened.close()


def _of_converted(document: Document, opened: ConvertedDocument, options: ReadOptions) -> dict[str, Any]:
    """What made the PDF, and which fonts it took for those that the document names."""
    held, named = _fonts_of(opened), []
    with on_the_disk(document.path, options.limits) as path:
        named = named_fonts(path)
    missing = [name for name in named if not any(_same_font(name, one) for one in held)]
    return {
        "converted_by": opened.made_by,
        "network": "cut off" if network_is_cut() else "told to use none; nothing here cuts a program off",
        "fonts_not_in_the_pdf": missing,
        "fonts_of_the_pdf": list(held),
        "fonts_not_embedded": _not_embedded(opened),
    }


def _fonts_of(opened: OpenDocument) -> dict[str, None]:
    """The fonts that pages name, without the marks of subsets."""
    found = dict[str, None]()
    for index in range(min(opened.page_count, _MOST_PAGES)):
        for _, _, _, name, *_ in opened.pdf.get_page_fonts(index, full=True):
            found[name.partition("+")[2] or name] = None
    return found


def _same_font(named: str, held: str) -> bool:
    """Whether a PDF's name of a font, such as `NotoSansCJKsc-Regular`, is that of a document."""
    one, other = ("".join(c for c in name.casefold() if c.isalnum()) for name in (named, held))
    return bool(one) and other.startswith(one)


def _library(reader: str) -> str:
    if reader in ("pdf", "caj") or reader in BOOKS or needs_converting(reader):
        return f"PyMuPDF {pymupdf.VersionBind} (MuPDF {pymupdf.VersionFitz})"
    if reader in _EXTRAS:
        return f"{_EXTRAS[reader]} {version(_EXTRAS[reader])}, Pillow {pillow_version}"
    return f"Pillow {pillow_version}"


def _of_pdf(opened: PdfDocument) -> dict[str, Any]:
    pdf = opened.pdf
    return {
        "version": str(pdf.metadata.get("format") or ""),
        "encryption": str(pdf.metadata.get("encryption") or ""),
        "password_used": bool(opened.password),
        "repaired": bool(pdf.is_repaired),
        "hidden_layers": hidden_layers(pdf),
        "page_labels": _labels(pdf),
        "fonts_not_embedded": _not_embedded(opened),
    }


def _labels(pdf: pymupdf.Document) -> list[str]:
    """What pages call themselves (`iv`, `A-3`), of the first ones; empty where these are their numbers."""
    count = min(pdf.page_count, _MOST_PAGES)
    labels = page_labels(pdf, count)
    return labels if labels != [str(number) for number in range(1, count + 1)] else []


def _not_embedded(opened: OpenDocument) -> list[str]:
    """Fonts that pages name and the file does not hold, and what MuPDF draws instead."""
    found = dict[str, None]()
    for index in range(min(opened.page_count, _MOST_PAGES)):
        try:
            fonts = opened.pdf.get_page_fonts(index, full=True)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001, S112 - MuPDF raises many kinds; a damaged page has no fonts to tell
            continue
        for _, extension, kind, name, *_ in fonts:
            if extension == "n/a" and kind != "Type3":
                instead = f"its CJK fallback, {CJK_FALLBACK}" if kind == "Type0" else "a substitute"
                instead = "a font of the same measures" if name.startswith(_STANDARD) else instead
                found[f"{name}: MuPDF draws {instead}"] = None
    return list(found)


def _of_picture(opened: ImageDocument) -> dict[str, Any]:
    image: Image.Image = opened.picture(0).image
    profile = image.info.get("icc_profile")
    return {
        "mode": image.mode,
        "exif_orientation": int(image.getexif().get(ORIENTATION, 1) or 1),
        "colour_profile": "" if not profile else "obeyed, where it fits" if profile_of(image) else "sRGB, as shown",
    }
