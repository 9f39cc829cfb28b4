"""How far confidence, candidates and novelty can be relied on: measured where they were not learnt."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from embedpipe.classifiers.calibration.decisions import Calibration, Decisions, Rule

BINS = 10
RESAMPLES = 1000
LEVEL = 0.95
"""Share of the resamples that an interval holds."""

_AT_ONCE = 100  # resamples
_POINTS = 50  # of a risk-coverage curve


@dataclass(frozen=True, slots=True)
class HeldOutScores:
    """Held-out rows with their scores: what decisions are learnt from, and measured on.

    Attributes:
        scores: Log scores by classifiers that had not seen the row's group, (n, n_classes).
        truth: Column of the true type, (n,).
        distances: From the labelled pages of the other folds, (n,).
        folds: Which fold each row was held out in, (n,).
        weights: What each row counts, (n,).
        pages: How many pages each row sums up, by their weights, (n,).
        kinds: Kind of source of each row, of `source_kinds.codes`, (n,); None where kinds are not distinguished.
        groups: What was held out together, (n,); None where that is not known.
        farthest: Limits of the calibration, (n_classes,), see `Calibration.farthest`; None for none.
    """

    scores: NDArray[np.float64]
    truth: NDArray[np.int64]
    distances: NDArray[np.float64]
    folds: NDArray[np.int64]
    weights: NDArray[np.float64]
    pages: NDArray[np.float64]
    kinds: NDArray[np.int64] | None = None
    groups: NDArray[Any] | None = None
    farthest: NDArray[np.float64] | None = None

    def calibration(self, rows: NDArray[np.bool_] | None = None) -> Calibration:
        """The calibration from (some of) the rows."""
        chosen = np.ones(len(self.truth), bool) if rows is None else rows
        found = Calibration.fit(
            self.scores[chosen],
            self.truth[chosen],
            self.distances[chosen],
            self.weights[chosen],
            self.pages[chosen],
            kinds=None if self.kinds is None else self.kinds[chosen],
            groups=None if self.groups is None else self.groups[chosen],
        )
        return replace(found, farthest=self.farthest)


def nested_decisions(answers: HeldOutScores, rule: Rule) -> Decisions:
    """The decision for every row when probabilities, quantiles and thresholds are learnt from the other folds only."""
    n, n_classes = answers.scores.shape
    probabilities, candidates = np.empty((n, n_classes)), np.empty((n, n_classes), bool)
    novelty, status, measured = np.empty(n), np.empty(n, object), np.empty(n, bool)
    for fold in np.unique(answers.folds):
        rows = answers.folds == fold
        learnt = answers.calibration(~rows)
        kinds = None if answers.kinds is None else answers.kinds[rows]
        found = learnt.decide(answers.scores[rows], answers.distances[rows], rule, answers.pages[rows], kinds=kinds)
        probabilities[rows], candidates[rows] = found.probabilities, found.candidates
        novelty[rows], status[rows], measured[rows] = found.novelty, found.status, found.measured
    return Decisions(probabilities, candidates, novelty, status, measured)


def decision_metrics(answers: HeldOutScores, decisions: Decisions) -> dict[str, float]:
    """How often the true type is among the candidates, how many those are, and how good each kind of answer is.

    Every row counts by its weight. `coverage` is over all rows, whatever their status.
    """
    rows = np.arange(len(answers.truth))
    right = decisions.probabilities.argmax(axis=1) == answers.truth
    weights = answers.weights / answers.weights.sum()
    sure = decisions.status == "ok"
    return {
        "coverage": float(weights[decisions.candidates[rows, answers.truth]].sum()),
        "mean_candidates": float(weights @ decisions.candidates.sum(axis=1)),
        **{status: float(weights[decisions.status == status].sum()) for status in ("ok", "ambiguous", "novel")},
        "ok_accuracy": float(np.average(right[sure], weights=weights[sure])) if sure.any() else float("nan"),
    }


def expected_calibration_error(confidence: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = BINS) -> float:
    """Mean gap between confidence and accuracy over bins of equally many rows (Naeini et al., 2015)."""
    table = reliability(confidence, correct, bins)
    return float(sum(row["rows"] * abs(row["confidence"] - row["accuracy"]) for row in table) / len(confidence))


def reliability(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = BINS
) -> list[dict[str, float]]:
    """Confidence and accuracy in bins of equally many rows, least confident first: the reliability diagram."""
    order = np.argsort(confidence)
    return [
        {"rows": len(rows), "confidence": float(confidence[rows].mean()), "accuracy": float(correct[rows].mean())}
        for rows in np.array_split(order, min(bins, len(order)))
    ]


def risk_coverage(confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> list[dict[str, float]]:
    """How many answers are wrong when only the most confident ones are given (El-Yaniv and Wiener, 2010).

    Returns:
        Points of the curve, from few answers to all: the share that is answered, the share of these that is wrong,
        and the smallest confidence among them.
    """
    order = np.argsort(-confidence, kind="stable")
    wrong = np.cumsum(~correct[order])
    places = np.unique(np.linspace(1, len(order), min(_POINTS, len(order))).round().astype(int))
    return [
        {
            "answered": float(n / len(order)),
            "wrong": float(wrong[n - 1] / n),
            "confidence": float(confidence[order[n - 1]]),
        }
        for n in places
    ]


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with the range that holds `LEVEL` of the resamples."""

    value: float
    low: float
    high: float

    def to_json(self) -> list[float]:
        """Its two ends."""
        return [self.low, self.high]


FEWEST_GROUPS = 5
"""Of fewer groups more than one resample in forty holds none at all: the interval would begin at 0 whatever is true."""


class Bootstrap:
    """Confidence intervals from resampled groups: documents of one group are drawn together or not at all.

    The percentile method (Efron, 1979), on whole clusters (Field and Welsh, 2007).

    Args:
        truth: Column of each row's true type, (n,).
        told: Column of each row's predicted type, (n,).
        groups: What is drawn together, (n,).
        n_classes: Number of types.
    """

    def __init__(self, truth: NDArray[np.int64], told: NDArray[np.int64], groups: NDArray[Any], n_classes: int) -> None:
        names, owner = np.unique(groups, return_inverse=True)
        cells = truth * n_classes + told
        counts = csr_array((np.ones(len(truth)), (owner, cells)), shape=(len(names), n_classes**2))
        rng, shape = np.random.default_rng(0), (-1, n_classes, n_classes)
        resampled = []
        for _ in range(RESAMPLES // _AT_ONCE):  # the counts of all groups in all resamples would be many
            draws = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), _AT_ONCE)
            resampled.append(np.asarray((counts.T @ draws.T).T))
        self._groups = {
            name: np.array([len(set(owner[columns == column].tolist())) for column in range(n_classes)])
            for name, columns in (("precision", told), ("recall", truth))
        }
        self._matrix = np.bincount(cells, minlength=n_classes**2).astype(np.float64).reshape(shape)
        self._resampled = np.concatenate(resampled).reshape(shape)

    def metrics(self) -> dict[str, Interval]:
        """Intervals of accuracy, balanced accuracy and macro-F1."""
        return {
            name: _interval(figure(self._matrix), figure(self._resampled))
            for name, figure in (("accuracy", _accuracy), ("balanced_accuracy", _balanced), ("macro_f1", _macro_f1))
        }

    def per_class(self) -> list[dict[str, Interval | None]]:
        """Intervals of precision and recall of each type, in the order of the columns; None for too few groups."""
        figures = {"precision": (_precision(self._matrix), _precision(self._resampled))}
        figures["recall"] = (_recall(self._matrix), _recall(self._resampled))
        return [
            {
                name: _interval(value[:, column], drawn[:, column])
                if self._groups[name][column] >= FEWEST_GROUPS
                else None
                for name, (value, drawn) in figures.items()
            }
            for column in range(self._matrix.shape[1])
        ]


def standard_error(right: NDArray[np.bool_], groups: NDArray[Any]) -> float | None:
    """Of a share of right answers, by how much it varies between groups, which were drawn as wholes.

    The ratio estimator of cluster samples (Cochran, 1977); None of a single group.

    Args:
        right: Which answers are right, (n,).
        groups: What was drawn together, (n,).
    """
    owner = np.unique(groups, return_inverse=True)[1]
    counts = np.bincount(owner)
    if len(counts) < 2:  # noqa: PLR2004
        return None
    beyond = np.bincount(owner, weights=right) - right.mean() * counts
    return float(np.sqrt(len(counts) / (len(counts) - 1) * np.sum(beyond**2)) / len(right))


def _interval(value: NDArray[np.float64], drawn: NDArray[np.float64]) -> Interval:
    low, high = np.nanquantile(np.nan_to_num(drawn), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(np.nan_to_num(value[0])), float(low), float(high))


def _diagonal(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.diagonal(matrices, axis1=1, axis2=2)
    return found


def _accuracy(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = _diagonal(matrices).sum(axis=1) / matrices.sum(axis=(1, 2))
    return found


def _recall(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """NaN for types that are not there, (m, n_classes)."""
    return _ratio(_diagonal(matrices), matrices.sum(axis=2))


def _precision(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.nan_to_num(_ratio(_diagonal(matrices), matrices.sum(axis=1)))


def _balanced(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.nanmean(_recall(matrices), axis=1)
    return found


def _macro_f1(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    there = matrices.sum(axis=2) > 0
    f1 = _ratio(2 * _diagonal(matrices), matrices.sum(axis=1) + matrices.sum(axis=2))
    found: NDArray[np.float64] = np.nanmean(np.where(there, f1, np.nan), axis=1)
    return found


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return found
