"""The report of a measured classifier: one HTML file that stands alone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedpipe.drawing.charts import learning_chart, learning_charts, reliability_chart, risk_coverage_chart
from embedpipe.drawing.pictures import confusion_picture, png_bytes, thumbnail
from embedpipe.drawing.templating import data_uri, environment, write_html

GALLERY = 48
"""Most mistakes that are shown; the others are counted."""

_PANELS = 24
"""Most types whose learning curve is drawn, those with most to gain."""

_CONFUSIONS = 5
_THUMBNAIL = (360, 400)  # twice the pixels of the place, for fine screens
_SMALL = (120, 150)  # of a page that another one looks like, likewise
_UNKNOWN = "\N{EN DASH}"
_SPACE = "\N{NARROW NO-BREAK SPACE}"  # between a figure and its unit
_GOOD, _FAIR = 0.9, 0.7  # from where on a bar looks calm


@dataclass(frozen=True, slots=True)
class Likeness:
    """A labelled page that another page looks like.

    Attributes:
        name: Of its file, with its page.
        label: Its type.
        score: The cosine of both, 1 for the same picture.
        pixels: uint8 (H, W, 3), or None where it cannot be shown.
    """

    name: str
    label: str
    score: float
    pixels: NDArray[np.uint8] | None


@dataclass(frozen=True, slots=True)
class Mistake:
    """A document with a wrong predicted type.

    Attributes:
        path: Of its file; bytes that are not UTF-8 may be surrogate escapes.
        truth: Its type.
        predicted: Its predicted type.
        confidence: How sure that was, 0..1.
        second: The type that came second.
        second_confidence: How probable that was, 0..1.
        pixels: uint8 (H, W, 3) of its first page, or None where it cannot be shown.
        likenesses: Labelled pages of other documents that this page looks like, best first.
    """

    path: str
    truth: str
    predicted: str
    confidence: float
    second: str
    second_confidence: float
    pixels: NDArray[np.uint8] | None
    likenesses: Sequence[Likeness] = ()


@dataclass(frozen=True, slots=True)
class ReportData:
    """All that a report shows.

    Attributes:
        title: What was measured.
        facts: How it was measured: names and values.
        metrics: As of `metrics.metrics_of`.
        per_class: As of `metrics.per_class`, of documents.
        classes: Types, in the order of the matrix.
        matrix: As of `metrics.confusion`, of documents, (n_classes, n_classes).
        mistakes: Most confident first.
        intervals: Low and high end of the documents' metrics, by name.
        careless: The metrics if pages were split at random.
        decisions: As of `confidence.decision_metrics`, of documents and pages.
        reliability: As of `confidence.reliability`, of documents.
        risk_coverage: As of `confidence.risk_coverage`, of documents.
        learning_curve: Accuracy and macro-F1 by documents per type.
        learning_curves: Of each type, as of `learning_curves.learning_curves`.
        lead: What the figures mean, in a sentence that comes first; "" for none.
    """

    title: str
    facts: Mapping[str, str]
    metrics: Mapping[str, Any]
    per_class: Sequence[Mapping[str, Any]]
    classes: Sequence[str]
    matrix: NDArray[np.int64]
    mistakes: Sequence[Mistake]
    intervals: Mapping[str, Sequence[float]] = field(default_factory=dict)
    careless: Mapping[str, Any] = field(default_factory=dict)
    decisions: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    reliability: Sequence[Mapping[str, float]] = ()
    risk_coverage: Sequence[Mapping[str, float]] = ()
    learning_curve: Sequence[Mapping[str, float]] = ()
    learning_curves: Sequence[Mapping[str, Any]] = ()
    lead: str = ""


@dataclass(frozen=True, slots=True)
class _Figure:
    """A headline figure and what it means."""

    name: str
    value: str
    meaning: str
    range: str = ""


def write_report(file: Path, data: ReportData) -> None:
    """Writes the report; an older one is replaced in one step.

    Args:
        file: The HTML file.
        data: What it shows.

    Raises:
        ArtifactError: The file cannot be written.
    """
    total, right = int(data.matrix.sum()), int(np.trace(data.matrix))
    write_html(
        file,
        "report.html",
        title=data.title,
        facts=data.facts,
        lead=data.lead,
        documents=_document_figures(data.metrics, data.intervals),
        pages=_page_figures(data.metrics),
        how=_how(data.metrics),
        lonely=data.metrics.get("types_with_one_group", ()),
        careless=_careless(data),
        decisions=_decisions(data.decisions),
        charts=_charts(data),
        labels=_labels(data.learning_curves),
        per_class=data.per_class,
        picture=data_uri(confusion_picture(data.matrix, data.classes), "png"),
        alt=f"Confusion matrix of {len(data.classes)} types: {right:,} of {total:,} documents are on the diagonal.",
        confusions=_confusions(data.matrix, data.classes),
        mistakes=[_card(mistake) for mistake in data.mistakes[:GALLERY]],
        more=max(0, len(data.mistakes) - GALLERY),
    )


def _is_figure(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _percent(value: Any, digits: int = 0) -> str:
    """93 %; never 100 % of what is not all, nor 0 % of what is not nothing."""
    if not _is_figure(value):
        return _UNKNOWN
    step = 10.0**-digits
    shown = round(100 * value, digits)
    if 0 < value < 1:
        shown = min(max(shown, step), 100 - step)
    return f"{shown:.{digits}f}{_SPACE}%"


def _width(value: Any) -> str:
    """The width of a bar, as CSS."""
    return f"{100 * min(max(value, 0.0), 1.0):.1f}%" if _is_figure(value) else "0%"


def _tone(value: Any) -> str:
    """How worrying a figure is, as a CSS class."""
    if not _is_figure(value) or value < _FAIR:
        return "low"
    return "good" if value >= _GOOD else "fair"


def _range(interval: Sequence[float] | None) -> str:
    if interval is None or not all(map(_is_figure, interval)):
        return ""
    return f"{_percent(interval[0])} to {_percent(interval[1])}"


def _recall_range(row: Mapping[str, Any]) -> str:
    """Between which figures the recall of a type lies, or why that is not known."""
    return _range(row.get("recall_interval")) or str(row.get("interval_reason") or "")


def _careless(data: ReportData) -> list[tuple[str, Any, Any]]:
    """Figures as they are, and as they would look with pages split at random."""
    names = {
        "document_accuracy": "Documents, accuracy",
        "document_macro_f1": "Documents, macro F1",
        "accuracy": "Pages, accuracy",
        "macro_f1": "Pages, macro F1",
    }
    return [
        (text, data.metrics.get(name), data.careless[name]) for name, text in names.items() if name in data.careless
    ]


def _decisions(decisions: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """A row for documents and one for pages."""
    return [{"what": what.capitalize(), **found} for what, found in decisions.items()]


def _charts(data: ReportData) -> list[tuple[str, str, str]]:
    """Heading, picture and words of each chart that there is something to draw for."""
    charts = []
    if data.reliability:
        words = "On the dashed line, confidence is right as often as it says. Each dot holds equally many documents."
        charts.append(("Can the confidence be believed?", data_uri(reliability_chart(data.reliability), "png"), words))
    if data.risk_coverage:
        words = "Left: only the surest documents get an answer, few are wrong. Right: all get one."
        charts.append(
            ("What does it cost to answer all?", data_uri(risk_coverage_chart(data.risk_coverage), "png"), words)
        )
    if data.learning_curve:
        words = "Where the lines still rise, more labelled documents help."
        charts.append(("Would more labels help?", data_uri(learning_chart(data.learning_curve), "png"), words))
    return charts


def _labels(types: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The curves of the types as a picture, and what each says; nothing where nothing was measured."""
    drawn = [kind for kind in types if kind["points"]][:_PANELS]
    if not drawn:
        return {}
    sentences = [kind["sentence"] for kind in types]
    return {"picture": data_uri(learning_charts(drawn), "png"), "sentences": sentences, "more": len(types) - len(drawn)}


def _document_figures(metrics: Mapping[str, Any], intervals: Mapping[str, Sequence[float]]) -> list[_Figure]:
    accuracy = metrics.get("document_accuracy")
    return [
        _Figure(
            "Accuracy",
            _percent(accuracy, 1),
            _out_of_hundred(accuracy, "new documents"),
            _range(intervals.get("accuracy")),
        ),
        _Figure(
            "Balanced accuracy",
            _percent(metrics.get("document_balanced_accuracy"), 1),
            "The same if all types were equally frequent: a rare type counts as much as a common one.",
            _range(intervals.get("balanced_accuracy")),
        ),
        _Figure(
            "Macro F1",
            _percent(metrics.get("document_macro_f1"), 1),
            "Low when a type is missed, and also when it is named too often; the mean over all types.",
            _range(intervals.get("macro_f1")),
        ),
        _Figure(
            "Calibration error",
            _percent(metrics.get("document_calibration_error"), 1),
            "How far the stated confidence is from how often it is right, on average. Smaller is better.",
        ),
    ]


def _page_figures(metrics: Mapping[str, Any]) -> list[_Figure]:
    accuracy = metrics.get("accuracy")
    return [
        _Figure("Accuracy", _percent(accuracy, 1), _out_of_hundred(accuracy, "single pages")),
        _Figure(
            "Balanced accuracy",
            _percent(metrics.get("balanced_accuracy"), 1),
            "The same if all types had equally many pages.",
        ),
        _Figure(
            "Macro F1",
            _percent(metrics.get("macro_f1"), 1),
            "Misses and false alarms in one figure, the mean over all types.",
        ),
    ]


def _out_of_hundred(share: Any, what: str) -> str:
    if not _is_figure(share):
        return f"How many of 100 {what} get the right type is not known."
    return f"Of 100 {what} like these, about {round(100 * share)} get the right type."


def _how(metrics: Mapping[str, Any]) -> str:
    folds, groups = metrics.get("folds"), metrics.get("groups")
    if not _is_figure(folds) or not _is_figure(groups) or not folds:
        return ""
    return (
        f"Every document was judged by a classifier that had seen neither it nor anything of its group "
        f"({folds} folds, {groups:,} groups)."
    )


def _confusions(matrix: NDArray[np.int64], classes: Sequence[str]) -> list[tuple[str, str, int]]:
    """The most frequent confusions: type, predicted type, and how often."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:_CONFUSIONS]
    cells = [divmod(int(cell), len(classes)) for cell in order]
    return [(classes[row], classes[column], int(wrong[row, column])) for row, column in cells if wrong[row, column]]


def _card(mistake: Mistake) -> dict[str, Any]:
    path = PurePath(mistake.path)
    return {
        "name": path.name or mistake.path,
        "folder": str(path.parent) if path.name and str(path.parent) != "." else "",
        "truth": mistake.truth,
        "predicted": mistake.predicted,
        "confidence": mistake.confidence,
        "second": mistake.second,
        "second_confidence": mistake.second_confidence,
        "picture": _picture(mistake.pixels, _THUMBNAIL),
        "likenesses": [
            {"name": found.name, "label": found.label, "score": found.score, "picture": _picture(found.pixels, _SMALL)}
            for found in mistake.likenesses
        ],
    }


def _picture(pixels: NDArray[np.uint8] | None, size: tuple[int, int]) -> str:
    """A page as a data URI, empty where it cannot be shown."""
    return data_uri(png_bytes(thumbnail(pixels, size)), "png") if pixels is not None and pixels.size > 0 else ""


environment().filters.update(percent=_percent, recall_range=_recall_range, width=_width, tone=_tone)
