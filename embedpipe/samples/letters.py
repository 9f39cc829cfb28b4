"""Letters: of a company, private, and a notice to the staff."""

from embedpipe.samples.figures import seal, signature
from embedpipe.samples.pen import BLACK, BOLD, ITALIC, RED, SERIF, WHITE, Pen
from embedpipe.samples.words import Author


def _letter_body(pen: Pen) -> None:
    """Write greeting, body, closing and signature."""
    author, reach = pen.author, pen.rng.uniform(0.5, 0.75)
    pen.flow(author.say(f"Dear {author.name()},", f"尊敬的{author.name()}："), after=0.8)
    while not pen.full and (pen.number < pen.pages or pen.y < pen.height * reach):
        pen.flow(author.prose("office", 2, 5), indents=(author.say("", "1") and [pen.body * 2]) or (), after=0.8)
    x = pen.left if author.language == "en" else pen.width - pen.side - 140
    pen.write(x, pen.y + 24, author.say("Yours sincerely,", "此致  敬礼"))
    signature(pen, x, pen.y + 62)
    pen.write(x, pen.y + 84, author.name())


def business(author: Author) -> Pen:
    """From a company, with its logo, the recipient's address and a subject."""
    pen = Pen(author, side=author.rng.uniform(65, 85), head=110, pages=author.rng.choice((1, 1, 2)))
    company, right = author.pick("company")[0], pen.width - pen.side
    pen.box(pen.side, 40, pen.side + 26, 66, pen.accent)
    pen.write(pen.side + 36, 60, company, 17, BOLD, pen.accent)
    pen.line(pen.side, 76, right, 76, pen.accent, 1.5)
    for place, line in enumerate((author.name(), author.pick("company")[0], author.address())):
        pen.write(pen.side, 120 + 15 * place, line)
    pen.write(right, 185, author.date(), align=1)
    pen.y = 200
    pen.flow(author.say("Re: ", "事由：") + author.title("office"), style=BOLD, after=1)
    _letter_body(pen)
    return pen


def centred(author: Author) -> Pen:
    """From a person, with a centred monogram and a coloured foot."""

    def frame(pen: Pen) -> None:
        pen.box(0, pen.height - 44, pen.width, pen.height, pen.accent)
        pen.write(pen.width / 2, pen.height - 18, "   ".join(author.contact()), 9, color=WHITE, align=0.5)

    pen = Pen(author, side=95, head=130, fonts=SERIF, pages=author.rng.choice((1, 1, 2)), frame=frame)
    pen.dot(pen.width / 2, 62, 24, None, pen.accent)
    pen.write(pen.width / 2, 71, author.name()[0], 24, BOLD, pen.accent, align=0.5)
    pen.write(pen.width / 2, 110, author.pick("company")[0], 15, ITALIC, align=0.5)
    pen.flow(author.date(), align=1, after=1.5)
    _letter_body(pen)
    return pen


def notice(author: Author) -> Pen:
    """To all staff: a memorandum, or a Chinese red-headed document."""
    pen = Pen(author, side=80, head=115)
    color, company = (RED, author.pick("company")[0]) if author.language == "zh" else (BLACK, "MEMORANDUM")
    size = author.say("26", "34")
    pen.write(pen.width / 2, 110, company + author.say("", "文件"), float(size), BOLD, color, align=0.5, most=pen.room)
    number = f"〔{author.rng.randint(2015, 2025)}〕{author.digits(2)}号"
    pen.write(pen.width / 2, 145, author.say(f"To: all staff   From: {author.name()}", number), align=0.5)
    pen.line(pen.side, 156, pen.width - pen.side, 156, color, 2)
    pen.y, pen.body = 170, 12.5 if author.language == "zh" else 11
    subject = author.title("office")
    pen.flow(author.say(f"Notice: {subject}", f"关于{subject}的通知"), 16, BOLD, align=0.5, after=1)
    for place in range(author.rng.randint(2, 4)):
        pen.flow(f"{place + 1}. " + author.prose("office", 2, 4), indents=(25,), leading=1.8)
    pen.y += 50
    pen.write(pen.width - pen.side, pen.y, author.pick("company")[0], align=1)
    pen.write(pen.width - pen.side, pen.y + 22, author.date(), align=1)
    if author.language == "zh":
        seal(pen, pen.width - pen.side - 70, pen.y, 48, company)
    return pen
