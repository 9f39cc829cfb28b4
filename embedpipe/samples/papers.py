"""Scientific papers: title, abstract, and sections with figures, tables and equations."""

from embedpipe.samples.figures import equation, figure
from embedpipe.samples.pen import BOLD, ITALIC, PALE, SANS, SERIF, WHITE, Pen
from embedpipe.samples.words import Author


def _results(pen: Pen) -> None:
    """Write a table of measurements."""
    rows = [[word, *(f"{pen.rng.uniform(0, 99):.1f}" for _ in range(3))] for word in pen.author.pick("last", 5)]
    pen.y += pen.body
    heads = [pen.author.say("Method", "方法"), "A", "B", "C"]
    pen.grid([heads, *rows], (2, 1, 1, 1), pen.rng.choice(("ruled", "boxed")))


def _article(pen: Pen, indent: float = 0) -> None:
    """Fill the pages with sections, figures, tables and equations, and end with references."""
    author, rng, section = pen.author, pen.rng, 0
    heads = author.say("Introduction,Method,Data,Results,Discussion", "引言,方法,数据,结果,讨论").split(",")
    while not pen.full:
        if pen.number == pen.pages and pen.left == pen.columns[-1][0] and pen.y > pen.bottom * 0.62:
            pen.heading(author.say("References", "参考文献"))
            for number in range(1, 30):
                entry = f"{author.name()}. {author.title('study')}. {rng.randint(1990, 2024)}: {author.digits(3)}"
                pen.flow(f"[{number}] {entry}", pen.body * 0.85, after=0.2)
            return
        pen.heading(f"{section + 1}  {heads[section]}" if section < 5 else author.title("study"))
        for _ in range(rng.randint(1, 3)):
            pen.flow(author.prose("study", 3, 7), indents=(indent,))
        rng.choice((figure, figure, equation, _results))(pen)
        section += 1


def conference(author: Author) -> Pen:
    """In two columns, with centred title and authors."""
    pen = Pen(author, side=50, fonts=SERIF, pages=author.rng.randint(2, 4))
    pen.flow(author.title("study"), 19, BOLD, align=0.5, after=0.4)
    pen.flow(author.say(", ", "，").join(author.name() for _ in range(3)), 11, align=0.5, after=0.1)
    pen.flow(author.address(), 9, ITALIC, align=0.5, after=2)
    pen.split(2)
    pen.flow(author.say("Abstract - ", "摘要：") + author.prose("study", 5, 8), pen.body * 0.92, BOLD)
    _article(pen, indent=14)
    return pen


def preprint(author: Author) -> Pen:
    """In one column with wide margins, the title between rules."""

    def frame(pen: Pen) -> None:
        pen.write(pen.width / 2, pen.height - 40, str(pen.number), 10, align=0.5)

    pen = Pen(author, side=author.rng.uniform(90, 120), head=85, pages=author.rng.randint(2, 4), frame=frame)
    pen.line(pen.left, pen.y, pen.left + pen.room, pen.y, width=2.5)
    pen.flow(author.title("study"), 18, BOLD, align=0.5, leading=2)
    pen.line(pen.left, pen.y, pen.left + pen.room, pen.y, width=1)
    pen.flow(author.name() + "    " + author.name(), 11, BOLD, align=0.5, leading=2.5)
    pen.flow(author.say("Abstract", "摘要"), 12, BOLD, align=0.5)
    pen.flow(author.prose("study", 5, 8), indents=(24,), after=1)
    _article(pen)
    return pen


def journal(author: Author) -> Pen:
    """Under a coloured band, with a shaded abstract and two or three columns."""

    def frame(pen: Pen) -> None:
        pen.box(0, 0, pen.width, 34 if pen.number > 1 else 58, pen.accent)
        pen.write(pen.side, 24, author.say("Annals of Measurement", "测量学报"), 13, BOLD, WHITE)
        pen.write(pen.width - pen.side, 24, f"{author.rng.randint(1, 60)}:{pen.number}", 9, color=WHITE, align=1)

    pen = Pen(author, side=46, fonts=SANS, pages=author.rng.randint(2, 4), frame=frame)
    pen.y += 20
    pen.flow(author.title("study"), 22, BOLD, pen.accent, align=0, leading=1.2)
    pen.flow(author.name() + ", " + author.name(), 11, align=0, after=1)
    top, abstract = pen.y, author.prose("study", 4, 6)
    pen.box(pen.left, top, pen.left + pen.room, top + 20 + 14 * sum(1 for _ in pen.wrap(abstract, 9.5, BOLD)), PALE)
    pen.flow(abstract, 9.5, BOLD, indents=(), after=2)
    pen.split(3 if author.rng.random() < 0.4 else 2, 14)
    pen.body = 8.8
    _article(pen)
    return pen
