"""The `Pen` that puts text, lines, boxes and tables on pages, with the fonts that PyMuPDF carries."""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import pymupdf

from embedpipe.samples.words import Author

Color = tuple[float, float, float]
Box = tuple[float, float, float, float]

SERIF, SANS, MONO = ("tiro", "tibo", "tiit"), ("helv", "hebo", "heit"), ("cour", "cobo", "coit")
REGULAR, BOLD, ITALIC, SYMBOL, DINGBAT = range(5)
A4, LETTER, WIDE, CLASSIC = (595.0, 842.0), (612.0, 792.0), (960.0, 540.0), (720.0, 540.0)
BLACK, GREY, PALE, WHITE = (0.08, 0.08, 0.08), (0.45, 0.45, 0.45), (0.92, 0.93, 0.94), (1.0, 1.0, 1.0)
RED, BLUE = (0.8, 0.1, 0.1), (0.1, 0.2, 0.6)
ACCENTS = ((0.1, 0.3, 0.55), (0.6, 0.15, 0.15), (0.1, 0.45, 0.35), (0.4, 0.25, 0.5), (0.8, 0.4, 0.1))

# The base-14 fonts have Latin only, and the Chinese font draws Latin letters a full square wide: text is cut into runs.
_RUN = re.compile(r"[\u2014-\uffef]+|[^\u2014-\uffef]+")
_NUMBER = re.compile(r"\d[\d.,]+")
# Where a line may be broken: after a word, or after a Chinese character with the punctuation that may not begin a line.
_TOKEN = re.compile(r"[\u2014-\uffef][，。、；：）》！？]*|[^\s\u2014-\uffef]+\s*|\s+")


@lru_cache(maxsize=20_000)
def unit_width(text: str, font: str) -> float:
    """Return the width of a line of text in size 1."""
    runs = _RUN.findall(text)
    return sum(len(run) if run[0] >= "\u2014" else float(pymupdf.get_text_length(run, font, 1)) for run in runs)


class Pen:
    """Writes and draws on page after page, down one column after another.

    What `flow`, `heading` and `grid` find no room for on the last allowed page is left out, never drawn over the rest.

    Args:
        author: Whose words are written; its random generator also chooses font, text size and colour.
        size: Width and height of a page in points.
        side: Left and right margin in points.
        head: Top and bottom margin in points.
        fonts: Regular, bold and italic font.
        pages: How many pages there may be.
        frame: Called on each new page, to draw what all pages share.
    """

    def __init__(
        self,
        author: Author,
        size: tuple[float, float] | None = None,
        *,
        side: float = 60,
        head: float = 64,
        fonts: tuple[str, str, str] | None = None,
        pages: int = 1,
        frame: Callable[["Pen"], None] = lambda _: None,
    ) -> None:
        self.author, self.rng, self.pages, self.frame = author, author.rng, pages, frame
        self.width, self.height = size or (A4 if author.language == "zh" else self.rng.choice((A4, LETTER)))
        self.side, self.head, self.y = side, head, head
        self.fonts = (*(fonts or self.rng.choice((SERIF, SANS))), "symb", "zadb")
        self.body = self.rng.uniform(9.2, 11.2)
        self.accent, self.ink = self.rng.choice(ACCENTS), BLACK
        self.document, self.full = pymupdf.open(), False
        self.split(1)
        self.new_page()

    @property
    def number(self) -> int:
        """The number of the current page, from 1."""
        return int(self.document.page_count)

    @property
    def left(self) -> float:
        """Left edge of the current column."""
        return self.columns[self.column][0]

    @property
    def room(self) -> float:
        """Width of the current column."""
        return self.columns[self.column][1] - self.left

    def split(self, count: int, gap: float = 20) -> None:
        """Go on in `count` columns, from the current height down."""
        width = (self.width - 2 * self.side - gap * (count - 1)) / count
        starts = [self.side + index * (width + gap) for index in range(count)]
        self.columns, self.column, self.top = [(start, start + width) for start in starts], 0, self.y

    def new_page(self) -> None:
        """Begin a page; the last of several is not filled to its foot."""
        self.flush()
        self.page = self.document.new_page(width=self.width, height=self.height)
        self.shape = self.page.new_shape()
        self.column, self.top, self.y, self.bottom = 0, self.head, self.head, self.height - self.head
        if self.number == self.pages > 1:
            self.bottom -= self.rng.uniform(0, 0.3) * self.height
        self.frame(self)

    def flush(self) -> None:
        """Put what was drawn so far on the page, below whatever comes next."""
        if self.number:
            self.shape.commit()
            self.shape = self.page.new_shape()

    def need(self, height: float) -> bool:
        """Go to the next column or page unless `height` fits here; say whether there is room."""
        if self.y + height > self.bottom and not self.full:
            if self.column + 1 < len(self.columns):
                self.column, self.y = self.column + 1, self.top
            elif self.number < self.pages:
                self.new_page()
            else:
                self.full = True
        return not self.full

    def measure(self, text: str, size: float, style: int = REGULAR) -> float:
        """Return the width of a line of text."""
        return unit_width(text, self.fonts[style]) * size

    def write(
        self,
        x: float,
        y: float,
        text: str,
        size: float = 0,
        style: int = REGULAR,
        color: Color | None = None,
        *,
        align: float = 0,
        most: float = math.inf,
    ) -> float:
        """Write one line on the baseline `y` and return where it ends.

        `align` says which part of the line is at `x`: its start (0), middle (0.5) or end (1). The line is set smaller
        where it is wider than `most`.
        """
        size = size or self.body
        size *= min(1, most / (self.measure(text, size, style) or 1))
        return self._put(x - align * self.measure(text, size, style), y, text, size, style, color)

    def justify(
        self, x: float, y: float, text: str, size: float, style: int, color: Color | None, room: float
    ) -> float:
        """Write one line that is exactly `room` wide, stretched, or set smaller, and return where it ends."""
        size *= min(1, room / self.measure(text, size, style))
        return self._put(x, y, text, size, style, color, room / self.measure(text, size, style))

    def _put(
        self, x: float, y: float, text: str, size: float, style: int, color: Color | None, stretch: float = 0
    ) -> float:
        """Write a line run by run; stretching the whole of it is far faster than placing each word."""
        color = color or self.ink
        for run in _RUN.findall(text):
            chinese = run[0] >= "\u2014"
            bold = chinese and style == BOLD  # there is no bold Chinese font: thicken the outline
            morph = (pymupdf.Point(x, y), pymupdf.Matrix(stretch, 0, 0, 1, 0, 0)) if stretch else None
            font = "china-s" if chinese else self.fonts[style]
            self.shape.insert_text(
                (x, y),
                run,
                fontname=font,
                fontsize=size,
                color=color,
                fill=color,
                render_mode=2 if bold else 0,
                border_width=0.03,
                morph=morph,
            )
            x += self.measure(run, size, style) * (stretch or 1)
        return x

    def wrap(self, text: str, size: float, style: int, indents: Sequence[float] = ()) -> Iterator[tuple[float, str]]:
        """Break a text into lines for this column; yield each line's indent (`indents` for the first ones) with it."""
        left, line, used = [*indents, 0.0], "", 0.0
        for token in _TOKEN.findall(text):
            if line and used + self.measure(token.rstrip(), size, style) > self.room - left[0]:
                yield left[0], line.rstrip()
                left, line, used = left[1:] or left, "", 0.0
            line, used = line + token, used + self.measure(token, size, style)
        yield left[0], line.rstrip()

    def flow(
        self,
        text: str,
        size: float = 0,
        style: int = REGULAR,
        color: Color | None = None,
        *,
        indents: Sequence[float] = (),
        leading: float = 1.45,
        align: float = -1,
        after: float = 0.5,
    ) -> None:
        """Write a paragraph at the cursor; `align` below 0 means justified, `after` is the gap below it in lines."""
        size = size or self.body
        lines = list(self.wrap(text, size, style, indents))
        for number, (indent, line) in enumerate(lines, 1):
            if not self.need(size * leading):
                return
            self.y += size * leading
            room, share = self.room - indent, max(align, 0)
            loose = room / (self.measure(line, size, style) or 1)
            x = self.left + indent + share * room
            if align < 0 and number < len(lines) and loose < 1.25:
                self.justify(x, self.y, line, size, style, color, room)
            else:
                self.write(x, self.y, line, size, style, color, align=share, most=room)
        self.y += size * leading * after

    def heading(self, text: str, size: float = 0, color: Color | None = None, *, rule: bool = False) -> None:
        """Write a heading, not alone at the foot of a column."""
        size = size or self.body * 1.2
        if self.need(size * 4):
            self.y += size * 1.7
            self.write(self.left, self.y, text, size, BOLD, color, most=self.room)
            if rule:
                self.line(self.left, self.y + 4, self.left + self.room, self.y + 4, color)
            self.y += size * 0.5

    def line(self, x0: float, y0: float, x1: float, y1: float, color: Color | None = None, width: float = 0.7) -> None:
        """Draw a straight line."""
        self.shape.draw_line((x0, y0), (x1, y1))
        self.shape.finish(color=color or self.ink, width=width)

    def box(self, x0: float, y0: float, x1: float, y1: float, fill: Color | None, color: Color | None = None) -> None:
        """Draw a rectangle."""
        self.shape.draw_rect(pymupdf.Rect(x0, y0, x1, y1))
        self.shape.finish(fill=fill, color=color, width=0.7)

    def dot(self, x: float, y: float, radius: float, fill: Color | None, color: Color | None = None) -> None:
        """Draw a circle."""
        self.shape.draw_oval(pymupdf.Rect(x - radius, y - radius, x + radius, y + radius))  # faster than draw_circle
        self.shape.finish(fill=fill, color=color)

    def grid(
        self,
        rows: Sequence[Sequence[str]],
        shares: Sequence[float],
        look: str = "boxed",
        *,
        row: float = 0,
        color: Color | None = None,
        size: float = 0,
    ) -> None:
        """Draw a table as wide as the column: its first row is the heading, `shares` are the columns' relative widths.

        `look` is "boxed", "ruled" (three lines, as in journals), "banded", or "form" (boxed, without a heading row).
        """
        size, color = size or self.body * 0.9, color or self.ink
        row = row or size * 1.9
        if not self.need(row * len(rows) + size):
            return
        edges = [self.left + self.room * sum(shares[:index]) / sum(shares) for index in range(len(shares) + 1)]
        numeric = {edge for edge, cell in zip(edges[1:], rows[-1][1:], strict=False) if _NUMBER.fullmatch(cell)}
        for number, cells in enumerate(rows):
            top, heading = self.y + number * row, number == 0 and look != "form"
            if look == "banded" and number % 2 == 0:
                self.box(edges[0], top, edges[-1], top + row, color if heading else PALE)
            for start, end, cell in zip(edges, edges[1:], cells, strict=False):
                if look in {"boxed", "form"}:
                    self.box(start, top, end, top + row, None, color)
                ink = WHITE if look == "banded" and heading else None
                align = float(start in numeric)
                x, y = start + 4 + align * (end - start - 8), top + row / 2 + size * 0.35
                self.write(x, y, cell, size, BOLD if heading else REGULAR, ink, align=align, most=end - start - 8)
        if look == "ruled":
            for height in (0.0, row, row * len(rows)):
                self.line(edges[0], self.y + height, edges[-1], self.y + height, color)
        self.y += row * len(rows) + size
