"""Files that are attached to a PDF, also as a portfolio or at a place of a page, with PyMuPDF."""

from collections.abc import Iterator
from typing import Any, BinaryIO

import pymupdf

from embedpipe.core.errors import DocumentError
from embedpipe.pages.containers.unpacking import Sink
from embedpipe.pages.contract import Limits

pymupdf.TOOLS.mupdf_display_errors(False)
pymupdf.TOOLS.mupdf_display_warnings(False)

_raw = pymupdf.mupdf


def unpack(file: BinaryIO, sink: Sink, limits: Limits) -> None:
    """Unpacks what is attached to a PDF; raises DocumentError and whatever MuPDF raises."""
    with pymupdf.open(f"/dev/fd/{file.fileno()}", filetype="pdf") as pdf:
        if pdf.needs_pass and not any(map(pdf.authenticate, limits.passwords)):
            raise DocumentError("encrypted", "needs a password: put it on a line of its own in a --password-file")
        document = pymupdf._as_pdf_document(pdf)  # noqa: SLF001 - nothing else gives objects as they are
        done = set[int]()
        for specification in _specifications(document, limits.pages):
            stream = _stream(specification)
            number = _raw.pdf_to_num(stream) if stream is not None else 0
            if number in done and number:
                continue  # told by the document and by a page
            done.add(number)
            name = _name(specification)
            if stream is None:
                sink.end(name, is_link=True)  # names a file beside the PDF
                continue
            try:
                content = _raw.pdf_load_stream(stream)
                sink.put(name, bytes(content.fz_buffer_storage_memoryview()))
            except (DocumentError, MemoryError):
                raise
            except Exception:  # noqa: BLE001 - MuPDF raises many kinds
                sink.fail(name, "unreadable", "the PDF is damaged where it holds this file")


def _specifications(document: Any, most_pages: int) -> Iterator[Any]:
    """The specifications of files that the document names, and those of its pages."""
    tree = _raw.pdf_load_name_tree(document, _raw.pdf_new_name("EmbeddedFiles"))
    for n in range(_raw.pdf_dict_len(tree)):
        yield _raw.pdf_dict_get_val(tree, n)
    for index in range(min(_raw.pdf_count_pages(document), most_pages)):
        annotations = _raw.pdf_dict_gets(_raw.pdf_lookup_page_obj(document, index), "Annots")
        for n in range(_raw.pdf_array_len(annotations)):
            annotation = _raw.pdf_array_get(annotations, n)
            if _raw.pdf_to_name(_raw.pdf_dict_gets(annotation, "Subtype")) == "FileAttachment":
                yield _raw.pdf_dict_gets(annotation, "FS")


def _stream(specification: Any) -> Any | None:
    """The stream that holds a file, or None for one that lies beside the PDF."""
    held = _raw.pdf_dict_gets(specification, "EF")
    for key in ("UF", "F", "Unix", "DOS", "Mac"):
        stream = _raw.pdf_dict_gets(held, key)
        if _raw.pdf_is_stream(stream):
            return stream
    return None


def _name(specification: Any) -> str:
    for key in ("UF", "F"):
        if name := str(_raw.pdf_to_text_string(_raw.pdf_dict_gets(specification, key))):
            return name
    return ""
