"""Waits until something may have changed below a folder: by the system's notices, or by time where it gives none."""

import os
import re
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError

INTERVAL = 10.0
"""Seconds between two looks where the system gives no notices."""

_STEP, _GROUP = 250, 1000  # milliseconds: how often signals are looked for, and how long changes are gathered
_FAILURES = 20  # one after the other
_SILENT = ("nfs", "cifs", "smb", "9p", "afs", "ceph", "fuse", "vboxsf", "vmhgfs", "drvfs", "virtiofs", "ncpfs")
"""Begins of names of file systems whose changes by other machines the system does not tell of."""

_OCTAL = re.compile(r"\\([0-7]{3})")

Woken = Literal["changed", "time", "stop"]


class Notices:
    """What tells of changes below a folder; a context manager.

    Args:
        folder: The folder, which must be there.
        poll: Seconds between two looks, without notices; None for notices where they work.
        stop: Ends every wait at once.

    Attributes:
        why: Why there are no notices, or "" where there are.
        interval: Seconds between two looks without them.
    """

    def __init__(self, folder: str, poll: float | None = None, stop: threading.Event | None = None) -> None:
        self._stop = stop or threading.Event()
        self._notify: RustNotify | None = None
        self._folder, self._failures = folder, 0
        self.interval = poll or INTERVAL
        self.why = "--poll" if poll else silent(folder)
        self._listen()

    def _listen(self) -> None:
        if self.why:
            return
        try:
            self._notify = RustNotify([self._folder], False, False, 300, True, True)
        except (OSError, RuntimeError) as error:  # most often fs.inotify.max_user_watches
            self.why = f"the system gives no notices: {error}"

    def __enter__(self) -> Self:
        """Nothing is to be done."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Ends the thread that listens."""
        if self._notify is not None:
            self._notify.close()

    def wait(self, seconds: float) -> Woken:
        """Waits for a change, at most so long.

        Raises:
            KeyboardInterrupt: A signal came that ends the program.
        """
        if self._notify is None:
            return "stop" if self._stop.wait(min(seconds, self.interval)) else "time"
        most = max(1, int(seconds * 1000))
        try:
            woken = self._notify.watch(_GROUP, min(_STEP, most), most, self._stop)
        except WatchfilesRustInternalError as error:  # a name that is not UTF-8: something has changed
            self._notify.close()
            self._notify, self._failures = None, self._failures + 1
            self.why = f"the system's notices fail: {error}" if self._failures > _FAILURES else ""
            self._listen()
            return "changed"
        self._failures = 0
        if woken == "signal":
            raise KeyboardInterrupt
        return "stop" if woken == "stop" else "time" if woken == "timeout" else "changed"


def silent(folder: str) -> str:
    """Why the system gives no notices of a folder: its file system lies on another machine; "" where it does."""
    best, kind = "", ""
    place = os.path.realpath(folder)
    with suppress(OSError):
        for line in Path("/proc/self/mounts").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            _, mount, name, *_ = line.split(" ")
            mount = _OCTAL.sub(lambda found: chr(int(found[1], 8)), mount)  # spaces and the like
            inside = place == mount or place.startswith(mount.rstrip("/") + "/")
            if inside and len(mount) >= len(best):
                best, kind = mount, name
    return f"it lies on {kind}" if kind.startswith(_SILENT) and kind != "fuseblk" else ""
