"""Calls beside each other, each with its share of the cores."""

import threading
from functools import partial

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from embedpipe.core import threads
from embedpipe.core.threads import beside_each_other


def most(kind: str) -> int:
    """Threads that a library of a kind has where this is called."""
    return max((one["num_threads"] for one in threadpool_info() if one["user_api"] == kind), default=1)


@pytest.mark.parametrize(("cores", "calls", "share"), [(2, 4, 1), (4, 2, 2), (4, 9, 1), (1, 3, 1)])
def test_each_call_has_its_share_of_the_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int, calls: int, share: int
) -> None:
    """Also where there are fewer calls than may run at a time; what a person allowed at most stays the most."""
    np.ones((2, 2)) @ np.ones((2, 2))
    monkeypatch.setattr(threads, "available_cores", lambda: cores)
    with threadpool_limits(2):
        before = most("blas")
        told = beside_each_other([lambda: (most("blas"), most("openmp"))] * calls, 4)
        assert most("blas") == before
    assert len(told) == calls
    assert {blas for blas, _ in told} == {share}
    assert all(openmp <= share for _, openmp in told)


def test_answers_come_in_the_order_of_the_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever is done first; an error is raised as it is."""
    monkeypatch.setattr(threads, "available_cores", lambda: 2)
    second = threading.Event()

    def first() -> str:
        assert second.wait(20)
        return "first"

    assert beside_each_other([first, lambda: str(second.set()) and "second"], 5) == ["first", "second"]
    assert beside_each_other([], 5) == []
    with pytest.raises(ZeroDivisionError):
        beside_each_other([partial(divmod, 1, 0)], 5)
