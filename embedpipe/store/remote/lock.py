"""The lock of the one writer of artifacts in object storage: an object that only one can make.

It is made on the condition that there is none (`If-None-Match: *`), and renewed and taken over on the condition that it
is still the one that was seen (`If-Match`), so that of several who try at once one has it.
"""

import contextlib
import json
import logging
import os
import platform
import secrets
import threading
import time
from collections.abc import Iterator
from typing import Any

from embedpipe.core.errors import ArtifactError, BusyError
from embedpipe.core.locks import runs
from embedpipe.core.objects.places import fresh_status
from embedpipe.core.objects.service import called
from embedpipe.core.objects.urls import joined, scheme_of

log = logging.getLogger(__name__)
NAME = ".lock"
RENEWED_SECONDS = 30.0
FORSAKEN_SECONDS = 600.0
"""A lock that nobody has renewed for so long is taken over; clocks of machines differ by less."""


class Lock:
    """The lock while it is held.

    Attributes:
        url: Of the artifacts.
    """

    def __init__(self, url: str, what: str) -> None:
        self.url, self._object, self._what = url, joined(url, NAME), what
        self._etag, self._since, self._token = "", time.strftime("%H:%M:%S"), secrets.token_hex(8)
        self._end, self._lost = threading.Event(), ""

    def check(self) -> None:
        """Raises ArtifactError where another writer has taken it over: nothing may be written any more."""
        if self._lost:
            raise ArtifactError(
                f"{self.url} was taken over by another writer, for this one was not heard of for {FORSAKEN_SECONDS:g} "
                f"s: {self._lost}; what it did is not sent"
            )

    def _text(self) -> bytes:
        me = {"what": self._what, "machine": platform.node(), "process": os.getpid(), "since": self._since}
        return json.dumps({**me, "token": self._token, "seen": time.time()}).encode()

    def _put(self, **condition: str) -> None:
        """Raises FileExistsError where the condition does not hold.

        It may not hold any more because an earlier try went well, and only its answer was lost.
        """
        try:
            called(self._object, lambda system: system.pipe_file(self._object, self._text(), **condition))
        except FileExistsError:
            if not self._is_own():
                raise
        self._etag = fresh_status(self._object).etag

    def _is_own(self) -> bool:
        with contextlib.suppress(OSError):
            return bool(self._owner().get("token") == self._token)
        return False

    def take(self) -> None:
        """Takes it; raises BusyError where another writer has it."""
        with contextlib.suppress(FileExistsError):
            return self._put(mode="create")
        try:
            seen = fresh_status(self._object)
            owner = self._owner()
            if not _is_gone(owner, time.time() - seen.st_mtime_ns / 1e9):
                raise BusyError(
                    f"{self.url} is being written by `{owner.get('what')}` (process {owner.get('process')} on "
                    f"{owner.get('machine')}, since {owner.get('since')}): wait until it ends"
                )
            log.warning("%s: the lock of a process that runs no more is taken over", self.url)
            self._put(IfMatch=seen.etag)
        except FileNotFoundError:
            self._put(mode="create")
        except FileExistsError:
            raise BusyError(f"{self.url} is being written by another process: wait until it ends") from None

    def _owner(self) -> dict[str, Any]:
        content = called(self._object, lambda system: system.cat_file(self._object))
        with contextlib.suppress(ValueError):
            found = json.loads(content)
            if isinstance(found, dict):
                return found
        return {}

    def _renew(self) -> None:
        while not self._end.wait(RENEWED_SECONDS):
            try:
                self._put(IfMatch=self._etag)
            except (FileExistsError, FileNotFoundError) as error:
                self._lost = str(error.strerror)
                return
            except OSError as error:  # it stays ours for some minutes
                log.warning("%s: its lock cannot be renewed: %s", self.url, error.strerror)

    def release(self) -> None:
        """Lets it go, where it is still ours."""
        self._end.set()
        with contextlib.suppress(OSError):
            if not self._lost and fresh_status(self._object).etag == self._etag:
                called(self._object, lambda system: system.rm_file(self._object))

    @contextlib.contextmanager
    def renewed(self) -> Iterator[None]:
        """Renews it from time to time, and lets it go at the end."""
        thread = threading.Thread(target=self._renew, name="embedpipe-lock", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.release()
            thread.join(timeout=5)


@contextlib.contextmanager
def holding(url: str, what: str) -> Iterator[Lock]:
    """Holds the lock of artifacts.

    Raises:
        BusyError: Another writer has it, and who it is.
        ArtifactError: It cannot be written, or the service has no conditional writes.
    """
    if scheme_of(url) != "s3":
        raise ArtifactError(f"{url}: artifacts are written to s3:// only, which lets one writer in at a time")
    lock = Lock(url, what)
    try:
        lock.take()
    except OSError as error:
        raise ArtifactError(f"cannot write to {url}: {error.strerror}") from error
    with lock.renewed():
        yield lock


def _is_gone(owner: dict[str, Any], age: float) -> bool:
    """Whether the owner of a lock runs no more: known on its own machine, and else told by its silence."""
    process = owner.get("process")
    if owner.get("machine") == platform.node() and isinstance(process, int):
        return not runs(process)
    return age > FORSAKEN_SECONDS
