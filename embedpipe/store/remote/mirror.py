"""The copy of artifacts in object storage on this machine, brought up to date before a command and sent back after it.

    <cache>/mirrors/<name>/              the artifacts, as every other module reads and writes them
    <cache>/mirrors/<name>.state.json    ETag of each object, and size and time of its file here, when both were alike

What is immutable, the parts, is fetched and sent once. Files go in the order in which they were written here, a
manifest after all that it lists, so others see what a reader of the same disk would see. What a killed run wrote here
and did not send goes with the next writer of this machine, unless somebody else has written meanwhile: then it is put
aside. Indexes are derived and stay on each machine.
"""

import contextlib
import hashlib
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from embedpipe.core import claims
from embedpipe.core.errors import ArtifactError
from embedpipe.core.files import is_temporary, making, read_json, sha256_of, synced, waiting, write_json
from embedpipe.core.objects.places import Status, below, scan
from embedpipe.core.objects.service import called
from embedpipe.core.objects.urls import joined
from embedpipe.store.remote.lock import Lock, holding

log = logging.getLogger(__name__)
PAUSE = 5.0
"""Seconds between two looks at what a writer has written so far."""

_KEPT_HERE = frozenset({"index", "shards", "explanations", "demo", ".lock", ".lock-holder"})
_FOLDERS = tuple(name for name in claims.FOLDERS if name not in _KEPT_HERE)
_FILES = tuple(name for name in claims.FILES if name not in _KEPT_HERE)
_AT_ONCE, _MOST_LOOKS = 8, 10
_WAITED_SECONDS = 600.0

Known = tuple[str, int, int]
"""ETag of an object, and size and time of change of its file here."""


class Mirror:
    """Artifacts in object storage.

    Attributes:
        url: Where they are.
        folder: Their copy on this machine.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self._state = folder.with_name(f"{folder.name}.state.json")
        self._foreign = ""

    def pull(self) -> None:
        """Brings the copy up to date.

        Raises:
            ArtifactError: The service does not answer, refuses access, or the artifacts change all the time.
        """
        with self._alone(), self._in_words(writes=False):
            self._pull()

    def _pull(self) -> None:
        known = self._known()
        for _ in range(_MOST_LOOKS):
            there = self._objects()
            newer = {name for name, status in there.items() if known.get(name, ("",))[0] != status.etag}
            gone = known.keys() - there.keys()
            if not newer and not gone:
                return
            own = self._own_changes(known)
            if own and (alike := self._alike(own, newer, gone, there)):
                for name, noted in alike.items():
                    known.pop(name, None)
                    known.update({name: noted} if noted else {})
                self._remember(known)
                continue
            if own:
                self._put_aside(own)
                newer |= own & there.keys()
            for name in gone:
                known.pop(name)
                with contextlib.suppress(OSError):
                    (self.folder / name).unlink()
            # manifests last: a copy that is cut short lists no part that is not there
            order = sorted(newer, key=lambda name: (name.endswith(".json"), there[name].st_mtime_ns, name))
            for run in _runs(order):
                known.update(self._each(partial(self._fetched, there), run))
            self._give_times(newer, known)
            self._remember(known)
        raise ArtifactError(f"{self.url} changes faster than it can be read: try again when its writer has ended")

    def _objects(self) -> dict[str, Status]:
        """Those of artifacts, by name; whatever else lies there is nobody's business."""
        try:
            top = scan(self.url)
        except FileNotFoundError:
            return {}
        names = {entry.name for entry in top}
        found = {entry.name: entry.stat() for entry in top if entry.name in _FILES and not entry.is_dir()}
        for name in _FOLDERS:
            if name in names:
                found.update({f"{name}/{inner}": s for inner, s in below(joined(self.url, name)).items()})
        others = names - {*claims.FILES, *claims.FOLDERS}
        self._foreign = min(others) if others and claims.MANIFEST not in names else ""
        return {name: status for name, status in found.items() if _is_sent(name)}  # type: ignore[misc]

    def _fetched(self, there: dict[str, Status], name: str) -> tuple[str, Known] | None:
        """Fetches an object; None where it is gone by now, which the next look tells."""
        file, url, status = self.folder / name, joined(self.url, name), there[name]
        with making(file.parent) as temporary:
            try:
                called(url, lambda system: _checked(system.get_file(url, str(temporary)), temporary, status.st_size))
            except FileNotFoundError:
                return None
            os.utime(temporary, ns=(status.st_mtime_ns, status.st_mtime_ns))
            synced(temporary)
            os.replace(temporary, file)
        return name, (status.etag, *_size_and_time(file))

    def _give_times(self, fetched: set[str], known: dict[str, Known]) -> None:
        """Gives parts that were fetched the times that their manifests say, so that no writer hashes them again.

        One whose content is not what its manifest says keeps its own time: the next writer puts it aside.
        """
        for name in (name for name in known if name.endswith(".json")):
            with contextlib.suppress(ArtifactError, LookupError, TypeError, AttributeError, ValueError):
                for part in read_json(self.folder / name).get("parts", ()):
                    own = f"{name.rpartition('/')[0]}/{part['name']}"
                    file = self.folder / own
                    if own in fetched and own in known and sha256_of(file) == part["sha256"]:
                        os.utime(file, ns=(part["mtime_ns"], part["mtime_ns"]))
                        known[own] = known[own][0], *_size_and_time(file)

    def _own_changes(self, known: dict[str, Known]) -> set[str]:
        """What was written or removed here since both were alike."""
        here = self._files()
        changed = {name for name, own in here.items() if known.get(name, ("", -1, -1))[1:] != own}
        return changed | (known.keys() - here.keys())

    def _alike(
        self, own: set[str], newer: set[str], gone: set[str], there: dict[str, Status]
    ) -> dict[str, Known | None]:
        """What is there as it is here: a run that was killed had sent, or removed, it and could not note it."""
        found: dict[str, Known | None] = {name: None for name in own & gone if not (self.folder / name).exists()}
        both = [name for name in own & newer if (self.folder / name).exists()]
        found.update(self._each(partial(self._compared, there), both) if both else ())
        return found

    def _compared(self, there: dict[str, Status], name: str) -> tuple[str, Known] | None:
        """What is to be noted of a file whose object is the same; None where it is another."""
        file, url, status = self.folder / name, joined(self.url, name), there[name]
        own = _size_and_time(file)
        if own[0] != status.st_size:
            return None
        with making(file.parent) as temporary:
            try:
                called(url, lambda system: _checked(system.get_file(url, str(temporary)), temporary, status.st_size))
            except FileNotFoundError:
                return None
            same = sha256_of(temporary) == sha256_of(file)
        return (name, (status.etag, *own)) if same else None

    def _put_aside(self, names: set[str]) -> None:
        files = [name for name in names if (self.folder / name).exists()]
        if not files:
            return
        aside = self.folder.with_name(f"{self.folder.name}.unsent-{time.strftime('%Y%m%d-%H%M%S')}")
        for name in files:
            (aside / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(self.folder / name, aside / name)
        log.warning(
            "%s was written by somebody else since: %d files that a killed run had not sent are put aside in %s",
            self.url,
            len(files),
            aside,
        )

    @contextlib.contextmanager
    def writing(self, what: str, *, share: bool) -> Iterator[None]:
        """Holds the artifacts for one writer, and sends what it writes while it goes on and at the end.

        Args:
            what: What this writer does, shown to others who come meanwhile.
            share: The user wants them beside other objects.

        Raises:
            BusyError: Another writer has them.
            ArtifactError: They cannot be read or written, or other objects lie there.
        """
        with holding(self.url, what) as lock:
            self.pull()
            if self._foreign and not share:
                raise ArtifactError(
                    f"{self.url} holds other files ({self._foreign}) and no artifacts: give --artifacts a new or an "
                    "empty folder, or say --share-folder to keep artifacts beside these files"
                )
            end = threading.Event()
            thread = threading.Thread(target=self._send_on, args=(lock, end), name="embedpipe-send", daemon=True)
            thread.start()
            try:
                yield
            finally:
                end.set()
                thread.join()
                self.push(lock)

    def _send_on(self, lock: Lock, end: threading.Event) -> None:
        while not end.wait(PAUSE):
            with contextlib.suppress(ArtifactError):  # the last look, at the end, says what is wrong
                self.push(lock)

    def push(self, lock: Lock) -> None:
        """Sends what was written here since the last time.

        Raises:
            ArtifactError: It cannot be sent, or another writer has taken over; it is kept here.
        """
        with self._alone(), self._in_words(writes=True):
            lock.check()
            known, here = self._known(), self._files()
            changed = [name for name, own in here.items() if known.get(name, ("", -1, -1))[1:] != own]
            gone = known.keys() - here.keys()
            if not changed and not gone:
                return
            sent: dict[str, tuple[int, int]] = {}
            for run in _runs(sorted(changed, key=lambda name: (here[name][1], name.endswith(".json"), name))):
                lock.check()
                sent.update(self._each(partial(self._sent, here), run))
            for name in gone:
                url = joined(self.url, name)
                with contextlib.suppress(FileNotFoundError):
                    called(url, lambda system, url=url: system.rm_file(url))  # type: ignore[misc]
                known.pop(name)
            there = self._objects()
            known.update({name: (there[name].etag, *own) for name, own in sent.items() if name in there})
            self._remember(known)

    def _sent(self, here: dict[str, tuple[int, int]], name: str) -> tuple[str, tuple[int, int]] | None:
        """Sends a file; None where it is not, because it is gone or newer than what was looked at."""
        file, url, own = self.folder / name, joined(self.url, name), here[name]
        try:
            if name.endswith(".json"):
                content = file.read_bytes()
                if _size_and_time(file) != own:  # it may list parts that have not gone yet
                    return None
                called(url, lambda system: system.pipe_file(url, content))
            else:
                called(url, lambda system: system.put_file(str(file), url))
        except FileNotFoundError:
            if file.exists():
                raise
            return None
        return name, own

    def _each(self, work: Callable[[str], Any], names: list[str]) -> Iterable[Any]:
        with ThreadPoolExecutor(min(_AT_ONCE, len(names)), "embedpipe-objects") as pool:
            return [done for done in pool.map(work, names) if done is not None]

    def _files(self) -> dict[str, tuple[int, int]]:
        """Size and time of every file here that is to be there."""
        found = {}
        for top in (*_FILES, *_FOLDERS):
            place = self.folder / top
            for file in [place] if top in _FILES else place.rglob("*"):
                name = file.relative_to(self.folder).as_posix()
                with contextlib.suppress(OSError):
                    if _is_sent(name) and file.is_file():
                        found[name] = _size_and_time(file)
        return found

    def _known(self) -> dict[str, Known]:
        if not self._state.exists():
            return {}
        with contextlib.suppress(ArtifactError, KeyError, TypeError, ValueError):
            return {str(name): (str(e), int(s), int(t)) for name, (e, s, t) in read_json(self._state)["files"].items()}
        return {}

    def _remember(self, known: dict[str, Known]) -> None:
        write_json(self._state, {"url": self.url, "files": known})

    def _alone(self) -> contextlib.AbstractContextManager[None]:
        """One process of this machine compares and copies at a time."""
        return waiting(
            self._state.with_suffix(".lock"),
            lambda _: f"another process of this machine copies {self.url}: wait until it ends",
            lambda why: f"cannot write to {self._state.parent}: {why}",
            _WAITED_SECONDS,
        )

    @contextlib.contextmanager
    def _in_words(self, *, writes: bool) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            why = error.strerror or error
            if not writes:
                raise ArtifactError(f"cannot read {self.url}: {why}") from error
            raise ArtifactError(
                f"cannot write to {self.url}: {why}; what was done is kept on this machine, and goes with the next "
                "command that writes"
            ) from error


def _checked(_: object, file: Path, size: int) -> None:
    """Raises OSError, so that it is fetched again, where the connection broke off."""
    if file.stat().st_size != size:
        raise OSError(f"{file.stat().st_size} of {size} bytes came")


def _size_and_time(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns


def _is_sent(name: str) -> bool:
    base = name.rpartition("/")[2]
    return not (is_temporary(base) or base.endswith((".suspect", ".lock", ".owner")) or base in _KEPT_HERE)


def _runs(names: Iterable[str]) -> Iterator[list[str]]:
    """Names in their order, in runs that can go at once: each manifest is one of its own."""
    run: list[str] = []
    for name in names:
        if name.endswith(".json"):
            if run:
                yield run
            yield [name]
            run = []
        else:
            run.append(name)
    if run:
        yield run


_mirrors: dict[str, Mirror] = {}


def mirror_of(url: str, cache: Path) -> Mirror:
    """The mirror of artifacts, which is brought up to date once in a process, and before each writer.

    Args:
        url: Of the artifacts.
        cache: The folder in which mirrors are kept.
    """
    if url not in _mirrors:
        readable = re.sub(r"[^A-Za-z0-9.-]+", "-", url.partition("://")[2])[-60:].strip("-.")
        name = f"{readable}-{hashlib.sha256(url.encode()).hexdigest()[:8]}"
        found = Mirror(url, cache / "mirrors" / name)
        found.pull()
        _mirrors[url] = found
    return _mirrors[url]


def shown(text: str) -> str:
    """A text in which the copies on this machine are called by their URLs."""
    for url, mirror in _mirrors.items():
        text = text.replace(str(mirror.folder), url)
    return text
