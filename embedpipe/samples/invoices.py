"""Invoices: the Chinese fapiao, a bill with a table, a till receipt."""

import re

from embedpipe.samples.figures import code, seal
from embedpipe.samples.pen import BLACK, BOLD, GREY, MONO, REGULAR, SANS, WHITE, Pen
from embedpipe.samples.words import Author


def _capitals(amount: float) -> str:
    """Write an amount the way Chinese bills do, in figures that cannot be altered."""
    digits = str(int(amount))
    units = ["", "拾", "佰", "仟", "万", "拾", "佰"]
    text = "".join("零壹贰叁肆伍陆柒捌玖"[int(d)] + units[len(digits) - 1 - i] for i, d in enumerate(digits)) + "圆整"
    return re.sub(r"(零[拾佰仟]?)+", "零", text).replace("零万", "万").replace("零圆", "圆")


def fapiao(author: Author) -> Pen:
    """The bill that the Chinese tax office prescribes, with code and seal."""
    author = Author(author.rng, "zh")  # this bill is issued in China only
    pen = Pen(author, (680, 440), side=30, head=24, fonts=SANS)
    pen.ink = author.rng.choice(((0.55, 0.25, 0.1), (0.1, 0.2, 0.5), (0.6, 0.1, 0.15)))
    company, (rows, total) = author.pick("company")[0], author.goods(author.rng.randint(2, 5))
    title = author.rng.choice(("电子发票（普通发票）", "增值税专用发票", "增值税电子普通发票"))
    code(pen, 34, 22, 58)
    pen.write(340, 46, title, 21, align=0.5)
    pen.line(225, 56, 455, 56)
    pen.line(225, 59, 455, 59)
    for place, text in enumerate((f"发票号码：{author.digits(10)}", f"开票日期：{author.date()}")):
        pen.write(520, 42 + 18 * place, text, 9, most=135)
    for left, head, name in ((30, "购买方信息", author.name()), (340, "销售方信息", company)):
        pen.box(left, 96, left + 310, 166, None, pen.ink)
        pen.line(left + 20, 96, left + 20, 166)
        for place, letter in enumerate(head):
            pen.write(left + 10, 110 + 12.5 * place, letter, 9.5, align=0.5)
        pen.write(left + 28, 122, f"名称：{name}", 10, color=None)
        pen.write(left + 28, 150, f"纳税人识别号：91{author.digits(16)}", 10)
    pen.box(30, 166, 650, 310, None, pen.ink)
    heads, places = ("项目名称", "数量", "单价", "金额"), (40, 300, 440, 640)
    for cells, height in zip([heads, *rows], range(184, 320, 21), strict=False):
        for cell, x in zip(cells, places, strict=True):
            pen.write(x, height, cell, 10, color=pen.ink if height == 184 else BLACK, align=float(x > 40))
    pen.box(30, 310, 650, 340, None, pen.ink)
    pen.line(190, 310, 190, 340)
    pen.write(50, 330, "价税合计（大写）", 10)
    pen.write(210, 330, _capitals(total), 11, color=BLACK)
    pen.write(640, 330, f"（小写） ¥{total:,.2f}", 11, color=BLACK, align=1)
    pen.box(30, 340, 650, 395, None, pen.ink)
    pen.write(40, 358, f"备注：{author.sentence('office')}", 9, most=430)
    pen.write(50, 415, f"开票人：{author.name()}", 10)
    seal(pen, 560, 372, 42, company)
    return pen


def table(author: Author) -> Pen:
    """On a business's own paper, with address, table and sums."""
    pen = Pen(author, side=author.rng.uniform(45, 70))
    band, right = author.rng.random() < 0.5, pen.width - pen.side
    company, (rows, total) = author.pick("company")[0], author.goods(author.rng.randint(3, 8))
    if band:
        pen.box(0, 0, pen.width, 120, pen.accent)
    pen.write(right, 80, author.say("INVOICE", "销售账单"), 32, BOLD, WHITE if band else pen.accent, align=1)
    pen.write(pen.left, 70, company, 15, BOLD, WHITE if band else None, most=240)
    pen.write(pen.left, 90, author.address(), 9, color=WHITE if band else GREY)
    pen.y = 150
    due = author.say("Due in 30 days", "三十日内付款")
    for place, note in enumerate((f"{author.say('No.', '编号')} {author.digits(6)}", author.date(), due)):
        pen.write(right, pen.y + 16 * place, note, align=1)
    for place, text in enumerate((author.say("Bill to", "客户"), author.name(), author.address())):
        pen.write(pen.left, pen.y + 16 * place, text, style=REGULAR if place else BOLD)
    pen.y += 70
    heads = author.say("Description,Qty,Price,Amount", "项目,数量,单价,金额").split(",")
    look = author.rng.choice(("banded", "boxed", "ruled"))
    pen.grid([heads, *rows], (4, 1, 1.5, 1.5), look, row=24, color=pen.accent)
    sums = (("Subtotal", "小计", total), ("Tax 13%", "税额 13%", total * 0.13), ("Total", "合计", total * 1.13))
    for place, (english, chinese, value) in enumerate(sums):
        pen.y += 20
        style = BOLD if place > 1 else REGULAR
        pen.write(right - 160, pen.y, author.say(english, chinese), 11, style)
        pen.write(right - 4, pen.y, author.say("$", "¥") + f"{value:,.2f}", 11, style, align=1)
        pen.line(right - 160, pen.y + 5, right, pen.y + 5, GREY)
    pen.y += 40
    pen.flow(author.prose("office", 1, 2), 9, color=GREY, align=0)
    if author.language == "zh":
        seal(pen, pen.left + 90, pen.y + 60, 46, company)
    return pen


def receipt(author: Author) -> Pen:
    """From the till: narrow, in typewriter letters."""
    rows, total = author.goods(author.rng.randint(4, 8))
    pen = Pen(author, (236, 330 + 30 * len(rows)), side=18, head=24, fonts=MONO)
    pen.flow(author.pick("company")[0], 13, BOLD, align=0.5, after=0.2)
    pen.flow(author.address(), 8, align=0.5)
    pen.flow(f"{author.date()} {author.rng.randint(8, 21):02}:{author.digits(1)}5", 8, align=0.5)
    for item, many, price, amount in rows:
        for text, value in ((item, ""), (f"  {many} x {price}", amount)):
            pen.y += 14
            pen.write(pen.left, pen.y, text, 9)
            pen.write(pen.width - 18, pen.y, value, 9, align=1)
    for text, share, size in (("TOTAL,合计", 1, 15), ("CARD,银行卡", 1, 9), ("VAT,税额", 0.13, 9)):
        pen.y += 24
        pen.line(18, pen.y - 16, pen.width - 18, pen.y - 16)
        pen.write(pen.left, pen.y, author.say(*text.split(",")), size, BOLD)
        pen.write(pen.width - 18, pen.y, f"{total * share:,.2f}", size, BOLD, align=1)
    if author.rng.random() < 0.5:
        code(pen, 83, pen.y + 20, 70)
    else:
        for place in range(60):
            pen.line(30 + 3 * place, pen.y + 24, 30 + 3 * place, pen.y + 70, width=author.rng.choice((0.4, 1, 2)))
    pen.write(pen.width / 2, pen.y + 112, author.say("Thank you!", "谢谢惠顾"), 10, align=0.5)
    return pen
