"""PDFs with more in them than their pages show: dynamic XFA forms, portfolios, and covers of embedded files.

Two of these with the same page are not the same document, and the page of the first two kinds is none of the document.
"""

import contextlib
import re
from dataclasses import dataclass
from typing import Any

import pymupdf

from embedpipe.core.records import COVER, PLACEHOLDER

_mu = pymupdf.mupdf

_SHOWN_BY_THE_PAGES = ("Source", "Data", "Alternative")
"""What a file is to the document it belongs to (AFRelationship), where the pages show the same as the file: the data of
an electronic invoice, or what the PDF was made from."""

_DYNAMIC = re.compile(rb"<dynamicRender[^>]*>\s*required\s*<")
"""In the configuration of an XFA form: its pages are only laid out by who opens it."""

_LONGEST_PACKET = 8 * 1024**2
_MOST_NODES = 10_000
_NAMES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class StandIn:
    """What stands in the place of a document.

    Attributes:
        outcome: One of `records.PARTIAL`, of its first page.
        message: Why, and what to do.
    """

    outcome: str
    message: str


def unshowable(pdf: pymupdf.Document) -> str:
    """Why no page of a document, already opened and unlocked, shows anything of it, and what to do; "" for others."""
    with contextlib.suppress(Exception):  # MuPDF raises many kinds
        if _is_dynamic_form(_root(pdf), int(pdf.page_count)):
            return "a dynamic XFA form, whose pages only Adobe's programs lay out: print it to PDF there"
    return ""


def stand_in(pdf: pymupdf.Document) -> StandIn | None:
    """Tells whether a document, already opened and unlocked, has more than its pages show.

    What cannot be told, for the document is damaged there, is no reason to lose its pages.
    """
    with contextlib.suppress(Exception):
        root = _root(pdf)
        names = _embedded(root) + _attached(pdf)
        portfolio = bool(_mu.pdf_is_dict(_get(root, "Collection")))
        files = f"{len(names)} embedded file{'s' * (len(names) != 1)}{_listed(names)}"
        if portfolio and pdf.page_count == 1:
            message = f"the page is the cover of a portfolio of {files}: read them with --attachments"
            return StandIn(PLACEHOLDER, message)
        if portfolio or names:
            return StandIn(COVER, f"the document also has {files}, which no page shows: read them with --attachments")
    return None


def _root(pdf: pymupdf.Document) -> Any:
    return _get(_mu.pdf_trailer(_mu.pdf_specifics(pdf.this)), "Root")


def _get(dictionary: Any, *path: str) -> Any:
    for name in path:
        dictionary = _mu.pdf_dict_get(dictionary, _mu.pdf_new_name(name))
    return dictionary


def _is_dynamic_form(root: Any, page_count: int) -> bool:
    """Whether the pages of a form are only laid out by who opens it: what is stored is a page that says so."""
    form = _get(root, "AcroForm", "XFA")
    if not (_mu.pdf_is_stream(form) or _mu.pdf_is_array(form)):
        return False
    if _mu.pdf_to_bool(_get(root, "NeedsRendering")):
        return True
    packets = [form] if _mu.pdf_is_stream(form) else _items(form)
    if any(_DYNAMIC.search(_content(packet)) for packet in packets if _mu.pdf_is_stream(packet)):
        return True
    # a static form has a field of the ordinary kind for each of its own
    return page_count == 1 and not _mu.pdf_array_len(_get(root, "AcroForm", "Fields"))


def _items(array: Any) -> list[Any]:
    return [_mu.pdf_array_get(array, place) for place in range(_mu.pdf_array_len(array))]


def _content(stream: Any) -> bytes:
    buffer = _mu.pdf_load_stream(stream)
    return bytes(_mu.fz_buffer_extract_copy(buffer)[:_LONGEST_PACKET])


def _embedded(root: Any) -> list[str]:
    """Names of the embedded files that the pages do not show anyway."""
    found, pending = dict[str, None](), [_get(root, "Names", "EmbeddedFiles")]
    for _ in range(_MOST_NODES):
        if not pending:
            break
        node = pending.pop()
        pending += _items(_get(node, "Kids"))
        pairs = _items(_get(node, "Names"))
        for key, file in zip(pairs[::2], pairs[1::2], strict=False):
            if _mu.pdf_to_name(_get(file, "AFRelationship")) not in _SHOWN_BY_THE_PAGES:
                found[_name(file) or _mu.pdf_to_text_string(key)] = None
    return list(found)


def _attached(pdf: pymupdf.Document) -> list[str]:
    """Names of the files that are attached to a place on the first page."""
    page = _mu.pdf_lookup_page_obj(_mu.pdf_specifics(pdf.this), 0)
    marks = [
        mark for mark in _items(_get(page, "Annots")) if _mu.pdf_to_name(_get(mark, "Subtype")) == "FileAttachment"
    ]
    return [_name(_get(mark, "FS")) or "unnamed" for mark in marks]


def _name(file: Any) -> str:
    names = (_mu.pdf_to_text_string(_get(file, key)) for key in ("UF", "F"))
    return next((name for name in names if name), "")


def _listed(names: list[str]) -> str:
    if not names:
        return ""
    more = len(names) - _NAMES_SHOWN
    return f" ({', '.join(names[:_NAMES_SHOWN])}{f' and {more} more' if more > 0 else ''})"
