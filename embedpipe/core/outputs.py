"""Files that people ask for: how they are written, and how those that were made here are recognised.

An output goes to the end of a link, through a FIFO or a device, to an open file such as /dev/stdout, and else in one
step to its place. Whether it may go there at all is asked before the work begins, see `targets`.
"""

import contextlib
import csv
import errno
import importlib
import io
import os
import re
import shutil
import stat
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from embedpipe.core.cache_folder import Aside
from embedpipe.core.errors import ArtifactError
from embedpipe.core.files import replacing

STDOUT = Path("/dev/stdout")

MAKER = "embedpipe"
"""Stands in every output that has a place for it."""

TRAILER = b"\nembedpipe\n"
"""Follows a pickle that `export` wrote: reading one ends before it."""

PDF_TRAILER = b"%embedpipe\n"
"""Follows the end of a PDF that was made here, as a comment: it is known without being opened."""

_FOREIGN = "is not a file that embedpipe made"
_HEAD = 4096
_MOST_LINKS = 40
_CHUNK = 1 << 20
_DESCRIPTOR = re.compile(r"/(?:dev|proc/(self|thread-self|\d+))/fd/(\d+)")
_STREAMS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}

_kept_stdout: ContextVar[TextIO | None] = ContextVar("kept_stdout", default=None)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of output file.

    Attributes:
        name: For people, with its article.
        objection: Why a file must not be replaced unasked, as the end of a sentence; "" where it is of this kind and
            was made here. Given a path that can be read.
        beside: Other files that come with one at a path, each with its kind.
    """

    name: str
    objection: Callable[[Path], str]
    beside: "Callable[[Path], list[tuple[Path, Kind]]]" = field(default=lambda _: [])


def followed(path: Path) -> Path:
    """Where the links that a path may be lead; that need not be there.

    Raises:
        ArtifactError: They lead in a circle.
    """
    for _ in range(_MOST_LINKS):
        if descriptor(path) is not None or not path.is_symlink():
            return path
        path = path.parent / path.readlink()
    raise ArtifactError(f"cannot write {path}: too many links")


def descriptor(path: Path) -> int | None:
    """Number of the open file that a path such as /dev/stdout or /dev/fd/3 stands for; None for other paths."""
    text = os.path.abspath(path)
    match = _DESCRIPTOR.fullmatch(text)
    if match and match[1] in (None, "self", "thread-self", str(os.getpid())):
        return int(match[2])
    return _STREAMS.get(text)


def is_written_through(path: Path) -> bool:
    """Whether a path, links followed, is an open file, a FIFO or a device, where nothing can be replaced."""
    with contextlib.suppress(OSError):
        mode = path.stat().st_mode if descriptor(path) is None else 0
        return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
    return False


@contextlib.contextmanager
def written(path: Path) -> Iterator[Path]:
    """Gives a temporary path to write an output to; when the block ends well, it goes to `path`.

    An older file is replaced in one step and its mode is kept; of a link, the file that it leads to.

    Raises:
        ArtifactError: It cannot be written.
    """
    target = followed(path)
    if not is_written_through(target):
        with replacing(target) as temporary:
            yield temporary
            with contextlib.suppress(OSError):
                shutil.copymode(target, temporary)
        return
    try:
        with Aside("output") as folder:
            temporary = Path(folder) / "output"
            yield temporary
            with open(temporary, "rb") as content, _opened(target) as stream:
                while chunk := memoryview(content.read(_CHUNK)):
                    while chunk:
                        chunk = chunk[stream.write(chunk) :]
    except OSError as error:
        raise ArtifactError(f"cannot write {path}: {error.strerror or error}") from error


@contextlib.contextmanager
def _opened(target: Path) -> Iterator[io.RawIOBase | BinaryIO]:
    """An open file, a FIFO or a device to write to, without a buffer that could be left behind."""
    number = descriptor(target)
    if number in _closed():
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    if number == 1:
        text = _kept_stdout.get() or sys.stdout
        text.flush()
        yield getattr(text.buffer, "raw", text.buffer)
        return
    handle = os.dup(number) if number is not None else os.open(target, os.O_WRONLY)
    with open(handle, "wb", buffering=0) as stream:
        yield stream


def _closed() -> list[int]:
    """Which of stdin, stdout and stderr were closed from the start: another file may have their numbers since."""
    return [number for number, stream in enumerate((sys.__stdin__, sys.__stdout__, sys.__stderr__)) if stream is None]


@contextlib.contextmanager
def keeping_stdout() -> Iterator[None]:
    """Keeps stdout for an output: what is printed for people goes to stderr meanwhile."""
    token = _kept_stdout.set(sys.stdout)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _kept_stdout.reset(token)


def _by_head(check: Callable[[bytes], bool]) -> Callable[[Path], str]:
    def objection(path: Path) -> str:
        with open(path, "rb") as file:
            return "" if check(file.read(_HEAD)) else _FOREIGN

    return objection


def _is_png(head: bytes) -> bool:
    return head.startswith(b"\x89PNG\r\n\x1a\n") and b"tEXtSoftware\0" + MAKER.encode() in head


def _is_html(head: bytes) -> bool:
    return head.startswith(b"<!DOCTYPE html>") and b'<meta name="generator" content="embedpipe">' in head


PNG = Kind("a PNG", _by_head(_is_png))
HTML = Kind("an HTML file", _by_head(_is_html))


def _columns(reference: str) -> tuple[str, ...]:
    """What a `module:NAME` holds; looked up late, for what writes a table is above and may be slow to import."""
    module, _, name = reference.partition(":")
    return tuple(getattr(importlib.import_module(module), name))


def csv_of(*columns: str) -> Kind:
    """A CSV with the columns that a command writes; one with more, or without some, somebody has worked on.

    A column `label`, if there is one, is left empty to be filled in: what stands in it is somebody's work.

    Args:
        columns: Where the names of the columns are, as `module:NAME`; any of several.
    """

    def objection(path: Path) -> str:
        try:
            with open(path, encoding="utf-8-sig", newline="") as file:
                rows = csv.DictReader(file)
                if tuple(rows.fieldnames or ()) not in map(_columns, columns):
                    return _FOREIGN
                filled = any((row.get("label") or "").strip() for row in rows)
        except (csv.Error, UnicodeDecodeError):
            return _FOREIGN
        return "holds labels that were filled in" if filled else ""

    return Kind("a CSV", objection)


def _xlsx_objection(path: Path) -> str:
    """A workbook of ours names its maker; what stands in a column `label` is somebody's work, as in a CSV."""
    from openpyxl import load_workbook  # noqa: PLC0415 - slow to import

    with contextlib.suppress(OSError, ValueError, KeyError, SyntaxError, zipfile.BadZipFile):
        book = load_workbook(path, read_only=True, data_only=True)
        try:
            if book.properties.creator != MAKER:
                return _FOREIGN
            filled = any(map(_is_filled_in, book.worksheets))
        finally:
            book.close()
        return "holds labels that were filled in" if filled else ""
    return _FOREIGN


def _is_filled_in(sheet: Any) -> bool:
    rows = sheet.iter_rows(values_only=True)
    header = next(rows, ())
    places = [place for place, name in enumerate(header) if name == "label"]
    return any(str(row[place] or "").strip() for row in rows for place in places if place < len(row))


XLSX = Kind("an Excel workbook", _xlsx_objection)


def of_suffix(kinds: Mapping[str, Kind], name: str) -> Kind:
    """One of several kinds, by the end of the file's name; the first of them where it has another one.

    Args:
        kinds: By suffix, such as `.xlsx`.
        name: For people, with its article.
    """
    first = next(iter(kinds.values()))
    return Kind(name, lambda path: kinds.get(path.suffix.lower(), first).objection(path))


def _pages_objection(path: Path) -> str:
    """Columns of the pages, then of as many features as the space has; their labels come from labels.csv."""
    pages = _columns("embedpipe.store.feature_tables:COLUMNS")
    with open(path, "rb") as file:
        names = file.readline(_CHUNK).decode("utf-8", "replace").strip().split(",")
    features = [f"f{number}" for number in range(len(names) - len(pages))]
    return "" if names == [*pages, *features] else _FOREIGN


def _parquet_objection(path: Path) -> str:
    import pyarrow as pa  # noqa: PLC0415 - slow to import
    import pyarrow.parquet as pq  # noqa: PLC0415

    with contextlib.suppress(pa.ArrowException, ValueError):
        return "" if MAKER.encode() in (pq.read_schema(path).metadata or {}) else _FOREIGN
    return _FOREIGN


def _by_end(end: bytes) -> Callable[[Path], str]:
    def objection(path: Path) -> str:
        with open(path, "rb") as file:
            file.seek(-min(len(end), os.fstat(file.fileno()).st_size), os.SEEK_END)
            return "" if file.read() == end else _FOREIGN

    return objection


PDF = Kind("a PDF", _by_end(PDF_TRAILER))


def pages_file(path: Path) -> Path:
    """The CSV of the pages beside an npy file, which cannot hold them."""
    return path.with_name(f"{path.stem}.pages.csv")


def _npy_objection(path: Path) -> str:
    """An npy file has no place for a mark; it is known by the CSV beside it."""
    with open(path, "rb") as file:
        is_npy = file.read(6) == b"\x93NUMPY"
    beside = pages_file(path)
    return _FOREIGN if not (is_npy and beside.is_file()) else PAGES.objection(beside)


PAGES = Kind("a CSV", _pages_objection)
FORMATS = {
    "joblib": Kind("a joblib file", _by_end(TRAILER)),
    "parquet": Kind("a Parquet file", _parquet_objection),
    "csv": PAGES,
    "npy": Kind("an npy file", _npy_objection, lambda path: [(pages_file(path), PAGES)]),
}
"""What `export` writes, by `--format`."""


def made_here(path: Path, head: bytes) -> bool:
    """Whether a file is an output of ours, by its content; only files that may be one are looked into further.

    Args:
        path: The file.
        head: How it begins.
    """
    if _is_png(head) or _is_html(head):
        return True
    begins = {"parquet": b"PAR1", "npy": b"\x93NUMPY", "joblib": b"\x80"}
    with contextlib.suppress(OSError):
        if head.startswith(b"%PDF-"):
            return not PDF.objection(path)
        return any(head.startswith(mark) and not FORMATS[name].objection(path) for name, mark in begins.items())
    return False
