"""Quality against speed, as a picture: a point for each backbone and classifier, each backbone named once."""

import itertools
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from matplotlib.transforms import Bbox

from embedpipe.core.languages.translation import translated, word
from embedpipe.drawing.pictures import drawable, font_families, save_figure

_COLOURS = ("#2563eb", "#d97706", "#047857", "#9333ea", "#b3261e")
_MARKS = "osD^v"
_INK, _DIM, _LINE = "#1c1c20", "#686870", "#d9d9de"
_RINGS, _DIRECTIONS = 12, 12  # places around a point that a name is tried at
_PADDING = 3  # pixels
_FAR = 16  # pixels from its point from which a line leads to a name
_ROOM = 1.35  # beside the slowest and the fastest one
_DECADE = 10


@dataclass(frozen=True, slots=True)
class Point:
    """A backbone with a classifier: pages a second and macro-F1."""

    backbone: str
    classifier: str
    speed: float
    quality: float


def draw_tradeoff(points: Sequence[Point], file: Path, note: str) -> None:
    """Draws the points; speed has a logarithmic scale.

    Args:
        points: What was measured.
        file: The PNG; an older one is replaced in one step.
        note: How it was measured, below the picture.

    Raises:
        ArtifactError: The file cannot be written.
    """
    figure = Figure(figsize=(9, 6.2), dpi=120, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0.09, 0.15, 0.87, 0.76))
    kinds = list(dict.fromkeys(point.classifier for point in points))
    for kind, colour, mark in zip(kinds, itertools.cycle(_COLOURS), itertools.cycle(_MARKS), strict=False):
        those = [point for point in points if point.classifier == kind]
        axes.scatter(
            [p.speed for p in those], [p.quality for p in those], s=52, c=colour, marker=mark, label=kind, zorder=3
        )
    for name in dict.fromkeys(point.backbone for point in points):  # one network, one speed
        those = sorted((p for p in points if p.backbone == name), key=lambda p: p.quality)
        axes.plot([p.speed for p in those], [p.quality for p in those], color=_LINE, linewidth=1.2, zorder=1)
    _dress(axes, figure, note)
    _scale_speeds(axes, [point.speed for point in points])
    if points:
        letters = FontProperties(family=list(font_families()), size=9)
        axes.legend(title=word("classifier"), prop=letters, title_fontproperties=letters, frameon=True, edgecolor=_LINE)
        canvas.draw()  # type: ignore[no-untyped-call]
        place_names(axes, points)
    save_figure(figure, file)


def _dress(axes: Axes, figure: Figure, note: str) -> None:
    axes.margins(y=0.12)
    axes.grid(visible=True, color=_LINE, linewidth=0.6, zorder=0)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    families = list(font_families())
    axes.set_xlabel(word("pages per second of the network (faster to the right)"), color=_INK, family=families)
    axes.set_ylabel(word("macro-F1 of documents (better above)"), color=_INK, family=families)
    axes.set_title(word("Quality against speed"), loc="left", color=_INK, family=families)
    said = drawable(translated(note))
    text = "\n".join(textwrap.wrap(said, 130 if said.isascii() else 65))
    figure.text(0.02, 0.015, text, fontsize=8, color=_DIM, family=families, parse_math=False)


def _scale_speeds(axes: Axes, speeds: list[float]) -> None:
    """A logarithmic scale with room for names at both ends, and with ticks enough to read a speed from."""
    low, high = (min(speeds), max(speeds)) if speeds else (1.0, 10.0)
    axes.set_xscale("log")
    axes.set_xlim(low / _ROOM, high * _ROOM)
    wide = high / low > _DECADE
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if wide else (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def place_names(axes: Axes, points: Sequence[Point]) -> list[Bbox]:
    """Writes each backbone's name beside its best point, where nothing else is; returns where, in pixels."""
    legend = axes.get_legend()
    taken = [] if legend is None else [legend.get_window_extent()]
    for point in points:
        x, y = axes.transData.transform((point.speed, point.quality))
        taken.append(Bbox.from_bounds(x - 9, y - 9, 18, 18))
    placed = []
    for name in dict.fromkeys(point.backbone for point in points):
        best = max((p for p in points if p.backbone == name), key=lambda p: p.quality)
        placed.append(_place(axes, best, taken))
        taken.append(placed[-1])
    return placed


def _place(axes: Axes, point: Point, taken: list[Bbox]) -> Bbox:
    """Tries places further and further out, to the right first; a line leads to a name that is far away."""
    x, y = axes.transData.transform((point.speed, point.quality))
    label = axes.annotate(
        drawable(point.backbone),
        (point.speed, point.quality),
        xytext=(0, 0),
        textcoords="offset pixels",
        fontsize=9,
        color=_INK,
        family=list(font_families()),
        va="center",
        arrowprops={"arrowstyle": "-", "color": _DIM, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 4},
        parse_math=False,
    )
    size = label.get_window_extent()
    frame = axes.get_window_extent()
    best = Bbox.from_bounds(x + 12, y - size.height / 2, size.width, size.height)
    for ring, turn in itertools.product(range(_RINGS), range(_DIRECTIONS)):
        angle = 2 * np.pi * turn / _DIRECTIONS
        reach = 12 + 14 * ring
        across, up = reach * np.cos(angle), reach * np.sin(angle)
        left = x + across - (size.width if np.cos(angle) < -0.1 else 0 if np.cos(angle) > 0.1 else size.width / 2)  # noqa: PLR2004
        box = Bbox.from_bounds(left, y + up - size.height / 2, size.width, size.height)
        inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
        if inside and not box.padded(_PADDING).count_overlaps(taken):
            best = box
            break
    label.set_position((best.x0 - x, (best.y0 + best.y1) / 2 - y))
    if label.arrow_patch is not None:
        far = max(best.x0 - x, x - best.x1, best.y0 - y, y - best.y1) > _FAR
        label.arrow_patch.set_visible(far)
    return best
