"""Waits until something may have changed below a folder: by the system's notices, or by time where it gives none."""

import os
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from watchfiles._rust_notify import RustNotify

INTERVAL = 10.0
"""Seconds between two looks where the system gives no notices."""

_STEP, _GROUP = 250, 1000  # milliseconds: how often signals are looked for, and how long changes are gathered
_SILENT = (
    "nfs",
    "cifs",
    "smb",
    "9p",
    "afs",
    "ceph",
    "fuse",
    "vboxsf",
    "vmhgfs",
    "prl_fs",
    "drvfs",
    "virtiofs",
    "ncpfs",
)
"""Begins of names of file systems whose changes by other machines the system does not tell of."""

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
        self.interval = poll or INTERVAL
        self.why = "--poll" if poll else silent(folder)
        if not self.why:
            try:
                self._notify = RustNotify([folder], False, False, 300, True, True)
            except (OSError, RuntimeError) as error:  # most often fs.inotify.max_user_watches
                self.why = f"the system gives none: {error}"

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
        woken = self._notify.watch(
            _GROUP, min(_STEP, max(1, int(seconds * 1000))), max(1, int(seconds * 1000)), self._stop
        )
        if woken == "signal":
            raise KeyboardInterrupt
        return "stop" if woken == "stop" else "time" if woken == "timeout" else "changed"

    def pause(self, seconds: float) -> bool:
        """Waits, whatever changes; whether to go on."""
        return not self._stop.wait(seconds)


def silent(folder: str) -> str:
    """Why the system gives no notices of a folder: its file system lies on another machine; "" where it does."""
    best, kind = "", ""
    place = os.path.realpath(folder)
    with suppress(OSError):
        for line in Path("/proc/self/mounts").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            _, mount, name, *_ = line.split(" ")
            mount = mount.encode("utf-8", "surrogateescape").decode("unicode_escape") if "\\" in mount else mount
            inside = place == mount or place.startswith(mount.rstrip("/") + "/")
            if inside and len(mount) >= len(best):
                best, kind = mount, name
    return f"it lies on {kind}" if kind.startswith(_SILENT) and not kind.startswith("fuseblk") else ""
