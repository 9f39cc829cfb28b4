"""Files that come with requests: streamed to the disk, within their caps, under names that cannot lead elsewhere."""

import contextlib
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import unquote

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from embedpipe.core.files import synced
from embedpipe.web.problems import ProblemError
from embedpipe.web.settings import Caps

_BATCH = re.compile(r"[0-9]{8}-[0-9a-f]{12}")
_LONGEST = 150  # bytes of a name, of the 255 that file systems take
_PIECE = 1024**2
_COMING = ".upload-"
"""Begins the name of a file that is being received: no name of a kept one begins with a dot."""
_LEAST = 4096
"""Bytes that a file takes on a disk, however small: of these, too, there can be too many."""
_BAD = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\/\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]')
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)")
"""Names that Windows takes for devices."""


class Uploads:
    """The uploaded files that are kept: a folder for each batch.

    Args:
        folder: Made when the first file comes.
        caps: How much is taken.
    """

    def __init__(self, folder: Path, caps: Caps) -> None:
        self.folder, self._caps = folder, caps
        self._bytes: int | None = None
        self._coming = 0
        self._lock = threading.Lock()

    async def take(self, request: Request, name: str, batch: str | None) -> tuple[str, str, int]:
        """Keeps the body of a request as a file of a batch; returns batch, name and bytes.

        Raises:
            ProblemError: It is too large, there are too many, or the disk would become full.
        """
        if batch is not None and (_BATCH.fullmatch(batch) is None or not (self.folder / batch).is_dir()):
            raise ProblemError("not_found", "there is no such batch of uploads: leave `batch` out for a new one")
        batch = batch or f"{time.strftime('%Y%m%d', time.gmtime())}-{secrets.token_hex(6)}"
        folder = self.folder / batch
        await run_in_threadpool(self._check, folder)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = folder / f"{_COMING}{secrets.token_hex(8)}"
        taken = 0

        def room(size: int) -> None:
            nonlocal taken
            more = max(size, _LEAST) - taken
            if (self._bytes or 0) + self._coming + more > self._caps.total_bytes:
                raise self._full()
            self._coming, taken = self._coming + more, taken + more

        try:
            size = await receive(request, temporary, self._caps, room)
            kept = await run_in_threadpool(_place, temporary, folder, safe_name(name))
            self._bytes = (self._bytes or 0) + taken
        finally:
            self._coming -= taken
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                folder.rmdir()  # where nothing is kept in it
        return batch, kept, size

    def batch(self, name: str) -> Path:
        """The folder of a batch; raises ProblemError where there is none."""
        if _BATCH.fullmatch(name) is None or not (self.folder / name).is_dir():
            raise ProblemError("not_found", "there is no such batch of uploads")
        return self.folder / name

    def _check(self, folder: Path) -> None:
        with self._lock:
            if self._bytes is None:  # none comes yet: what is there of one was left by a kill
                for file in self.folder.glob(f"*/{_COMING}*"):
                    file.unlink(missing_ok=True)
            if (
                self._bytes is None or self._bytes + self._coming >= self._caps.total_bytes
            ):  # some may have been removed
                files = (file for file in self.folder.glob("*/*") if file.is_file() and _COMING not in file.name)
                self._bytes = sum(max(file.stat().st_size, _LEAST) for file in files)
        if self._bytes + self._coming >= self._caps.total_bytes:
            raise self._full()
        if folder.is_dir() and sum(1 for _ in folder.iterdir()) >= self._caps.files:
            raise ProblemError("too_large", f"a batch has {self._caps.files} files at most: begin another one")

    def _full(self) -> ProblemError:
        most = self._caps.total_bytes / 1024**2
        return ProblemError("no_space", f"uploads take all of the {most:g} MB that they may: the file is not kept")


async def receive(request: Request, file: Path, caps: Caps, room: Callable[[int], None] = lambda _: None) -> int:
    """Writes the body of a request to a file as it comes; returns its bytes.

    Args:
        request: Whose body.
        file: Must not be there.
        caps: How much is taken.
        room: Told the bytes so far before they are written; raises where they are too many.

    Raises:
        ProblemError: It is too large or empty, or the disk would become full.
    """
    size, unchecked = 0, _PIECE * 8
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            async for piece in _pieces(request):
                size += len(piece)
                unchecked += len(piece)
                if size > caps.file_bytes:
                    raise ProblemError("too_large", f"the file is larger than {caps.file_bytes / 1024**2:g} MB")
                room(size)
                if unchecked > _PIECE * 8:
                    unchecked = 0
                    if shutil.disk_usage(file.parent).free - size < caps.free_bytes:
                        raise ProblemError("no_space", "the disk of the server is nearly full: no file is taken")
                await run_in_threadpool(stream.write, piece)
            stream.flush()
    except OSError as error:
        raise ProblemError("no_space", f"the file cannot be kept: {error.strerror or error}") from error
    if not size:
        raise ProblemError("bad_request", "the body is empty: send the file as the body of the request")
    return size


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    """The body in pieces of about a megabyte: a thread for each small one would cost more than writing it."""
    held: list[bytes] = []
    count = 0
    async for piece in request.stream():
        held.append(piece)
        count += len(piece)
        if count >= _PIECE:
            yield b"".join(held)
            held, count = [], 0
    if count:
        yield b"".join(held)


def safe_name(name: str) -> str:
    """A name that a file may have in a folder of its own: no path, nothing that cannot be seen, and not too long."""
    text = unquote(name, errors="replace").replace("\\", "/").rpartition("/")[2]
    text = _BAD.sub("_", text).strip(" .") or "file"
    stem, dot, suffix = text.rpartition(".")
    stem, suffix = (stem, f".{suffix}"[:20]) if dot and stem else (text, "")
    cut = stem.encode("utf-8", "replace")[: _LONGEST - len(suffix.encode("utf-8", "replace"))].decode("utf-8", "ignore")
    found = f"{cut or 'file'}{suffix}"
    return f"_{found}" if _DEVICES.match(found) else found


def _place(temporary: Path, folder: Path, name: str) -> str:
    """Gives a file its name, or the next free one; returns which."""
    stem, dot, suffix = name.rpartition(".")
    stem, suffix = (stem, f"{dot}{suffix}") if dot and stem else (name, "")
    synced(temporary)
    number = 1
    while True:
        wanted = name if number == 1 else f"{stem}-{number}{suffix}"
        try:
            os.link(temporary, folder / wanted)
        except FileExistsError:
            number += 1
            continue
        except OSError:  # a file system without links
            os.replace(temporary, folder / wanted)
        return wanted
