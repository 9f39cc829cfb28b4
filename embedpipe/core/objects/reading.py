"""Content of objects: fetched in ranges into a private file, each range once, and kept while a run may need it again.

The files lie in a folder that the first process of a run makes and its workers share, so that what one fetched to hash
it another draws. The oldest go when they are more than `EMBEDPIPE_FETCHED_MB` megabytes, and all go with that process.
"""

import atexit
import contextlib
import errno
import hashlib
import io
import os
import stat as modes
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from embedpipe.core.cache_folder import Aside
from embedpipe.core.errors import EmbedpipeError
from embedpipe.core.objects.places import Status, fresh_status, stat
from embedpipe.core.objects.service import called
from embedpipe.core.objects.urls import is_url

T = TypeVar("T")

FOLDER_VARIABLE, SIZE_VARIABLE = "EMBEDPIPE_FETCHED", "EMBEDPIPE_FETCHED_MB"
_MEGABYTE = 1 << 20
_MOST_KEPT = 2048  # megabytes
_BLOCK, _LARGEST_RANGE = _MEGABYTE, 8 * _MEGABYTE
_AT_ONCE, _AHEAD = 8, 24
_making = threading.Lock()


def folder() -> Path:
    """The folder of fetched objects; made, and that of killed runs removed, where this run has none yet."""
    with _making:
        named = os.environ.get(FOLDER_VARIABLE, "")
        if named and os.path.isdir(named):
            return Path(named)
        made = Aside("objects")
        os.environ[FOLDER_VARIABLE] = made.name
        atexit.register(_remove, made, os.getpid())
        return made.path


def _remove(made: Aside, owner: int) -> None:
    if os.getpid() == owner:
        made.cleanup()


def _most() -> int:
    text = os.environ.get(SIZE_VARIABLE, "")
    return (int(text) if text.isdecimal() else _MOST_KEPT) * _MEGABYTE


def _make_room(kept: Path) -> None:
    """Removes what was used longest ago; whoever has it open keeps it until he closes it."""
    files = []
    for file in folder().iterdir():
        with contextlib.suppress(OSError):
            status = file.stat()
            files.append((status.st_mtime_ns, status.st_size, file))
    left = sum(size for _, size, _ in files)
    for _, size, file in sorted(files):
        if left <= _most():
            break
        if file != kept and "." not in file.name:
            left -= size
            with contextlib.suppress(OSError):
                file.unlink()


def _place(url: str, status: "os.stat_result | Status") -> Path:
    key = hashlib.sha256(f"{url}\n{status.st_size}\n{status.st_mtime_ns}".encode()).hexdigest()[:32]
    return folder() / key


class Copy(io.RawIOBase):
    """An object as a file that can be read anywhere: a range comes when it is first asked for.

    Attributes:
        size: Bytes.
    """

    def __init__(self, url: str, status: "os.stat_result | Status") -> None:
        super().__init__()
        self.url, self._status, self.size = url, status, status.st_size
        self._at, self._range = 0, _BLOCK
        self._kept = _place(url, status)
        try:
            self._file: BinaryIO = open(self._kept, "rb")  # noqa: SIM115 - closed with this
            os.utime(self._kept)
            self._missing: set[int] = set()
            self._new = Path()
        except FileNotFoundError:
            handle, name = tempfile.mkstemp(prefix=f"{self._kept.name}.", dir=folder())
            self._file, self._new = open(handle, "w+b"), Path(name)  # noqa: SIM115 - likewise
            self._missing = set(range(-(-self.size // _BLOCK)))
        self._several = len(self._missing) * _BLOCK > self._range

    @property
    def path(self) -> str:
        """Leads to what was fetched so far, until this is closed; to all of it after `complete`."""
        if sys.platform == "linux":
            return f"/proc/self/fd/{self._file.fileno()}"
        return str(self._kept if self._new == Path() else self._new)

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def fileno(self) -> int:
        """Of what was fetched."""
        return self._file.fileno()

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Goes elsewhere; nothing is fetched by that."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer as far as one block goes; 0 at the end."""
        count = min(len(buffer), self.size - self._at, _BLOCK - self._at % _BLOCK)
        if count <= 0:
            return 0
        if self._at // _BLOCK in self._missing:
            self._fetch(self._at // _BLOCK)
        self._file.seek(self._at)
        content = self._file.read(count)
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)

    def _fetch(self, first: int) -> None:
        """Fetches a block, and those behind it where it was read in order: twice as many each time."""
        in_order = first == 0 or first - 1 not in self._missing
        self._range = min(self._range * 2, _LARGEST_RANGE) if in_order and first else _BLOCK
        last = first
        while last + 1 in self._missing and (last + 2 - first) * _BLOCK <= self._range:
            last += 1
        start, end = first * _BLOCK, min((last + 1) * _BLOCK, self.size)
        content = called(self.url, lambda system: _whole(system.cat_file(self.url, start=start, end=end), end - start))
        self._file.seek(start)
        self._file.write(content)
        self._file.flush()
        self._missing -= set(range(first, last + 1))
        if not self._missing:
            self._keep()

    def _keep(self) -> None:
        """Takes what was fetched for what the run shares; of several ranges only where they are of one content."""
        if self._several and fresh_status(self.url).st_mtime_ns != self._status.st_mtime_ns:
            raise OSError(errno.EIO, "it changed while it was read; run again when it is at rest", self.url)
        self._file.flush()
        with contextlib.suppress(OSError):
            os.replace(self._new, self._kept)
            self._new = Path()
            _make_room(self._kept)

    def complete(self) -> "Copy":
        """Fetches all that is missing; raises OSError."""
        while self._missing:
            self._fetch(min(self._missing))
        return self

    @property
    def file(self) -> BinaryIO:
        """What was fetched, at its begin."""
        self._file.seek(0)
        return self._file

    def head(self) -> bytes:
        """Its first bytes."""
        self.seek(0)
        return cast("BinaryIO", self).read(1024)

    def close(self) -> None:
        """Lets go of it; what is complete stays for others."""
        if not self.closed:
            self._file.close()
            if self._new != Path():
                with contextlib.suppress(OSError):
                    self._new.unlink()
        super().close()


def _whole(content: bytes, wanted: int) -> bytes:
    """The content of a range; raises OSError, so that it is asked for again, where the connection broke off."""
    if len(content) != wanted:
        raise OSError(errno.EIO, f"{len(content)} of {wanted} bytes came")
    return content


def opened(path: str, opener: Any = None) -> BinaryIO:
    """Opens a file for reading, or an object, of which only what is read is fetched.

    Raises:
        OSError: It cannot be read.
    """
    if not is_url(path):
        return open(path, "rb", opener=opener)
    return cast("BinaryIO", io.BufferedReader(_copy(path), _BLOCK))


def _copy(url: str) -> Copy:
    status = stat(url)
    if not modes.S_ISREG(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), url)
    return Copy(url, status)


def fetched(url: str) -> Copy:
    """All of an object, as a file that readers can open by a path; raises OSError."""
    copy = _copy(url)
    try:
        return copy.complete()
    except BaseException:
        copy.close()
        raise


def ahead(items: Iterable[T], wanted: Callable[[T], str | None]) -> Iterator[T]:
    """Passes items on in their order, while small objects of the next ones are fetched already: each takes its time.

    Args:
        items: Anything.
        wanted: Gives the URL of the object that an item will be read from; None where nothing is to be fetched.
    """
    coming: deque[tuple[T, Future[None] | None]] = deque()
    with ThreadPoolExecutor(_AT_ONCE, "embedpipe-fetch") as pool:
        try:
            for item in items:
                url = wanted(item)
                coming.append((item, None if url is None else pool.submit(_fetch_small, url)))
                while coming and (coming[0][1] is None or len(coming) > _AHEAD):
                    yield _arrived(*coming.popleft())
            while coming:
                yield _arrived(*coming.popleft())
        finally:
            for _, fetching in coming:
                if fetching is not None:
                    fetching.cancel()


def _arrived(item: T, fetching: "Future[None] | None") -> T:
    if fetching is not None:
        fetching.result()
    return item


def _fetch_small(url: str) -> None:
    """Whoever reads the object says what is wrong with it."""
    with contextlib.suppress(OSError, EmbedpipeError):
        if stat(url).st_size <= _LARGEST_RANGE:
            fetched(url).close()


def local_path(file: BinaryIO, path: str) -> str:
    """A path of a file that `opened` opened which leads to all of its content; fetches the rest of an object."""
    copy = getattr(file, "raw", None)
    return copy.complete().path if isinstance(copy, Copy) else path
