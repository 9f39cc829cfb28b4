"""What is drawn and not written: charts, photographs, seals, signatures, codes, equations."""

import io
import math

import pymupdf
from PIL import Image, ImageDraw

from embedpipe.samples.pen import ACCENTS, BLACK, BLUE, BOLD, GREY, ITALIC, RED, REGULAR, SYMBOL, WHITE, Pen, unit_width

_FINDERS = ((3, 3), (3, 17), (17, 3))
"""Row and column of the middles of the three finder squares of a two-dimensional code."""


def chart(pen: Pen, left: float, top: float, right: float, bottom: float) -> None:
    """Draw a diagram of random data: lines, bars or points."""
    kind, step = pen.rng.choice(("lines", "bars", "points")), (right - left) / 8
    radius = max(2.6, (right - left) / 120)  # still seen when the page is a few hundred pixels wide
    for share in (0.25, 0.5, 0.75, 1):
        height = bottom - share * (bottom - top)
        pen.line(left, height, right, height, GREY, 0.2)
        pen.write(left - 3, height + 2, str(int(share * 80)), max(6, (bottom - top) / 24), align=1)
    last, bright = (left, bottom), pen.ink == WHITE
    for place, accent in enumerate(pen.rng.sample(ACCENTS, pen.rng.randint(2, 3))):
        color = (accent[1] / 2 + 0.5, accent[2] / 2 + 0.5, accent[0] / 2 + 0.5) if bright else accent
        slope, wild = pen.rng.uniform(-0.6, 0.6), 0.25 if kind == "points" else 0.12
        for index in range(8 if kind == "bars" else 32):
            x = left + (index + 0.5) * step * (1 if kind == "bars" else 0.25)
            share = 0.5 + slope * ((x - left) / (right - left) - 0.5) + pen.rng.uniform(-wild, wild)
            y = bottom - share * (bottom - top)
            if kind == "bars":
                start = x - step * 0.42 + step * 0.28 * place
                pen.box(start, y, start + step * 0.26, bottom, color)
            elif kind == "points":
                pen.dot(x, y, radius, color)
            elif index:
                pen.line(last[0], last[1], x, y, color, 1.2)
            last = x, y
    pen.line(left, top, left, bottom)
    pen.line(left, bottom, right, bottom)


def picture(pen: Pen, left: float, top: float, right: float, bottom: float) -> None:
    """Paste a made-up photograph: hills under a sky with a sun."""
    pen.flush()
    width, height = 240, max(60, int(240 * (bottom - top) / (right - left)))
    image, tone = Image.new("RGB", (width, height)), [pen.rng.randint(40, 215) for _ in range(3)]
    draw = ImageDraw.Draw(image)
    for y in range(height):
        draw.line((0, y, width, y), fill=tuple(min(255, value + 90 * y // height) for value in tone))
    x, y, radius = pen.rng.randint(40, 200), pen.rng.randint(15, height // 2), pen.rng.randint(8, 22)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(255, 240, 200))
    for layer in range(1, 5):
        phase, wave = pen.rng.uniform(0, 6), pen.rng.uniform(25, 60)
        crest = [(i, height * (0.3 + layer * 0.14) + 14 * math.sin(i / wave + phase)) for i in range(0, 241, 6)]
        shade = tuple(int(value * (0.75 - layer * 0.15)) for value in tone)
        draw.polygon([*crest, (width, height), (0, height)], fill=shade)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=80)
    pen.page.insert_image((left, top, right, bottom), stream=stream.getvalue(), keep_proportion=False)


def portrait(pen: Pen, left: float, top: float, width: float) -> None:
    """Draw the place of a passport photograph: head and shoulders."""
    middle, bottom = left + width / 2, top + width * 1.3
    pen.box(left, top, left + width, bottom, (0.8, 0.86, 0.92), GREY)
    pen.shape.draw_sector((middle, bottom), (middle - width * 0.4, bottom), -180)
    pen.shape.finish(fill=pen.accent, color=None)
    pen.dot(middle, top + width * 0.6, width * 0.22, (0.93, 0.8, 0.7))


def seal(pen: Pen, x: float, y: float, radius: float, text: str) -> None:
    """Draw a round red company seal: a star, and the text along the rim."""
    pen.dot(x, y, radius, None, RED)
    pen.dot(x, y, radius - 1.5, None, RED)
    star = [(radius * (0.3 - 0.18 * (i % 2)), math.radians(36 * i - 90)) for i in range(10)]
    pen.shape.draw_polyline([(x + far * math.cos(turn), y + far * math.sin(turn)) for far, turn in star])
    pen.shape.finish(fill=RED, color=RED, closePath=True)
    for number, letter in enumerate(text):
        turn, size = 250 * (number + 0.5) / len(text) - 125, radius * 0.26
        angle, font = math.radians(turn - 90), "china-s" if letter >= "\u2014" else pen.fonts[BOLD]
        point = pymupdf.Point(x + radius * 0.66 * math.cos(angle), y + radius * 0.66 * math.sin(angle))
        start, turned = point - (unit_width(letter, font) * size / 2, 0), (point, pymupdf.Matrix(-turn))
        pen.shape.insert_text(start, letter, fontname=font, fontsize=size, color=RED, morph=turned)


def signature(pen: Pen, x: float, y: float) -> None:
    """Scribble a signature above the baseline `y`."""
    points = [(x + 8 * i + pen.rng.uniform(-3, 9), y - pen.rng.uniform(-3, 24)) for i in range(13)]
    for start in range(0, 10, 3):
        pen.shape.draw_bezier(*points[start : start + 4])
    pen.shape.finish(color=BLUE, width=1.1, closePath=False)


def code(pen: Pen, x: float, y: float, side: float) -> None:
    """Draw a two-dimensional code of random cells."""
    cell = side / 21
    for index in range(21 * 21):
        row, column = divmod(index, 21)
        if pen.rng.random() < 0.45 and not any(abs(row - r) < 5 > abs(column - c) for r, c in _FINDERS):
            left, top = x + column * cell, y + row * cell
            pen.shape.draw_rect(pymupdf.Rect(left, top, left + cell, top + cell))
    pen.shape.finish(fill=BLACK, color=None)
    for row, column in _FINDERS:
        middle_x, middle_y = x + (column + 0.5) * cell, y + (row + 0.5) * cell
        for far, fill in ((3.5 * cell, BLACK), (2.5 * cell, WHITE), (1.5 * cell, BLACK)):
            pen.box(middle_x - far, middle_y - far, middle_x + far, middle_y + far, fill)


def equation(pen: Pen) -> None:
    """Write a numbered equation at the cursor."""
    if not pen.need(44):
        return
    y, size = pen.y + 26, pen.body * 1.1
    x = pen.left + pen.room * 0.16
    for text, style, scale, rise in (
        ("L(w) = ", ITALIC, 1, 0),
        ("S", SYMBOL, 1.7, 2),
        (" (y", ITALIC, 1, 0),
        ("i", ITALIC, 0.7, 3),
        (" - ", REGULAR, 1, 0),
        ("q x", SYMBOL, 1, 0),
        ("i", ITALIC, 0.7, 3),
        (")", ITALIC, 1, 0),
        ("2", REGULAR, 0.7, -5),
    ):
        x = pen.write(x, y + rise, text, size * scale, style)
    x = pen.write(x, y, " + ", size)
    pen.line(x, y - 3, x + 34, y - 3)
    pen.write(x + 17, y - 7, pen.rng.choice(("l", "a + b", "s")), size, SYMBOL, align=0.5)
    pen.write(x + 17, y + 8, pen.rng.choice(("2n", "n - 1", "T")), size, ITALIC, align=0.5)
    pen.write(pen.left + pen.room, y, f"({pen.rng.randint(1, 9)})", align=1)
    pen.y += 48


def figure(pen: Pen) -> None:
    """Draw a chart or a photograph at the cursor, with its caption."""
    height = min(pen.room * pen.rng.uniform(0.5, 0.75), 210)
    if not pen.need(height + 40):
        return
    place = (pen.left + 22, pen.y + 10, pen.left + pen.room - 6, pen.y + height)
    (picture if pen.rng.random() < 0.3 else chart)(pen, *place)
    pen.y += height + 4
    caption = pen.author.say(f"Figure {pen.rng.randint(1, 6)}. ", f"图 {pen.rng.randint(1, 6)}  ")
    pen.flow(caption + pen.author.sentence("study"), pen.body * 0.85, align=0.5, after=1)
