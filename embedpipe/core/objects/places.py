"""What `os` tells of files, of objects as well: a folder is whatever objects have a slash behind its name."""

import contextlib
import errno
import hashlib
import logging
import os
import stat as modes
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from embedpipe.core.objects.service import called
from embedpipe.core.objects.urls import absolute, bucket_of, is_url, joined

log = logging.getLogger(__name__)
_SECOND = 10**9
_ETAGS = ("ETag", "etag", "md5Hash", "content_md5")
_TIMES = ("LastModified", "last_modified", "mtime", "updated")
_REMEMBERED, _FRESH = 256, 10.0  # of answers, for seconds


@dataclass(frozen=True, slots=True)
class Status:
    """What is known of an object, named as `os.stat` does.

    Attributes:
        st_mode: That of a file or a folder.
        st_size: Bytes.
        st_mtime_ns: The second in which it was written, and a number of its ETag in place of the fraction of a second:
            whoever compares size and time also compares the ETag, which is another one for other content.
        etag: As the service gives it; "" where it gives none.
        st_dev: Objects have none.
        st_ino: Likewise.
    """

    st_mode: int
    st_size: int
    st_mtime_ns: int
    etag: str = ""
    st_dev: int = 0
    st_ino: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """Something in a folder, as `os.DirEntry`."""

    name: str
    path: str
    status: Status

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is a folder."""
        del follow_symlinks
        return modes.S_ISDIR(self.status.st_mode)

    def is_symlink(self) -> bool:
        """There are no links."""
        return False

    def stat(self, *, follow_symlinks: bool = True) -> Status:
        """What is known of it."""
        del follow_symlinks
        return self.status


def _status(info: dict[str, Any]) -> Status:
    """From what a file system of fsspec tells; services differ in the names."""
    if info.get("type") == "directory":
        return Status(modes.S_IFDIR | 0o755, 0, 0)
    etag = str(next((info[name] for name in _ETAGS if info.get(name)), "")).strip('"')
    when = next((info[name] for name in _TIMES if info.get(name)), 0)
    if isinstance(when, str):
        with contextlib.suppress(ValueError):
            when = datetime.fromisoformat(when)
    seconds = when.timestamp() if isinstance(when, datetime) else float(when) if isinstance(when, int | float) else 0.0
    fraction = int.from_bytes(hashlib.sha256(etag.encode()).digest()[:8], "big") % _SECOND if etag else 0
    size = info.get("size")
    if size is None:
        raise OSError(errno.EIO, "the service does not tell its size")
    return Status(modes.S_IFREG | 0o644, int(size), int(seconds) * _SECOND + fraction, etag)


_known: OrderedDict[str, tuple[float, Status]] = OrderedDict()


def fresh_status(url: str) -> Status:
    """What the service says of an object, or a folder of objects, now.

    Raises:
        OSError: It is not there, or the service does not say.
    """
    if url == bucket_of(url):  # some services tell of buckets that are not there as of others
        called(url, lambda system: system.ls(url, detail=False, refresh=True))
        return Status(modes.S_IFDIR | 0o755, 0, 0)
    status = _status(called(url, lambda system: system.info(url, refresh=True)))
    _remember(url, status)
    return status


def _remember(url: str, status: Status) -> None:
    _known[url] = (time.monotonic(), status)
    while len(_known) > _REMEMBERED:
        with contextlib.suppress(KeyError):
            _known.popitem(last=False)


def stat(path: str) -> "os.stat_result | Status":
    """As `os.stat`, of a URL as well; the service is not asked again within seconds.

    Raises:
        OSError: As `os.stat`.
    """
    if not is_url(path):
        return os.stat(path)
    when, status = _known.get(path, (float("-inf"), None))
    if status is None or time.monotonic() - when > _FRESH:
        return fresh_status(path)
    return status


def forget_statuses() -> None:
    """Has the next look at each object ask the service."""
    _known.clear()


def exists(path: str) -> bool:
    """As `os.path.exists`; an object that the service does not tell of counts as not there."""
    if not is_url(path):
        return os.path.exists(path)
    with contextlib.suppress(OSError):
        stat(path)
        return True
    return False


def is_file(path: str) -> bool:
    """As `os.path.isfile`, of a URL as well."""
    if not is_url(path):
        return os.path.isfile(path)
    with contextlib.suppress(OSError):
        return modes.S_ISREG(stat(path).st_mode)
    return False


def is_folder(path: str) -> bool:
    """As `os.path.isdir`, of a URL as well."""
    if not is_url(path):
        return os.path.isdir(path)
    with contextlib.suppress(OSError):
        return modes.S_ISDIR(stat(path).st_mode)
    return False


def scan(folder: str) -> "Sequence[os.DirEntry[str] | Entry]":
    """What lies in a folder, sorted by name.

    Raises:
        OSError: It cannot be listed.
    """
    if not is_url(folder):
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    return sorted(_listed(folder), key=lambda entry: entry.name)


def _listed(folder: str) -> Iterator[Entry]:
    inside = f"{folder.rstrip('/')}/".partition("://")[2]
    for info in called(folder, lambda system: system.ls(folder, detail=True, refresh=True)):
        name = str(info["name"]).partition("://")[2] or str(info["name"])
        name = name[len(inside) :] if name.startswith(inside) else ""
        if info.get("type") == "directory":
            name = name.rstrip("/")
        if not name or "/" in name:  # the mark of the folder itself, which consoles make; or a key with an empty part
            if int(info.get("size") or 0):
                log.warning("%s: an object whose key has an empty part is passed over", joined(folder, name or "/"))
            continue
        status = _status(info)
        path = joined(folder, name)
        if modes.S_ISREG(status.st_mode):
            _remember(path, status)
        yield Entry(name, path, status)


def below(folder: str) -> dict[str, Status]:
    """Every object below a folder, by its name from there, with slashes; empty where there is none.

    Raises:
        OSError: It cannot be listed.
    """
    inside = f"{folder.rstrip('/')}/".partition("://")[2]
    try:
        found = called(folder, lambda system: system.find(folder, detail=True, refresh=True))
    except FileNotFoundError:
        return {}
    names = {name[len(inside) :]: info for name, info in found.items() if name.startswith(inside)}
    return {name: _status(info) for name, info in names.items() if name and not name.endswith("/")}


__all__ = ["Entry", "Status", "absolute", "below", "exists", "forget_statuses", "fresh_status", "is_file", "is_folder"]
__all__ += ["scan", "stat"]
