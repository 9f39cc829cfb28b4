"""Figures about confidence: learnt from other folds than they are measured on, and intervals of whole groups."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax
from sklearn import metrics as sk

from embedpipe.classifiers.calibration.confidence import (
    Bootstrap,
    HeldOutScores,
    decision_metrics,
    expected_calibration_error,
    nested_decisions,
    reliability,
    risk_coverage,
)
from embedpipe.classifiers.calibration.decisions import Calibration, Rule


def answers(n: int = 2000, seed: int = 0) -> HeldOutScores:
    """Rows whose truths are drawn with a flatter distribution than their scores say, in five folds."""
    rng = np.random.default_rng(seed)
    scores = log_softmax(rng.normal(0, 3, (n, 4)), axis=1)
    truth = (rng.random((n, 1)) > softmax(scores / 2, axis=1).cumsum(axis=1)).sum(axis=1).clip(max=3)
    return HeldOutScores(scores, truth, rng.random(n), np.arange(n) % 5, np.ones(n), np.ones(n))


def test_calibration_error_by_hand() -> None:
    """Bins of equally many rows: the mean gap between their confidence and their accuracy."""
    confidence = np.array([0.9, 0.6, 0.8, 0.5])
    correct = np.array([True, False, True, True])
    # sorted: 0.5 right, 0.6 wrong | 0.8 right, 0.9 right: gaps |0.55 - 0.5| and |0.85 - 1|
    assert expected_calibration_error(confidence, correct, bins=2) == pytest.approx((0.05 + 0.15) / 2)
    assert expected_calibration_error(confidence, correct, bins=1) == pytest.approx(abs(0.7 - 0.75))
    # sorted in bins of two rows and one: |0.55 - 0.5| twice, |0.8 - 1| once
    assert expected_calibration_error(confidence[1:], correct[1:], bins=2) == pytest.approx((2 * 0.05 + 0.2) / 3)
    # more bins than rows: each row is a bin
    each = (0.5 + 0.6 + 0.2 + 0.1) / 4
    assert expected_calibration_error(confidence, correct, bins=10) == pytest.approx(each)


def test_calibrated_confidence_has_no_error() -> None:
    """Confidence that is met by the accuracy has hardly any calibration error; overconfidence has its excess."""
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 50_000)
    correct = rng.random(50_000) < confidence
    assert expected_calibration_error(confidence, correct) < 0.01
    assert expected_calibration_error(np.full(50_000, 0.95), correct) == pytest.approx(0.2, abs=0.01)


def test_decisions_are_learnt_from_the_other_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    """No fold is decided on by what it taught itself."""
    made = answers(100)
    taught: list[set[float]] = []
    fit = Calibration.fit.__func__  # type: ignore[attr-defined]

    def noted(
        cls: type[Calibration], scores: NDArray[np.float64], *rest: NDArray[np.float64], **more: object
    ) -> Calibration:
        taught.append(set(scores[:, 0].tolist()))
        return fit(cls, scores, *rest, **more)

    monkeypatch.setattr(Calibration, "fit", classmethod(noted))
    nested_decisions(made, Rule())
    assert len(taught) == 5
    for fold, rows in enumerate(taught):
        assert rows == set(made.scores[made.folds != fold, 0].tolist())


def test_coverage_and_answers_add_up() -> None:
    """Coverage is near what was asked for, and every row is ok, ambiguous or novel."""
    made = answers()
    figures = decision_metrics(made, nested_decisions(made, Rule(0.1)))
    assert figures["coverage"] == pytest.approx(0.9, abs=0.02)
    assert figures["ok"] + figures["ambiguous"] + figures["novel"] == pytest.approx(1)
    assert figures["ok_accuracy"] > 0.8
    assert 1 <= figures["mean_candidates"] <= 4


def test_the_reliability_diagram_shows_the_excess_of_confidence() -> None:
    """Every bin holds its share of the rows, and confidence that is too high lies above the accuracy."""
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 10_000)
    table = reliability(confidence, rng.random(10_000) < confidence - 0.2)
    assert [row["rows"] for row in table] == [1000] * 10
    assert all(row["confidence"] - row["accuracy"] == pytest.approx(0.2, abs=0.06) for row in table)


def test_fewer_answers_are_better_answers() -> None:
    """The curve ends with all answers and their error rate, and begins with the most confident one."""
    confidence = np.array([0.9, 0.8, 0.7, 0.6])
    curve = risk_coverage(confidence, np.array([True, True, False, True]))
    assert [point["answered"] for point in curve] == [0.25, 0.5, 0.75, 1]
    assert [point["wrong"] for point in curve] == pytest.approx([0, 0, 1 / 3, 1 / 4])
    assert [point["confidence"] for point in curve] == [0.9, 0.8, 0.7, 0.6]


@pytest.fixture(scope="module")
def told() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """200 rows of three types, three quarters of them told rightly."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 200)
    return truth, np.where(rng.random(200) < 0.75, truth, rng.integers(0, 3, 200))


def test_intervals_hold_the_figures_of_scikit_learn(told: tuple[NDArray[np.int64], NDArray[np.int64]]) -> None:
    """The figures are scikit-learn's; their intervals hold them and are as wide as theory says."""
    truth, verdicts = told
    bootstrap = Bootstrap(truth, verdicts, np.arange(200), 4)
    found = bootstrap.metrics()
    assert found["accuracy"].value == pytest.approx(sk.accuracy_score(truth, verdicts))
    assert found["balanced_accuracy"].value == pytest.approx(sk.balanced_accuracy_score(truth, verdicts))
    assert found["macro_f1"].value == pytest.approx(sk.f1_score(truth, verdicts, average="macro"))
    for interval in found.values():
        assert interval.low < interval.value < interval.high
    share = found["accuracy"].value
    expected = 2 * 1.96 * np.sqrt(share * (1 - share) / 200)
    assert found["accuracy"].high - found["accuracy"].low == pytest.approx(expected, rel=0.15)
    rows = bootstrap.per_class()
    assert [row["precision"].value for row in rows[:3]] == pytest.approx(
        sk.precision_score(truth, verdicts, average=None).tolist()
    )
    assert rows[3] == {"precision": None, "recall": None}  # a type without any row


def test_a_type_with_too_few_groups_has_no_interval() -> None:
    """However many documents: below five groups nothing is claimed, from five on the interval begins above 0."""
    groups = np.r_[np.arange(4).repeat(10), np.arange(4, 9).repeat(10)]
    truth = np.repeat([0, 1], [40, 50])
    few, enough = Bootstrap(truth, truth, groups, 2).per_class()
    assert few == {"precision": None, "recall": None}
    assert enough["recall"].to_json() == enough["precision"].to_json() == [1, 1]
    told = np.r_[np.zeros(40), np.zeros(10), np.ones(40)].astype(np.int64)
    first, second = Bootstrap(truth, told, groups, 2).per_class()
    assert first["recall"] is None
    assert first["precision"].low < 0.8 < first["precision"].high  # told of five groups
    assert second["precision"] is None  # told of four
    assert second["recall"].low > 0


def test_rows_of_one_group_are_drawn_together(told: tuple[NDArray[np.int64], NDArray[np.int64]]) -> None:
    """Copies of every row in its group make the interval no narrower; as documents of their own they would."""
    truth, verdicts = told
    width = {}
    for name, groups in (("groups", np.repeat(np.arange(200), 4)), ("alone", np.arange(800))):
        interval = Bootstrap(np.repeat(truth, 4), np.repeat(verdicts, 4), groups, 3).metrics()["accuracy"]
        width[name] = interval.high - interval.low
    assert width["groups"] == pytest.approx(2 * width["alone"], rel=0.15)
