"""Charts of held-out quality for the report: reliability, risk against coverage, learning curve."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator, PercentFormatter

from embedpipe.core.languages.translation import word
from embedpipe.drawing.pictures import font_families

Points = Sequence[Mapping[str, float]]

_BLUE, _ORANGE, _GREY, _INK = "#1a52a8", "#c2480a", "#b9b9c0", "#3a3a42"
_SIZE = (4.6, 3.4)  # inches
_LETTERS = 10.0  # points
_COLUMNS = 4  # of panels
_LONGEST = 20  # characters of a panel's name


def reliability_chart(bins: Points) -> bytes:
    """Draws how often answers are right against how confident they are, as a PNG.

    Args:
        bins: Of `confidence.reliability`: rows, confidence and accuracy of each bin.
    """
    figure, axes = _chart("stated confidence", "share that is right")
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle="--", linewidth=1.2)
    confidence, accuracy = [b["confidence"] for b in bins], [b["accuracy"] for b in bins]
    axes.vlines(confidence, confidence, accuracy, color=_ORANGE, linewidth=1.6)
    axes.plot(confidence, accuracy, "o-", color=_BLUE, markersize=5, linewidth=1.6)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.xaxis.set_major_formatter(PercentFormatter(1, 0))
    return _png(figure)


def risk_coverage_chart(curve: Points) -> bytes:
    """Draws how many answers are wrong against how many are given, most confident first, as a PNG.

    Args:
        curve: Of `confidence.risk_coverage`: answered and wrong, as shares.
    """
    figure, axes = _chart("share of documents that get an answer", "share of answers that is wrong")
    answered, wrong = [p["answered"] for p in curve], [p["wrong"] for p in curve]
    axes.fill_between(answered, wrong, color=_BLUE, alpha=0.12, linewidth=0)
    axes.plot(answered, wrong, color=_BLUE, linewidth=1.8)
    axes.set(xlim=(0, 1), ylim=(0, max(0.05, 1.15 * max(wrong))))
    axes.xaxis.set_major_formatter(PercentFormatter(1, 0))
    return _png(figure)


def learning_chart(curve: Points) -> bytes:
    """Draws quality against the number of labelled documents of each type, as a PNG.

    Args:
        curve: Of `evaluate.Assessment`: documents_per_type, accuracy and macro_f1.
    """
    figure, axes = _chart("labelled documents of each type, at most", "held-out documents")
    sizes = [point["documents_per_type"] for point in curve]
    for name, label, colour in (("accuracy", "accuracy", _BLUE), ("macro_f1", "macro F1", _ORANGE)):
        axes.plot(
            sizes, [point[name] for point in curve], "o-", color=colour, markersize=5, linewidth=1.8, label=word(label)
        )
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(0, 1)
    axes.legend(frameon=False, prop=_letters(), loc="lower right")
    return _png(figure)


def learning_charts(types: Sequence[Mapping[str, Any]]) -> bytes:
    """Draws the learning curve of each type in a panel of its own, as a PNG.

    Args:
        types: Of `learning_curves.learning_curves`: type, documents, points, law, and more.
    """
    rows = -(-len(types) // _COLUMNS)
    figure = Figure(figsize=(2.3 * _COLUMNS, 1.75 * rows + 0.35), dpi=160, facecolor="white")
    panels = figure.subplots(rows, _COLUMNS, squeeze=False, sharey=True).ravel()
    for axes, kind in zip(panels, types, strict=False):
        _learning_panel(axes, kind)
    for axes in panels[len(types) :]:
        axes.set_visible(False)
    for axes in panels[::_COLUMNS]:
        axes.set_ylabel("F1", fontsize=_LETTERS - 1, family=list(font_families()), color=_INK)
    lines = [Line2D([], [], color=_BLUE, marker="o", markersize=4), Line2D([], [], color=_BLUE, linestyle=":")]
    names = ["measured", "expected with more labels"]
    if any(point["f1_pictures"] is not None for kind in types for point in kind["points"]):
        lines.append(Line2D([], [], color=_ORANGE, marker="o", markersize=3))
        names.append("pictures alone")
    named = [word(name) for name in names]
    figure.legend(lines, named, loc="upper center", ncols=len(names), frameon=False, prop=_letters())
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.3 / figure.get_figheight()))
    return _png(figure)


def _learning_panel(axes: Axes, kind: Mapping[str, Any]) -> None:
    numbers = [point["documents"] for point in kind["points"]]
    if kind["law"] is not None:
        further = np.geomspace(numbers[-1], kind["documents"] + kind["more"], 20)
        limit, drop, exponent = kind["law"]
        start = kind["points"][-1]["f1"] - (limit - drop * numbers[-1] ** -exponent)  # goes on from what was measured
        axes.plot(further, np.clip(start + limit - drop * further**-exponent, 0, 1), ":", color=_BLUE, linewidth=1.8)
    alone = [point["f1_pictures"] for point in kind["points"]]
    if numbers and alone[-1] is not None:
        axes.plot(numbers, alone, "o-", color=_ORANGE, markersize=3, linewidth=1.2)
    axes.plot(numbers, [point["f1"] for point in kind["points"]], "o-", color=_BLUE, markersize=4, linewidth=1.8)
    title = f"{_short(kind['type'])} ({kind['documents']})"
    axes.set_title(title, fontsize=_LETTERS, family=list(font_families()), color=_INK, parse_math=False)
    _styled(axes)
    axes.set_xscale("log")
    ticks = [
        size for size in (1, 3, 10, 30, 100, 300, 1000, 10_000, 100_000) if size <= kind["documents"] + kind["more"]
    ]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(xlim=(0.8, 1.1 * (kind["documents"] + kind["more"])), ylim=(0, 1))


def _letters() -> FontProperties:
    return FontProperties(family=list(font_families()), size=_LETTERS)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}"


def _chart(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=_SIZE, dpi=160, facecolor="white")
    axes = figure.add_subplot()
    families = list(font_families())
    axes.set_xlabel(word(x), fontsize=_LETTERS, family=families, color=_INK)
    axes.set_ylabel(word(y), fontsize=_LETTERS, family=families, color=_INK)
    _styled(axes)
    return figure, axes


def _styled(axes: Axes) -> None:
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.grid(visible=True, color="#ececee", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_GREY)
    axes.tick_params(labelsize=_LETTERS - 1, color=_GREY, labelcolor=_INK)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    canvas = FigureCanvasAgg(figure)
    canvas.figure.savefig(buffer, format="png", bbox_inches="tight", pad_inches=0.1, metadata={"Software": None})
    return buffer.getvalue()
