"""A report as a PDF on A4, with page numbers; Chinese in the font that PyMuPDF brings."""

import io
from pathlib import Path

import pymupdf
from PIL import Image, ImageDraw

from embedpipe.core.languages.translation import translated, word
from embedpipe.core.outputs import MAKER, PDF_TRAILER, written
from embedpipe.drawing.papers import TONES, Bar, Bars, Card, Paper, words_of
from embedpipe.drawing.templating import environment

_SHEET = pymupdf.paper_rect("a4")
_PLACE = _SHEET + (50, 48, -50, -56)
_ACROSS = 4  # pages in a row
_BOX = (104.0, 128.0)  # points that a picture of a page may take
_BAR = (900, 27)  # pixels
_EVERY = 24  # letters of a path after which a line may break


def write_pdf(paper: Paper, file: Path) -> None:
    """Writes a report as a PDF; raises ArtifactError where it cannot be written."""
    pictures = _Pictures()
    html = (
        environment()
        .get_template("paper_print.html")
        .render(
            paper=paper,
            across=_ACROSS,
            zip=zip,
            words_of_cell=words_of,
            breakable=_breakable,
            picture=pictures.bar,
            swatch=pictures.swatch,
            page=pictures.page,
            size=_size,
        )
    )
    laid = _laid_out(html, pictures.archive)
    with pymupdf.open("pdf", laid) as document:
        for number, page in enumerate(document, 1):
            place = pymupdf.Rect(_PLACE.x0, _SHEET.y1 - 42, _PLACE.x1, _SHEET.y1 - 24)
            text = translated(f"page {number} of {len(document)}")
            page.insert_htmlbox(place, f'<p style="font: 8pt sans-serif; color: #63636b; text-align: right">{text}</p>')
        document.set_metadata({"creator": MAKER, "producer": MAKER, "title": word(paper.title)})
        document.subset_fonts()
        content = document.tobytes(garbage=4, deflate=True)
    with written(file) as temporary:
        temporary.write_bytes(content + PDF_TRAILER)


def _laid_out(html: str, archive: pymupdf.Archive) -> bytes:
    """The story on as many sheets as it takes."""
    story, out = pymupdf.Story(html, archive=archive), io.BytesIO()
    writer, more = pymupdf.DocumentWriter(out), 1
    while more:
        device = writer.begin_page(_SHEET)
        more, _ = story.place(_PLACE)
        story.draw(device)
        writer.end_page()
    writer.close()
    return out.getvalue()


class _Pictures:
    """The pictures that the story names."""

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


def _breakable(text: str) -> str:
    """A text whose long words may be broken: after a slash, and where there is no other place."""
    found, run = "", 0
    for letter in text:
        found += letter
        run = 0 if letter.isspace() else run + 1
        if letter in "/\\_-" or run >= _EVERY:
            found, run = found + "\u200b", 0
    return found
