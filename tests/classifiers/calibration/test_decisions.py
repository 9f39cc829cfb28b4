"""What may be said of a page: calibrated probabilities, candidates that hold the truth, novelty, wished precision."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from embedpipe.classifiers.calibration.decisions import NOVEL_RATE, Calibration, Rule
from embedpipe.classifiers.calibration.probabilities import ProbabilityScale


def drawn(n: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Scores of five types, truths drawn with a flatter distribution than they say, and distances."""
    rng = np.random.default_rng(seed)
    scores = log_softmax(rng.normal(0, 3, (n, 5)), axis=1)
    probabilities = softmax(scores / 2.0, axis=1)
    truth = (rng.random((n, 1)) > probabilities.cumsum(axis=1)).sum(axis=1).clip(max=4)
    return scores, truth, rng.random(n)


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    """Learnt from 2,000 held-out rows."""
    return Calibration.fit(*drawn(2000, 0))


@pytest.mark.parametrize("error_rate", [0.02, 0.05, 0.2, 0.4])
def test_the_truth_is_left_out_as_rarely_as_promised(calibration: Calibration, error_rate: float) -> None:
    """On rows of the same kind, the true type is missing among the candidates at the chosen rate, or less often."""
    scores, truth, distances = drawn(5000, 1)
    found = calibration.decide(scores, distances, Rule(error_rate))
    missing = 1 - found.candidates[np.arange(len(truth)), truth].mean()
    assert missing == pytest.approx(error_rate, abs=0.02)


def test_ok_means_one_candidate_which_is_the_most_probable(calibration: Calibration) -> None:
    """Answers are ok with one candidate and ambiguous with several; the most probable type is always one."""
    scores, _, _ = drawn(500, 2)
    found = calibration.decide(scores, np.full(500, np.nan), Rule(0.2))
    sizes = found.candidates.sum(axis=1)
    assert set(found.status) == {"ok", "ambiguous"}
    np.testing.assert_array_equal(found.status == "ok", sizes == 1)
    assert found.candidates[np.arange(500), found.probabilities.argmax(axis=1)].all()
    assert np.isnan(found.novelty).all()


def test_few_rows_promise_little(calibration: Calibration) -> None:
    """Four rows cannot promise one error in twenty: the candidates are those that no row was worse than."""
    few = Calibration.fit(np.log([[0.9, 0.1]] * 4), np.zeros(4, np.int64), np.zeros(4))
    assert few.smallest_error_rate() == pytest.approx(1 / 5)
    assert calibration.smallest_error_rate() == pytest.approx(1 / 2001)
    assert few.decide(np.log([[0.95, 0.05]]), np.zeros(1), Rule()).status.tolist() == ["ok"]


def test_nothing_held_out_excludes_nothing() -> None:
    """Without any held-out row every type is a candidate, and nothing is novel."""
    none = Calibration.fit(np.empty((0, 3)), np.empty(0, np.int64), np.empty(0))
    found = none.decide(np.log([[0.8, 0.1, 0.1]]), np.array([1.0]), Rule())
    assert found.candidates.all()
    assert found.status.tolist() == ["ambiguous"]


def test_known_rows_are_rarely_novel_and_far_ones_always(calibration: Calibration) -> None:
    """As many known rows as promised are called novel; those farther than any known one are all."""
    scores, _, distances = drawn(5000, 3)
    assert (calibration.decide(scores, distances, Rule()).status == "novel").mean() == pytest.approx(
        NOVEL_RATE, abs=0.01
    )
    far = calibration.decide(scores, distances + 1, Rule())
    assert (far.status == "novel").all()
    assert far.novelty == pytest.approx(1, abs=5e-3)


def test_novelty_is_the_share_of_known_rows_that_are_nearer() -> None:
    """By hand: of four held-out rows two are nearer, and one more is counted as farther."""
    few = Calibration.fit(np.log([[0.9, 0.1]] * 4), np.zeros(4, np.int64), np.array([0.4, 0.1, 0.3, 0.2]))
    assert few.novelty(np.array([0.25, 0.0, 9.0])) == pytest.approx([2 / 5, 0, 4 / 5])


def test_doubt_among_many_types_is_stranger_than_among_two() -> None:
    """With one top probability, at one distance; what an earlier version saved goes by the top probability alone."""
    known = np.log([[0.5, 0.48, 0.01, 0.01]] * 20 + [[0.97, 0.01, 0.01, 0.01]] * 20)
    few = Calibration.fit(known, np.repeat([0, 1, 0], [10, 10, 20]), np.ones(40))
    asked = few.scale.log_probabilities(known[:1], None)
    two, many = np.log([[0.6, 0.398, 0.001, 0.001], [0.6, 0.14, 0.13, 0.13]])[:, None]
    assert np.exp(asked).max() < 0.7
    assert few.strangeness(two, np.ones(1)) < few.strangeness(many, np.ones(1))
    assert few.decide(two, np.ones(1), Rule()).novelty < few.decide(many, np.ones(1), Rule()).novelty
    before = few.to_arrays()
    del before["entropy"]
    old = Calibration.from_arrays(before)
    assert old.strangeness(two, np.ones(1)) == old.strangeness(many, np.ones(1))
    assert old.decide(two, np.ones(1), Rule()).novelty == old.decide(many, np.ones(1), Rule()).novelty


@pytest.mark.parametrize("precision", [0.7, 0.9])
def test_answers_above_the_threshold_are_right_as_often_as_wished(calibration: Calibration, precision: float) -> None:
    """On rows of the same kind, answers that pass their type's threshold reach the wished precision."""
    scores, truth, distances = drawn(20_000, 4)
    found = calibration.decide(scores, distances * 0, Rule(precision_wanted=precision))
    told = found.probabilities.argmax(axis=1)
    sure = found.status == "ok"
    assert (told[sure] == truth[sure]).mean() > precision - 0.03
    assert len(set(told[sure])) > 1
    assert (found.status == "ambiguous").any()


def test_a_threshold_lies_between_confidences() -> None:
    """Answers of one confidence pass together: those that are right do not buy a threshold for those that are not."""
    confidence = np.r_[np.full(20, 0.9), np.full(40, 0.8)]
    truth = np.r_[np.zeros(40), np.ones(20)].astype(np.int64)
    told, ones = np.zeros(60, np.int64), np.ones(60)
    tied = Calibration(ProbabilityScale(), 1 - confidence, np.zeros(60), truth, told, confidence, ones)
    assert tied.thresholds(0.9, 2)[0] == 0.9  # all of 0.8 together would be right in 20 of 40
    assert tied.thresholds(0.6, 2)[0] == 0.8


def test_a_type_with_too_few_right_answers_has_no_threshold() -> None:
    """Three right answers out of three are no witness for nine in ten; nine are."""
    scores = np.log([[0.9, 0.1]] * 9 + [[0.2, 0.8]] * 3)
    few = Calibration.fit(scores, np.array([0] * 9 + [1] * 3), np.zeros(12))
    first, second = few.thresholds(0.9, 2)
    assert first == pytest.approx(few.confidence[0])
    assert second == np.inf


def test_pages_of_a_long_document_count_as_one_document() -> None:
    """Twenty bad pages of one document weigh as much as one page of another."""
    scores = np.log([[0.9, 0.1]] * 21)
    truth = np.array([1] * 20 + [0])
    weighted = Calibration.fit(scores, truth, np.zeros(21), np.array([1 / 20] * 20 + [1.0]))
    assert weighted.weights.sum() == pytest.approx(2)
    assert weighted.decide(scores[:1], np.zeros(1), Rule(0.6)).candidates.tolist() == [[True, False]]
    alike = Calibration.fit(scores, truth, np.zeros(21))
    assert alike.decide(scores[:1], np.zeros(1), Rule(0.6)).candidates.tolist() == [[True, True]]


def test_arrays_bring_everything_back(calibration: Calibration) -> None:
    """What is saved as arrays decides alike when it is read."""
    again = Calibration.from_arrays(calibration.to_arrays())
    scores, _, distances = drawn(50, 5)
    for one, other in zip(
        (calibration.decide(scores, distances, Rule()).candidates, calibration.novelty(distances)),
        (again.decide(scores, distances, Rule()).candidates, again.novelty(distances)),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
