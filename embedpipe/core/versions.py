"""Versions of an artifact that is one folder of files: which one is in use, and which were before.

    <name>/current.json           the version in use
    <name>/versions/<n>/          its files; manifest.json is written last

A change is one replaced file, `current.json`: a killed process leaves the version that was in use.
"""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from embedpipe.core.errors import ArtifactError
from embedpipe.core.files import copied, read_json, write_json

KEPT = 5
"""How many versions stay besides the one in use."""

MANIFEST = "manifest.json"
_CURRENT = "current.json"
_VERSIONS = "versions"


def in_use(folder: Path) -> Path:
    """The folder of the version in use; `folder` itself where an earlier embedpipe kept the files there.

    Raises:
        ArtifactError: It is not known which version that is.
    """
    return path_of(folder, current(folder))


def current(folder: Path) -> int:
    """The number of the version in use; 0 for files of an earlier embedpipe.

    Where nothing says it, because the first one was finished just as its process was killed, it is the newest.
    """
    if not (folder / _CURRENT).exists():
        return max(numbers(folder), default=0) if not (folder / MANIFEST).exists() else 0
    try:
        return int(read_json(folder / _CURRENT)["version"])
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{folder / _CURRENT} is damaged: write {{'format': 1, 'version': N}} there") from error


def numbers(folder: Path) -> list[int]:
    """The finished versions, oldest first."""
    found = [number for number, path in _folders(folder).items() if (path / MANIFEST).exists()]
    return sorted(found) or ([0] if (folder / MANIFEST).exists() else [])


def path_of(folder: Path, number: int) -> Path:
    """Where a version's files are."""
    return folder / _VERSIONS / str(number) if number else folder


@contextlib.contextmanager
def adding(folder: Path) -> Iterator[Path]:
    """Gives an empty folder for the files of a new version, which is in use when the block ends well.

    Call it with the lock of the artifacts held. The oldest versions go when there are more than `KEPT` besides it.
    """
    if not (folder / _CURRENT).exists() and (folder / MANIFEST).exists():
        _take_in(folder)
    number = 1 + max(_folders(folder), default=0)
    new = path_of(folder, number)
    try:
        new.mkdir(parents=True)
        yield new
        use(folder, number)
    except OSError as error:
        raise ArtifactError(f"cannot write {new}: {error.strerror or error}; nothing was changed") from error
    finally:
        if not (folder / _CURRENT).exists() or current(folder) != number:
            shutil.rmtree(new, ignore_errors=True)
    prune(folder, KEPT)


def use(folder: Path, number: int) -> None:
    """Makes a version the one in use, in one step.

    Raises:
        ArtifactError: There is no such version.
    """
    if not (path_of(folder, number) / MANIFEST).exists():
        raise ArtifactError(f"{folder.name} has no version {number}; it has {', '.join(map(str, numbers(folder)))}")
    write_json(folder / _CURRENT, {"version": number})


def before(folder: Path) -> int:
    """The newest version that is older than the one in use.

    Raises:
        ArtifactError: There is none.
    """
    older = [number for number in numbers(folder) if number < current(folder)]
    if not older:
        raise ArtifactError(f"{folder.name} has no version before the one in use, which is {current(folder)}")
    return older[-1]


def prune(folder: Path, kept: int) -> int:
    """Removes all but the newest versions besides the one in use, and what a killed process left unfinished.

    Args:
        folder: Of the artifact.
        kept: How many stay besides the one in use.

    Returns:
        How many finished versions were removed.
    """
    in_use_now = current(folder)
    others = [number for number in numbers(folder) if number not in (0, in_use_now)]
    stay = {in_use_now, *others[max(0, len(others) - kept) :]}
    for number, path in _folders(folder).items():
        if number not in stay:
            (path / MANIFEST).unlink(missing_ok=True)  # first: half a version is none
            shutil.rmtree(path, ignore_errors=True)
    return len(set(others) - stay)


def _folders(folder: Path) -> dict[int, Path]:
    """Also of versions that are not finished."""
    return {int(path.name): path for path in folder.glob(f"{_VERSIONS}/*") if path.name.isdecimal()}


def _take_in(folder: Path) -> None:
    """Makes the files of an earlier embedpipe version 1; a kill in between leaves them as they were."""
    files = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    first = path_of(folder, 1)
    first.mkdir(parents=True, exist_ok=True)
    for file in sorted(files, key=lambda path: path.name == MANIFEST):
        copied(file, first / file.name)
    use(folder, 1)
    for file in files:
        file.unlink(missing_ok=True)
