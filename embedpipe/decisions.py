"""What a score allows to be said: a type, several types, or that nothing like it was ever labelled.

Everything is learnt from held-out pages and documents, whose groups the classifier had not seen:

- what makes probabilities mean what they say (`probabilities`);
- the set of candidate types, by split conformal prediction with one minus the probability of the true type as score
  (least ambiguous sets: Sadinle, Lei and Wasserman, 2019, arXiv:1609.00451; with scores of cross-validation: Vovk,
  2015, arXiv:1208.0806);
- novelty, as the conformal p-value of the distance to the labelled pages (Bates et al., 2023, arXiv:2104.08279);
- the confidence from which a type reaches a wished precision, counted as if one more of its answers were wrong.

The scores are kept, not what follows from them, so that an error rate can be chosen whenever a type is asked for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from embedpipe.probabilities import ProbabilityScale

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
    """What is said of some pages or documents.

    Attributes:
        probabilities: Calibrated, (n, n_classes).
        candidates: Which types cannot be excluded; the most probable one is always among them, (n, n_classes).
        novelty: Share of known, held-out ones that look more familiar, 0..1; NaN where it was not measured, (n,).
        status: "ok", "ambiguous" or "novel", (n,).
    """

    probabilities: NDArray[np.float64]
    candidates: NDArray[np.bool_]
    novelty: NDArray[np.float64]
    status: NDArray[Any]


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
    """

    scale: ProbabilityScale
    nonconformity: NDArray[np.float64]
    distances: NDArray[np.float64]
    truth: NDArray[np.int64]
    told: NDArray[np.int64]
    confidence: NDArray[np.float64]
    weights: NDArray[np.float64]

    @classmethod
    def fit(
        cls,
        scores: NDArray[np.float64],
        truth: NDArray[np.int64],
        distances: NDArray[np.float64],
        weights: NDArray[np.float64] | None = None,
        pages: NDArray[np.float64] | None = None,
    ) -> Self:
        """Learns from held-out rows.

        Args:
            scores: Log scores, (n, n_classes); n may be 0.
            truth: Column of each row's type, (n,).
            distances: From the labelled pages, (n,).
            weights: What each row counts; all alike if not given, (n,).
            pages: How many pages each row sums up; 1 if not given, (n,).
        """
        scale = ProbabilityScale.fit(scores, truth, np.ones(len(truth)) if pages is None else pages)
        probabilities = np.exp(scale.log_probabilities(scores, pages))
        told = probabilities.argmax(axis=1) if len(truth) else truth
        rows = np.arange(len(truth))
        return cls(
            scale=scale,
            nonconformity=1.0 - probabilities[rows, truth],
            distances=np.asarray(distances, np.float64),
            truth=truth.astype(np.int64),
            told=told.astype(np.int64),
            confidence=probabilities[rows, told],
            weights=np.ones(len(truth)) if weights is None else weights,
        )

    def smallest_error_rate(self) -> float:
        """The smallest error rate that so few held-out rows can bear witness to."""
        total = float(self.weights.sum())
        return 1.0 if total == 0 else float(self._one_more() / (total + self._one_more()))

    def decide(
        self,
        scores: NDArray[np.float64],
        distances: NDArray[np.float64],
        rule: Rule,
        pages: NDArray[np.float64] | None = None,
    ) -> Decisions:
        """What is to be said of new rows.

        Args:
            scores: Log scores, (n, n_classes).
            distances: From the labelled pages; NaN where nobody measured it, (n,).
            rule: What is asked of the answers.
            pages: How many pages each row sums up; 1 if not given, (n,).
        """
        probabilities = np.exp(self.scale.log_probabilities(scores, pages))
        best = probabilities.argmax(axis=1)
        rows = np.arange(len(best))
        candidates = 1.0 - probabilities <= self._largest_nonconformity(rule.error_rate)
        candidates[rows, best] = True
        novelty = self.novelty(distances)
        if rule.precision_wanted is None:
            sure = candidates.sum(axis=1) == 1
        else:
            sure = probabilities[rows, best] >= self.thresholds(rule.precision_wanted, scores.shape[1])[best]
        status = np.where(sure, "ok", "ambiguous").astype(object)
        status[novelty > 1.0 - NOVEL_RATE] = "novel"
        return Decisions(probabilities, candidates, novelty, status)

    def novelty(self, distances: NDArray[np.float64]) -> NDArray[np.float64]:
        """Share of known, held-out rows that were nearer to the labelled pages, one more counted as farther, (n,)."""
        order = np.argsort(self.distances, kind="stable")
        nearer = np.concatenate([[0.0], np.cumsum(self.weights[order])])
        places = np.searchsorted(self.distances[order], distances, side="left")
        shares = nearer[places] / (nearer[-1] + self._one_more())
        novelty: NDArray[np.float64] = np.where(np.isnan(distances), np.nan, shares)
        return novelty

    def thresholds(self, precision: float, n_classes: int) -> NDArray[np.float64]:
        """The smallest confidence from which answers of each type are right as often as wished, (n_classes,).

        One more answer is counted as wrong (as in conformal selection: Jin and Candes, 2023, arXiv:2210.01408).
        Answers of one confidence are all given or none: a threshold cannot tell them apart.
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

    def _largest_nonconformity(self, error_rate: float) -> float:
        """How unlikely a type may be and still be a candidate: a quantile, as if one more row were the worst."""
        if not len(self.nonconformity):
            return 1.0
        order = np.argsort(self.nonconformity, kind="stable")
        reached = np.cumsum(self.weights[order])
        place = np.searchsorted(reached, (1.0 - error_rate) * (reached[-1] + self._one_more()) - 1e-9)
        return float(self.nonconformity[order[min(place, len(order) - 1)]])

    def _one_more(self) -> float:
        return float(self.weights.mean()) if len(self.weights) else 1.0

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """As arrays, to be saved."""
        return {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Reverses `to_arrays`."""
        values: dict[str, Any] = {**arrays, "scale": ProbabilityScale(*map(float, arrays["scale"]))}
        return cls(**values)
