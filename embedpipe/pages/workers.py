"""Starts worker processes in whatever process and machine this is: what they need of it, and nothing else.

They import this package alone, never the program that runs: a script needs no main guard, may come from stdin, and is
not run once more in each worker. They may be started by a daemonic process, as those of `multiprocessing.Pool` and of
task queues are, and where the machine has no shared memory or semaphores to give.
"""

import contextlib
import logging
import mmap
import multiprocessing
import os
import select
import signal
import tempfile
import threading
import time
import warnings
import weakref
from array import array
from collections.abc import Iterator
from multiprocessing import reduction, spawn
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, Protocol

_starting = threading.Lock()
_QUIET = "import os; null = os.open(os.devnull, os.O_WRONLY); os.dup2(null, 2); os.close(null)"


class Numbers(Protocol):
    """Whole numbers that workers and their parent share."""

    def __getitem__(self, index: int, /) -> int: ...

    def __setitem__(self, index: int, value: int, /) -> None: ...


class _Worker(SpawnProcess):
    """A process that Ctrl-C does not reach, from its first instruction: it is the parent's to answer."""

    def start(self) -> None:
        """Starts it with the signal blocked; while Python itself starts, it would end in a traceback."""
        with _starting, _no_main(), _no_traces(), _no_daemon(), _no_interrupt():
            super().start()


@contextlib.contextmanager
def _no_interrupt() -> Iterator[None]:
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _no_main() -> Iterator[None]:
    """Keeps processes that this thread starts from importing the program that runs."""
    original, here = spawn.get_preparation_data, threading.get_ident()

    def prepared(name: str) -> dict[str, Any]:
        facts: dict[str, Any] = original(name)
        if threading.get_ident() == here:
            for key in ("init_main_from_name", "init_main_from_path"):
                facts.pop(key, None)
        return facts

    spawn.get_preparation_data = prepared
    try:
        yield
    finally:
        spawn.get_preparation_data = original


@contextlib.contextmanager
def _no_traces() -> Iterator[None]:
    """Keeps processes that this thread starts quiet: one that is stopped while it starts ends in a traceback."""
    original, here = spawn.get_command_line, threading.get_ident()

    def quiet(**places: Any) -> list[str]:
        line: list[str] = original(**places)
        if threading.get_ident() == here and "-c" in line:  # frozen programs have another way
            program = line.index("-c") + 1
            line[program] = f"{_QUIET}; {line[program]}"
        return line

    spawn.get_command_line = quiet
    try:
        yield
    finally:
        spawn.get_command_line = original


@contextlib.contextmanager
def _no_daemon() -> Iterator[None]:
    """Lets a daemonic process have children: these end by themselves when it does."""
    process = multiprocessing.current_process()
    if not process.daemon:
        yield
        return
    process.daemon = False
    try:
        yield
    finally:
        process.daemon = True


class WorkerContext(SpawnContext):
    """A context of `multiprocessing` for pools of workers."""

    Process = _Worker

    def RLock(self) -> Any:  # noqa: N802 - of the base class
        """A lock between processes; made of a pipe where the system gives no semaphores."""
        try:
            return super().RLock()
        except (OSError, ImportError):  # /dev/shm is missing, full or read-only
            return PipeLock(self)

    def numbers(self, values: list[int]) -> Numbers:
        """Whole numbers that workers and this process see and change, one at a time."""
        try:
            shared: Numbers = self.Array("i", values, lock=False)
        except OSError:
            return _MappedNumbers(values)
        return shared


def silence() -> None:
    """Keeps what decoders and libraries print off the terminal: what is wrong with a page is in its outcome."""
    logging.getLogger().addHandler(logging.NullHandler())
    warnings.simplefilter("ignore")
    with contextlib.suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        os.close(null)


class PipeLock:
    """A lock between processes, for what a recursive lock of `multiprocessing` is used for: who holds the token."""

    def __init__(self, context: SpawnContext) -> None:
        self._reader, self._writer = context.Pipe(duplex=False)
        os.set_blocking(self._reader.fileno(), False)
        os.write(self._writer.fileno(), b"x")
        self._holder, self._depth = 0, 0

    def __getstate__(self) -> tuple[Any, Any]:
        return self._reader, self._writer

    def __setstate__(self, state: tuple[Any, Any]) -> None:
        self._reader, self._writer = state
        self._holder, self._depth = 0, 0

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Takes the lock; False where another process or thread has it at the end of the time."""
        if self._depth and self._holder == threading.get_ident():
            self._depth += 1
            return True
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            with contextlib.suppress(BlockingIOError):
                os.read(self._reader.fileno(), 1)
                self._holder, self._depth = threading.get_ident(), 1
                return True
            left = None if end is None else end - time.monotonic()
            if not block or (left is not None and left <= 0):
                return False
            select.select([self._reader], [], [], left)

    def release(self) -> None:
        """Gives the lock back."""
        self._depth -= 1
        if not self._depth:
            self._holder = 0
            os.write(self._writer.fileno(), b"x")


class _MappedNumbers:
    """Whole numbers in memory that has no name, or in a file that has lost it."""

    def __init__(self, values: list[int]) -> None:
        handle = _nameless_file()
        os.write(handle, array("i", values).tobytes())
        self._map(handle, len(values))

    def _map(self, handle: int, count: int) -> None:
        weakref.finalize(self, os.close, handle)
        self._handle = handle
        self._numbers = memoryview(mmap.mmap(handle, count * array("i").itemsize)).cast("i")

    def __getitem__(self, index: int) -> int:
        return self._numbers[index]

    def __setitem__(self, index: int, value: int) -> None:
        self._numbers[index] = value

    def __reduce__(self) -> tuple[Any, ...]:
        return _mapped, (reduction.DupFd(self._handle), len(self._numbers))


def _mapped(handle: Any, count: int) -> _MappedNumbers:
    numbers = _MappedNumbers.__new__(_MappedNumbers)
    numbers._map(handle.detach(), count)  # noqa: SLF001 - its second constructor
    return numbers


def _nameless_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("embedpipe")
    handle, name = tempfile.mkstemp(prefix="embedpipe-")
    os.unlink(name)
    return handle
