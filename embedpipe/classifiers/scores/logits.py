"""Probabilities and their logarithms, as scipy.special has them: loading that takes longer than answering."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def log_softmax(scores: NDArray[Any]) -> NDArray[np.float64]:
    """Logarithms of the softmax of each row, (n, n_classes)."""
    shifted = scores - scores.max(axis=1, keepdims=True, initial=-np.inf)
    found: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return found


def logit(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithms of the odds of probabilities between 0 and 1."""
    found: NDArray[np.float64] = np.log(probabilities) - np.log1p(-probabilities)
    return found


def expit(odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities from the logarithms of their odds, also of very large ones."""
    found: NDArray[np.float64] = np.exp(-np.logaddexp(0.0, -odds))
    return found
