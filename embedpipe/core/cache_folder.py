"""Where things are kept between runs that can be made again: the user's cache folder; and folders of one run alone."""

import contextlib
import errno
import functools
import os
import shutil
import stat
import tempfile
import weakref
from pathlib import Path

import platformdirs

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

CACHE_VARIABLE = "EMBEDPIPE_CACHE"
"""Names another folder than the user's cache."""


def cache_folder() -> Path:
    """Where converted networks and documents are: `$EMBEDPIPE_CACHE`, or the user's cache folder.

    A user without a home, such as the number that a container is run as, has a folder in the one for temporary files;
    where somebody else made that, a new one is made and used by this process alone.
    """
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named)
    with contextlib.suppress(RuntimeError):
        found = platformdirs.user_cache_path("embedpipe", appauthor=False)
        if found.is_absolute():  # "~" stays as it is where the home is unknown
            return found
    return _cache_without_home()


@functools.cache
def _cache_without_home() -> Path:
    folder = Path(tempfile.gettempdir()) / f"embedpipe-cache-{os.getuid()}"
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.stat(follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid():
            return folder
    return Path(tempfile.mkdtemp(prefix="embedpipe-cache-"))


_BEGIN, _END = "embedpipe-", ".aside"


class Aside(tempfile.TemporaryDirectory[str]):
    """A folder that goes with the process that made it, also where that is killed: the next one removes it.

    Whoever makes one holds a lock on the folder itself, which the system releases at his end; a new one first removes
    those beside it that nobody holds. Numbers of processes would not tell: containers that share a folder have the same
    ones. A forked process holds the lock as well. Where folders cannot be locked (Windows), those of killed ones stay.

    Args:
        purpose: Part of its name.
        beside: The folder that it is made in; that of temporary files if not given.

    Attributes:
        path: Of the folder.
    """

    def __init__(self, purpose: str, beside: Path | None = None) -> None:
        remove_left(beside)
        while True:
            super().__init__(prefix=f"{_BEGIN}{purpose}-", suffix=_END, dir=beside, ignore_cleanup_errors=True)
            self.path = Path(self.name)
            try:
                handle = _locked(self.path)
            except _TakenError:  # another one took it for left over, before it was locked
                super().cleanup()
            else:
                self._release = weakref.finalize(self, os.close, handle) if handle is not None else None
                return

    def cleanup(self) -> None:
        """Removes it."""
        super().cleanup()
        if self._release is not None:
            self._release()


def remove_left(beside: Path | None = None) -> None:
    """Removes folders that `Aside` made and whose process was killed: in a folder, else in that of temporary files."""
    with contextlib.suppress(OSError):
        for folder in list(Path(beside or tempfile.gettempdir()).glob(f"{_BEGIN}*{_END}")):
            with contextlib.suppress(_TakenError):
                handle = _locked(folder)
                if handle is not None:
                    shutil.rmtree(folder, ignore_errors=True)
                    os.close(handle)


class _TakenError(Exception):
    """Somebody holds a folder, or it is not there any more, or not ours."""


def _locked(folder: Path) -> int | None:
    """A handle that locks a folder of this user until it is closed; None where folders cannot be locked.

    Raises:
        _TakenError: It is not to be had.
    """
    if fcntl is None:
        return None
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        raise _TakenError from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ours = os.fstat(handle).st_uid == os.getuid() and os.path.samestat(os.fstat(handle), os.lstat(folder))
    except BlockingIOError:
        ours = False
    except OSError as error:
        if error.errno != errno.ENOENT:  # a file system that has no locks
            os.close(handle)
            return None
        ours = False
    if not ours:
        os.close(handle)
        raise _TakenError
    return handle
