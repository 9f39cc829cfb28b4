"""Scores to decisions: one type, several candidate types, or novel.

Everything is learnt from held-out pages and documents, whose groups the classifier had not seen:

- what makes probabilities mean what they say (`probabilities`);
- the set of candidate types, by split conformal prediction with one minus the probability of the true type as score
  (least ambiguous sets: Sadinle, Lei and Wasserman, 2019, arXiv:1609.00451; with scores of cross-validation: Vovk,
  2015, arXiv:1208.0806);
- the same for each kind of source on its own (Mondrian conformal prediction: Vovk, Gammerman and Shafer, 2005, 4.5): a
  kind of which too few were held out has no promise, its answers are never sure, and its candidates are as many as
  when the distribution had changed (Cauchois et al., 2020, arXiv:2008.04267);
- novelty, as the conformal p-value (Bates et al., 2023, arXiv:2104.08279) of how strange a row is: few held-out rows
  are as far from the labelled pages, and of few is the entropy of the probabilities as large (Lakshminarayanan,
  Pritzel and Blundell, 2017, arXiv:1612.01474), which says more than the top one alone (Hendrycks and Gimpel, 2017,
  arXiv:1610.02136); both shares together by Fisher's method (1925);
- how far a sure answer of a type may be from the labelled pages (`unknowns`);
- the confidence from which a type reaches a wanted precision, counted as if one more of its answers were wrong.

The scores are kept, not what follows from them, so that an error rate can be chosen whenever a type is asked for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from embedpipe.classifiers.calibration.probabilities import ProbabilityScale

_NEVER_LEARNT = -29.0
"""Log scores are at least so high where the type was learnt: one that a fold's training part lacks has less."""

DIVERGENCE = 1.0
"""How far (chi-squared divergence) documents may be from the held-out ones where nothing was measured of their kind."""

_OF_ALL_ROWS = ("scale", "doubt", "farthest")
"""Fields of `Calibration` that are no columns."""

Status = Literal["ok", "ambiguous", "novel"]

ERROR_RATE = 0.05
"""How often the true type may be missing among the candidates, unless another rate is asked for."""

NOVEL_RATE = 0.05
"""How often a page or document of a known type may be called novel."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What is asked of the answers.

    Attributes:
        error_rate: How often the true type of a known kind may be missing among the candidates.
        precision_wanted: How often an answer has to be right to be given as such. With it an answer is ambiguous
            when its confidence is below its type's threshold; without, when there are several candidates.
    """

    error_rate: float = ERROR_RATE
    precision_wanted: float | None = None


@dataclass(frozen=True, slots=True)
class Decisions:
    """Decisions on some pages or documents.

    Attributes:
        probabilities: Calibrated, (n, n_classes).
        candidates: Which types cannot be excluded; the most probable one is always among them, (n, n_classes).
        novelty: Share of known, held-out ones that look more familiar, 0..1; NaN where it was not measured, (n,).
        status: "ok", "ambiguous" or "novel", (n,).
        measured: Whether enough of their kind were held out for the error rate to be promised; never "ok" where not,
            (n,).
    """

    probabilities: NDArray[np.float64]
    candidates: NDArray[np.bool_]
    novelty: NDArray[np.float64]
    status: NDArray[Any]
    measured: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Calibration:
    """What held-out pages, or documents, showed about the scores of a classifier.

    Attributes:
        scale: Makes the probabilities mean what they say.
        nonconformity: One minus the calibrated probability of the true type, (n,).
        distances: How far each one was from the labelled pages of the other folds, (n,).
        truth: Column of the true type, (n,).
        told: Column of the most probable type, (n,).
        confidence: Its calibrated probability, (n,).
        weights: What each one counts: pages of a document share one document's weight, (n,).
        kinds: Kind of source of each one, of `source_kinds.codes`, (n,); None where kinds are not distinguished.
        groups: Numbers of what belongs together, for `shift`, (n,); None where that is not known.
        learnt: Whether the true type was among those that were learnt when the row was held out, which it is not where
            all its documents are of one group, (n,); None where that is not known.
        doubt: Whether doubt about the type counts as strange, as a great distance does, (); None for no, as in earlier
            versions.
        farthest: How far an answer of each type may be from the labelled pages and be "ok", see `unknowns.limited`,
            (n_classes,); None for any distance.
        entropy: Of the calibrated probabilities, (n,): how much the type is in doubt. None in earlier versions, where a
            small top probability says that.
        second: Calibrated probability of the second type, (n,); None in earlier versions.
    """

    scale: ProbabilityScale
    nonconformity: NDArray[np.float64]
    distances: NDArray[np.float64]
    truth: NDArray[np.int64]
    told: NDArray[np.int64]
    confidence: NDArray[np.float64]
    weights: NDArray[np.float64]
    kinds: NDArray[np.int64] | None = None
    groups: NDArray[np.int64] | None = None
    learnt: NDArray[np.bool_] | None = None
    doubt: NDArray[np.bool_] | None = None
    farthest: NDArray[np.float64] | None = None
    entropy: NDArray[np.float64] | None = None
    second: NDArray[np.float64] | None = None

    @classmethod
    def fit(
        cls,
        scores: NDArray[np.float64],
        truth: NDArray[np.int64],
        distances: NDArray[np.float64],
        weights: NDArray[np.float64] | None = None,
        pages: NDArray[np.float64] | None = None,
        *,
        kinds: NDArray[np.int64] | None = None,
        groups: NDArray[Any] | None = None,
    ) -> Self:
        """Learns from held-out rows.

        Args:
            scores: Log scores, (n, n_classes); n may be 0.
            truth: Column of each row's type, (n,).
            distances: From the labelled pages, (n,).
            weights: What each row counts; all alike if not given, (n,).
            pages: How many pages each row sums up; 1 if not given, (n,).
            kinds: Kind of source of each row, (n,); not distinguished if not given.
            groups: What belongs together, (n,).
        """
        scale = ProbabilityScale.fit(scores, truth, np.ones(len(truth)) if pages is None else pages)
        probabilities = np.exp(scale.log_probabilities(scores, pages))
        told = probabilities.argmax(axis=1) if len(truth) else truth
        rows = np.arange(len(truth))
        confidence = probabilities[rows, told]
        weights = np.ones(len(truth)) if weights is None else weights
        return cls(
            scale=scale,
            nonconformity=1.0 - probabilities[rows, truth],
            distances=np.asarray(distances, np.float64),
            truth=truth.astype(np.int64),
            told=told.astype(np.int64),
            confidence=confidence,
            weights=weights,
            kinds=kinds,
            groups=None if groups is None else np.unique(groups, return_inverse=True)[1],
            learnt=scores[rows, truth] > _NEVER_LEARNT,
            doubt=np.array(True),
            entropy=_entropy(probabilities),
            second=np.sort(probabilities, axis=1)[:, -2:-1].sum(axis=1),
        )

    def smallest_error_rate(self) -> float:
        """The smallest error rate that the number of held-out rows allows."""
        total = float(self.weights.sum())
        return 1.0 if total == 0 else float(self._one_more() / (total + self._one_more()))

    def rows_of(self, kind: int) -> NDArray[np.bool_]:
        """Which rows are of a kind; all where kinds are not distinguished, (n,)."""
        return np.ones(len(self.truth), bool) if self.kinds is None else self.kinds == kind

    def held_out(self, kind: int) -> int:
        """How many held-out documents are of a kind, pages counting as parts of their document."""
        return round(float(self.weights[self.rows_of(kind)].sum()))

    def measured(self, kind: int, error_rate: float) -> bool:
        """Whether enough of a kind were held out for an error rate to be promised; never of an unknown kind.

        Where kinds are not distinguished it is always so: `smallest_error_rate` gives what can be promised.
        """
        if self.kinds is None:
            return True
        return kind >= 0 and (self.held_out(kind) + 1) * error_rate >= 1.0 - 1e-9

    def may_be_ok(self, kind: int, error_rate: float, rows: NDArray[np.bool_] | None = None) -> bool:
        """Whether answers about documents of a kind may be "ok": those about some held-out ones have one candidate.

        Of earlier versions it is only known that none may be where every type is a candidate.

        Args:
            kind: Of `source_kinds.codes`.
            error_rate: What is asked of the answers.
            rows: The rows that candidates are learnt from, (n,); all if not given.
        """
        own = self._take(self.rows_of(kind) if rows is None else self.rows_of(kind) & rows)
        second = np.zeros(len(own.truth)) if own.second is None else own.second
        alone = 1.0 - second > own.largest_nonconformity(error_rate)
        return self.measured(kind, error_rate) and bool(alone.any())

    def decide(
        self,
        scores: NDArray[np.float64],
        distances: NDArray[np.float64],
        rule: Rule,
        pages: NDArray[np.float64] | None = None,
        *,
        kinds: NDArray[np.int64] | None = None,
        shifted: NDArray[np.bool_] | None = None,
    ) -> Decisions:
        """Decides on new rows.

        Args:
            scores: Log scores, (n, n_classes).
            distances: From the labelled pages; NaN where it was not measured, (n,).
            rule: What is asked of the answers.
            pages: How many pages each row sums up; 1 if not given, (n,).
            kinds: Kind of source of each row; unknown if not given, (n,).
            shifted: Rows that are known to be unlike the held-out ones, though of a kind that was measured, (n,).
        """
        probabilities = np.exp(self.scale.log_probabilities(scores, pages))
        n, best = len(probabilities), probabilities.argmax(axis=1)
        kinds = np.full(n, -1) if kinds is None else kinds
        largest, least, novelty, measured = np.empty(n), np.full(n, np.inf), np.empty(n), np.zeros(n, bool)
        for kind in np.unique(kinds):
            rows = kinds == kind
            own = self
            if self.measured(kind, rule.error_rate):
                own, measured[rows] = self._take(self.rows_of(kind)), True
                largest[rows] = own.largest_nonconformity(rule.error_rate)
            else:
                largest[rows] = self._robust_nonconformity(rule.error_rate)
            novelty[rows] = own.novelty(distances[rows], probabilities[rows])
            if rule.precision_wanted is not None:
                least[rows] = own.thresholds(rule.precision_wanted, scores.shape[1])[best[rows]]
        if shifted is not None and shifted.any():
            measured[shifted] = False
            largest[shifted] = np.maximum(largest[shifted], self._robust_nonconformity(rule.error_rate))
        candidates = 1.0 - probabilities <= largest[:, None]
        candidates[np.arange(n), best] = True
        sure = probabilities[np.arange(n), best] >= least
        if rule.precision_wanted is None:
            sure = candidates.sum(axis=1) == 1
        if self.farthest is not None:
            sure &= ~(distances > self.farthest[best])
        status = np.where(sure & measured, "ok", "ambiguous").astype(object)
        status[novelty > 1.0 - NOVEL_RATE] = "novel"
        return Decisions(probabilities, candidates, novelty, status, measured)

    def novelty(
        self, distances: NDArray[np.float64], probabilities: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Share of known, held-out rows that are less strange, one more counted as stranger, (n,).

        Args:
            distances: From the labelled pages, (n,).
            probabilities: Calibrated, (n, n_classes); only the distances count if not given.
        """
        known, asked = self.distances, distances
        if self.doubt is not None and probabilities is not None:
            known, asked = self._strange(self.distances), self._strange(distances, probabilities)
        order = np.argsort(known, kind="stable")
        nearer = np.concatenate([[0.0], np.cumsum(self.weights[order])])
        places = np.searchsorted(known[order], asked, side="left")
        shares = nearer[places] / (nearer[-1] + self._one_more())
        novelty: NDArray[np.float64] = np.where(np.isnan(asked), np.nan, shares)
        return novelty

    def strangeness(
        self, scores: NDArray[np.float64], distances: NDArray[np.float64], pages: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """What the novelty of new rows ranks, the larger the stranger, (n,); arguments as of `decide`."""
        if self.doubt is None:
            return distances
        return self._strange(distances, np.exp(self.scale.log_probabilities(scores, pages)))

    def _strange(
        self, distances: NDArray[np.float64], probabilities: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Of new rows; of the held-out ones themselves where no probabilities are given."""
        doubts = known = -self.confidence if self.entropy is None else self.entropy
        if probabilities is not None:
            doubts = -probabilities.max(axis=1) if self.entropy is None else _entropy(probabilities)
        return self._rarity(self.distances, distances) + self._rarity(known, doubts)

    def _rarity(self, known: NDArray[np.float64], asked: NDArray[np.float64]) -> NDArray[np.float64]:
        """Minus the logarithm of the share of held-out rows with as large a value, one more counted as such, (n,).

        Args:
            known: Of the held-out rows.
            asked: NaN where it was not measured, (n,).
        """
        order = np.argsort(known, kind="stable")
        below = np.concatenate([[0.0], np.cumsum(self.weights[order])])
        total = below[-1] + self._one_more()
        found: NDArray[np.float64] = -np.log(1.0 - below[np.searchsorted(known[order], asked, side="left")] / total)
        return np.where(np.isnan(asked), np.nan, found)

    def thresholds(self, precision: float, n_classes: int) -> NDArray[np.float64]:
        """The smallest confidence from which answers of each type are right as often as wanted, (n_classes,).

        One more answer is counted as wrong (as in conformal selection: Jin and Candes, 2023, arXiv:2210.01408).
        Answers of one confidence are all given or none: a threshold cannot separate them.
        Infinity where too few held-out answers were right.
        """
        found = np.full(n_classes, np.inf)
        for column in np.unique(self.told):
            rows = np.flatnonzero(self.told == column)
            rows = rows[np.argsort(-self.confidence[rows], kind="stable")]
            right = np.cumsum(self.weights[rows] * (self.told == self.truth)[rows])
            reached = right / (np.cumsum(self.weights[rows]) + self._one_more()) >= precision
            reached &= np.append(np.diff(self.confidence[rows]) != 0, True)  # the last of each confidence
            if reached.any():
                found[column] = self.confidence[rows[np.flatnonzero(reached)[-1]]]
        return found

    def largest_nonconformity(self, error_rate: float) -> float:
        """How unlikely a type may be and still be a candidate: a quantile, as if one more row were the worst."""
        if not len(self.nonconformity):
            return 1.0
        order = np.argsort(self.nonconformity, kind="stable")
        reached = np.cumsum(self.weights[order])
        place = np.searchsorted(reached, (1.0 - error_rate) * (reached[-1] + self._one_more()) - 1e-9)
        return float(self.nonconformity[order[min(place, len(order) - 1)]])

    def _robust_nonconformity(self, error_rate: float) -> float:
        """As `largest_nonconformity`, of documents unlike the held-out ones.

        It is nearly the largest of all, so rows whose type could not have been predicted are left out: they would make
        every type a candidate.
        """
        rows = np.ones(len(self.truth), bool) if self.learnt is None else self.learnt
        return self._take(rows).largest_nonconformity(robust_rate(error_rate))

    def _take(self, rows: NDArray[np.bool_]) -> Self:
        """What some of the rows show, with the scale of all."""
        columns = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _OF_ALL_ROWS}
        return replace(self, **{name: column[rows] for name, column in columns.items() if column is not None})

    def _one_more(self) -> float:
        return float(self.weights.mean()) if len(self.weights) else 1.0

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """As arrays, to be saved; what is not known is left out."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: np.asarray(value) for name, value in found.items() if value is not None}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Reverses `to_arrays`."""
        values: dict[str, Any] = {**arrays, "scale": ProbabilityScale(*map(float, arrays["scale"]))}
        return cls(**values)

    def with_kinds(self) -> Self:
        """The same; without kinds every row becomes one of an unknown kind: nothing was measured of any."""
        return self if self.kinds is not None else replace(self, kinds=np.full(len(self.truth), -1))


def _entropy(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each row, in natural units, (n,)."""
    found: NDArray[np.float64] = -np.sum(probabilities * np.log(np.maximum(probabilities, 1e-300)), axis=1)
    return found


def robust_rate(error_rate: float) -> float:
    """The error rate on documents like the held-out ones that bounds it on documents unlike them.

    Where the chi-squared divergence from the held-out documents is at most `DIVERGENCE`, a set that misses `rate` of
    these misses at most rate + sqrt(DIVERGENCE rate (1 - rate)) of those (Cauchois et al., 2020, arXiv:2008.04267).
    """
    a, b, c = 1.0 + DIVERGENCE, 2.0 * error_rate + DIVERGENCE, error_rate**2
    return float((b - np.sqrt(b * b - 4.0 * a * c)) / (2.0 * a))
