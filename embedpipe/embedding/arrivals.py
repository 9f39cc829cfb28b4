"""New files of a folder, once they are whole: what was taken before is kept on disk, so that a restart goes on there.

What tells of changes only says when to look again; what is new is seen by a walk. So nothing is lost where notices are
(too many at once, a folder made and filled at once, a network drive), and a walk is all that a restart needs.
"""

import json
import os
import signal
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from embedpipe.core.display import path_to_text, text_to_path
from embedpipe.core.errors import ArtifactError
from embedpipe.core.files import file_time, replacing
from embedpipe.pages.walking import Found, FoundFile, walk

try:
    import fcntl
except ImportError:  # Windows refuses to open what another program writes to
    fcntl = None  # type: ignore[assignment]

PATIENCE = 30.0
"""Seconds without a change after which a file whose end is missing is taken as it is."""

_TAIL = 4096
_WALKS_SHARE = 10  # so many times as long as the last walk took, none begins: a tenth of one core at most

Signature = tuple[int, int]
"""Size and time of the last change."""


class Journal:
    """What was taken of a folder: a line of JSON for each file, appended once all is done with it.

    Args:
        file: Where it is kept.

    Attributes:
        taken: Size and time of change of each file that was taken, by path.

    Raises:
        ArtifactError: It cannot be read or written.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.taken: dict[str, Signature] = {}
        try:
            text = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
        except OSError as error:
            raise ArtifactError(f"{file} cannot be read: {error.strerror or error}") from error
        for line in text.splitlines():
            with suppress(ValueError, LookupError, TypeError):  # a kill leaves half a line, and its file is taken again
                row = json.loads(line)
                path, gone = text_to_path(row["path"]), bool(row.get("gone"))
                if gone:
                    self.taken.pop(path, None)
                else:
                    self.taken[path] = (int(row["size"]), int(row["mtime_ns"]))
        with replacing(file) as temporary:
            temporary.write_text("".join(map(_line, self.taken.items())), encoding="utf-8")

    def take(self, files: Iterable[tuple[str, Signature]]) -> None:
        """Notes that all is done with some files."""
        files = list(files)
        self._append(map(_line, files))
        self.taken.update(files)

    def drop(self, paths: Iterable[str]) -> None:
        """Notes that files are gone."""
        paths = list(paths)
        self._append(json.dumps({"path": path_to_text(path), "gone": True}) + "\n" for path in paths)
        for path in paths:
            self.taken.pop(path, None)

    def _append(self, lines: Iterable[str]) -> None:
        try:
            with open(self._file, "a+b") as file:
                torn = file.tell() and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n"
                file.write(("\n" * bool(torn) + "".join(lines)).encode("utf-8"))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise ArtifactError(f"cannot write {self._file}: {error.strerror or error}") from error


def _line(item: tuple[str, Signature]) -> str:
    path, (size, mtime_ns) = item
    return json.dumps({"path": path_to_text(path), "size": size, "mtime_ns": mtime_ns}) + "\n"


@dataclass(slots=True)
class _Waiting:
    """A file that is not known yet: since when it has not changed, and before when it is not tried again."""

    found: FoundFile
    since: float
    not_before: float = 0.0
    told: bool = False


class Arrivals:
    """The files of a folder that are new or changed, each once it is whole.

    Args:
        folder: The folder; all folders below it count, also those made later.
        journal: What was taken before.
        exclude: Patterns of what is passed over, see `walking.walk`.
        follow_links: Follow links below the folder.
        settle: Seconds for which a file must not change.
        apart: A folder that is not looked at, an absolute path without links, or "".

    Attributes:
        gone: Files that were taken and are not there any more, by the last walk.
        walked: What the last walk found.
    """

    def __init__(
        self,
        folder: str,
        journal: Journal,
        *,
        exclude: tuple[str, ...] = (),
        follow_links: bool = False,
        settle: float = 2.0,
        apart: str = "",
    ) -> None:
        self._folder, self._journal = folder, journal
        self._exclude, self._follow_links, self._settle = exclude, follow_links, settle
        self._apart = apart.rstrip(os.sep) + os.sep if apart else ""
        self._waiting: dict[str, _Waiting] = {}
        self._next_walk = 0.0
        self.walked: list[Found] = []
        self.gone: list[str] = []

    def __len__(self) -> int:
        """How many files are waited for."""
        return len(self._waiting)

    def walk(self) -> None:
        """Looks for what is new; a walk of a large folder is put off, so that it costs a tenth of the time at most.

        Raises:
            EmbedpipeError: The folder is not there.
        """
        begin = time.monotonic()
        self.walked = list(self._walk())
        there: set[str] = set()
        for item in self.walked:
            if isinstance(item, FoundFile):
                there.add(item.path)
                self._meet(item, begin)
        for path in self._waiting.keys() - there:
            del self._waiting[path]
        # where nothing at all is left, a disk may not be mounted
        self.gone = [path for path in self._journal.taken if path not in there] if there else []
        now = time.monotonic()
        self._next_walk = now + _WALKS_SHARE * (now - begin)

    def _walk(self) -> Iterator[Found]:
        for item in walk([self._folder], self._exclude, follow_links=self._follow_links):
            path = item.path if not hasattr(item, "page") else item.page.source
            if not (self._apart and _real(path).startswith(self._apart)):
                yield item

    def _meet(self, found: FoundFile, now: float) -> None:
        signature = (found.size, found.mtime_ns)
        if self._journal.taken.get(found.path) == signature:
            self._waiting.pop(found.path, None)
            return
        known = self._waiting.get(found.path)
        if known is None or (known.found.size, known.found.mtime_ns) != signature:
            self._waiting[found.path] = _Waiting(found, now)

    def ready(self) -> list[FoundFile]:
        """The files that are whole now, oldest first."""
        now, found = time.monotonic(), []
        for path, waiting in list(self._waiting.items()):
            if now < waiting.not_before or now - waiting.since < self._settle or not self._renewed(path, waiting, now):
                continue
            still = now - waiting.since
            if is_whole(path) or (still >= PATIENCE and not is_written_to(path)):
                found.append(waiting.found)
            else:
                waiting.not_before = now + max(self._settle / 2, 0.2)
        return sorted(found, key=lambda one: (one.mtime_ns, one.path))

    def _renewed(self, path: str, waiting: _Waiting, now: float) -> bool:
        """Whether a file is as it was when it was looked at last; else it is waited for anew."""
        try:
            status = os.stat(path, follow_symlinks=self._follow_links)
        except OSError:
            del self._waiting[path]
            return False
        if not stat.S_ISREG(status.st_mode):
            del self._waiting[path]
            return False
        if (status.st_size, file_time(status.st_mtime_ns)) == (waiting.found.size, waiting.found.mtime_ns):
            return True
        found = replace(waiting.found, size=status.st_size, mtime_ns=status.st_mtime_ns)
        self._waiting[path] = _Waiting(found, now)
        return False

    def unchanged(self, files: Iterable[FoundFile]) -> list[FoundFile]:
        """Those that are still as they were found."""
        now = time.monotonic()
        return [
            one
            for one in files
            if one.path in self._waiting
            and self._waiting[one.path].found == one
            and self._renewed(one.path, self._waiting[one.path], now)
        ]

    def held_open(self) -> list[str]:
        """Files that another program has had open for long, each once."""
        now, found = time.monotonic(), []
        for path, waiting in self._waiting.items():
            if not waiting.told and now - waiting.since > PATIENCE and is_written_to(path):
                waiting.told = True
                found.append(path)
        return found

    def done(self, files: Iterable[FoundFile]) -> None:
        """Notes that all is done with some files, as they were found."""
        files = list(files)
        self._journal.take((one.path, (one.size, one.mtime_ns)) for one in files)
        for one in files:
            self._waiting.pop(one.path, None)

    def later(self, files: Iterable[FoundFile], seconds: float) -> None:
        """Puts some files off."""
        for one in files:
            if one.path in self._waiting:
                self._waiting[one.path].not_before = time.monotonic() + seconds

    def left(self) -> None:
        """Notes that what is gone was dealt with."""
        self._journal.drop(self.gone)
        self.gone = []

    def seconds(self) -> float | None:
        """How long nothing can become ready; None where no file is waited for."""
        now = time.monotonic()
        dues = (max(w.not_before, w.since + self._settle) - now for w in self._waiting.values())
        return max(0.05, min(dues)) if self._waiting else None

    def walk_in(self) -> float:
        """How long the next walk should be put off, seconds."""
        return max(0.0, self._next_walk - time.monotonic())


def _real(path: str) -> str:
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def is_whole(path: str) -> bool:
    """Whether a file can be opened, nobody writes to it, and it ends as files of its kind do.

    That it does not end so proves nothing: some programs put more behind the end of a PDF, or leave it out.
    """
    try:
        with open(path, "rb", opener=lambda p, flags: os.open(p, flags | getattr(os, "O_NONBLOCK", 0))) as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(1024)
            file.seek(max(0, size - _TAIL))
            tail = file.read(_TAIL)
    except OSError:
        return False
    return bool(head) and _ends(head, tail, size) and not is_written_to(path)


def _ends(head: bytes, tail: bytes, size: int) -> bool:
    if b"%PDF-" in head:
        return b"%%EOF" in tail
    if head.startswith(b"\x89PNG"):
        return b"IEND" in tail
    if head.startswith(b"\xff\xd8\xff"):
        return b"\xff\xd9" in tail
    if head[:4] in (b"II*\0", b"MM\0*"):  # its first directory may be written last
        first = int.from_bytes(head[4:8], "little" if head[:1] == b"I" else "big")
        return 0 < first < size
    return True


def is_written_to(path: str) -> bool:
    """Whether a program has a file open for writing; False where the system does not say.

    Linux gives a read lease only on files that nobody has open for writing. A process that opens one meanwhile breaks
    the lease, which is told by SIGIO: its default action ends a process, so nothing is asked unless it is ignored.
    """
    if fcntl is None or not hasattr(fcntl, "F_SETLEASE") or signal.getsignal(signal.SIGIO) is not signal.SIG_IGN:
        return False
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        except BlockingIOError:
            return True
        except OSError:
            return False  # not ours, or of a file system without leases
        finally:
            os.close(handle)
    return False
