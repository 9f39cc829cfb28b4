"""Calls that run beside each other in threads, each with its share of the cores."""

from collections.abc import Callable, Sequence
from typing import Any

from joblib import Parallel, delayed
from threadpoolctl import ThreadpoolController

from embedpipe.core.machine import available_cores


def beside_each_other(calls: Sequence[Callable[[], Any]], most: int) -> list[Any]:
    """What some calls give, several of them at a time.

    They suit work that lets go of the interpreter's lock. The libraries of matrices have threads of their own, as many
    as there are cores, in each of the calls: more than there are cores, they wait busily for each other, which doubled
    the processor time of a fit on two cores. So each call has its share of the cores meanwhile. Not to be called by two
    threads at once: the share of one may stay as the limit of the process.

    Args:
        calls: What is called.
        most: So many at a time at most; fewer on fewer cores.
    """
    count = max(min(available_cores(), most, len(calls)), 1)
    libraries, share = ThreadpoolController(), max(available_cores() // count, 1)

    def limits(kind: str) -> int:
        """Each one's share, and no more than somebody has allowed before."""
        allowed = [library["num_threads"] or 1 for library in libraries.info() if library["user_api"] == kind]
        return min([share, *allowed])

    blas, openmp = limits("blas"), limits("openmp")

    def with_share(call: Callable[[], Any]) -> Any:
        with libraries.limit(limits=openmp, user_api="openmp"):  # of this thread alone
            return call()

    with libraries.limit(limits=blas, user_api="blas"):  # of the whole process
        return list(Parallel(n_jobs=count, prefer="threads")(delayed(with_share)(call) for call in calls))
