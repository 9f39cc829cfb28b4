"""Where things are kept between runs that can be made again: the user's cache folder."""

import contextlib
import functools
import os
import stat
import tempfile
from pathlib import Path

import platformdirs

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
