"""Slides: decks of a title and different kinds of content, in three designs."""

from collections.abc import Callable

from embedpipe.samples.figures import chart, picture
from embedpipe.samples.pen import BLACK, BOLD, CLASSIC, REGULAR, WHITE, WIDE, Pen
from embedpipe.samples.words import Author


def _bullets(pen: Pen) -> None:
    """Write bullet points."""
    for _ in range(pen.rng.randint(3, 5)):
        text, indents = pen.author.sentence("office"), (24.0,) * 9
        lines = sum(1 for _ in pen.wrap(text, pen.body, REGULAR, indents))
        if pen.y + pen.body * 1.5 * (lines + 1) < pen.bottom:  # what does not fit on the slide is left out
            pen.dot(pen.left + 6, pen.y + pen.body * 1.1, 4, pen.accent)
            pen.flow(text, indents=indents, align=0)


def _slide_table(pen: Pen) -> None:
    """Draw a table with large rows."""
    rows = [[*pen.author.pick("item"), pen.author.digits(2), pen.author.digits(3)] for _ in range(5)]
    pen.grid([pen.author.say("Item,Q1,Q2", "项目,一季度,二季度").split(","), *rows], (2, 1, 1), "ruled", row=42)


def _slide_split(pen: Pen) -> None:
    """Write bullet points beside a picture."""
    left, right = pen.columns[0]
    picture(pen, (left + right) / 2 + 20, pen.y + 10, right, pen.bottom)
    pen.columns = [(left, (left + right) / 2)]
    _bullets(pen)
    pen.columns = [(left, right)]


def _slide_chart(pen: Pen) -> None:
    """Draw one large chart."""
    chart(pen, pen.left + 30, pen.y + 10, pen.left + pen.room, pen.bottom)


def _slide_number(pen: Pen) -> None:
    """Write one large figure and what it says."""
    pen.y += 60
    pen.flow(f"{pen.rng.randint(3, 97)}%", 110, BOLD, pen.accent, align=0.5, leading=1, after=0.2)
    pen.flow(pen.author.sentence("office"), align=0.5)


def _deck(author: Author, frame: Callable[[Pen], None], *, align: float, dark: bool = False) -> Pen:
    """Make a title slide and some others, each with what `frame` draws behind it."""
    count = author.rng.randint(3, 6)

    def begin(pen: Pen) -> None:
        pen.bottom = pen.height - pen.head
        pen.ink = WHITE if dark else BLACK
        frame(pen)

    pen = Pen(author, author.rng.choice((WIDE, WIDE, CLASSIC)), side=64, head=56, pages=count, frame=begin)
    pen.body, pen.y = 20, pen.height * 0.36
    pen.flow(author.title("office"), 40, BOLD, align=align, leading=1.25)
    pen.flow(f"{author.name()}  {author.date()}", 18, align=align)
    for content in author.rng.sample((_bullets, _slide_chart, _slide_split, _slide_table, _slide_number), count - 1):
        pen.new_page()
        pen.flow(author.title("office"), 30, BOLD, None if dark else pen.accent, align=align, leading=1, after=0.8)
        content(pen)
    return pen


def plain(author: Author) -> Pen:
    """Left-aligned, with a coloured bar at the foot."""

    def frame(pen: Pen) -> None:
        pen.box(0, pen.height - 26, pen.width, pen.height, pen.accent)
        pen.write(pen.width - 30, pen.height - 8, str(pen.number), 12, color=WHITE, align=1)

    return _deck(author, frame, align=0)


def dark(author: Author) -> Pen:
    """Centred and light on a dark ground."""
    ground = author.rng.choice(((0.1, 0.12, 0.2), (0.05, 0.2, 0.2), (0.2, 0.08, 0.18)))

    def frame(pen: Pen) -> None:
        pen.accent = (0.95, 0.7, 0.2)
        pen.box(0, 0, pen.width, pen.height, ground)
        pen.flush()

    return _deck(author, frame, align=0.5, dark=True)


def sidebar(author: Author) -> Pen:
    """With a coloured bar on the left, wide on the title slide."""

    def frame(pen: Pen) -> None:
        wide = 44.0 if pen.number > 1 else pen.width * 0.3
        pen.columns = [(wide + 40, pen.width - 40)]
        pen.box(0, 0, wide, pen.height, pen.accent)
        pen.dot(wide, pen.height - 70, 26, WHITE, pen.accent)

    return _deck(author, frame, align=0)
