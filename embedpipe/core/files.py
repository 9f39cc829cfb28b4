"""Writing to disk so that a kill, a crash or a full disk leaves either the old file or the new one."""

import contextlib
import errno
import functools
import hashlib
import itertools
import json
import os
import platform
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from embedpipe.core.errors import ArtifactError, BusyError
from embedpipe.core.locks import TakenError, alone, runs

FORMAT, NEWEST = 1, 2
"""Version of manifests, where they do not say another one, and the newest that is read."""

_TEMPORARY = ".embedpipe-"
_EARLIER = ".tmp-"
_OWNER = re.compile(rf"(?:{re.escape(_TEMPORARY)}(?=[^-]+-\d+-\d+$)|{re.escape(_EARLIER)})([0-9a-f]{{8}})-(\d+)-\d+")
"""Machine and process that write a temporary file; earlier versions put the wanted name behind it."""

_FORSAKEN_SECONDS = 24 * 3600
"""Numbers of processes are used again; so long nobody leaves a file untouched that he writes."""

_numbers = itertools.count()
_own: set[str] = set()
"""Temporary files that this process writes to now: an earlier one may have had its number."""

_CHECKSUM = "checksum"

_PATIENCE, _LOOK_AGAIN = 20.0, 0.02
"""Seconds for which a lock that others have for moments is waited for, and between two tries."""

_NO_SYNC = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF, errno.EROFS, errno.ENOTTY}
"""What `fsync` says where there is none, for folders or at all: on shares of Windows and of virtual machines."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`; when the block ends well, it is synced and takes the place of `path`.

    Its name is of one length and has no suffix, so that every name that the disk can hold can be written. A link is
    replaced; `outputs.written` follows it.

    Raises:
        ArtifactError: The disk is full, or the folder cannot be written.
    """
    temporary = path.parent / f"{_TEMPORARY}{_host()}-{os.getpid()}-{time.time_ns()}{next(_numbers) % 1000:03}"
    _own.add(str(temporary))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        synced(temporary)
        os.replace(temporary, path)
        if os.name != "nt":  # Windows has no handle for folders
            synced(path.parent)
    except OSError as error:
        raise ArtifactError(f"cannot write {path}: {error.strerror or error}; nothing was changed") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        _own.discard(str(temporary))


def synced(path: Path) -> None:
    """Has the disk keep what was written to a file, or to a folder; where the file system cannot say, it is believed.

    Raises:
        OSError: The disk failed.
    """
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:  # a folder that can be written and not be read
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(handle)


@contextlib.contextmanager
def making(folder: Path) -> Iterator[Path]:
    """Gives the path of a temporary file in a folder, of a short name whatever the file will be called.

    The folder is made if need be, and the file is removed at the end: a block that keeps it gives it another name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{_TEMPORARY}{_host()}-{os.getpid()}-{time.monotonic_ns()}-new"
    _own.add(str(temporary))
    try:
        yield temporary
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        _own.discard(str(temporary))


def remove_forsaken(temporary: Path) -> None:
    """Removes a file that `making` or `replacing` began and a killed process left; any other file stays."""
    with contextlib.suppress(OSError):
        if is_temporary(temporary.name) and _abandoned(temporary):
            temporary.unlink()


def is_temporary(name: str) -> bool:
    """Whether a file of that name is one that `replacing` writes to, of this version or an earlier one."""
    return _OWNER.match(name) is not None


def sweep(folder: Path, parts: Iterable[str] | None = None) -> None:
    """Removes temporary files that a killed run left in a folder of ours; call it with the lock held.

    Only names that `replacing` makes are looked at. Those of a process that still runs stay: an index has a lock of its
    own, and reports are written without any.

    Args:
        folder: Made by us.
        parts: Names of the folders in it that we made and that are swept with all below; None for all there are.
    """
    patterns = (f"{_TEMPORARY}*", f"{_EARLIER}*")
    places = [folder.rglob(p) for p in patterns] if parts is None else [folder.glob(p) for p in patterns]
    places += [(folder / part).rglob(p) for part in parts or () for p in patterns]
    for stray in itertools.chain.from_iterable(places):
        with contextlib.suppress(OSError):
            if is_temporary(stray.name) and _abandoned(stray):
                stray.unlink()


def _abandoned(temporary: Path) -> bool:
    """Whether nobody writes to a temporary file any more; of other machines' only its age tells."""
    match = _OWNER.match(temporary.name)
    if match is None:
        return False
    if match[1] == _host() and (int(match[2]) == os.getpid() or not runs(int(match[2]))):
        return str(temporary) not in _own
    return time.time() - temporary.lstat().st_mtime > _FORSAKEN_SECONDS


@functools.cache
def _host() -> str:
    """Tells machines, and containers, apart that share a folder."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def copied(source: str | Path, target: Path) -> None:
    """Copies a file's content, and its times and rights where the file system has them.

    Raises:
        OSError: It cannot be read or written.
    """
    shutil.copyfile(source, target)
    with contextlib.suppress(OSError):
        shutil.copystat(source, target)


def file_time(nanoseconds: int) -> int:
    """A time of a file that 64 bits can hold: some files have times after 2262, or before 1677."""
    return min(max(nanoseconds, -(2**63)), 2**63 - 1)


def mark_of(file: Path) -> tuple[int, int, int] | None:
    """By what a file is known to be the same still: time of change, size and number; None where there is none."""
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def now() -> str:
    """The time as it is noted in records: ISO 8601, UTC, in seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def sha256_of(path: Path) -> str:
    """Hash of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_sha256(file: Path, expected: object, remedy: str) -> None:
    """Raises ArtifactError with a remedy unless a file is there and has the hash that its manifest says."""
    try:
        found = sha256_of(file)
    except OSError as error:
        raise ArtifactError(f"{file} cannot be read: {remedy}") from error
    if found != expected:
        raise ArtifactError(f"{file} is damaged (its SHA-256 is not the manifest's): {remedy}")


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Writes a manifest, with the version of its format and a checksum of all that it says."""
    with replacing(path) as temporary:
        content = json.loads(json.dumps({"format": FORMAT, **values}))
        text = json.dumps({**content, _CHECKSUM: _checksum(content)}, indent=1, ensure_ascii=False)
        # halves of characters stand for bytes of names that are not UTF-8: in JSON they are escaped
        temporary.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_json(path: Path, remedy: str = "") -> dict[str, Any]:
    """Reads a manifest; one without a checksum, of an earlier version or a person, is read as it is.

    Args:
        path: The file.
        remedy: What to do where it is damaged, for the message.

    Raises:
        ArtifactError: It is missing, damaged, or from a newer version.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        version = int(values["format"])
        checksum = values.pop(_CHECKSUM, None)
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing") from None
    except (OSError, ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
        raise ArtifactError(f"{path} is damaged: {type(error).__name__}{remedy}") from error
    if checksum is not None and checksum != _checksum(values):
        raise ArtifactError(f"{path} is damaged: its checksum is not that of its content{remedy}")
    if version > NEWEST:
        raise ArtifactError(f"{path} was written by a newer embedpipe (format {version}): upgrade this one")
    result: dict[str, Any] = values
    return result


@contextlib.contextmanager
def held(lock: Path, busy: Callable[[str], str], unwritable: Callable[[str], str]) -> Iterator[None]:
    """Holds a lock, or says in a sentence why it cannot be had.

    Args:
        lock: As of `locks.alone`.
        busy: The sentence where another process has it, made of what the lock advises; "" where it advises nothing.
        unwritable: The sentence where it cannot be written, made of the reason.

    Raises:
        BusyError: Another process has it.
        ArtifactError: Its folder cannot be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(alone(lock))
        except TakenError as error:
            raise BusyError(busy(str(error))) from None
        except OSError as error:
            raise ArtifactError(unwritable(str(error.strerror or error))) from error
        yield


@contextlib.contextmanager
def waiting(
    lock: Path, busy: Callable[[str], str], unwritable: Callable[[str], str], seconds: float = _PATIENCE
) -> Iterator[None]:
    """As `held`, of a lock that others have for moments only: it is tried again for some seconds."""
    end = time.monotonic() + seconds
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(held(lock, busy, unwritable))
            except BusyError:
                if time.monotonic() > end:
                    raise
                time.sleep(_LOOK_AGAIN)
            else:
                break
        yield


@contextlib.contextmanager
def writing(folder: Path, what: str, parts: Iterable[str] | None = None) -> Iterator[None]:
    """Holds the one writer's lock of the artifacts, and sweeps what a killed writer left.

    Args:
        folder: The artifacts.
        what: What this writer does, shown to others who come meanwhile.
        parts: Names of the folders in it that are swept, see `sweep`.

    Raises:
        BusyError: Another process is writing, and who it is.
        ArtifactError: The folder cannot be written.
    """
    holder = folder / ".lock-holder"

    def busy(advice: str) -> str:
        who = "another process"
        with contextlib.suppress(OSError, UnicodeDecodeError):  # it may have ended just now
            who = holder.read_text(encoding="utf-8")
        return f"{folder} is being written by {who}: {advice or 'wait until it ends'}"

    with held(folder / ".lock", busy, lambda why: f"cannot write to {folder}: {why}"):
        try:
            with contextlib.suppress(OSError):  # a full disk must not keep the run from its own, clearer error
                text = f"`{what}` (process {os.getpid()}, since {time.strftime('%H:%M:%S')})"
                holder.write_text(text, encoding="utf-8")
            sweep(folder, parts)
            yield
        finally:
            with contextlib.suppress(OSError):
                holder.unlink(missing_ok=True)
