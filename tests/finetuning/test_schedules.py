"""Rates and stopping."""

import itertools
import math

import pytest

from embedpipe.finetuning.schedules import EarlyStopping, depth_rates, warmup_cosine


def test_the_rate_rises_then_falls_to_nothing() -> None:
    """The warm-up is a straight line to 1; from there half a cosine leads to 0 and never rises."""
    factors = [warmup_cosine(step, 100, 10) for step in range(101)]
    assert factors[:10] == pytest.approx([n / 10 for n in range(1, 11)])
    assert factors[10] == 1
    assert factors[55] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0)
    assert all(later <= earlier for earlier, later in itertools.pairwise(factors[10:]))


def test_without_warm_up_the_first_step_is_full() -> None:
    """No warm-up is allowed, and so is a training of a single step."""
    assert warmup_cosine(0, 1, 0) == 1
    assert warmup_cosine(0, 100, 0) == 1


def test_earlier_stages_have_smaller_rates() -> None:
    """Each stage has a fixed share of the next one's rate; the last, of the output layer's."""
    assert depth_rates(1e-3, 0.5, 0.1, 3) == pytest.approx([5e-6, 5e-5, 5e-4])
    assert depth_rates(1e-3, 0.5, 0.1, 0) == []


def test_stopping_waits_for_its_patience() -> None:
    """Epochs without a new best are counted from the last best."""
    stopping = EarlyStopping(2)
    found = [(stopping.improved(loss), stopping.stop) for loss in (3.0, 2.0, 2.5, 1.9, 1.9, math.nan)]
    assert found == [(True, False), (True, False), (False, False), (True, False), (False, False), (False, True)]
    assert stopping.best == 1.9


def test_no_patience_never_stops() -> None:
    """0 is for never."""
    stopping = EarlyStopping(0)
    for _ in range(50):
        stopping.improved(1.0)
    assert not stopping.stop
