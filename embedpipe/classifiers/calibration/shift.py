"""Whether documents that are asked about are like the held-out ones that all promises come from.

A promise about error rates holds for documents like the labelled ones, of types that were labelled (exchangeability;
Vovk, Gammerman and Shafer, 2005). Neither can be known of new documents, but a batch of them can be compared with the
held-out documents: a two-sample test on the classifier's outputs for both, as Rabanser, Guennemann and Lipton (2019,
arXiv:1810.11953) found to be best at noticing shift. Here it is the one-sided Kolmogorov-Smirnov statistic of two
values: the distance to the labelled pages, and how little confident the answer is.

An inbox ordinarily has another mix of types than the labels have, and several documents from one sender. So

- the values are compared with those of held-out documents of the same predicted type, and
- the statistic is compared with what it is for batches of held-out documents, drawn by whole groups, against the other
  held-out documents: a permutation test of groups, whose rate of false alarms holds whatever the values' distribution.

Each kind of source that was measured (`source_kinds`) is tested on its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedpipe.classifiers.calibration.decisions import Calibration
from embedpipe.core.records import KindTest, Shift
from embedpipe.pages.source_kinds import KINDS

FEWEST = 5
"""Documents of a kind below which a batch has no power: each has its own p-value, `novelty`."""

_DRAWS = 400
_MOST_HELD_OUT = 5000
"""Held-out documents that are compared with: the draws take time, and more would not change a thing."""

_PRIOR = 10.0
"""Each type counts as if so many more documents of it had been like those of all types."""

_VALUES = ("distance", "confidence")

_TYPES = 5
"""Types that are named in a message."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The classifier's outputs for new documents, as `Calibration` holds it of held-out ones.

    Attributes:
        distances: From the labelled pages, (n,).
        told: Column of the most probable type, (n,).
        confidence: Its calibrated probability, (n,).
        kinds: Of `source_kinds.codes`, (n,).
    """

    distances: NDArray[np.float64]
    told: NDArray[np.int64]
    confidence: NDArray[np.float64]
    kinds: NDArray[np.int64]


def count(calibration: Calibration, kinds: NDArray[np.int64], error_rate: float) -> Shift:
    """Whether the kinds of documents were measured, without comparing the documents.

    Args:
        calibration: Of documents.
        kinds: Of `source_kinds.codes`, (n,).
        error_rate: What is asked of the answers.
    """
    asked = [(code, int((kinds == code).sum())) for code in (*range(len(KINDS)), -1)]
    return Shift(
        tuple(
            KindTest(_name(code), n, calibration.held_out(code), calibration.measured(code, error_rate))
            for code, n in asked
            if n
        )
    )


def compare(calibration: Calibration, asked: Asked, error_rate: float) -> Shift:
    """Compares documents with the held-out ones of their kind.

    Args:
        calibration: Of documents.
        asked: Documents that the classifier has not learnt from.
        error_rate: What is asked of the answers.
    """
    counted = count(calibration, asked.kinds, error_rate)
    if calibration.groups is None:
        return counted
    measured = sum(test.measured for test in counted.kinds)
    found = []
    for test in counted.kinds:
        if test.measured and test.documents >= FEWEST:
            code = KINDS.index(test.kind) if test.kind else -1
            held_out, new = _Values.held_out(calibration, code), _Values.asked(asked, asked.kinds == code)
            p_value, share, by = _test(held_out, new, measured)
            found.append(replace(test, p_value=p_value, share=share, by=by))
        else:
            found.append(test)
    return Shift(tuple(found))


def _name(code: int) -> str:
    return KINDS[code] if code >= 0 else ""


@dataclass(frozen=True, slots=True)
class _Values:
    """The values that are compared, the larger the more unlike, (2, n), and the predicted types and groups, (n,)."""

    values: NDArray[np.float64]
    told: NDArray[np.int64]
    groups: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    @classmethod
    def held_out(cls, calibration: Calibration, code: int) -> "_Values":
        groups = np.zeros(0) if calibration.groups is None else calibration.groups
        rows = np.flatnonzero(calibration.rows_of(code) & ~np.isnan(calibration.distances))
        if len(rows) > _MOST_HELD_OUT:
            rows = np.sort(np.random.default_rng(0).permutation(rows)[:_MOST_HELD_OUT])
        values = np.stack([calibration.distances[rows], -calibration.confidence[rows]])
        return cls(values, calibration.told[rows], np.unique(groups[rows], return_inverse=True)[1])

    @classmethod
    def asked(cls, asked: Asked, rows: NDArray[np.bool_]) -> "_Values":
        return cls(np.stack([asked.distances[rows], -asked.confidence[rows]]), asked.told[rows])


def _test(held_out: _Values, asked: _Values, tests: int) -> tuple[float, float, str]:
    """P-value, share and name of the value that differs most; corrected for two values of each kind (Bonferroni)."""
    from scipy.special import ndtri  # noqa: PLC0415 - a few files do without it

    ordered = np.sort(held_out.values, axis=1)
    scores, new = (
        np.stack([ndtri(_rank(reference, row)) for reference, row in zip(ordered, those.values, strict=True)])
        for those in (held_out, asked)
    )
    everything = np.ones(len(held_out.told), bool)
    excess, statistic = _statistics(scores, held_out.told, everything, new, asked.told)
    drawn = _drawn(scores, held_out.told, held_out.groups, len(asked.told))
    p_values = (1 + (drawn >= statistic - 1e-12).sum(axis=0)) / (1 + len(drawn))
    best = int(np.argmin(p_values - 1e-6 * statistic))
    return float(min(1.0, p_values[best] * len(_VALUES) * tests)), float(excess[best]), _VALUES[best]


def _drawn(
    scores: NDArray[np.float64], told: NDArray[np.int64], groups: NDArray[np.int64], n: int
) -> NDArray[np.float64]:
    """The statistics of batches of held-out documents against those of other groups, (draws, 2)."""
    rng = np.random.default_rng(0)
    n = min(n, len(told) // 2)
    order = np.argsort(groups, kind="stable")
    starts = np.searchsorted(groups[order], np.arange(groups.max() + 2))
    found = []
    for _ in range(_DRAWS):
        batch: list[int] = []
        for group in rng.permutation(len(starts) - 1):
            batch.extend(order[starts[group] : starts[group + 1]])
            if len(batch) >= n:
                break
        drawn = np.array(batch[:n])
        rest = np.ones(len(told), bool)
        rest[batch] = False
        if rest.any():
            found.append(_statistics(scores, told, rest, scores[:, drawn], told[drawn])[1])
    return np.array(found).reshape(-1, len(_VALUES))


def _statistics(
    scores: NDArray[np.float64],
    told: NDArray[np.int64],
    rest: NDArray[np.bool_],
    batch: NDArray[np.float64],
    batch_told: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How far the distribution function of a batch's ranks falls below the uniform one, and the same scaled, (2,) each.

    Args:
        scores: Normal scores of the held-out documents, (2, n).
        told: Their predicted types, (n,).
        rest: Which of them the batch is compared with, (n,).
        batch: Normal scores of the batch, (2, m).
        batch_told: Its predicted types, (m,).
    """
    n, excess = batch.shape[1], np.empty(len(scores))
    for row, (own, new) in enumerate(zip(scores, batch, strict=True)):
        ranks = np.sort(_ranks(own[rest], told[rest], new, batch_told))
        excess[row] = max(0.0, float(np.max(ranks - np.arange(n) / n)))
    # the reference is as large as its documents of the batch's types: fewer where the batch is of one type
    types = int(max(told.max(), batch_told.max())) + 1
    shares, counts = np.bincount(batch_told, minlength=types) / n, np.bincount(told[rest], minlength=types)
    m = 1.0 / float(np.sum(shares**2 / (counts + _PRIOR)))
    return excess, excess * np.sqrt(n * m / (n + m))


def _ranks(
    own: NDArray[np.float64], told: NDArray[np.int64], new: NDArray[np.float64], new_told: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Ranks of new values among those of documents of the same predicted type, 0..1, (m,).

    For types of few documents it is rather the rank among all, after each type's mean is taken off: as if
    `_PRIOR` documents of each type were spread like all are.
    """
    types = int(max(told.max(), new_told.max())) + 1
    counts = np.bincount(told, minlength=types)
    means = np.bincount(told, weights=own, minlength=types) / (counts + _PRIOR)
    ranks = _PRIOR * _rank(np.sort(own - means[told]), new - means[new_told])
    for kind in np.unique(new_told):
        rows = new_told == kind
        if counts[kind]:
            ranks[rows] += counts[kind] * _rank(np.sort(own[told == kind]), new[rows])
    shares: NDArray[np.float64] = ranks / (counts[new_told] + _PRIOR)
    return shares


def _rank(ordered: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of a sorted reference below each value, ties counted half and one more document in the middle, (n,)."""
    places = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    shares: NDArray[np.float64] = (places / 2 + 0.5) / (len(ordered) + 1)
    return shares


_NAMES = {"digital": ("born-digital document", "born-digital documents"), "scan": ("scan", "scans")}
_NAMES |= {"photo": ("photo", "photos"), "": ("document of unknown source", "documents of unknown source")}


def _count(number: int, kind: str) -> str:
    return f"{number:,} {_NAMES[kind][number != 1]}"


def measured_kinds(calibration: Calibration, error_rate: float) -> dict[str, int]:
    """How many held-out documents of each kind an error rate was measured on; kinds of too few are left out."""
    counts = {kind: calibration.held_out(code) for code, kind in enumerate(KINDS)}
    known = calibration.kinds is not None
    return {
        kind: count
        for code, (kind, count) in enumerate(counts.items())
        if known and calibration.measured(code, error_rate)
    }


def promise(calibration: Calibration, error_rate: float) -> str:
    """What is promised, and of which documents, in one line."""
    kinds = measured_kinds(calibration, error_rate)
    if not kinds:
        return f"no error rate of {error_rate:.0%} is promised: too few documents of any kind of source were held out"
    basis = " and ".join(_count(count, kind) for kind, count in kinds.items())
    others = " and ".join(_NAMES[kind][1] for kind in KINDS if kind not in kinds)
    rest = f"; {others} are never ok" if others else ""
    return (
        f"at most {error_rate:.0%} of the true types are missing among the candidates, of documents of the labelled "
        f"types and like those held out ({basis}){rest}"
    )


def never_ok(calibration: Calibration, classes: Sequence[str], error_rate: float) -> list[str]:
    """Why no answer can be "ok", and what to do, in one line; nothing where some can.

    Args:
        calibration: Of documents.
        classes: Names of the types, in the order of the columns.
        error_rate: What is asked of the answers.
    """
    if any(calibration.may_be_ok(kind, error_rate) for kind in range(len(KINDS))):
        return []
    return [f"no answer can be ok: {_hindrance(calibration, classes, error_rate)}, and fit again"]


def _hindrance(calibration: Calibration, classes: Sequence[str], error_rate: float) -> str:
    """What keeps all answers from being "ok", and what to do."""
    n, kinds = len(calibration.truth), range(len(KINDS))
    measured = [kind for kind in kinds if calibration.measured(kind, error_rate)]
    if not measured or not n:
        most = max(calibration.held_out(kind) for kind in kinds)
        return (
            f"it takes {_needed(error_rate)} held-out documents of one kind of source, and there are {most}: label "
            "more, of each type from two sources at least"
        )
    rows = np.any([calibration.rows_of(kind) for kind in measured], axis=0)
    learnt = np.ones(n, bool) if calibration.learnt is None else calibration.learnt
    if any(calibration.may_be_ok(kind, error_rate, learnt) for kind in measured):
        lonely = rows & ~learnt
        names = sorted({classes[column] for column in calibration.truth[lonely]})
        shown = ", ".join(names[:_TYPES] + ["..."] * (len(names) > _TYPES))
        return (
            f"{int(lonely.sum())} of {int(rows.sum())} held-out documents are of types with labels from one source "
            f"only ({len(names)}: {shown}), which nobody can tell while these are held out; with more than "
            f"{error_rate:.0%} of such, any type may be meant: label documents of these types from a second source, or "
            "leave such types out until you have some"
        )
    wrong = float(np.mean((calibration.told != calibration.truth)[rows]))
    return (
        f"{wrong:.0%} of {int(rows.sum())} held-out documents got another type than theirs, too many for one candidate "
        f"at an error rate of {error_rate:.0%}: label more documents of the types that `evaluate` shows to be weak, or "
        "give types that are alike one name"
    )


def _needed(error_rate: float) -> int:
    """How many documents of a kind have to be held out for an error rate to be promised."""
    return int(np.ceil(1.0 / error_rate - 1e-9)) - 1


def advice(shift: Shift, classifier: str, error_rate: float) -> list[str]:
    """Messages about the kinds without a promise, a line each: what is wrong, and what to do.

    Args:
        shift: Of `compare`.
        classifier: Its name.
        error_rate: What was asked of the answers.
    """
    return [line for test in shift.kinds if (line := _line(test, classifier, error_rate))]


def _line(test: KindTest, classifier: str, error_rate: float) -> str:
    none = "none is ok, and no error rate is promised of the candidates"
    if test.alarm:
        return (
            f"{_count(test.documents, test.kind)} do not look like those that {classifier} was measured on (by "
            f"{test.by}, p = {test.p_value:.3f}, at least {test.share:.0%} of them): {none}; label some of these, for "
            "they may be of a new type, and fit again"
        )
    if test.measured:
        return ""
    if test.kind == "":
        return (
            f"whether {test.documents:,} documents are scans is not known, for an earlier version stored them and "
            f"their files are gone: {none}; embed them again"
        )
    known = f"{test.held_out} of the {_needed(error_rate)} that it takes were" if test.held_out else "none was"
    augment = "" if test.kind == "digital" else ", or fit with --augment 4 for better guesses"
    return (
        f"{_count(test.documents, test.kind)}, but {known} among the labelled documents that {classifier} was measured "
        f"on: {none}; label some of these and fit again{augment}"
    )


def as_json(shift: Shift, classifier: str, error_rate: float) -> dict[str, Any]:
    """As the command line prints it."""
    return {
        "shifted": sorted(shift.shifted),
        "kinds": [
            {
                "source_kind": test.kind or None,
                "documents": test.documents,
                "held_out": test.held_out,
                "measured": test.measured and not test.alarm,
                "p_value": None if test.p_value is None else round(test.p_value, 4),
                "share": None if test.share is None else round(test.share, 4),
                "by": test.by or None,
            }
            for test in shift.kinds
        ],
        "advice": advice(shift, classifier, error_rate),
    }
