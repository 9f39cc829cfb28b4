"""Charts of held-out quality for the report: reliability, risk against coverage, learning curve."""

import io
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter

from embedpipe.drawing.pictures import font_families

Points = Sequence[Mapping[str, float]]

_BLUE, _ORANGE, _GREY, _INK = "#1a52a8", "#c2480a", "#b9b9c0", "#3a3a42"
_SIZE = (4.6, 3.4)  # inches
_LETTERS = 10.0  # points


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
        axes.plot(sizes, [point[name] for point in curve], "o-", color=colour, markersize=5, linewidth=1.8, label=label)
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(0, 1)
    axes.legend(frameon=False, fontsize=_LETTERS, loc="lower right")
    return _png(figure)


def _chart(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=_SIZE, dpi=160, facecolor="white")
    axes = figure.add_subplot()
    families = list(font_families())
    axes.set_xlabel(x, fontsize=_LETTERS, family=families, color=_INK)
    axes.set_ylabel(y, fontsize=_LETTERS, family=families, color=_INK)
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.grid(visible=True, color="#ececee", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_GREY)
    axes.tick_params(labelsize=_LETTERS - 1, color=_GREY, labelcolor=_INK)
    return figure, axes


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    canvas = FigureCanvasAgg(figure)
    canvas.figure.savefig(buffer, format="png", bbox_inches="tight", pad_inches=0.1, metadata={"Software": None})
    return buffer.getvalue()
