"""What people and programs see: tables or one JSON object on stdout, progress and notices on stderr."""

import json
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from embedpipe.texts import display

if TYPE_CHECKING:
    from embedpipe.pipeline import Progress

_WIDE = 1000
"""Columns of an output that is no terminal: nothing is wrapped or cut for the programs that read it."""


@dataclass(frozen=True, slots=True)
class Output:
    """How a command speaks.

    Attributes:
        as_json: One JSON object on stdout, and nothing else there.
        quiet: Neither progress nor notices.
    """

    as_json: bool = False
    quiet: bool = False

    def result(self, values: Mapping[str, Any]) -> None:
        """Prints the JSON object, in JSON mode only."""
        if self.as_json:
            sys.stdout.write(json.dumps(values, ensure_ascii=True, default=str) + "\n")

    def line(self, text: str) -> None:
        """Prints a line for people; nothing in JSON mode."""
        if not self.as_json:
            sys.stdout.write(display(text) + "\n")

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Prints a table for people; nothing in JSON mode."""
        if self.as_json:
            return
        from rich import box  # noqa: PLC0415 - `--help` does without
        from rich.console import Console  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(Text(display(str(value))) for value in row))  # Text: no markup in file names
        console = Console(width=None if sys.stdout.isatty() else _WIDE)
        console.print(table)

    def notice(self, text: str) -> None:
        """Prints a line on stderr, unless quiet."""
        if not self.quiet:
            sys.stderr.write(display(text) + "\n")

    @contextmanager
    def progress(self, what: str) -> "Iterator[ProgressBar]":
        """A progress bar on stderr; it only shows where stderr is a terminal."""
        if self.quiet or self.as_json or not sys.stderr.isatty():
            yield ProgressBar(None)
            return
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn  # noqa: PLC0415

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[pages]} pages"),
            TextColumn("{task.fields[rate]} pages/s"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bar:
            yield ProgressBar(bar, bar.add_task(what, total=None, pages=0, rate="-"))


class ProgressBar:
    """Shows how far a run is; time left is told from the bytes taken in."""

    def __init__(self, bar: Any, task: Any = None) -> None:
        self._bar = bar
        self._task = task

    def __call__(self, progress: "Progress") -> None:
        """Moves the bar."""
        self._move(progress.pages, progress.bytes_done, progress.bytes_total)

    def count(self, done: int, total: int) -> None:
        """Moves the bar to so many of all pages."""
        self._move(done, done, total)

    def _move(self, pages: int, completed: int, total: int) -> None:
        if self._bar is None:
            return
        elapsed = self._bar.tasks[0].elapsed or 0.0
        rate = f"{pages / elapsed:.1f}" if elapsed else "-"
        self._bar.update(self._task, total=max(total, 1), completed=completed, pages=pages, rate=rate)


class NoticeHandler(logging.Handler):
    """Prints what the library warns about, and what takes long, a line each, on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        """Prints one line."""
        kind = "warning: " if record.levelno >= logging.WARNING else ""
        sys.stderr.write(f"{kind}{display(record.getMessage())}\n")


def error_line(error: BaseException) -> str:
    """One line for stderr, whatever the message holds."""
    text = " ".join(str(error).split()) or type(error).__name__
    return f"error: {display(text)}"
