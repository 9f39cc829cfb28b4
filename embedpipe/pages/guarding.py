"""Calls to libraries in a process that may be killed, and that cannot take more memory than it is given."""

import atexit
import contextlib
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from pebble import ProcessExpired, ProcessPool

from embedpipe.core.errors import DocumentError
from embedpipe.pages.workers import WorkerContext, silence

T = TypeVar("T")

_capped = False
_lock = threading.Lock()
_pool: tuple[int, ProcessPool] | None = None
"""Of the process that is kept, with the bytes that it may take."""

_MOST_CALLS = 2000


def be_capped(more_bytes: int) -> None:
    """Lets this process take so many bytes more than it has, and leave no core when it crashes."""
    global _capped  # noqa: PLW0603 - of the process
    _capped = True
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource  # noqa: PLC0415 - not on Windows

        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + more_bytes, used + more_bytes))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def is_capped() -> bool:
    """Whether this process may be killed: what it calls needs no other process around it."""
    return _capped


def guarded(function: Callable[..., T], arguments: tuple[Any, ...], seconds: float, memory: int) -> T:
    """Calls a function in a process of its own, which stays for the next call; here, where this is such a process.

    Args:
        function: Of a module, so that the process finds it.
        arguments: Can be sent to a process.
        seconds: The process is killed after them.
        memory: Bytes that the call may take.

    Raises:
        DocumentError: The call took too long or too much, or crashed; and what the function raises.
    """
    global _pool  # noqa: PLW0603 - of the process
    if _capped:
        return function(*arguments)
    with _lock:  # one at a time: they are short, and what they read is memory and disk
        if _pool is None or _pool[0] != memory or not _pool[1].active:
            stop()
            pool = ProcessPool(1, _MOST_CALLS, initializer=_start, initargs=(memory,), context=WorkerContext())
            _pool = memory, pool
        return result_of(_pool[1].schedule(function, args=arguments, timeout=seconds), seconds)


def _start(memory: int) -> None:
    silence()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    be_capped(memory)


def stop() -> None:
    """Ends the process; the next call starts another one."""
    global _pool
    if _pool is not None:
        (_, pool), _pool = _pool, None
        pool.stop()  # type: ignore[no-untyped-call]
        pool.join(timeout=10)


atexit.register(stop)


def result_of(future: "Future[T]", seconds: float) -> T:
    """What a call in another process returned; raises DocumentError where it was killed, or raised one."""
    try:
        return future.result()
    except TimeoutError:
        raise DocumentError("timeout", f"not finished after {seconds:g} s (--page-timeout)") from None
    except MemoryError:
        raise DocumentError("memory", "needs more memory than --page-memory allows") from None
    except ProcessExpired as error:
        raise DocumentError("crash", f"the decoder crashed the worker (exit code {error.exitcode})") from None
