"""What people and programs see: tables or one JSON object on stdout, progress and notices on stderr."""

import io
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from embedpipe.commands.terminal.widths import fitted
from embedpipe.core.display import display
from embedpipe.core.errors import EmbedpipeError, UsageError
from embedpipe.core.languages.translation import word

if TYPE_CHECKING:
    from embedpipe.tasks.embed import Progress

_LONGEST = 2000
"""Characters of an error: a name of ten thousand would hide the message."""
_MIRRORS = "embedpipe.store.remote.mirror"
"""Looked up where it was loaded: most commands start without."""
_WIDE = 1000
"""Columns of an output that is no terminal: nothing is wrapped or cut for the programs that read it."""
_SENTENCES = frozenset(
    {
        *("", "download", "held out", "here", "keep", "kind", "message", "network", "of embedpipe"),
        *("on the same pages", "outcome", "same", "state", "status", "way", "what", "why"),
    }
)
"""Headings of columns whose cells are our own words; other columns hold names, which are never translated."""
_GAP = 3
"""Columns between two columns of a table."""


@dataclass(frozen=True, slots=True)
class Output:
    """Where and how a command prints.

    Attributes:
        as_json: One JSON object on stdout, and nothing else there.
        quiet: Neither progress nor notices.
    """

    as_json: bool = False
    quiet: bool = False

    def result(self, values: Mapping[str, Any]) -> None:
        """Prints the JSON object, in JSON mode only."""
        if self.as_json:
            with _printing():
                sys.stdout.write(json.dumps(values, ensure_ascii=True, default=str) + "\n")

    def line(self, text: str) -> None:
        """Prints a line for people; nothing in JSON mode."""
        if not self.as_json:
            with _printing():
                sys.stdout.write(display(_said(text, sys.stdout)) + "\n")

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[object]],
        shorten: Mapping[str, Callable[[str, int], str]] | None = None,
    ) -> None:
        """Prints a table for people; nothing in JSON mode.

        Args:
            columns: The headings.
            rows: The cells.
            shorten: How cells of some columns are made shorter where a terminal is too narrow, see `widths.fitted`;
                others are folded.
        """
        if self.as_json:
            return
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for column in columns:
            table.add_column(_said(column, sys.stdout), overflow="fold")
        console = Console(width=None if sys.stdout.isatty() else _WIDE)
        ours = [name in _SENTENCES for name in columns]
        cells = [
            [
                display(_said(str(value), sys.stdout) if own else str(value))
                for own, value in zip(ours, row, strict=True)
            ]
            for row in rows
        ]
        if shorten:
            room = console.width - _GAP * (len(columns) - 1) - 2
            cells = fitted(columns, cells, room, shorten)
        for row in cells:
            table.add_row(*map(Text, row))  # Text: no markup in file names
        with _printing():
            console.print(table)

    @property
    def watched(self) -> bool:
        """Whether a person reads what is printed as it comes: a terminal, and neither --json nor --quiet."""
        return not (self.as_json or self.quiet) and sys.stdout.isatty()

    def notice(self, text: str) -> None:
        """Prints a line on stderr, unless quiet."""
        if not self.quiet:
            say(text)

    @contextmanager
    def progress(self, what: str) -> "Iterator[ProgressBar]":
        """A progress bar on stderr; it only shows where stderr is a terminal."""
        if self.quiet or self.as_json or not sys.stderr.isatty():
            yield ProgressBar(None)
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[pages]} {task.fields[unit]}"),
            TextColumn("{task.fields[rate]} {task.fields[unit]}/s"),
            TimeElapsedColumn(),
            TextColumn(_said("time left", sys.stderr)),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bar:
            yield ProgressBar(
                bar, bar.add_task(_said(what, sys.stderr), total=None, pages=0, rate="-", unit=_unit(what))
            )

    @contextmanager
    def busy(self, what: str) -> Iterator[None]:
        """Shows on stderr that work goes on, and for how long, where it is not known how much there is to do."""
        if self.quiet or self.as_json or not sys.stderr.isatty():
            yield
            return
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            bar.add_task(_said(what, sys.stderr), total=None)
            yield


def _unit(stage: str) -> str:
    """What a stage counts."""
    return _said("files" if "files" in stage else "pages", sys.stderr)


def agreed(output: Output, losses: Iterable[str], stays: str, *, yes: bool) -> bool:
    """Says what would be lost and what stays, and whether a person wants that: asked in a terminal, unless said before.

    Raises:
        UsageError: Nobody can be asked.
    """
    if yes:
        return True
    for line in losses:
        output.line(f"would be lost: {line}")
    output.line(stays)
    if not (output.watched and sys.stdin.isatty()):
        raise UsageError("nothing was removed: say --yes to remove it")
    import typer

    return typer.confirm(_said("Remove it?", sys.stderr))


class ProgressBar:
    """Shows how far a run is; the time left is estimated from the bytes read."""

    def __init__(self, bar: Any, task: Any = None) -> None:
        self._bar = bar
        self._task = task
        self._stage = ""

    def __call__(self, progress: "Progress") -> None:
        """Moves the bar."""
        if self._bar is not None and progress.stage != self._stage:
            if self._stage:
                unit, stage = _unit(progress.stage), _said(progress.stage, sys.stderr)
                self._bar.reset(self._task, description=stage, pages=0, rate="-", unit=unit)
            self._stage = progress.stage
        self._move(progress.pages, progress.bytes_done, progress.bytes_total)

    def count(self, done: int, total: int) -> None:
        """Moves the bar to so many of all pages."""
        self._move(done, done, total)

    def stage(self, name: str, number: int, done: int, total: int) -> None:
        """Moves the bar within a stage.

        Args:
            name: The stage; "files" in it makes `number` one of files.
            number: How many pages or files are done.
            done: What is done, and
            total: what the whole stage takes, in any unit.
        """
        if self._bar is not None and name != self._stage:
            self._bar.reset(self._task, description=_said(name, sys.stderr), pages=0, rate="-", unit=_unit(name))
            self._stage = name
        self._move(number, done, total)

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
        say(f"{kind}{record.getMessage()}")


class LibraryHandler(logging.Handler):
    """Prints what other libraries warn about, a line each and each line once; of ours `NoticeHandler` tells.

    Attributes:
        quiet: Nothing is printed.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.quiet = False
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Prints one line."""
        if not record.name.startswith("embedpipe"):
            self.tell(record.name.partition(".")[0], record.getMessage())

    def tell(self, library: str, message: str) -> None:
        """Prints one line with the name of the library."""
        line = f"warning: {library}: {one_line(message)}"
        if not self.quiet and line not in self._said:
            self._said.add(line)
            say(line)

    def show(self, message: Warning | str, category: type[Warning], filename: str, *_: object) -> None:
        """Stands for `warnings.showwarning`."""
        library = _library_of(filename)
        self.tell(library or category.__name__, str(message))


_libraries, _ours = LibraryHandler(), NoticeHandler()


def hear(*, quiet: bool) -> None:
    """Prints our own warnings, and our notices unless quiet, a line each; call it again to change which."""
    hear_libraries(quiet=quiet)
    ours = logging.getLogger("embedpipe")
    ours.addHandler(_ours)  # the same one, so that no line comes twice
    ours.setLevel(logging.WARNING if quiet else logging.INFO)


def hear_libraries(*, quiet: bool) -> None:
    """Lets other libraries' warnings pass as lines of ours, or not at all; call it again to change which."""
    _libraries.quiet = quiet
    logging.getLogger().addHandler(_libraries)
    warnings.showwarning = _libraries.show  # type: ignore[assignment]


def _library_of(filename: str) -> str:
    """The package that a file belongs to; "" where that is not one that was installed."""
    _, installed, rest = filename.replace(os.sep, "/").rpartition("/site-packages/")
    return rest.partition("/")[0].removesuffix(".py") if installed else ""


def say(text: str) -> None:
    """Prints a line on stderr; where stderr has no reader any more, the work goes on."""
    with suppress(OSError):
        sys.stderr.write(display(_said(text, sys.stderr)) + "\n")


def _said(text: str, stream: TextIO) -> str:
    """A text in the language of the process; in English where the encoding of the stream lacks its characters.

    Artifacts in object storage are called by their URL, not by their copy on this machine.
    """
    text = sys.modules[_MIRRORS].shown(text) if _MIRRORS in sys.modules else text
    other = word(text)
    try:
        other.encode(stream.encoding or "utf-8", "surrogateescape")
    except (UnicodeError, LookupError):
        return text
    return other


def error_line(message: str) -> str:
    """One line for stderr, whatever the message holds, and however long it is."""
    return f"error: {one_line(message)}"


def one_line(message: str) -> str:
    """A message in one line, shortened where it is very long."""
    text = display(" ".join(message.split()))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"


class OutputError(EmbedpipeError):
    """What a command found cannot be printed: the disk behind stdout is full, or stdout is closed."""


def prepare_streams() -> None:
    """Makes stdin, stdout and stderr such that any text can be written, and that no other file takes their place.

    What an encoding lacks is written as an escape. A stream that is closed is opened on the null device, stdout such
    that writing fails as on the closed one; else the next file that is opened would be taken for it.
    """
    for number, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - as long as the program
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def finish_output() -> None:
    """Writes out what stdout still holds.

    Raises:
        OutputError: It cannot be written.
        BrokenPipeError: It has no reader any more.
    """
    with _printing():
        sys.stdout.flush()


def abandon_output() -> None:
    """Discards what stdout still holds, so that the interpreter does not fail on it when it ends."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


@contextmanager
def _printing() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"stdout cannot be written ({error.strerror}); what the command did is kept") from error
