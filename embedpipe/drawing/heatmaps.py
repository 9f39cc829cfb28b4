"""Pages with the evidence for and against a type laid over them, and sheets of feature maps, as PNGs."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from embedpipe.classifiers.reasons.occlusion import Box
from embedpipe.core.languages.translation import translated
from embedpipe.drawing.pictures import drawable, fitted, font_families, save_figure

_DPI = 110
_INK, _DIM, _LINE, _MARK = "#1c1c20", "#686870", "#cdcdd2", "#b3261e"
_COLOURS = LinearSegmentedColormap.from_list(
    "for and against",
    [
        (0.10, 0.35, 0.80, 0.80),
        (0.30, 0.55, 0.95, 0.45),
        (1, 1, 1, 0),
        (0.98, 0.60, 0.10, 0.45),
        (0.85, 0.28, 0.0, 0.85),
    ],
)
"""Blue and orange, which people who confuse red and green can distinguish; nothing where there is no evidence."""
_PALE = 0.35  # how much of the page's contrast is left below the colours
_SIDE = 4.4  # inches
_CAPTION = 13  # pixels that a letter takes in `fitted`
_WRAP = 52  # letters in a line of the side column
_MAPS_PER_ROW = 8
_LEAST_WIDTH = 8.5


@dataclass(frozen=True, slots=True)
class Looks:
    """A page that the explained one looks like: its pixels or None, its type, its name, and the cosine."""

    pixels: NDArray[np.uint8] | None
    label: str
    name: str
    score: float


@dataclass(frozen=True, slots=True)
class HeatPicture:
    """What is drawn of an explained page.

    Attributes:
        pixels: uint8 (H, W, 3), the whole page.
        region: What the network sees of it: left, top, right, bottom in shares of width and height.
        drops: Fall of the log odds in each cell of the region, (rows, columns); None for a page that was not asked.
        smallest: Drops below this are shown as nearly nothing.
        boxes: The deciding parts, in shares of the region.
        title: The page's name.
        kind: The type that was asked about.
        candidates: Types with their probabilities, best first.
        finding: What was found, as a sentence.
        looks: Pages that it looks like, best first.
    """

    pixels: NDArray[np.uint8]
    region: tuple[float, float, float, float]
    drops: NDArray[np.float64] | None
    smallest: float
    boxes: Sequence[Box]
    title: str
    kind: str
    candidates: Sequence[tuple[str, float]]
    finding: str
    looks: Sequence[Looks]


def draw_heat(picture: HeatPicture, file: Path) -> None:
    """Draws a page, the same page with its heat, and beside them the type, the legend and what it looks like.

    Raises:
        ArtifactError: The file cannot be written.
    """
    height, width = picture.pixels.shape[:2]
    across = width <= height  # tall pages stand side by side, wide ones lie above each other
    page = (4.6, 4.6 * height / width) if across else (6.4, 6.4 * height / width)
    size = (2 * page[0], page[1]) if across else (page[0], 2 * page[1])
    figure = Figure(figsize=(size[0] + _SIDE + 0.8, max(size[1], 5.6) + 0.9), dpi=_DPI, facecolor="#fafaf8")
    grid = figure.add_gridspec(
        1, 2, width_ratios=(size[0], _SIDE), left=0.02, right=0.985, top=0.93, bottom=0.02, wspace=0.06
    )
    pages = grid[0].subgridspec(*((1, 2) if across else (2, 1)), wspace=0.03, hspace=0.08)
    plain, heat = (figure.add_subplot(pages[place]) for place in (0, 1))
    _show_page(plain, picture.pixels, "the page")
    _show_heat(heat, picture)
    if picture.region != (0.0, 0.0, 1.0, 1.0):
        _show_region(plain, picture)
    _write_side(_Column(figure.add_subplot(grid[1]), figure), picture)
    _text(figure, 0.02, 0.972, fitted(picture.title, 1100, _CAPTION), 13, _INK)
    save_figure(figure, file)


def _show_page(axes: Axes, pixels: NDArray[np.uint8], title: str) -> None:
    height, width = pixels.shape[:2]
    axes.imshow(pixels, extent=(0, width, height, 0), interpolation="antialiased")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(color=_LINE)
    _text(axes, 0, 1.012, translated(title), 9, _DIM, transform=axes.transAxes, va="bottom")


def _show_heat(axes: Axes, picture: HeatPicture) -> None:
    """The page in pale grey below the colours."""
    grey = picture.pixels.mean(axis=2, keepdims=True)
    pale = (255 - _PALE * (255 - grey)).repeat(3, axis=2).astype(np.uint8)
    if grey.mean() < 128:  # noqa: PLR2004 - a dark page stays dark on light below colours that are light
        pale = (255 - _PALE * grey).repeat(3, axis=2).astype(np.uint8)
    height, width = picture.pixels.shape[:2]
    if picture.drops is None:
        _show_page(axes, pale, "nothing to explain")
        return
    _show_page(axes, pale, f"evidence for and against “{drawable(picture.kind)}”")
    left, top, right, bottom = picture.region
    extent = (left * width, right * width, bottom * height, top * height)
    axes.imshow(picture.drops, extent=extent, cmap=_COLOURS, norm=_norm(picture), interpolation="bilinear", zorder=2)
    axes.set(xlim=(0, width), ylim=(height, 0))
    for number, box in enumerate(picture.boxes, start=1):
        x = (left + box.x0 * (right - left)) * width
        y = (top + box.y0 * (bottom - top)) * height
        size = ((box.x1 - box.x0) * (right - left) * width, (box.y1 - box.y0) * (bottom - top) * height)
        axes.add_patch(Rectangle((x, y), *size, fill=False, edgecolor=_MARK, linewidth=1.6, zorder=3))
        badge = {"boxstyle": "round,pad=0.2", "facecolor": _MARK, "edgecolor": "none"}
        axes.text(x, y, str(number), fontsize=8, color="white", va="center", ha="center", bbox=badge, zorder=4)


def _show_region(axes: Axes, picture: HeatPicture) -> None:
    """Frames what the network sees where that is not the whole page."""
    height, width = picture.pixels.shape[:2]
    left, top, right, bottom = picture.region
    size = ((right - left) * width, (bottom - top) * height)
    axes.add_patch(Rectangle((left * width, top * height), *size, fill=False, edgecolor=_DIM, linestyle="--"))
    said = translated("the network sees what the dashed line holds")
    axes.set_title(said, fontsize=8, color=_DIM, loc="right", family=list(font_families()))


def _norm(picture: HeatPicture) -> Normalize:
    """The same scale for and against; where nothing decides the colours stay faint."""
    largest = picture.smallest if picture.drops is None else float(np.abs(picture.drops).max())
    limit = max(largest, 2 * picture.smallest)
    return Normalize(-limit, limit)


class _Column:
    """The side of the picture, filled from the top down; lengths are in inches."""

    def __init__(self, axes: Axes, figure: Figure) -> None:
        box = axes.get_position()
        self.width, self._left = box.width * figure.get_figwidth(), box.height * figure.get_figheight()
        axes.set(xlim=(0, self.width), ylim=(0, self._left))
        axes.axis("off")
        self._axes = axes

    def line(self, text: str, size: float, colour: str, *, gap: float = 0.0) -> None:
        """Writes one line, elided to the column's width; `size` in points."""
        self._left -= gap + 1.4 * size / 72
        letters = self.width * 72 / size * _CAPTION  # the width for `fitted`, whose letters have a size of their own
        _text(self._axes, 0, self._left, fitted(translated(text), letters, _CAPTION), size, colour)

    def inset(self, x: float, width: float, height: float, *, gap: float = 0.0) -> Axes:
        """A picture's place below all that was written; `skip` goes on below it."""
        bounds = (x, self._left - gap - height, width, height)
        return self._axes.inset_axes(bounds, transform=self._axes.transData)

    def caption(self, x: float, below: float, text: str, size: float, colour: str, room: float) -> None:
        """Writes so far below all that was written, in a room of its own."""
        _text(self._axes, x, self._left - below, fitted(text, room * 72 / size * _CAPTION, _CAPTION), size, colour)

    def skip(self, height: float) -> None:
        """Goes down."""
        self._left -= height


def _write_side(column: _Column, picture: HeatPicture) -> None:
    """The type, what was found, the legend, and the look-alikes."""
    for place, (kind, probability) in enumerate(picture.candidates):
        size, colour = (19, _INK) if place == 0 else (11, _DIM)
        column.line(f"{kind}  {probability:.0%}", size, colour)
    if len(picture.candidates) > 1:
        margin = picture.candidates[0][1] - picture.candidates[1][1]
        column.line(f"margin to the second: {100 * margin:.0f} points", 9, _DIM, gap=0.05)
    column.skip(0.12)
    finding = drawable(translated(picture.finding))
    for line in textwrap.wrap(finding, _WRAP if finding.isascii() else _WRAP // 2):  # other letters are twice as wide
        column.line(line, 10.5, _INK)
    column.skip(0.1)
    for number, box in enumerate(picture.boxes, start=1):
        column.line(
            f"{number}   when a part of it is covered, the odds are divided by up to {np.exp(box.drop):.1f}", 9, _MARK
        )
    if picture.drops is not None:
        _write_legend(column, picture)
    if picture.looks:
        _show_looks(column, picture.looks)


def _write_legend(column: _Column, picture: HeatPicture) -> None:
    """A bar of the colours with odds below it."""
    limit = float(_norm(picture).vmax or 1.0)
    column.line(f"odds of {picture.kind} when this part is covered", 9, _DIM, gap=0.15)
    bar = column.inset(0, 0.85 * column.width, 0.18, gap=0.07)
    bar.imshow(np.linspace(-limit, limit, 256)[None], extent=(-limit, limit, 0, 1), aspect="auto", cmap=_COLOURS)
    ticks = [-limit, -limit / 2, 0, limit / 2, limit]
    names = [
        f"× {np.exp(-t):.1f}" if t < 0 else f"÷ {np.exp(t):.1f}" if t > 0 else translated("as it is") for t in ticks
    ]
    bar.set_xticks(ticks, names, fontsize=8, color=_DIM, family=list(font_families()))
    bar.set_yticks([])
    bar.spines[:].set(color=_LINE)
    column.skip(0.52)


def _show_looks(column: _Column, looks: Sequence[Looks]) -> None:
    """Small pictures side by side with their types and names."""
    column.line("looks like these labelled pages of other documents", 9, _DIM, gap=0.15)
    each = column.width / max(len(looks), 3)
    room, tall = each - 0.12, 1.35 * (each - 0.12)
    for place, look in enumerate(looks):
        tile = column.inset(place * each, room, tall, gap=0.07)
        tile.set(xticks=[], yticks=[], facecolor="#e2e2e6")
        tile.spines[:].set(color=_LINE)
        if look.pixels is not None:
            height, width = look.pixels.shape[:2]
            tile.imshow(look.pixels, extent=(0, width, height, 0), interpolation="antialiased")
        column.caption(place * each, tall + 0.24, f"{look.label}  {look.score:.2f}", 9, _INK, room)
        column.caption(place * each, tall + 0.39, look.name, 7, _DIM, room)
    column.skip(tall + 0.45)


def _text(where: Axes | Figure, x: float, y: float, text: str, size: float, colour: str, **options: object) -> None:
    """Writes a text that is no formula, in fonts that know all scripts."""
    where.text(
        x,
        y,
        text,
        fontsize=size,
        color=colour,
        family=list(font_families()),
        parse_math=False,
        **options,  # type: ignore[arg-type]
    )


@dataclass(frozen=True, slots=True)
class MapSheet:
    """Feature maps of a page.

    Attributes:
        pixels: The page as the network saw it, uint8 (H, W, 3).
        maps: float32 (n, rows, columns).
        names: Of the maps, n of them.
        title: Which page and network.
        heading: What is shown.
    """

    pixels: NDArray[np.uint8]
    maps: NDArray[np.float32]
    names: Sequence[str]
    title: str
    heading: str


def draw_maps(sheet: MapSheet, file: Path) -> None:
    """Draws a page and feature maps beside it, each on a scale of its own: dark is its least, bright its most.

    Raises:
        ArtifactError: The file cannot be written.
    """
    height, width = sheet.pixels.shape[:2]
    tile = (1.9, min(1.9 * height / width, 3.2))
    per_row = max(2, min(_MAPS_PER_ROW, len(sheet.maps) + 1))
    n_rows = -(-(len(sheet.maps) + 1) // per_row)
    size = (max(per_row * (tile[0] + 0.1), _LEAST_WIDTH) + 0.2, n_rows * (tile[1] + 0.32) + 0.95)
    figure = Figure(figsize=size, dpi=_DPI, facecolor="#fafaf8")
    letters = (size[0] - 0.3) * 72 * _CAPTION
    _text(figure, 0.15 / size[0], 1 - 0.32 / size[1], fitted(sheet.title, letters / 13, _CAPTION), 13, _INK)
    _text(figure, 0.15 / size[0], 1 - 0.58 / size[1], fitted(translated(sheet.heading), letters / 9, _CAPTION), 9, _DIM)
    for place in range(len(sheet.maps) + 1):
        row, column = divmod(place, per_row)
        left, bottom = 0.15 + column * (tile[0] + 0.1), size[1] - 0.95 - row * (tile[1] + 0.32) - tile[1]
        axes = figure.add_axes((left / size[0], bottom / size[1], tile[0] / size[0], tile[1] / size[1]))
        if place == 0:
            _show_page(axes, sheet.pixels, "the page")
            continue
        axes.imshow(sheet.maps[place - 1], cmap="magma", interpolation="nearest", aspect="equal")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        _text(axes, 0, 1.012, translated(sheet.names[place - 1]), 9, _DIM, transform=axes.transAxes, va="bottom")
    save_figure(figure, file)
