"""Pages of books: a novel, a textbook, verse."""

from embedpipe.samples.figures import equation, figure, picture
from embedpipe.samples.pen import BOLD, GREY, ITALIC, PALE, SERIF, WHITE, Pen
from embedpipe.samples.words import Author


def novel(author: Author) -> Pen:
    """A chapter's first pages, with a drop capital."""
    title, first = author.title("story"), author.rng.randint(1, 60) * 2

    def frame(pen: Pen) -> None:
        page = first + pen.number
        pen.write(pen.width / 2, pen.height - 34, str(page), 9, align=0.5)
        if pen.number > 1:
            pen.write(pen.width / 2, 38, title if page % 2 else author.say("Chapter", "章节"), 9, ITALIC, align=0.5)

    pen = Pen(author, (420, author.rng.uniform(600, 660)), side=56, head=60, fonts=SERIF, pages=4, frame=frame)
    pen.y += 90
    pen.flow(title, 20, align=0.5, after=2)
    text, size = author.prose("story", 6, 9), pen.body * 4.1
    deep = pen.measure(text[0], size) + 4
    pen.write(pen.left, pen.y + pen.body * 4.2, text[0], size, color=pen.accent)
    pen.flow(text[1:], indents=(deep,) * 3, after=0)
    while not pen.full:
        pen.flow(author.prose("story", 1, 8), indents=(pen.body * 2,), after=0)
    return pen


def textbook(author: Author) -> Pen:
    """A chapter with numbered sections, boxed examples and figures."""
    chapter = author.rng.randint(1, 12)

    def frame(pen: Pen) -> None:
        pen.box(0, 0, 34, pen.height, pen.accent)
        pen.write(pen.width - pen.side, 40, author.say(f"Chapter {chapter}", f"第{chapter}章"), 9, color=GREY, align=1)
        pen.write(17, pen.height - 30, str(chapter * 20 + pen.number), 11, BOLD, WHITE, align=0.5)

    pen = Pen(author, side=76, pages=author.rng.randint(3, 4), frame=frame)
    pen.write(pen.width - pen.side, 170, str(chapter), 120, BOLD, pen.accent, align=1)
    pen.y = 190
    pen.flow(author.title("study"), 24, BOLD, align=0, after=1.5)
    while not pen.full:
        pen.heading(f"{chapter}.{author.rng.randint(1, 9)}  {author.title('study')}", 13, pen.accent)
        for _ in range(author.rng.randint(1, 3)):
            pen.flow(author.prose("study", 3, 6))
        if pen.need(110):
            pen.box(pen.left - 8, pen.y, pen.left + pen.room + 8, pen.y + 92, PALE, pen.accent)
            end = pen.y + 104
            pen.write(pen.left, pen.y + 18, author.say("Example", "例题"), 11, BOLD, pen.accent)
            pen.flow(author.sentence("study"), indents=(70,), after=0)
            equation(pen)
            pen.y = end
        figure(pen)
    return pen


def verse(author: Author) -> Pen:
    """Stanzas in a frame, sometimes under a picture."""

    def frame(pen: Pen) -> None:
        pen.box(24, 24, pen.width - 24, pen.height - 24, None, pen.accent)
        pen.write(pen.width / 2, pen.height - 40, f"~ {pen.number + 10} ~", 9, align=0.5)

    pen = Pen(author, (400, 560), side=50, fonts=SERIF, pages=author.rng.randint(3, 4), frame=frame)
    if author.rng.random() < 0.7:
        picture(pen, pen.left, pen.y, pen.left + pen.room, pen.y + 170)
        pen.y += 190
    while not pen.full:
        pen.flow(author.title("story"), 14, ITALIC, pen.accent, align=0.5, leading=2.4)
        for _ in range(author.rng.randint(2, 4)):
            for _ in range(4):
                pen.flow(author.title("story"), align=0.5, after=0, leading=1.7)
            pen.y += 14
    return pen
