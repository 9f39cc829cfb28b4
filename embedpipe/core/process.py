"""This process: how much memory it and its workers take, and how it ends."""

import atexit
import contextlib
import errno
import os
import sys
import threading
from pathlib import Path
from typing import NoReturn, Self

_SAMPLING_SECONDS = 0.05


class PeakMemory:
    """Memory of this process and all below it, in megabytes, at its highest inside `with`; None without /proc."""

    def __init__(self) -> None:
        self.peak_mb: float | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        """Begins to watch."""
        if os.path.isdir("/proc/self"):
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends watching."""
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(_SAMPLING_SECONDS):
            self.peak_mb = round(max(self.peak_mb or 0.0, family_megabytes()), 1)


_SIGNS = (
    "can't start new thread",
    "can't allocate memory",
    "Cannot allocate memory",
    "failed to map segment",  # a library that does not fit any more
    "bad_alloc",
    "out of memory",
    "error return without exception set",  # of Python, where even an exception found no room
)
"""How torch, OpenVINO, FAISS, Python and the loader of libraries say that there is too little memory."""


def is_lack_of_memory(error: BaseException | None) -> bool:
    """Whether an exception, or what it came of, says that memory or threads are used up."""
    while error is not None:
        if isinstance(error, MemoryError) or (
            isinstance(error, OSError) and error.errno in (errno.ENOMEM, errno.EAGAIN)
        ):
            return True
        if any(sign in str(error) for sign in _SIGNS):
            return True
        error = error.__cause__ or error.__context__
    return False


def family_megabytes() -> float:
    """Resident memory of this process and all below it; what they share counts for each."""
    parents: dict[int, int] = {}
    resident: dict[int, int] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = Path("/proc", name, "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            continue  # it ended
        parents[int(name)], resident[int(name)] = int(fields[1]), int(fields[21])
    family = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(resident.get(pid, 0) for pid in family) * os.sysconf("SC_PAGE_SIZE") / 1e6


def end(code: int) -> NoReturn:
    """Ends this process as `sys.exit` does, but at once.

    Threads are waited for, what is registered with `atexit` is called, and streams are flushed. What is left out is to
    take some thousand modules apart, which takes a tenth to half a second, for which somebody waits.

    Args:
        code: The exit code.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - pools of threads end there
    atexit._run_exitfuncs()  # noqa: SLF001 - there is no public way
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # there is none, or nobody reads it any more
            stream.flush()
    os._exit(code)
