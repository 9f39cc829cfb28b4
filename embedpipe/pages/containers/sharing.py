"""What was unpacked as a whole is unpacked once: the process that walks the files shares it with its workers.

The copies have no names. They stay open here, a few at a time, and workers open them by the numbers that they have in
this process, which Linux shows; a list that is shared in the same way says which there are. Each copy ends with a mark
of its own: a number that means another file by now is noticed, and the worker unpacks for itself, as it does where
nothing is shared.
"""

import json
import os
import secrets
import sys
import tempfile
import threading
from collections import OrderedDict
from typing import Any, BinaryIO

_LEAST_BYTES = 8 * 1024**2
_MOST_BYTES = 8 * 1024**3
_MOST_COPIES = 8
_MARK = 16
_LENGTH = 8

Key = tuple[int, int, int, int]


class _Shared:
    """The copies that this process shares, and the list of them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.list = -1  # its number
        self.copies: OrderedDict[Key, tuple[int, int]] = OrderedDict()  # number, bytes

    def write(self, line: dict[str, Any]) -> None:
        """Adds a line to the list."""
        if self.list >= 0:
            os.write(self.list, json.dumps(line).encode() + b"\n")

    def let_go(self) -> None:
        """Lets go of the copy that was shared first."""
        key, (number, _) = self.copies.popitem(last=False)
        self.write({"key": key})
        os.close(number)


_shared = _Shared()
_followed = ""


def place() -> str:
    """Where workers of this process find the list; "" where the system shows no open files of others."""
    if sys.platform != "linux":
        return ""
    with _shared.lock:
        if _shared.list < 0:
            with tempfile.TemporaryFile(prefix="embedpipe-") as file:
                _shared.list = os.dup(file.fileno())  # for as long as the process lives
        return f"/proc/{os.getpid()}/fd/{_shared.list}"


def follow(list_place: str) -> None:
    """Has this process look into the list of another one."""
    global _followed  # noqa: PLW0603 - of the process
    _followed = list_place


def share(source: BinaryIO, copy: BinaryIO, told: Any = None) -> None:
    """Shares what came out of a file on the disk, where there are workers that may want it and it is worth that.

    Args:
        source: The container.
        copy: All that was in it; a mark is added at its end.
        told: What else is known of it, as JSON has it.
    """
    size = os.fstat(copy.fileno()).st_size
    if _shared.list < 0 or _followed or not _LEAST_BYTES <= size <= _MOST_BYTES:
        return
    key, mark = _key(source), secrets.token_bytes(_MARK)
    if key is None:
        return
    here, more = copy.tell(), json.dumps(told).encode()
    copy.seek(size)
    copy.write(more + len(more).to_bytes(_LENGTH, "big") + mark)
    copy.flush()
    copy.seek(here)
    with _shared.lock:
        if key in _shared.copies:
            return
        _shared.copies[key] = (os.dup(copy.fileno()), size)
        _shared.write({"key": key, "place": f"/proc/{os.getpid()}/fd/{_shared.copies[key][0]}", "mark": mark.hex()})
        while len(_shared.copies) > _MOST_COPIES or sum(size for _, size in _shared.copies.values()) > _MOST_BYTES:
            _shared.let_go()


def find(source: BinaryIO) -> tuple[BinaryIO, Any] | None:
    """What another process has unpacked of a file, with what is known of it; None where it has to be unpacked here."""
    key = _key(source) if _followed else None
    if key is None:
        return None
    try:
        with open(_followed, "rb") as file:
            lines = [line for line in map(json.loads, file) if tuple(line["key"]) == key]
        if not lines or "place" not in lines[-1]:
            return None
        copy = open(lines[-1]["place"], "rb")  # noqa: SIM115 - handed on
    except (OSError, ValueError):
        return None
    try:
        size = copy.seek(0, os.SEEK_END)
        copy.seek(max(0, size - _LENGTH - _MARK))
        length, mark = int.from_bytes(copy.read(_LENGTH), "big"), copy.read(_MARK)
        if mark.hex() == lines[-1]["mark"]:
            copy.seek(size - _LENGTH - _MARK - length)
            told = json.loads(copy.read(length))
            copy.seek(0)
            return copy, told
    except (OSError, ValueError):
        pass
    copy.close()
    return None


def clear() -> None:
    """Lets go of all copies."""
    with _shared.lock:
        while _shared.copies:
            _shared.let_go()


def _key(source: BinaryIO) -> Key | None:
    """What a file on the disk is known by; None for one that lies in another, or in object storage."""
    if not isinstance(getattr(source, "name", None), str):
        return None
    try:
        status = os.fstat(source.fileno())
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
