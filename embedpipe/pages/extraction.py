"""Some pages of a document as a file of its own. Written by a guarded worker; the document stays as it is."""

import multiprocessing
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pymupdf
from pebble import ProcessExpired, ProcessPool
from PIL import Image

from embedpipe.core.errors import DocumentError
from embedpipe.core.records import Document
from embedpipe.pages.documents import OpenDocument, PdfDocument, ReadOptions, TiffDocument, open_document
from embedpipe.pages.rendering import Guards, start_worker

T = TypeVar("T")
Span = tuple[int, int]


def suffix_of(document: Document) -> str:
    """The suffix of a part of a document, with the dot."""
    return {"pdf": ".pdf", "tiff": ".tif"}.get(document.reader) or Path(document.path).suffix.lower()


def extract(
    document: Document, spans: Sequence[Span], folder: Path, options: ReadOptions, guards: Guards
) -> Iterator[Path | DocumentError]:
    """Writes the pages of each span to a file of the same kind; the whole document is copied byte for byte.

    PDF pages stay what they are (text, pictures, annotations); a part of a PDF with a password has that password, and
    one with restricted permissions keeps the restrictions. Pictures of a TIFF are compressed without loss.

    Args:
        document: As it was found.
        spans: First and last page index of each file, from 0.
        folder: Where to.
        options: How the document is read: limits and passwords.
        guards: What it may cost.

    Yields:
        The file of each span, or why there is none.
    """
    files = [folder / f"{first}-{last}{suffix_of(document)}" for first, last in spans]
    calls = [(document, span, str(file), options) for span, file in zip(spans, files, strict=True)]
    longest = max((last - first for first, last in spans), default=0)
    results = _run_guarded(_extract, calls, guards, (longest + 2) * guards.page_seconds)
    for file, result in zip(files, results, strict=True):
        yield result if isinstance(result, DocumentError) else file


def _extract(document: Document, span: Span, file: str, options: ReadOptions) -> None:
    opened = open_document(document.path, document.reader, options)
    try:
        if span == (0, opened.page_count - 1):
            shutil.copyfile(document.path, file)
        elif isinstance(opened, PdfDocument):
            _extract_pdf(opened, span, file)
        else:
            _extract_frames(opened, span, file)
    except (DocumentError, MemoryError):
        raise
    except Exception as error:  # MuPDF and Pillow raise many kinds
        reason = str(error).partition("\n")[0]
        raise DocumentError("page_error", f"its pages cannot be written: {reason}") from error
    finally:
        opened.close()


def _extract_pdf(opened: PdfDocument, span: Span, file: str) -> None:
    with pymupdf.open() as part:
        part.insert_pdf(opened.pdf, from_page=span[0], to_page=span[1])
        protection = {}
        if opened.pdf.metadata.get("encryption"):
            protection = {
                "encryption": pymupdf.PDF_ENCRYPT_AES_256,
                "user_pw": opened.password,
                "owner_pw": opened.password or secrets.token_hex(),
                "permissions": opened.pdf.permissions,
            }
        part.save(file, garbage=3, deflate=True, no_new_id=True, **protection)


def _extract_frames(opened: OpenDocument, span: Span, file: str) -> None:
    if not isinstance(opened, TiffDocument):
        raise DocumentError("page_error", "a file of its kind has one page")
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


def _run_guarded(
    function: Callable[..., T], calls: Iterable[tuple[Any, ...]], guards: Guards, seconds: float
) -> Iterator[T | DocumentError]:
    """Calls a function in a worker process that may be killed; for work on documents that is not rendering.

    Args:
        function: Of a module, so that the process can find it.
        calls: Its arguments, for each call; what can be sent to a process.
        guards: What a call may cost in memory.
        seconds: What a call may cost in time.

    Yields:
        For each call what it returned, or why it has no result.
    """
    context = multiprocessing.get_context("spawn")
    marks = context.Array("i", [0], lock=False)
    initial = (ReadOptions(), guards, marks)
    with ProcessPool(max_workers=1, initializer=start_worker, initargs=initial, context=context) as pool:
        for arguments in calls:
            try:
                yield pool.schedule(function, args=arguments, timeout=seconds).result()
            except DocumentError as error:
                yield error
            except TimeoutError:
                yield DocumentError("timeout", f"not finished after {seconds:g} s (--page-timeout)")
            except MemoryError:
                yield DocumentError("memory", "needs more memory than --page-memory allows")
            except ProcessExpired as error:
                yield DocumentError("crash", f"the decoder crashed the worker (exit code {error.exitcode})")
