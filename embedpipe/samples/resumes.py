"""Resumes: with a side bar, classic, along a timeline, as a table."""

from embedpipe.samples.figures import portrait
from embedpipe.samples.pen import BLACK, BOLD, GREY, SANS, SERIF, WHITE, Color, Pen
from embedpipe.samples.words import Author

_Station = tuple[str, str]  # its years, and what it was


def _career(author: Author, jobs: int, schools: int) -> tuple[list[_Station], list[_Station]]:
    """Return the jobs and, before them, the schools of a life, the latest first."""
    posts = [f"{author.pick('role')[0]}, {author.pick('company')[0]}" for _ in range(jobs)]
    degrees = author.ranked("degree", schools)
    posts += [f"{degree}, {author.pick('school')[0]}" for degree in degrees]
    stations, end = [], author.rng.randint(2021, 2025)
    for post in posts:
        begin = end - author.rng.randint(2, 4)
        stations.append((f"{begin} - {end}", post))
        end = begin
    return stations[:jobs], stations[jobs:]


def _write_stations(pen: Pen, stations: list[_Station], theme: str, *, dates: str = "right") -> None:
    """Write the stations of a career, their dates on the right, on the left, or on a line with dots."""
    author, shift = pen.author, 92.0 if dates == "left" else 18.0 if dates == "dots" else 0.0
    for years, post in stations:
        if not pen.need(60):
            return
        pen.y += 18
        x = pen.left + (0 if dates == "left" else pen.room)
        pen.write(x, pen.y, years, color=GREY, align=float(dates != "left"))
        pen.write(pen.left + shift, pen.y, post, pen.body * 1.05, BOLD, most=pen.room - shift - 75)
        if dates == "dots":
            pen.line(pen.left + 4, pen.y - 4, pen.left + 4, pen.y + 52, GREY)
            pen.dot(pen.left + 4, pen.y - 4, 4, pen.accent)
        for _ in range(author.rng.randint(1, 3)):
            pen.flow(author.sentence(theme), indents=(shift,) * 9, align=0, after=0.1)


def _skills(pen: Pen, count: int, color: Color) -> None:
    """Write skills, each with a bar that says how much of it."""
    for skill in pen.author.pick("skill", count):
        pen.y += 19
        pen.write(pen.left, pen.y, skill, 9, most=pen.room * 0.45)
        start, end = pen.left + pen.room * 0.5, pen.left + pen.room
        pen.box(start, pen.y - 6, end, pen.y - 1, (0.75, 0.77, 0.8))
        pen.box(start, pen.y - 6, start + (end - start) * pen.rng.uniform(0.3, 0.95), pen.y - 1, color)


def sidebar(author: Author) -> Pen:
    """With a coloured side bar for portrait, contact and skills."""
    wide, right = author.rng.uniform(165, 200), author.rng.random() < 0.4
    pen = Pen(author, fonts=SANS)
    start = pen.width - wide if right else 0.0
    pen.box(start, 0, start + wide, pen.height, pen.accent)
    portrait(pen, start + wide / 2 - 45, 40, 90)
    pen.columns, pen.y, pen.ink = [(start + 20, start + wide - 20)], 175, WHITE
    for head, lines in ((("Contact", "联系方式"), author.contact()), (("Strengths", "专长"), author.pick("skill", 3))):
        pen.heading(author.say(*head), 12, rule=True)
        for line in lines:
            pen.flow(line, 9, align=0, after=0.1)
    pen.heading(author.say("Skills", "技能"), 12, rule=True)
    _skills(pen, author.rng.randint(3, 6), WHITE)
    pen.columns, pen.y, pen.ink = [(30, start - 30) if right else (wide + 30, pen.width - 30)], 50, BLACK
    pen.flow(author.name(), 26, BOLD, pen.accent, align=0, after=0)
    pen.flow(author.pick("role")[0], 14, color=GREY, align=0)
    pen.flow(author.prose("office", 2, 4))
    jobs, schools = _career(author, author.rng.randint(3, 4), 2)
    pen.heading(author.say("Experience", "工作经历"), 14, pen.accent, rule=True)
    _write_stations(pen, jobs, "office")
    pen.heading(author.say("Education", "教育背景"), 14, pen.accent, rule=True)
    _write_stations(pen, schools, "study")
    return pen


def classic(author: Author) -> Pen:
    """In one column, headings ruled, with up to two pages."""
    pen = Pen(author, fonts=SERIF, pages=author.rng.randint(1, 2))
    pen.flow(author.name(), 22, BOLD, align=0.5, after=0)
    pen.flow("  |  ".join(author.contact()), 9.5, align=0.5)
    jobs, schools = _career(author, author.rng.randint(2, 2 + pen.pages), author.rng.randint(2, 3))
    works = [(years, author.title("office")) for years, _ in jobs]
    pen.heading(author.say("PROFILE", "个人简介"), 11.5, rule=True)
    pen.flow(author.prose("office", 2, 4))
    pen.heading(author.say("EXPERIENCE", "工作经历"), 11.5, rule=True)
    _write_stations(pen, jobs, "office", dates="left")
    pen.heading(author.say("EDUCATION", "教育背景"), 11.5, rule=True)
    _write_stations(pen, schools, "study")
    pen.heading(author.say("PROJECTS", "项目经验"), 11.5, rule=True)
    _write_stations(pen, works, "study", dates="left")
    pen.heading(author.say("PAPERS", "论文"), 11.5, rule=True)
    for number in range(1, author.rng.randint(3, 6)):
        pen.flow(f"{number}. {author.name()}: {author.title('study')}", align=0, after=0.1)
    return pen


def timeline(author: Author) -> Pen:
    """Under a coloured band, the career along a line with dots."""
    pen = Pen(author, side=48, fonts=SANS)
    pen.box(0, 0, pen.width, 130, pen.accent)
    portrait(pen, pen.width - 130, 18, 72)
    pen.write(pen.side, 62, author.name(), 28, BOLD, WHITE)
    pen.write(pen.side, 88, author.pick("role")[0], 13, color=WHITE)
    pen.write(pen.side, 112, " / ".join(author.contact()), 9, color=WHITE, most=pen.width - 200)
    pen.y = 140
    pen.heading(author.say("Career", "职业经历"), 15, pen.accent)
    jobs, schools = _career(author, author.rng.randint(2, 4), 2)
    _write_stations(pen, jobs, "office", dates="dots")
    _write_stations(pen, schools, "study", dates="dots")
    pen.y += 14
    pen.split(2)
    for head in (author.say("Skills", "专业技能"), author.say("Tools", "工具")):
        pen.heading(head, 13, pen.accent)
        _skills(pen, min(4, int((pen.bottom - pen.y) / 20)), pen.accent)
        pen.column, pen.y = 1, pen.top
    return pen


def table(author: Author) -> Pen:
    """As the form that Chinese offices use, boxed throughout."""
    pen = Pen(author, side=52, fonts=SERIF)
    pen.flow(author.say("PERSONAL RECORD", "个 人 简 历"), 20, BOLD, align=0.5, after=1)
    full, fields = pen.columns[0], author.pick("field", 10)
    pen.columns = [(full[0], full[1] - 96)]
    pen.box(full[1] - 96, pen.y, full[1], pen.y + 130, None, BLACK)
    portrait(pen, full[1] - 86, pen.y + 16, 76)
    rows = [[fields[i], author.name(), fields[i + 1], author.digits(8)] for i in range(0, 10, 2)]
    pen.grid(rows, (1, 1.4, 1, 1.4), "form", row=26)
    pen.columns = [full]
    pen.y -= pen.body * 0.9
    jobs, schools = _career(author, 3, 3)
    entries = {
        author.say("Studies", "学习经历"): schools,
        author.say("Work", "工作经历"): jobs,
        author.say("Awards", "获奖情况"): [(author.date(), author.title("study")) for _ in range(2)],
        author.say("Remarks", "自我评价"): [(author.sentence("office"), author.sentence("office"))],
    }
    for head, lines in entries.items():
        height = author.rng.uniform(105, 145)
        pen.box(full[0], pen.y, full[1], pen.y + height, None, BLACK)
        pen.line(full[0] + 70, pen.y, full[0] + 70, pen.y + height)
        pen.write(full[0] + 35, pen.y + height / 2, head, 10.5, BOLD, align=0.5, most=62)
        pen.columns, end = [(full[0] + 80, full[1] - 10)], pen.y + height
        for line in lines:
            pen.flow("  ".join(line), align=0, after=0.1)
        pen.columns, pen.y = [full], end
    return pen
