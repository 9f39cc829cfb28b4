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
    the processor time of a fit on two cores. So each call has its share of the cores meanwhile.

    Args:
        calls: What is called.
        most: So many at a time at most; fewer on fewer cores.
    """
    count = max(min(available_cores(), most, len(calls)), 1)
    libraries = ThreadpoolController()
    allowed = max((library["num_threads"] for library in libraries.info()), default=1)
    share = min(max(available_cores() // count, 1), allowed)

    def with_share(call: Callable[[], Any]) -> Any:
        with libraries.limit(limits=share, user_api="openmp"):  # of this thread alone
            return call()

    with libraries.limit(limits=share, user_api="blas"):  # of the whole process
        return list(Parallel(n_jobs=count, prefer="threads")(delayed(with_share)(call) for call in calls))
