"""Which folders are ours: artifacts are only ever written to a folder that was made for them."""

import contextlib
import re
import time
from pathlib import Path

from embedpipe.core.errors import ArtifactError
from embedpipe.core.files import is_temporary, read_json, write_json

MANIFEST = "embedpipe.json"
"""Says that a folder holds artifacts; written first of all."""

SHARDS = "shards"
"""Where the stores of the shards of a job are, which its next run merges again."""

SERVE = "serve"
"""What the server keeps: jobs, uploads, and what it derived."""

FOLDERS = (
    "features",
    "pages",
    "index",
    "backbones",
    "classifiers",
    "explanations",
    "demo",
    "labels",
    "watched",
    "duplicates",
    SERVE,
    SHARDS,
)
"""What artifacts hold, besides `FILES`."""

FILES = (
    "labels.csv",
    "sources.parquet",
    "cues.parquet",
    "kinds.parquet",
    "jobs.json",
    ".lock",
    ".lock-holder",
    MANIFEST,
)

_WHAT = "artifacts"
_MARKS = (
    "features/*/manifest.json",
    "index/*/manifest.json",
    "classifiers/*/current.json",
    "classifiers/*/model.skops",
    "classifiers/*/versions/*/manifest.json",
    "backbones/*/weights.safetensors",
    "backbones/*/checkpoint.pt",
)
"""What artifacts of a version without the manifest hold."""

_SPACE = re.compile(r".+-[0-9a-f]{8}")
_KEEPERS = (".gitkeep", ".gitignore", ".keep", ".DS_Store", "Thumbs.db", "desktop.ini", "lost+found")
"""Files that make no folder anybody's: of version control, file managers and file systems."""


def claim(folder: Path, *, share: bool = False) -> None:
    """Makes sure that artifacts may be written to a folder, and notes in it that it holds some.

    That is so where it is new, empty, or holds artifacts already, those of an earlier version included.

    Args:
        folder: The artifacts; made if need be.
        share: The user wants them beside other files. What has one of our names still stands in the way.

    Raises:
        ArtifactError: It is no folder, belongs to somebody else, or cannot be written.
    """
    manifest = folder / MANIFEST
    if manifest.exists():
        values = read_json(manifest, "; remove it to have it written again")
        if values.get("holds") != _WHAT:
            raise ArtifactError(f"{manifest} is not of artifacts: choose another folder with --artifacts")
        return
    if folder.is_symlink() and not folder.exists():
        raise ArtifactError(f"{folder} is a link to {folder.readlink()}, which is not there: make that folder first")
    if folder.exists() and not folder.is_dir():
        raise ArtifactError(f"cannot write to {folder}: it is a file; --artifacts takes a folder")
    shared = not _is_ours(folder)
    if shared:
        _refuse(folder, share=share)
    values = {"holds": _WHAT, "since": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    write_json(manifest, values | ({"shared": True} if shared else {}))


def claimed(folder: Path) -> bool:
    """Whether a folder holds artifacts, those of an earlier version included."""
    return (folder / MANIFEST).exists() or any(_is_mark(file) for mark in _MARKS for file in folder.glob(mark))


def is_shared(folder: Path) -> bool:
    """Whether artifacts were put beside other files on purpose, so that these are still somebody's to read."""
    with contextlib.suppress(ArtifactError):
        return bool(read_json(folder / MANIFEST).get("shared"))
    return False


def _is_ours(folder: Path) -> bool:
    """Whether nothing in a folder without a manifest is somebody else's."""
    if not folder.exists():
        return True
    try:
        others = [name for name in _names(folder) if name != "labels.csv" or not _are_labels(folder / name)]
        return not others or claimed(folder)
    except OSError as error:
        raise ArtifactError(f"cannot read {folder}: {error.strerror or error}") from error


def _names(folder: Path) -> list[str]:
    """What a folder holds, without what may lie in every folder, and the traces of a writer of ours."""
    locks = (".lock", ".lock-holder")
    names = (path.name for path in folder.iterdir())
    return sorted(name for name in names if name not in (*_KEEPERS, *locks) and not is_temporary(name))


def _is_mark(file: Path) -> bool:
    """Whether a file is one of ours: stores and indexes lie in folders that are named like spaces."""
    return file.parent.parent.name not in ("features", "index") or _SPACE.fullmatch(file.parent.name) is not None


def _are_labels(file: Path) -> bool:
    """Whether a CSV has the columns of our labels, whoever wrote it."""
    with open(file, "rb") as content:
        header = content.readline(1000).decode("utf-8-sig", "replace")
    return {"document", "label"} <= {name.strip(' \r\n"').lower() for name in re.split("[,;\t]", header)}


def _refuse(folder: Path, *, share: bool) -> None:
    names = _names(folder)
    ours = [n for n in names if n in (*FOLDERS, *FILES) and not (n == "labels.csv" and _are_labels(folder / n))]
    if not share:
        raise ArtifactError(
            f"{folder} holds other files ({names[0]}) and no artifacts: give --artifacts a new or an empty folder, or "
            "say --share-folder to keep artifacts beside these files"
        )
    if ours:
        raise ArtifactError(
            f"{folder} holds {ours[0]}, which is not of embedpipe and whose name artifacts need: "
            "give --artifacts another folder"
        )
