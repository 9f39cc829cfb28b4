"""What a program that stays keeps between one reading and the next: render workers, and what was read of the artifacts.

A command starts its workers, reads what it needs, and ends. A server is asked for one page after the other: starting a
worker for each takes longer than all the rest.
"""

import contextlib
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from embedpipe.core.files import mark_of
from embedpipe.pages.documents import ReadOptions
from embedpipe.pages.rendering import Renderer

T = TypeVar("T")

_IDLE = 4
"""Renderers that are kept while nobody uses them."""


class Warm:
    """Renderers that are lent, and values that stay until the files they come from change. For several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[tuple[ReadOptions, int, Renderer]] = []
        self._values: dict[Hashable, tuple[object, Any]] = {}
        self._making: dict[Hashable, threading.Lock] = {}
        self._closed = False

    @contextlib.contextmanager
    def renderer(self, options: ReadOptions, workers: int) -> Iterator[Renderer]:
        """Lends a renderer of these options; it is kept afterwards, unless something is left undone."""
        renderer = self._take(options, workers) or Renderer(options, workers)
        try:
            yield renderer
        finally:
            if not self._give(options, workers, renderer):
                renderer.stop()

    def _take(self, options: ReadOptions, workers: int) -> Renderer | None:
        with self._lock:
            for place in range(len(self._idle) - 1, -1, -1):
                if self._idle[place][:2] == (options, workers):
                    return self._idle.pop(place)[2]
        return None

    def _give(self, options: ReadOptions, workers: int, renderer: Renderer) -> bool:
        with self._lock:
            if self._closed or not renderer.idle:
                return False
            self._idle.append((options, workers, renderer))
            oldest = self._idle.pop(0)[2] if len(self._idle) > _IDLE else None
        if oldest is not None:
            oldest.stop()
        return True

    def kept(self, what: Hashable, files: Iterable[Path], make: Callable[[], T]) -> T:
        """A value that is made once, and again when one of the files has changed that it comes from."""
        with self._lock:
            making = self._making.setdefault(what, threading.Lock())
        with making:
            mark = tuple(mark_of(file) for file in files)
            if what in self._values and self._values[what][0] == mark:
                found: T = self._values[what][1]
                return found
            found = make()
            self._values[what] = (mark, found)
            return found

    def close(self) -> None:
        """Ends all workers that nobody uses; those that are lent end when they come back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for *_, renderer in idle:
            renderer.stop()
