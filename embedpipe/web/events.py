"""What happened since: pages ask again and again, and are answered when something has."""

import asyncio
import contextlib
import itertools
import secrets
import threading
from collections import deque
from typing import Any

_KEPT = 1000
_LARGEST = 50_000
"""Documents that all kept events name: of large batches, fewer are kept."""


class Events:
    """The last things that happened, by number. `publish` may be called by any thread.

    Numbers begin anew with each server, at a random place, so that a page notices that it has to load everything.
    """

    def __init__(self) -> None:
        self._first = 1 + secrets.randbelow(2**40)
        self._numbers = itertools.count(self._first)
        self._last = self._first - 1
        self._kept: deque[dict[str, Any]] = deque()
        self._named = 0
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._lock = threading.Lock()
        self._closed = False

    def publish(self, event: str, **values: Any) -> None:
        """Notes that something happened, and wakes who waits for it."""
        with self._lock:
            self._last = next(self._numbers)
            self._kept.append({"n": self._last, "event": event, **values})
            self._named += len(values.get("changed", ()))
            while len(self._kept) > _KEPT or (self._named > _LARGEST and len(self._kept) > 1):
                self._named -= len(self._kept.popleft().get("changed", ()))
        self._wake()

    def close(self) -> None:
        """Answers all who wait, and whoever comes later at once."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        with self._lock:
            waiting = list(self._waiting)
        for loop, woken in waiting:
            loop.call_soon_threadsafe(woken.set)

    def since(self, number: int | None) -> dict[str, Any]:
        """What happened after an event; `reset` where that cannot be told."""
        with self._lock:
            if number is None:
                return {"next": self._last, "events": []}
            oldest = self._kept[0]["n"] if self._kept else self._last + 1
            if number > self._last or number < oldest - 1:
                return {"next": self._last, "reset": True, "events": []}
            return {"next": self._last, "events": [event for event in self._kept if event["n"] > number]}

    async def wait(self, number: int | None, seconds: float) -> dict[str, Any]:
        """The same, but waits until something happens, or the time is over."""
        woken = asyncio.Event()
        entry = (asyncio.get_running_loop(), woken)
        with self._lock:
            self._waiting.add(entry)
        try:
            found = self.since(number)
            if number is None or found["events"] or found.get("reset") or self._closed:
                return found
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(woken.wait(), seconds)
            return self.since(number)
        finally:
            with self._lock:
                self._waiting.discard(entry)
