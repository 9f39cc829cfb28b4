"""Scores become probabilities that mean what they say."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from embedpipe.classifiers.calibration.probabilities import ProbabilityScale, best_temperature

Scores = NDArray[np.float64]


def drawn(n: int, seed: int, sharpness: Scores | float = 1.0) -> tuple[Scores, NDArray[np.int64]]:
    """Scores of four types, and truths drawn with the probabilities that they would have at a sharpness."""
    rng = np.random.default_rng(seed)
    scores = log_softmax(rng.normal(0, 2, (n, 4)), axis=1)
    probabilities = softmax(scores * np.reshape(sharpness, (-1, 1)), axis=1)
    return scores, (rng.random((n, 1)) > probabilities.cumsum(axis=1)).sum(axis=1).clip(max=3)


def gap(probabilities: Scores, truth: NDArray[np.int64], rows: NDArray[np.bool_] | None = None) -> float:
    """How far the mean confidence of some rows is above their accuracy."""
    chosen = np.ones(len(truth), bool) if rows is None else rows
    right = probabilities.argmax(axis=1) == truth
    return float(probabilities.max(axis=1)[chosen].mean() - right[chosen].mean())


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_a_known_temperature_is_recovered(temperature: float) -> None:
    """Types drawn with the probabilities of scores at a temperature give that temperature back."""
    assert best_temperature(*drawn(20_000, 0, 1 / temperature)) == pytest.approx(temperature, rel=0.05)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_where_a_temperature_says_all_nothing_else_is_learnt(temperature: float) -> None:
    """Probabilities of scores at a temperature are found again, for all types, on rows that were not learnt from."""
    scale = ProbabilityScale.fit(*drawn(20_000, 0, 1 / temperature), np.ones(20_000))
    new, _ = drawn(200, 1)
    found = np.exp(scale.log_probabilities(new))
    np.testing.assert_allclose(found, softmax(new / temperature, axis=1), atol=0.06)


def test_the_order_of_types_stays() -> None:
    """Whatever the curve, probabilities add up to one and are in the order of the scores."""
    scores, _ = drawn(300, 2)
    for scale in (
        ProbabilityScale(0.5),
        ProbabilityScale(1, 3, 2),
        ProbabilityScale(2, 0.1, -5),
        ProbabilityScale(1, 0, 9),
    ):
        found = scale.log_probabilities(scores)
        np.testing.assert_allclose(np.exp(found).sum(axis=1), 1)
        np.testing.assert_array_equal(found.argsort(axis=1), scores.argsort(axis=1))
    np.testing.assert_allclose(ProbabilityScale().log_probabilities(scores), scores, atol=1e-5)


def test_the_top_probability_is_that_of_the_curve() -> None:
    """By hand: odds of 4 to 1 at slope 1 and offset log 2 become 8 to 1; a tie cannot be more than one half."""
    scores = np.log([[0.8, 0.15, 0.05], [0.4, 0.4, 0.2]])
    found = np.exp(ProbabilityScale(1, 1, np.log(2)).log_probabilities(scores))
    assert found[0, 0] == pytest.approx(8 / 9, abs=1e-5)
    tied = np.exp(ProbabilityScale(1, 1, 20).log_probabilities(scores))[1]
    assert tied[:2] == pytest.approx([0.5, 0.5], abs=1e-3)
    even = np.exp(ProbabilityScale(1, 1, -20).log_probabilities(scores))
    np.testing.assert_allclose(even, 1 / 3, atol=1e-5)


def test_rows_of_many_pages_are_believed_as_far_as_they_were_right() -> None:
    """Where means of many pages are flatter than they are right, few and many pages are both calibrated on new rows."""
    pages = np.where(np.arange(4000) % 2, 8.0, 1.0)
    sharpness = np.where(pages > 1, 2.0, 0.5)
    scale = ProbabilityScale.fit(*drawn(4000, 3, sharpness), pages)
    new, truth = drawn(4000, 4, sharpness)
    found = np.exp(scale.log_probabilities(new, pages))
    for rows in (pages == 1, pages > 1):
        assert abs(gap(found, truth, rows)) < 0.03
    assert abs(gap(np.exp(scale.log_probabilities(new)), truth, pages > 1)) > 0.06


def test_few_rows_bend_little() -> None:
    """Without rows scores stay as they are; a handful that were all right is no proof of certainty."""
    nothing = ProbabilityScale.fit(np.empty((0, 3)), np.empty(0, np.int64), np.empty(0))
    assert nothing == ProbabilityScale()
    few = ProbabilityScale.fit(np.log([[0.6, 0.3, 0.1]] * 4), np.zeros(4, np.int64), np.ones(4))
    assert np.exp(few.log_probabilities(np.log([[0.6, 0.3, 0.1]])))[0, 0] == pytest.approx(5 / 6, abs=0.1)
