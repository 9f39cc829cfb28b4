"""A report as a PDF on A4, with page numbers; Chinese in the font that PyMuPDF brings."""

import io
import re
from collections.abc import Sequence
from pathlib import Path

import pymupdf
from markupsafe import Markup, escape
from PIL import Image, ImageDraw

from embedpipe.core.display import display
from embedpipe.core.languages.translation import translated, word
from embedpipe.core.outputs import MAKER, PDF_TRAILER, written
from embedpipe.drawing.papers import TONES, Bar, Bars, Card, Paper, Table, words_of
from embedpipe.drawing.templating import environment

_SHEET = pymupdf.paper_rect("a4")
_PLACE = pymupdf.Rect(50, 48, _SHEET.x1 - 50, _SHEET.y1 - 56)
_ACROSS = 4  # pages in a row
_BOX = (104.0, 124.0)  # points that a picture of a page may take
_SMALL, _GREY = 8, (0.39, 0.39, 0.42)  # of page numbers
_BAR = (900, 27)  # pixels
_LONG = 18  # letters of a word that may be broken anywhere
_ROOM = 150.0  # points that a heading needs below it
_CUT = re.compile(r"<!--cut (whole|head|flow)-->")
_NARROW, _WIDE = 1.0, 3.0  # of columns of numbers, and of others


def write_pdf(paper: Paper, file: Path) -> None:
    """Writes a report as a PDF; raises ArtifactError where it cannot be written."""
    pictures = _Pictures()
    html = environment().get_template("paper_print.html")
    text = html.render(
        paper=paper,
        across=_ACROSS,
        zip=zip,
        words_of_cell=words_of,
        widths=_widths,
        breakable=_breakable,
        picture=pictures.bar,
        swatch=pictures.swatch,
        page=pictures.page,
        size=_size,
    )
    style, *cut = _CUT.split(text)
    laid = _laid_out(_pieces(cut), style, pictures.archive)
    with pymupdf.open("pdf", laid) as document:
        _number(document)
        document.set_metadata({"creator": MAKER, "producer": MAKER, "title": word(paper.title)})
        document.subset_fonts()
        content = document.tobytes(garbage=4, deflate=True)
    with written(file) as temporary:
        temporary.write_bytes(content + PDF_TRAILER)


def _number(document: pymupdf.Document) -> None:
    """Writes the number of each page below it."""
    font = pymupdf.Font("cjk")
    for number, page in enumerate(document, 1):
        said = translated(f"page {number} of {len(document)}")
        page.wrap_contents()  # what was drawn leaves its own directions behind
        writer = pymupdf.TextWriter(page.rect, color=_GREY)
        place = (_PLACE.x1 - font.text_length(said, _SMALL), _SHEET.y1 - 30)
        writer.append(place, said, font=font, fontsize=_SMALL)
        writer.write_text(page)


def _pieces(cut: Sequence[str]) -> list[tuple[str, str]]:
    """How each piece is laid out, and its HTML; a heading is one piece with what follows it, where that is whole."""
    found: list[tuple[str, str]] = []
    for how, html in zip(cut[::2], cut[1::2], strict=True):
        if how == "whole" and found and found[-1][0] == "head":
            found[-1] = "whole", found[-1][1] + html
        else:
            found.append((how, html))
    return found


def _laid_out(pieces: Sequence[tuple[str, str]], style: str, archive: pymupdf.Archive) -> bytes:
    """The pieces below each other, on as many sheets as they take."""
    out = io.BytesIO()
    writer = pymupdf.DocumentWriter(out)
    device, top = writer.begin_page(_SHEET), _PLACE.y0
    for how, html in pieces:
        if how == "head" and top > _PLACE.y1 - _ROOM:
            writer.end_page()
            device, top = writer.begin_page(_SHEET), _PLACE.y0
        story = pymupdf.Story(f"<body>{html}</body>", user_css=style, archive=archive)
        more, filled = story.place(pymupdf.Rect(_PLACE.x0, top, _PLACE.x1, _PLACE.y1))
        if more and how == "whole" and top > _PLACE.y0:
            writer.end_page()
            device, top = writer.begin_page(_SHEET), _PLACE.y0
            story.reset()
            more, filled = story.place(_PLACE)
        story.draw(device)
        while more:
            writer.end_page()
            device = writer.begin_page(_SHEET)
            more, filled = story.place(_PLACE)
            story.draw(device)
        top = filled[3]
    writer.end_page()
    writer.close()
    return out.getvalue()


class _Pictures:
    """The pictures that the pieces name."""

    def __init__(self) -> None:
        self.archive = pymupdf.Archive()
        self._count = 0

    def _add(self, content: bytes, suffix: str) -> str:
        self._count += 1
        name = f"{self._count}.{suffix}"
        self.archive.add(content, name)
        return name

    def bar(self, bars: Bars, bar: Bar) -> str:
        """A bar."""
        picture = Image.new("RGB", _BAR, "white")
        draw = ImageDraw.Draw(picture)
        for tone, start, width in bars.pieces(bar):
            left, right = round(start * _BAR[0]), round((start + width) * _BAR[0])
            draw.rectangle((left, 0, max(right - 1, left + 1), _BAR[1]), TONES[tone][0])
        return self._add(_png(picture), "png")

    def swatch(self, tone: str) -> str:
        """A square in a colour."""
        return self._add(_png(Image.new("RGB", (8, 8), TONES[tone][0])), "png")

    def page(self, card: Card) -> str:
        """A page."""
        return self._add(card.picture, "jpg")


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "png")
    return buffer.getvalue()


def _size(card: Card) -> tuple[int, int]:
    """Points that a picture takes."""
    with Image.open(io.BytesIO(card.picture)) as picture:
        width, height = picture.size
    scale = min(_BOX[0] / width, _BOX[1] / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _widths(table: Table) -> list[int]:
    """Widths of columns in percent."""
    wanted = [_NARROW if column.number else _WIDE for column in table.columns]
    return [int(100 * width / sum(wanted)) for width in wanted]


def _breakable(text: str) -> Markup:
    """A text whose long words, such as names of files, may be broken."""
    return Markup(" ").join(_broken(one) for one in display(text).split(" "))


def _broken(text: str) -> Markup:
    if len(text) <= _LONG:
        return escape(text)
    pieces = re.findall(rf".{{1,{_LONG}}}?[/\\_.-]+|.{{1,{_LONG}}}", text)
    return Markup("&#8203;").join(map(escape, pieces))
