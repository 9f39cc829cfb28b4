"""Forms: boxes for letters, a registration table, a questionnaire."""

from embedpipe.samples.pen import BLACK, BLUE, BOLD, DINGBAT, GREY, ITALIC, MONO, PALE, SANS, SERIF, WHITE, Pen
from embedpipe.samples.words import Author


def _write_choices(pen: Pen, x: float, labels: str) -> None:
    """Write a row of boxes with their labels, one of them ticked or none."""
    names = labels.split(",")
    ticked, y = pen.rng.randint(0, len(names)), pen.y + 20
    for number, name in enumerate(names, 1):
        pen.box(x, y - 8, x + 9, y + 1, None, pen.ink)
        if number == ticked:
            pen.write(x, y, "4", 11, DINGBAT, BLUE)
        x = pen.write(x + 14, y, name, 9.5) + 18


def _write_scale(pen: Pen, x: float, most: int = 7) -> None:
    """Write a row of numbered circles, one of them filled or none."""
    filled = pen.rng.randint(0, most)
    for score in range(1, most + 1):
        middle = x + 8 + 34 * (score - 1)
        pen.dot(middle, pen.y + 18, 8, BLUE if score == filled else PALE, GREY)
        pen.write(middle, pen.y + 21, str(score), 8, color=WHITE if score == filled else None, align=0.5)


def _value(author: Author) -> str:
    """Return what somebody may have filled in, or nothing."""
    return author.rng.choice((author.name(), author.date(), author.digits(8), author.address(), "", ""))


def boxes(author: Author) -> Pen:
    """With a box for each letter, and choices to tick."""
    pen = Pen(author, side=50, fonts=SANS, pages=author.rng.randint(1, 2))
    pen.box(pen.left, 40, pen.left + pen.room, 78, pen.accent)
    pen.write(pen.left + 12, 66, author.say("Application for registration", "业务申请表"), 18, BOLD, WHITE)
    pen.y = 90
    for part in range(1, 12):
        pen.heading(author.say(f"Part {part}  ", f"第{part}部分  ") + author.title("office"), 11, pen.accent, rule=True)
        for label in author.pick("field", author.rng.randint(3, 5)):
            if not pen.need(38):
                return pen
            pen.write(pen.left, pen.y + 20, label, 9.5, most=110)
            filled = author.digits(author.rng.choice((6, 8, 11))) if author.rng.random() < 0.7 else ""
            for cell in range(int((pen.room - 120) / 19)):
                x = pen.left + 120 + cell * 19
                pen.box(x, pen.y + 6, x + 17, pen.y + 25, None, GREY)
                pen.write(x + 8.5, pen.y + 20, filled[cell : cell + 1], 11, color=BLUE, align=0.5)
            pen.y += 28
        if pen.need(30):
            _write_choices(pen, pen.left, author.say("New,Renewal,Change", "新办,续期,变更"))
            pen.y += 28
    return pen


def table(author: Author) -> Pen:
    """A registration sheet: one large table with room for a photograph."""
    pen = Pen(author, side=55, fonts=SERIF)
    pen.flow(author.say("REGISTRATION SHEET", "人员信息登记表"), 20, BOLD, align=0.5, after=0.8)
    row, fields = author.rng.uniform(26, 34), author.pick("field", 10)
    full = pen.columns[0]
    pen.columns = [(full[0], full[1] - 100)]
    pen.box(full[1] - 100, pen.y, full[1], pen.y + 4 * row, None, BLACK)
    pen.write(full[1] - 50, pen.y + 2 * row, author.say("Photo", "照片"), color=GREY, align=0.5)
    pen.grid([[label, _value(author)] for label in fields[:4]], (1, 2.4), "form", row=row)
    pen.columns, pen.y = [full], pen.y - pen.body * 0.9
    rows = [[fields[i], _value(author), fields[i + 1], _value(author)] for i in range(4, 10, 2)]
    pen.grid(rows, (1, 2, 1, 2), "form", row=row)
    pen.y -= pen.body * 0.9
    lines = [[str(i + 1), *(author.pick("item") if author.rng.random() < 0.6 else [""]), "", ""] for i in range(6)]
    pen.grid([author.say("No.,Item,From,Remarks", "序号,事项,日期,备注").split(","), *lines], (0.5, 2, 1, 1), row=row)
    pen.y -= pen.body * 0.9
    for head in author.say("Opinion of the office,Approval", "部门意见,审批意见").split(","):
        pen.box(full[0], pen.y, full[1], pen.y + 90, None, BLACK)
        pen.write(full[0] + 8, pen.y + 18, head, style=BOLD)
        pen.write(full[1] - 12, pen.y + 80, author.say("Signature / date", "签字：        年    月    日"), 9, align=1)
        pen.y += 90
    return pen


def survey(author: Author) -> Pen:
    """A questionnaire: choices, scales and lines to write on."""
    pen = Pen(author, side=65, fonts=author.rng.choice((SANS, MONO)), pages=author.rng.randint(1, 2))
    pen.flow(author.say("Questionnaire", "调查问卷"), 22, BOLD, align=0, after=0.2)
    pen.flow(author.prose("office", 1, 2), 9, color=GREY)
    pen.line(pen.left, pen.y, pen.left + pen.room, pen.y, pen.accent, 2)
    for number in range(1, 30):
        pen.y += 10
        if not pen.need(70):
            break
        pen.flow(f"{number}. {author.sentence('office')}", style=BOLD, align=0, after=0)
        kind, x = author.rng.randrange(3), pen.left + 14
        if kind == 0:
            _write_choices(pen, x, author.say("Yes,No,Sometimes,Unsure", "是,否,有时,不清楚"))
        elif kind == 1:
            _write_scale(pen, x)
        for place in range(2 if kind == 2 else 0):
            pen.write(x, pen.y + 17 + 20 * place, author.title("office") if place == 0 else "", 10, ITALIC, BLUE)
            pen.line(x, pen.y + 21 + 20 * place, pen.left + pen.room, pen.y + 21 + 20 * place, GREY)
        pen.y += 48 if kind == 2 else 30
    return pen
