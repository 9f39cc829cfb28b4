"""How many labels it takes: quality by the number of documents that are learnt from, overall and of each type.

A classifier is cross-validated with at most so many documents of each type, in the folds of the other figures; what is
held out stays whole. The curve of a type is an inverse power law (Cortes et al., 1994; Figueroa et al., 2012,
doi:10.1186/1472-6947-12-8), from which follows what more labels would bring.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from embedpipe.classifiers.evaluation import HeldOut, cross_validate, document_scores
from embedpipe.classifiers.folds import LEARNT
from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.classifiers.metrics import metrics_of, per_class
from embedpipe.classifiers.rehearsals import Rehearsal

MORE = 10
"""How many more labels are asked about."""

LITTLE = 0.01
"""A gain in F1 below this counts as none."""

_FIRST_SIZES = (1, 2, 5, 10)
_GROWTH = 2
_MOST_LEARNT = 20
"""A size is drawn several times, as long as it is no more documents of each type than this in sum."""

_REPEATS = 3
_EXPONENTS = (0.25, 0.5, 1.0, 2.0)
_FEWEST_POINTS = 3
_FEWEST_DOCUMENTS = 4
_FAR = 100_000
"""Labels beyond which nobody goes: a curve that still rises there has no end."""


class Law(NamedTuple):
    """F1 by the number n of documents: `limit` - `drop` / n ** `exponent`."""

    limit: float
    drop: float
    exponent: float

    def at(self, documents: float) -> float:
        """F1 with so many documents, 0..1."""
        return float(np.clip(self.limit - self.drop * documents**-self.exponent, 0.0, 1.0))

    @classmethod
    def fit(cls, documents: Sequence[float], values: Sequence[float]) -> "Law | None":
        """The law nearest to some points, rising or flat; None for too few."""
        if len(set(documents)) < _FEWEST_POINTS:
            return None
        n, f = np.asarray(documents, float), np.asarray(values, float)
        weights = np.sqrt(n)  # what is asked about lies beyond the largest
        best, least = None, np.inf
        for exponent in _EXPONENTS:
            power = n**-exponent
            slope = np.average((power - np.average(power, weights=weights)) * f, weights=weights)
            slope /= np.average((power - np.average(power, weights=weights)) ** 2, weights=weights)
            drop = max(0.0, -float(slope))
            limit = min(1.0, float(np.average(f + drop * power, weights=weights)))
            error = float(np.average((limit - drop * power - f) ** 2, weights=weights))
            if error < least - 1e-12:
                best, least = cls(limit, drop, exponent), error
        return best

    def gain(self, documents: int) -> float:
        """What `MORE` documents would add."""
        return self.at(documents + MORE) - self.at(documents)

    def enough(self) -> int | None:
        """The number of documents from which `MORE` of them add less than `LITTLE`; None where there is none."""
        sizes = np.unique(np.geomspace(1, _FAR, 400).astype(int))
        gains = np.array([self.gain(int(size)) for size in sizes])
        rising = np.flatnonzero(gains >= LITTLE)
        place = int(rising[-1]) + 1 if len(rising) else 0
        return int(sizes[place]) if place < len(sizes) else None


def learning_curves(held: Rehearsal) -> tuple[list[dict[str, float]], list[dict[str, Any]]]:
    """Quality of held-out documents when only so many documents of each type may be learnt from.

    Returns:
        Of all types together, a row for each number: `documents_per_type`, `accuracy`, `macro_f1`; the last one is of
        all documents. And of each type, the most to gain first: see `_of_type`. Both are empty where nothing was
        measured.
    """
    if not held.measured_documents().any():
        return [], []
    pages, folds = held.known, held.folds
    counts = {kind: len(set(pages.documents[pages.y == kind])) for kind in held.held_out.classes}
    most = max(counts.values())
    sizes = list(_FIRST_SIZES)
    while sizes[-1] * _GROWTH <= most / 2:  # more would cost as much as all, and hardly show another value
        sizes.append(sizes[-1] * _GROWTH)
    drawn: dict[int, list[HeldOut]] = {}
    for size in (size for size in sizes if size < most):
        repeats = max(1, min(_REPEATS, _MOST_LEARNT // size))
        drawn[size] = [cross_validate(held.plan, pages, folds, size, seed) for seed in range(repeats)]
    drawn[most] = [held.held_out]
    overall = [
        {
            "documents_per_type": size,
            "accuracy": _mean([metrics_of(held.pages, found)["document_accuracy"] for found in several]),
            "macro_f1": _mean([metrics_of(held.pages, found)["document_macro_f1"] for found in several]),
        }
        for size, several in drawn.items()
    ]
    figures = {size: _of_types(held.pages, several) for size, several in drawn.items()}
    learnt = _learnt(pages, folds, held.held_out.classes)
    kinds = [_of_type(kind, learnt[kind], figures, counts[kind], held.plan.names[1:]) for kind in held.held_out.classes]
    return overall, sorted(kinds, key=lambda row: (-(row["gain"] or -1.0), row["type"]))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _learnt(pages: LabelledPages, folds: NDArray[np.int64], classes: Sequence[str]) -> dict[str, list[int]]:
    """How many documents of each type each fold leaves to learn from."""
    numbers = [fold for fold in np.unique(folds) if fold != LEARNT]
    return {
        kind: [len(set(pages.documents[(folds != fold) & (pages.y == kind)])) for fold in numbers] for kind in classes
    }


def _of_types(pages: LabelledPages, several: Sequence[HeldOut]) -> dict[str, tuple[float, float | None]]:
    """F1 of each type that was measured, with all parts and with the first one alone, means of several draws."""
    found: dict[str, list[tuple[float, float | None]]] = {}
    for held_out in several:
        own, scored = held_out.measured(pages)
        sides = [_f1(own, scored, scored.classes)]
        sides.append({} if scored.alone is None else _f1(own, scored.alone, scored.classes))
        for kind, value in sides[0].items():
            found.setdefault(kind, []).append((value, sides[1].get(kind)))
    return {
        kind: (
            _mean([f for f, _ in values]),
            None if values[0][1] is None else _mean([f for _, f in values if f is not None]),
        )
        for kind, values in found.items()
    }


def _f1(pages: LabelledPages, scores: HeldOut | NDArray[np.float64], classes: list[str]) -> dict[str, float]:
    documents = document_scores(pages, scores)
    told = np.asarray(classes, object)[documents.log_scores.argmax(axis=1)]
    return {row["type"]: row["f1"] for row in per_class(documents.y, told, classes) if row["f1"] is not None}


def _of_type(
    kind: str,
    learnt: Sequence[int],
    figures: dict[int, dict[str, tuple[float, float | None]]],
    count: int,
    others: Sequence[str],
) -> dict[str, Any]:
    """The curve of a type.

    Returns:
        `points`: documents learnt from, `f1`, and `f1_pictures` of pictures alone, None where there is nothing else.
        `gain`: what `more` documents would add to the F1; `enough`: from how many documents that is next to nothing;
        both also for pictures alone. `added`: what the other parts, mostly words, add by now. `sentence` says it.
    """
    points: list[dict[str, Any]] = []
    for size, found in figures.items():
        documents = _mean([min(size, number) for number in learnt])
        if kind in found and (not points or documents > points[-1]["documents"]):
            points.append({"documents": documents, "f1": found[kind][0], "f1_pictures": found[kind][1]})
        elif kind in found:  # all its documents were learnt from before: the last figure has most of the other types
            points[-1] |= {"f1": found[kind][0], "f1_pictures": found[kind][1]}
    laws: list[Law | None] = [None, None]
    if count >= _FEWEST_DOCUMENTS:
        numbers = [point["documents"] for point in points]
        for place, key in enumerate(("f1", "f1_pictures")):
            if points and points[-1][key] is not None:
                laws[place] = Law.fit(numbers, [point[key] for point in points])
    row: dict[str, Any] = {"type": kind, "documents": count, "points": points, "more": MORE}
    for law, suffix in zip(laws, ("", "_pictures"), strict=True):
        row[f"gain{suffix}"] = None if law is None else round(law.gain(count), 4)
        row[f"enough{suffix}"] = None if law is None else law.enough()
        row[f"law{suffix}"] = None if law is None else [round(value, 4) for value in law]
    last = points[-1] if points else {"f1": None, "f1_pictures": None}
    row["added"] = None if last["f1_pictures"] is None else round(last["f1"] - last["f1_pictures"], 4)
    return row | {"sentence": _sentence(row, " and ".join(others))}


def _sentence(row: dict[str, Any], others: str) -> str:
    """What a person should know of the curve of a type."""
    kind, count, gain = row["type"], row["documents"], row["gain"]
    if not row["points"]:
        return f"{kind}: not measured, for its documents are of one group: label some of another source"
    if gain is None:
        return f"{kind}: {count} labelled, too few to say what more would bring"
    now = f"{kind}: {count} labelled, F1 {row['points'][-1]['f1']:.2f}"
    said = f"{MORE} more would bring less than {LITTLE}"
    if gain >= LITTLE:
        said = f"{MORE} more would bring about +{gain:.2f}"
        said += f", until about {row['enough']} are labelled" if (row["enough"] or 0) > count + MORE else ""
    return f"{now}; {said}{_beside(row, others)}"


def _beside(row: dict[str, Any], others: str) -> str:
    """What words and other parts add, and from where on pictures alone gain nothing more."""
    if row["added"] is None:
        return ""
    worth = f"{row['added']:+.2f}" if abs(row["added"]) >= LITTLE else "nothing by now"
    end = row["enough_pictures"]
    stop = f", and these alone gain nothing more from about {end} on" if end and end <= row["documents"] else ""
    return f"; {others} over pictures alone: {worth}{stop}"
