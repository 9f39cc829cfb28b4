"""Which share of answers is expected to be right, and how sure that is."""

import numpy as np
import pytest

from embedpipe.classifiers.calibration.confidence import Interval
from embedpipe.classifiers.calibration.decisions import Calibration
from embedpipe.classifiers.calibration.expected import expected_right, out_of_hundred, share_right
from embedpipe.classifiers.calibration.probabilities import ProbabilityScale


def calibration(n: int, groups: int) -> Calibration:
    """Held-out answers whose confidence is right as often as it says."""
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.3, 1, n)
    right = rng.uniform(size=n) < confidence
    return Calibration(
        ProbabilityScale(),
        truth=np.where(right, 0, 1),
        told=np.zeros(n, np.int64),
        confidence=confidence,
        groups=np.arange(n) % groups,
        nonconformity=1 - confidence,
        distances=np.zeros(n),
        weights=np.ones(n),
        kinds=np.zeros(n, int),
    )


def test_the_share_follows_the_confidence_of_the_answers() -> None:
    """Sure answers are expected to be right more often than others, about as often as measured."""
    known, kinds = calibration(400, 400), np.zeros(50, int)
    sure = expected_right(known, np.full(50, 0.97), kinds)
    unsure = expected_right(known, np.full(50, 0.4), kinds)
    assert unsure.low < unsure.value < unsure.high < sure.low < sure.value < sure.high
    assert sure.value == pytest.approx(0.93, abs=0.06)
    assert expected_right(known, np.full(50, 0.97), kinds) == sure  # the same on every run


def test_documents_of_one_group_say_the_same() -> None:
    """Fewer groups make the range wider, and few answers that are all right are not sure to be."""
    many, few = (share_right(np.ones(30, bool), np.arange(30) % groups) for groups in (30, 3))
    assert many.value == few.value == 1
    assert few.low < many.low < 1
    nothing = share_right(np.empty(0, bool), None)
    assert nothing.low < 0.01
    assert nothing.high > 0.99


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        (Interval(0.724, 0.681, 0.762), (72, 68, 77)),
        (Interval(0.999, 0.9, 0.9999), (99, 90, 100)),
        (Interval(1.0, 0.8, 1.0), (100, 80, 100)),
        (Interval(0.001, 0.0, 0.02), (1, 0, 2)),
    ],
)
def test_shares_are_said_out_of_a_hundred(interval: Interval, said: tuple[int, int, int]) -> None:
    """Never all of a hundred where some are wrong, and the range is not narrowed by rounding."""
    assert out_of_hundred(interval) == said
