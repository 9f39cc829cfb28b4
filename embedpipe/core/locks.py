"""One process at a time, also on file systems that have no locks of their own."""

import contextlib
import errno
import json
import os
import platform
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

try:
    import fcntl
except ImportError:  # Windows, where every file system has locks
    HAS_FLOCK = False
else:
    HAS_FLOCK = True

_BUSY = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES}
_OWNED = ".owner"
"""Ends the name of the file that stands for a lock where the file system has none."""

_UNFINISHED_SECONDS = 60
"""So long nobody takes to write his name into a file that he made."""


class TakenError(Exception):
    """Another process has the lock. Its text says what to do where that cannot be told for sure, else it is empty."""


@contextlib.contextmanager
def alone(file: Path) -> Iterator[None]:
    """Holds the lock of a path, whose folder is made if need be.

    Where the file system has no locks (`flock` fails: some network and shared folders), a file beside it with the
    owner's machine, process and start stands for it. One whose owner runs no more on this machine is taken over; of
    other machines that cannot be told, and the error names the file.

    Raises:
        TakenError: Another process has it.
        OSError: The folder cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    if not _has_locks(file.parent):
        with _owned(file.with_name(f"{file.name}{_OWNED}")):
            yield
        return
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise TakenError from None
    try:
        yield
    finally:
        lock.release()


def _has_locks(folder: Path) -> bool:
    """Whether a new file in a folder can be locked; versions of filelock differ in what they make of one that cannot.

    Raises:
        OSError: The folder cannot be written.
    """
    if not HAS_FLOCK:
        return True
    probe = folder / f".lock-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        with open(probe, "xb") as file:
            try:
                fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                return error.errno in _BUSY
        return True
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)


@contextlib.contextmanager
def _owned(file: Path) -> Iterator[None]:
    me = json.dumps({"machine": platform.node(), "process": os.getpid(), "start": _start(os.getpid())})
    _take(file, me)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if file.read_text(encoding="utf-8") == me:
                file.unlink()


def _take(file: Path, me: str) -> None:
    takeover = file.with_name(f"{file.name}-change")  # or two could remove a dead owner's file, one the other's new one
    if _unfinished(takeover):
        takeover.unlink(missing_ok=True)
    try:
        with contextlib.suppress(FileExistsError):
            return _make(file, me)
        _make(takeover, me)
        try:
            _check_gone(file)
            file.unlink(missing_ok=True)
            _make(file, me)
        finally:
            takeover.unlink(missing_ok=True)
    except FileExistsError:
        raise TakenError from None


def _make(file: Path, text: str) -> None:
    with open(file, "x", encoding="utf-8") as stream:
        stream.write(text)


def _check_gone(file: Path) -> None:
    """Raises TakenError unless the owner of a file runs no more."""
    try:
        owner: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        machine, process, start = owner["machine"], int(owner["process"]), owner["start"]
    except FileNotFoundError:
        return
    except (OSError, ValueError, LookupError, TypeError):  # it is being written, or was while its process was killed
        if _unfinished(file):
            return
        raise TakenError from None
    if machine != platform.node():
        raise TakenError(f"if process {process} on {machine} runs no more, delete {file}")
    if runs(process) and start == _start(process):
        raise TakenError


def _unfinished(file: Path) -> bool:
    with contextlib.suppress(OSError):
        return time.time() - file.stat().st_mtime > _UNFINISHED_SECONDS
    return False


def _start(process: int) -> str:
    """When a process began: numbers of processes are used again. Empty where the system does not say."""
    with contextlib.suppress(OSError, IndexError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        return f"{boot}/{status.rpartition(')')[2].split()[19]}"
    return ""


def runs(process: int) -> bool:
    """Whether there is a process of that number on this machine."""
    if os.name == "nt":  # it does not remove files that are open, and signal 0 would be Ctrl-C
        return False
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True
