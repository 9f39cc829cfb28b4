"""Scores to calibrated probabilities.

A temperature alone (Guo et al., 2017, arXiv:1706.04599) fits the probabilities of all types at once, and the top one,
which people read as confidence, may still be off. So the top one is mapped by a logistic curve as well (Platt, 1999),
which also asks how many pages it sums up: the mean of many pages is flatter than one page, and right more often.
The other types follow by a temperature of each row's own, so that the order of the types stays.
"""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from embedpipe.classifiers.scores.logits import expit, log_softmax, logit

_STEEPNESS_PRIOR, _PAGES_PRIOR = 1.0, 10.0
"""How strongly held-out rows must differ before the curve is bent, as half the inverse variances of normal priors."""

_TINY = 1e-6
_STEPS = 50  # of Newton's method, most end far sooner
_MOST_ROWS = 20_000
"""Held-out rows that the four numbers of a scale are learnt from at most, drawn at random."""


class ProbabilityScale(NamedTuple):
    """How scores become probabilities.

    Attributes:
        temperature: Of the scores.
        slope: Of the curve that maps the log odds of the top probability.
        offset: Of that curve.
        gain: What the logarithm of the number of pages adds to it.
    """

    temperature: float = 1.0
    slope: float = 1.0
    offset: float = 0.0
    gain: float = 0.0

    @classmethod
    def fit(cls, scores: NDArray[np.float64], truth: NDArray[np.int64], pages: NDArray[np.float64]) -> Self:
        """Learns from held-out rows.

        Args:
            scores: Log scores, (n, n_classes); n may be 0.
            truth: Column of each row's type, (n,).
            pages: How many pages each row sums up, (n,).
        """
        if not len(truth):
            return cls()
        from scipy.optimize import minimize  # noqa: PLC0415 - answering does without it
        from scipy.special import log_expit  # noqa: PLC0415 - likewise

        if len(truth) > _MOST_ROWS:
            some = np.random.default_rng(0).permutation(len(truth))[:_MOST_ROWS]
            scores, truth, pages = scores[some], truth[some], pages[some]
        temperature = best_temperature(scores, truth)
        odds, size = _log_odds(scores, temperature), np.log(pages)
        right = scores.argmax(axis=1) == truth
        # Platt's targets: as if one more row were right and one more wrong
        aim = np.where(right, (right.sum() + 1) / (right.sum() + 2), 1 / ((~right).sum() + 2))

        def loss(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            slope, offset, gain = np.exp(values[0]), values[1], values[2]
            curve = slope * odds + offset + gain * size
            right, wrong = log_expit(curve), log_expit(-curve)
            value = -(aim @ right + (1 - aim) @ wrong) + _STEEPNESS_PRIOR * values[0] ** 2 + _PAGES_PRIOR * gain**2
            excess = np.exp(right) - aim  # the derivative by the curve
            steeper = slope * (excess @ odds) + 2 * _STEEPNESS_PRIOR * values[0]
            return float(value), np.array([steeper, excess.sum(), excess @ size + 2 * _PAGES_PRIOR * gain])

        best = minimize(loss, np.zeros(3), method="BFGS", jac=True).x
        return cls(temperature, float(np.exp(best[0])), float(best[1]), float(best[2]))

    def log_probabilities(
        self, scores: NDArray[np.float64], pages: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Logarithms of the probabilities, (n, n_classes).

        Args:
            scores: Log scores, (n, n_classes).
            pages: How many pages each row sums up, (n,); 1 if not given.
        """
        size = np.zeros(len(scores)) if pages is None else np.log(pages)
        curve = self.slope * _log_odds(scores, self.temperature) + self.offset + self.gain * size
        return _with_top(scores, expit(curve))


def best_temperature(scores: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    """The temperature that makes held-out probabilities most likely (Guo et al., 2017, arXiv:1706.04599).

    Args:
        scores: Log scores of held-out rows, (n, n_classes).
        truth: Column of each row's type, (n,).
    """
    from scipy.optimize import minimize_scalar  # noqa: PLC0415 - answering does without it

    shifted = scores - scores.max(axis=1, keepdims=True)
    mean = shifted[np.arange(len(truth)), truth].mean()

    def loss(log_temperature: float) -> float:
        cold = np.exp(-log_temperature)
        return float(np.log(np.exp(shifted * cold).sum(axis=1)).mean() - mean * cold)

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.05), np.log(50.0)), method="bounded").x))


def _log_odds(scores: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Of the top probability, (n,)."""
    top = np.exp(log_softmax(scores / temperature).max(axis=1, initial=-np.inf))
    found: NDArray[np.float64] = logit(np.clip(top, _TINY, 1 - _TINY))
    return found


def _with_top(scores: NDArray[np.float64], top: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log probabilities whose largest one is `top` in each row, as near as ties allow, in the order of the scores.

    The logarithm of the top probability is a concave function of the inverse temperature, so Newton's method climbs to
    its root from below.
    """
    shifted = scores - scores.max(axis=1, keepdims=True)
    wanted = np.log(np.clip(top, (1 + _TINY) / scores.shape[1], 1 - _TINY))
    inverse = np.zeros(len(scores))
    for _ in range(_STEPS):
        logarithms = log_softmax(shifted * inverse[:, None])
        missing = wanted - logarithms.max(axis=1)
        if not (missing > _TINY / 10).any():
            break
        slope = -(np.exp(logarithms) * shifted).sum(axis=1)
        inverse += np.where(slope > _TINY**2, np.maximum(missing, 0) / np.maximum(slope, _TINY**2), 0)
    found: NDArray[np.float64] = log_softmax(shifted * inverse[:, None])
    return found
