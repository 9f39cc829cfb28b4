"""PDFs that were made of documents, in the user's cache folder: each is made once, the oldest go when it is full."""

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from embedpipe.core.cache_folder import cache_folder

MOST_BYTES = 4 * 1024**3
"""Of all kept PDFs; those not used for longest go first."""

_IN_USE = 600.0
"""Seconds after its last use that a PDF is not removed: a page of it may be about to be drawn."""

_TIDIED = 0.02
"""Share of `MOST_BYTES` after which is looked how much there is."""

_DIGITS = 16

_added = {"bytes": MOST_BYTES}  # so that the first one looks


def folder() -> Path:
    """Where they are."""
    return cache_folder() / "documents"


def place(sha256: str, made_by: str, command: Sequence[str]) -> Path:
    """Where the PDF of a document is, or would be, that such a program makes so."""
    key = hashlib.sha256(json.dumps([made_by, list(command)]).encode()).hexdigest()[:_DIGITS]
    return folder() / f"{sha256}-{key}.pdf"


def find(file: Path) -> bool:
    """Whether a PDF is kept; notes its use."""
    with contextlib.suppress(OSError):
        os.utime(file)
        return file.stat().st_size > 0
    return False


def keep(made: Path, file: Path, otherwise: Path) -> Path:
    """Keeps a PDF; where the cache cannot be written, in another folder, for as long as that is there."""
    for target in (file, otherwise / file.name):
        new = target.with_name(f".{target.name}.{os.getpid()}-{time.monotonic_ns()}")
        try:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.move(made, new)
            new.chmod(0o600)
            new.replace(target)
        except OSError:
            with contextlib.suppress(OSError):
                if made.exists():  # the copy to another disk was cut short
                    new.unlink(missing_ok=True)
                else:
                    shutil.move(new, made)
            continue
        if target == file:
            _tidy(target.stat().st_size)
        return target
    return made


def _tidy(added: int) -> None:
    """Removes what was not used for longest, once there is too much."""
    _added["bytes"] += added
    if _added["bytes"] < _TIDIED * MOST_BYTES:
        return
    _added["bytes"] = 0
    with contextlib.suppress(OSError):
        found = [(file, file.stat()) for file in folder().iterdir()]
        left = sum(status.st_size for _, status in found)
        for file, status in sorted(found, key=lambda pair: pair[1].st_mtime):
            if left <= MOST_BYTES or status.st_mtime > time.time() - _IN_USE:
                break
            file.unlink(missing_ok=True)
            left -= status.st_size


def forget(sha256: str) -> None:
    """Removes what was made of a document."""
    with contextlib.suppress(OSError):
        for file in folder().glob(f"{sha256}-*.pdf"):
            file.unlink(missing_ok=True)
