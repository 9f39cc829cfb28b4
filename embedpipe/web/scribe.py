"""Writes labels for all who decide at once: whoever comes while the disk is written to is taken along with the next."""

import contextlib
import queue
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TypeVar

from embedpipe.core.errors import EmbedpipeError
from embedpipe.store.labels import Labels
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.decide import Batch, Done, LabelBook
from embedpipe.tasks.heap import STATES, Stock, labels_of, standing
from embedpipe.tasks.label_batches import Entry

T = TypeVar("T")

_TOGETHER = 50
"""Batches that are written in one step at most."""


@dataclass(frozen=True, eq=False)
class Held:
    """The labels as they are.

    Attributes:
        checked: labels.csv.
        suggested: Labels that nobody has checked.
        confirmed: Checked labels that were kept when they were told to be likely wrong.
    """

    checked: Labels
    suggested: Labels
    confirmed: Labels

    @cached_property
    def known(self) -> tuple[dict[str, str], dict[str, dict[int, str]]]:
        """The checked labels, as of `heap.labels_of`; not to be changed."""
        return labels_of(self.checked)

    @cached_property
    def guessed(self) -> dict[str, str]:
        """The suggested label of each document as a whole, by SHA-256; not to be changed."""
        return labels_of(self.suggested)[0]

    def of(self, sha256: str, stock: Stock | None) -> tuple[str | None, str]:
        """What a document is labelled as, if it has one label, and the name of its state in `heap.STATES`."""
        kind, state = standing(stock or Stock.empty(), sha256, self.known, self.guessed)
        return kind, STATES[state]


@dataclass(slots=True)
class _Wish:
    """Something that is to be done with the labels: a batch, or a call."""

    batch: Batch | None
    paths: Mapping[str, str]
    call: Callable[[LabelBook], Done] | None = None
    answer: "Future[Done]" = field(default_factory=Future)


class Scribe:
    """The labels of artifacts, for several threads.

    Args:
        workspace: The artifacts.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._book = LabelBook(workspace)
        with contextlib.suppress(EmbedpipeError):  # told to whoever labels
            self._book.settle()
        self._lock = threading.Lock()
        self._held: Held | None = None
        self._wishes: queue.Queue[_Wish | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, name="embedpipe-labels", daemon=True)
        self._thread.start()

    def labels(self) -> Held:
        """The labels; as they were a moment ago while some are written."""
        held = self._held  # looked at once: another thread may set it meanwhile
        if held is not None and not self._lock.acquire(blocking=False):
            return held
        if held is None:
            self._lock.acquire()
        try:
            now, held = Held(self._book.checked(), self._book.suggested(), self._book.confirmed()), self._held
            if held is None or any(getattr(held, one.name) is not getattr(now, one.name) for one in fields(Held)):
                held = self._held = now
            return held
        finally:
            self._lock.release()

    def entries(self) -> list[Entry]:
        """The batches that can be undone, newest first."""
        with self._lock:
            return self._book.entries()

    def can(self, client: str) -> tuple[bool, bool]:
        """Whether a client can undo, and redo."""
        with self._lock:
            return self._book.can(client)

    def decide(self, batch: Batch, paths: Mapping[str, str]) -> Done:
        """Keeps a batch; see `LabelBook.apply`."""
        return self._ask(_Wish(batch, paths))

    def turn(self, number: int | None, client: str, *, undo: bool) -> Done:
        """Undoes a batch, or does it again; see `LabelBook`."""

        def call(book: LabelBook) -> Done:
            return book.undo(number, client) if undo else book.redo(number, client)

        return self._ask(_Wish(None, {}, call))

    def _ask(self, wish: _Wish) -> Done:
        self._wishes.put(wish)
        return wish.answer.result()

    def close(self) -> None:
        """Writes what was asked for, and ends."""
        self._wishes.put(None)
        self._thread.join(timeout=60)

    def _work(self) -> None:
        pending: _Wish | None = None
        while True:
            wish = pending or self._wishes.get()
            pending = None
            if wish is None:
                return
            together = [wish]
            while wish.batch is not None and len(together) < _TOGETHER:
                try:
                    more = self._wishes.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    self._wishes.put(None)
                    break
                if more.batch is None:
                    pending = more
                    break
                together.append(more)
            with self._lock:
                self._do(together)

    def _do(self, wishes: list[_Wish]) -> None:
        """Does some wishes; of batches that cannot be kept together, each on its own."""
        try:
            if wishes[0].call is not None:
                wishes[0].answer.set_result(wishes[0].call(self._book))
                return
            paths = {sha256: path for wish in wishes for sha256, path in wish.paths.items()}
            found = self._book.apply([wish.batch for wish in wishes if wish.batch is not None], paths)
        except EmbedpipeError as error:
            if len(wishes) == 1:
                wishes[0].answer.set_exception(error)
                return
            for wish in wishes:
                self._do([wish])
        except Exception as error:  # noqa: BLE001 - whoever asked is told, and the others go on
            for wish in wishes:
                if not wish.answer.done():
                    wish.answer.set_exception(error)
        else:
            for wish, done in zip(wishes, found, strict=True):
                wish.answer.set_result(done)
