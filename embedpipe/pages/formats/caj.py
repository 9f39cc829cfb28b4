"""The reader of CAJ, in which China's journals are sold: the PDF in it, where it holds one.

There are four kinds under one suffix, and no description by who made them; what is known of their structure is written
in the wiki of the project caj2pdf. CAJ proper holds the objects of a PDF without its catalogue and table, KDH a whole
PDF behind a fixed mask. HN and C8 hold pages in an encoding of their own, and are told as such.
"""

import re
from dataclasses import replace
from itertools import zip_longest

import numpy as np

from embedpipe.core.errors import DocumentError
from embedpipe.pages.contract import ReadOptions, Rendering
from embedpipe.pages.formats.pdf import PdfDocument

_OTHERS = {b"HN\0\0": "HN", b"\xc8" + bytes(7): "C8"}
"""How the kinds begin whose pages cannot be shown."""

_MASK, _MASKED_FROM = b"FZHMEI", 254
_COUNT_AT, _POINTER_AT = 0x10, 0x14
_BEGIN = re.compile(rb"(?<![0-9])([0-9]{1,8})[ \t\r\n]+0[ \t\r\n]+obj\b")
_PARENT = re.compile(rb"/Parent\s+([0-9]{1,8})\s+0\s+R")
_BOX = re.compile(rb"/MediaBox\s*\[[-+.0-9\s]{7,80}\]")
_PAGE = re.compile(rb"/Type\s*/Page(?![A-Za-z])")


class CajDocument(PdfDocument):
    """A CAJ document, as the PDF that it holds.

    Raises:
        DocumentError: It holds none, or that is refused as a PDF would be.
    """

    def __init__(self, path: str, options: ReadOptions) -> None:
        try:
            with open(path, "rb") as file:
                content = file.read()
        except OSError as error:
            raise DocumentError("unreadable", f"cannot be read: {error.strerror or error}") from error
        if content.startswith(b"KDH "):
            pdf = _unmasked(content)
        elif content.startswith(b"CAJ\0"):
            pdf = _completed(_body(content))
        else:
            kind = next((name for mark, name in _OTHERS.items() if content.startswith(mark)), "")
            if not kind:
                raise DocumentError("not_a_document", "not a CAJ document")
            message = f"a CAJ document of the kind {kind}, which only CAJViewer shows: print it to PDF there"
            raise DocumentError("needs_converter", message)
        super().__init__(path, options, pdf)
        told = int.from_bytes(content[_COUNT_AT : _COUNT_AT + 4], "little") if content.startswith(b"CAJ\0") else 0
        self._lost = max(0, told - self.page_count) if told <= options.limits.pages else 0

    def render(self, index: int) -> Rendering:
        """Renders page `index`; the first one says where the file has fewer pages than it tells."""
        drawn = super().render(index)
        if not self._lost or index:
            return drawn
        lost = f"damaged: {self._lost} of its {self._lost + self.page_count} pages are missing"
        return replace(drawn, repaired=True, message="; ".join(filter(None, (lost, drawn.message))))


def _unmasked(content: bytes) -> bytes:
    """The PDF of a KDH document."""
    hidden = np.frombuffer(content, np.uint8)[_MASKED_FROM:]
    mask = np.resize(np.frombuffer(_MASK, np.uint8), len(hidden))
    pdf = (hidden ^ mask).tobytes()
    return pdf[: pdf.rfind(b"%%EOF") + 5] if b"%%EOF" in pdf else pdf


def _body(content: bytes) -> bytes:
    """The objects of the PDF of a CAJ document."""
    at = int.from_bytes(content[_POINTER_AT : _POINTER_AT + 4], "little")
    begin = int.from_bytes(content[at : at + 4], "little")
    end = content.rfind(b"endobj", begin) + len(b"endobj")
    if not 0 < begin < end:
        raise DocumentError("unreadable", "damaged: the PDF that a CAJ document holds is not where it says")
    return content[begin:end]


def _objects(body: bytes, shift: int) -> tuple[dict[int, int], list[int]]:
    """Where objects begin, and which of them are pages, in the order of the file.

    Some are there twice, and one of the two is cut where the next object begins: the whole one counts, of several the
    last.

    Args:
        body: The objects.
        shift: Bytes before them.
    """
    places: dict[int, int] = {}
    whole: set[int] = set()
    pages: dict[int, None] = {}
    starts = list(_BEGIN.finditer(body))
    for match, following in zip_longest(starts, starts[1:]):
        number, segment = int(match[1]), body[match.end() : following.start() if following else len(body)]
        is_whole = b"endobj" in segment
        if number in whole and not is_whole:
            continue
        places[number] = match.start() + shift
        if is_whole:
            whole.add(number)
        pages.pop(number, None)
        if _PAGE.search(segment.partition(b"stream")[0]):
            pages[number] = None
    return places, list(pages)


def _completed(body: bytes) -> bytes:
    """Objects of a PDF with what they lack: a catalogue, a tree of their pages in the order of the file, a table."""
    header = b"%PDF-1.4\n"
    places, pages = _objects(body, len(header))
    if not pages:
        raise DocumentError("no_pages", "the PDF in the CAJ document has no pages")
    above = {int(number) for number in _PARENT.findall(body)} - places.keys()
    tree, *others = sorted(above) or [max(places) + 2]
    root = max(*places, *above, tree) + 1
    added = {root: b"<</Type/Catalog/Pages %d 0 R>>" % tree}
    kids, box = b" ".join(b"%d 0 R" % page for page in pages), _BOX.search(body)
    size = box[0] if box else b"/MediaBox[0 0 595 842]"  # for pages that have none of their own
    added[tree] = b"<</Type/Pages/Count %d/Kids[%s]%s>>" % (len(pages), kids, size)
    added |= dict.fromkeys(others, b"<</Type/Pages/Parent %d 0 R>>" % tree)
    out = [header, body, b"\n"]
    for number, text in added.items():
        places[number] = sum(map(len, out))
        out.append(b"%d 0 obj%s\nendobj\n" % (number, text))
    table = sum(map(len, out))
    out += [b"xref\n0 1\n0000000000 65535 f \n"]
    out += [b"%d 1\n%010d 00000 n \n" % (number, places[number]) for number in sorted(places)]
    out += [b"trailer<</Size %d/Root %d 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (root + 1, root, table)]
    return b"".join(out)
