"""Files put in their place without overwriting anything, also while other processes write there."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from embedpipe.core.files import copied, making, sha256_of, synced
from embedpipe.pages.containers.opening import on_the_disk
from embedpipe.pages.contract import Limits
from embedpipe.store.sorted_ledger import shortened

_LONGEST_NAME = 255
_LONGEST_SUFFIX = 32


class ChangedError(OSError):
    """A file has not the content that was expected any more."""


def names(name: str, digest: str, folder: Path) -> Iterator[str]:
    """Names for a file, the wanted one first, then with the begin of its content's hash, then numbered.

    None is longer than the file system takes.
    """
    stem, suffix = os.path.splitext(name)
    if len(os.fsencode(suffix)) > _LONGEST_SUFFIX:
        stem, suffix = name, ""
    most = _longest_name(folder)
    yield name if len(os.fsencode(name)) <= most else shortened(stem, most - len(os.fsencode(suffix))) + suffix
    number = 1
    while True:
        end = f"-{digest[:8]}{'' if number == 1 else f'-{number}'}{suffix}"
        yield shortened(stem, most - len(os.fsencode(end))) + end
        number += 1


def _longest_name(folder: Path) -> int:
    """Bytes that a name may take; where the folder is not there yet, those of its parent's file system."""
    for place in (folder, *folder.parents):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            return min(_LONGEST_NAME, os.pathconf(place, "PC_NAME_MAX"))
    return _LONGEST_NAME


def copy(source: str, target: Path, digest: str, limits: Limits | None = None) -> None:
    """Copies a file with its times and rights.

    Args:
        source: A file, or a member of a container.
        target: The copy.
        digest: SHA-256 of the content.
        limits: How a member is opened.

    Raises:
        FileExistsError: The name is taken.
        ChangedError: The file has another content by now.
        OSError: It cannot be read or written; nothing is left then.
    """
    _make_folder(target.parent)
    with making(target.parent) as temporary:
        with on_the_disk(source, limits) as path:
            copied(path, temporary)
        if sha256_of(temporary) != digest:
            raise ChangedError
        synced(temporary)
        _give_name(temporary, target)


def link(source: str, target: Path, digest: str) -> bool:
    """Makes a hard link to a file; False where the file system has none, or has the file elsewhere.

    Raises:
        FileExistsError: The name is taken.
        ChangedError: The file has another content by now.
    """
    _make_folder(target.parent)
    try:
        os.link(os.path.realpath(source), target)
    except FileExistsError:
        raise
    except OSError:
        return False
    if sha256_of(target) != digest:
        target.unlink()
        raise ChangedError
    return True


def move(old: Path, new: Path, digest: str) -> None:
    """Moves a file that has still the content that it should have.

    Raises:
        FileExistsError: The name is taken.
        ChangedError: The file has another content by now.
        OSError: It cannot be moved, and is where it was.
    """
    if sha256_of(old) != digest:
        raise ChangedError
    _make_folder(new.parent)
    if not _give_name(old, new):
        return
    try:
        old.unlink()
    except OSError:
        new.unlink()
        raise


def _make_folder(folder: Path) -> None:
    """Makes a folder; where a file has its name, that is another error than a name that is taken."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, f"{folder} is not a folder") from error


def _give_name(file: Path, name: Path) -> bool:
    """Gives a file a name that is free; returns whether it has its old one still.

    Raises:
        FileExistsError: The name is taken.
    """
    try:
        os.link(file, name)
    except FileExistsError:
        raise
    except OSError:  # FAT and some network file systems have no hard links: the name is taken first, then given
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        try:
            os.replace(file, name)
        except OSError:
            name.unlink()
            raise
        return False
    return True
