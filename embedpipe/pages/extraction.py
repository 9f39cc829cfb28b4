"""Some pages of a document as a file of its own. Written by a guarded worker; the document stays as it is."""

import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pymupdf
from numpy.typing import NDArray
from pebble import ProcessPool
from PIL import Image

from embedpipe.core.errors import DocumentError
from embedpipe.core.records import Document
from embedpipe.pages.containers.opening import on_the_disk
from embedpipe.pages.documents import OpenDocument, ReadOptions, needs_converting, open_document
from embedpipe.pages.formats.pdf import PdfDocument
from embedpipe.pages.formats.tiff import TiffDocument
from embedpipe.pages.formats.tiff_parts import copy_pictures
from embedpipe.pages.guarding import result_of
from embedpipe.pages.page_tasks import start_worker
from embedpipe.pages.workers import WorkerContext

T = TypeVar("T")
Span = tuple[int, int]

_CHANGED = "changed"
_OF_ALL_PAGES = (
    *("OCProperties", "AcroForm", "OutputIntents", "Lang", "Metadata", "ViewerPreferences", "PageLayout"),
    *("Version", "Extensions", "URI"),
)
"""What the catalogue of a PDF holds for all of its pages, and most of it decides how they look."""
_DEEPEST_FIELD = 32
_NOT_CUT = "a file of its kind is not cut: only PDF and TIFF are"


def suffix_of(document: Document) -> str:
    """The suffix of a part of a document, with the dot."""
    return {"pdf": ".pdf", "tiff": ".tif"}.get(document.reader) or Path(document.path).suffix.lower()


def extract(
    document: Document, spans: Sequence[Span], folder: Path, options: ReadOptions
) -> Iterator[Path | DocumentError]:
    """Writes the pages of each span to a file of the same kind; the whole document is copied byte for byte.

    Every page of a part looks as it does in the document, to the pixel; a part with a page that does not is refused.
    PDF pages stay what they are (text, pictures, annotations); a part of a PDF with a password has that password, and
    one with restricted permissions keeps the restrictions. Pictures of a TIFF are copied as they are stored.

    Args:
        document: As it was found.
        spans: First and last page index of each file, from 0.
        folder: Where to.
        options: How the document is read: limits and passwords.

    Yields:
        The file of each span, or why there is none.
    """
    if needs_converting(document.reader):
        yield from (DocumentError("page_error", _NOT_CUT) for _ in spans)
        return
    files = [folder / f"{first}-{last}{suffix_of(document)}" for first, last in spans]
    longest = max((last - first for first, last in spans), default=0)
    calls: list[tuple[Callable[..., None], tuple[Any, ...], float]] = []
    for span, file in zip(spans, files, strict=True):
        arguments = (document, span, str(file), options)
        # pages that cannot be drawn in time, in the pile or in the part, keep no part from being written
        calls += [
            (_extract, arguments, (longest + 2) * options.limits.page_seconds),
            (_compare, arguments, options.limits.page_seconds),
        ]
    results = run_guarded(calls, options)
    for file, made, compared in zip(files, results, results, strict=False):
        changed = compared if isinstance(compared, DocumentError) and compared.kind == _CHANGED else None
        yield made if isinstance(made, DocumentError) else changed or file


def _extract(document: Document, span: Span, file: str, options: ReadOptions) -> None:
    opened = open_document(document.path, document.reader, options)
    try:
        if span == (0, opened.page_count - 1):
            with on_the_disk(document.path, options.limits) as path:
                shutil.copyfile(path, file)
        elif isinstance(opened, PdfDocument):
            _extract_pdf(opened, span, file)
        else:
            _extract_pictures(opened, document, span, file, options)
    except (DocumentError, MemoryError):
        raise
    except Exception as error:  # MuPDF and Pillow raise many kinds
        reason = str(error).partition("\n")[0]
        raise DocumentError("page_error", f"its pages cannot be written: {reason}") from error
    finally:
        opened.close()


def _compare(document: Document, span: Span, file: str, options: ReadOptions) -> None:
    """Raises DocumentError of the kind `_CHANGED` where a page of a part does not look as it does in the document."""
    whole = open_document(document.path, document.reader, options)
    try:
        if span == (0, whole.page_count - 1):
            return  # it was copied byte for byte
        part = open_document(file, document.reader, options)
        try:
            for number in range(span[1] - span[0] + 1):
                if not np.array_equal(_look(whole, span[0] + number), _look(part, number)):
                    page = span[0] + number + 1
                    raise DocumentError(
                        _CHANGED, f"page {page} would not look as it does in the pile; take it out with its own program"
                    )
        finally:
            part.close()
    finally:
        whole.close()


def _look(opened: OpenDocument, index: int) -> NDArray[np.uint8]:
    try:
        return opened.render(index).pixels
    except DocumentError:
        return np.empty(0, np.uint8)  # what cannot be seen looks alike in both


def _extract_pdf(opened: PdfDocument, span: Span, file: str) -> None:
    """Takes the other pages out of the document: layers, forms and colours of the whole stay, for pages show by them.

    What the document has for itself and pages show nothing of (attachments, scripts, the structure) is left out.
    """
    pdf = opened.pdf
    encrypted, permissions = pdf.metadata.get("encryption"), pdf.permissions
    raw, document = pymupdf.mupdf, pymupdf._as_pdf_document(pdf)  # noqa: SLF001 - nothing else gives objects as they are
    catalogue = raw.pdf_dict_gets(raw.pdf_trailer(document), "Root")
    kept = {key: raw.pdf_dict_gets(catalogue, key) for key in _OF_ALL_PAGES}
    pdf.select(range(span[0], span[1] + 1))
    catalogue = raw.pdf_dict_gets(raw.pdf_trailer(document), "Root")
    for key, value in kept.items():
        if not raw.pdf_is_null(value):
            raw.pdf_dict_puts(catalogue, key, value)
    _prune_form(document, raw.pdf_dict_gets(catalogue, "AcroForm"))
    protection = {}
    if encrypted:
        protection = {
            "encryption": pymupdf.PDF_ENCRYPT_AES_256,
            "user_pw": opened.password,
            "owner_pw": opened.password or secrets.token_hex(),
            "permissions": permissions,
        }
    pdf.save(file, garbage=3, deflate=True, no_new_id=True, **protection)


def _prune_form(document: Any, form: Any) -> None:
    """Leaves in the form only the fields of the pages that are left: others would bring their pages with them."""
    raw = pymupdf.mupdf
    shown: set[int] = set()
    roots: dict[int, Any] = {}
    for page in range(raw.pdf_count_pages(document)):
        annotations = raw.pdf_dict_gets(raw.pdf_lookup_page_obj(document, page), "Annots")
        for n in range(raw.pdf_array_len(annotations)):
            field = raw.pdf_array_get(annotations, n)
            shown.add(raw.pdf_to_num(field))
            if raw.pdf_to_name(raw.pdf_dict_gets(field, "Subtype")) != "Widget":
                continue
            for _ in range(_DEEPEST_FIELD):
                above = raw.pdf_dict_gets(field, "Parent")
                if not raw.pdf_is_dict(above):
                    break
                field = above
            roots[raw.pdf_to_num(field)] = field
    for root in roots.values():
        _prune_field(root, shown, _DEEPEST_FIELD)
    if raw.pdf_is_dict(form):
        fields = raw.pdf_new_array(document, len(roots))
        for root in roots.values():
            raw.pdf_array_push(fields, root)
        raw.pdf_dict_puts(form, "Fields", fields)
        for key in ("XFA", "CO"):  # the data of all pages, and the order in which fields are computed
            raw.pdf_dict_dels(form, key)


def _prune_field(field: Any, shown: set[int], deepest: int) -> bool:
    """Takes out of a field what no page shows; whether anything is left."""
    raw = pymupdf.mupdf
    kids = raw.pdf_dict_gets(field, "Kids")
    if not raw.pdf_is_array(kids):
        return raw.pdf_to_num(field) in shown
    for n in reversed(range(raw.pdf_array_len(kids))):
        if deepest and not _prune_field(raw.pdf_array_get(kids, n), shown, deepest - 1):
            raw.pdf_array_delete(kids, n)
    return bool(raw.pdf_array_len(kids))


def _extract_pictures(opened: OpenDocument, document: Document, span: Span, file: str, options: ReadOptions) -> None:
    """Copies pictures of a TIFF as they are stored; where the file is not as the format says, writes them anew."""
    if not isinstance(opened, TiffDocument):
        raise DocumentError("page_error", _NOT_CUT)
    first, last = (opened.frame_number(index) for index in span)
    try:
        if last - first != span[1] - span[0]:
            raise DocumentError("page_error", "thumbnails lie between its pictures")
        with on_the_disk(document.path, options.limits) as path:
            copy_pictures(path, (first, last), Path(file))
        _compare(document, span, file, options)
    except DocumentError:
        _write_frames(opened, span, file)


def _write_frames(opened: TiffDocument, span: Span, file: str) -> None:
    """Writes pictures of a TIFF upright and without loss, each with its own resolution."""
    frames = [opened.whole(index) for index in range(span[0], span[1] + 1)]
    compression = "group4" if all(frame.mode == "1" for frame in frames) else "tiff_adobe_deflate"
    for frame in frames[1:]:
        frame.encoderinfo = _resolution(frame)
    frames[0].save(
        file,
        format="TIFF",
        save_all=True,
        append_images=frames[1:],
        compression=compression,
        **_resolution(frames[0]),
    )


def _resolution(frame: Image.Image) -> dict[str, Any]:
    """What keeps the size and the shape of a picture's pixels; each picture of a TIFF has its own."""
    return {"dpi": frame.info["dpi"]} if "dpi" in frame.info else {}


def run_guarded(
    calls: Iterable[tuple[Callable[..., T], tuple[Any, ...], float]], options: ReadOptions
) -> Iterator[T | DocumentError]:
    """Calls functions in a worker process that may be killed; for work on documents that is not rendering.

    Args:
        calls: Functions of a module, so that the process can find them, with arguments that can be sent to a process,
            and the seconds that the call may take.
        options: Say what a call may cost in memory.

    Yields:
        For each call what it returned, or why it has no result.
    """
    context = WorkerContext()
    marks = context.numbers([0])
    initial = (options, marks)
    with ProcessPool(max_workers=1, initializer=start_worker, initargs=initial, context=context) as pool:
        for function, arguments, seconds in calls:
            try:
                yield result_of(pool.schedule(function, args=arguments, timeout=seconds), seconds)
            except DocumentError as error:
                yield error
