"""What lies below a folder and is not its user's: leftovers of systems and programs, and what embedpipe made itself.

All of this holds for what a walk meets below an input; what the user names is always read.
"""

import fnmatch
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from embedpipe.core import claims
from embedpipe.core.display import text_to_path
from embedpipe.core.errors import EmbedpipeError
from embedpipe.core.files import is_temporary
from embedpipe.core.objects.places import Entry, exists
from embedpipe.core.objects.places import stat as stat_of
from embedpipe.core.objects.urls import absolute, is_url, joined
from embedpipe.core.tables import read_table
from embedpipe.pages.containers.places import is_member

LEFTOVER, OURS, LINK, EXCLUDED = "leftover", "ours", "link", "excluded"
"""Why a file is passed over by its place; see `walking.IgnoredFile`."""

DUPLICATES = "embedpipe-duplicates.csv"
"""The ledger of a folder that `dedupe --move-to` fills: of a copy there, `source` is the file that was kept."""

LEDGERS = ("embedpipe-sorted.csv", "embedpipe-parts.csv", DUPLICATES)
"""Tables in folders that embedpipe fills, with the columns `copy` and `source`: which files there are its own."""

_FOLDERS = frozenset(
    {
        *("@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@tmp", "@sharesnap"),  # Synology, QNAP
        *("__macosx", "network trash folder", "temporary items", "thevolumesettingsfolder"),  # macOS
        *("$recycle.bin", "recycler", "recycled", "system volume information", "found.000"),  # Windows
        *("lost+found", "~snapshot"),  # Unix file systems, NetApp
    }
)
_FILES = frozenset({"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "projector_config.pbtxt", "icon\r"})
_PATTERNS = (
    "._*",  # what macOS keeps beside each file on other file systems
    *(".~*", "~$*", ".#*", ".nfs*", ".fuse_hidden*", ".goutputstream-*", ".smbdelete*"),  # of open or removed files
    *(".syncthing.*", "~syncthing~*", ".!sync*", "*.!sync", ".dropbox*", ".owncloud*", ".sync_*"),  # of synchronisation
    *("*.crdownload", "*.partial", "*.filepart", "*.part", "*.download", "*.!ut", "*.bc!"),  # of unfinished downloads
    *("synofile_thumb_*", "synoindex_media_info"),
)
_SIGNS = (claims.MANIFEST, "features", "index", "classifiers", "backbones")
"""What a folder of artifacts holds one of."""

_STATES = ("copied", "linked", "planned", "part", "moved")


class Sieve:
    """Tells why an entry of a folder is passed over, "" where it is not; reads each ledger once.

    Args:
        root: The input, an absolute path.
        exclude: Patterns as of a shell: of a name, or, with a slash, of a path below the input. A folder that matches
            is passed over with all that is in it.
    """

    def __init__(self, root: str, exclude: Sequence[str] = ()) -> None:
        self._root = root
        self._claimed = {root} if _holds_artifacts(root) else set()
        self._exclude = [pattern.strip("/") or pattern for pattern in exclude]
        self._ledgers: dict[str, dict[str, tuple[str, int]]] = {}

    def folder(self, entry: "os.DirEntry[str] | Entry", below: str) -> str:
        """Of a folder; `below` is its path below the input, with slashes."""
        name = entry.name.casefold()
        if name in _FOLDERS or name.startswith("."):
            return LEFTOVER
        if self._is_excluded(entry.name, below):
            return EXCLUDED
        if os.path.dirname(entry.path) in self._claimed and entry.name in claims.FOLDERS:
            return OURS
        if not _holds_artifacts(entry.path):
            return ""
        if claims.is_shared(Path(entry.path)):
            self._claimed.add(entry.path)
            return ""
        return OURS

    def file(self, entry: "os.DirEntry[str] | Entry", below: str, size: int) -> str:
        """Of a file, by its name and place."""
        name = entry.name.casefold()
        if is_temporary(entry.name) or entry.name in LEDGERS or self._is_of_artifacts(entry):
            return OURS
        if name in _FILES or any(fnmatch.fnmatchcase(name, pattern) for pattern in _PATTERNS):
            return LEFTOVER
        if self._is_excluded(entry.name, below):
            return EXCLUDED
        return OURS if self._is_copy(entry.path, size) else ""

    def _is_of_artifacts(self, entry: "os.DirEntry[str] | Entry") -> bool:
        return entry.name in claims.FILES and os.path.dirname(entry.path) in self._claimed

    def _is_excluded(self, name: str, below: str) -> bool:
        return any(fnmatch.fnmatchcase(below if "/" in p else name, p) for p in self._exclude)

    def _is_copy(self, path: str, size: int) -> bool:
        """Whether a file is a copy or a part of ours whose source is still there: then nothing is lost without it."""
        folder = os.path.dirname(path)
        ledger = self.filled(folder)
        if not ledger or path not in ledger:
            return False
        source, of = ledger[path]
        with suppress(OSError):
            if is_member(source):  # its size is known to its container only
                return True
            status = stat_of(source)
            if not stat.S_ISREG(status.st_mode) or absolute(source) == path:
                return False
            return size == (status.st_size if of < 0 else of)
        return False

    def filled(self, folder: str) -> dict[str, tuple[str, int]]:
        """The copies of ours that lie in a folder or in one of those below it, by path: source, and size or -1.

        Ask for the folder above first; what lies in the input itself was named by the user.
        """
        if folder == self._root:
            return {}
        if folder not in self._ledgers:
            known = self._ledgers.get(os.path.dirname(folder), {})
            for name in LEDGERS:
                if os.path.exists(os.path.join(folder, name)):
                    known = known | _copies(folder, os.path.join(folder, name))
            self._ledgers[folder] = known
        return self._ledgers[folder]


def in_container(name: str, exclude: Sequence[str] = ()) -> str:
    """Why a member of a container is passed over, "" where it is not.

    Args:
        name: Its name in the container, with slashes.
        exclude: As of `Sieve`; a pattern with a slash is one of a path in the container.
    """
    *folders, file = name.casefold().split("/")
    if any(folder in _FOLDERS or folder.startswith(".") for folder in folders):
        return LEFTOVER
    if is_temporary(file) or file in LEDGERS:
        return OURS
    if file in _FILES or any(fnmatch.fnmatchcase(file, pattern) for pattern in _PATTERNS):
        return LEFTOVER
    parts = name.split("/")
    paths = ["/".join(parts[: depth + 1]) for depth in range(len(parts))]
    patterns = [pattern.strip("/") or pattern for pattern in exclude]
    matched = any(fnmatch.fnmatchcase(place, p) for p in patterns for place in (paths if "/" in p else parts))
    return EXCLUDED if matched else ""


def _copies(folder: str, ledger: str) -> dict[str, tuple[str, int]]:
    found = {}
    with suppress(EmbedpipeError, OSError, ValueError):
        table = read_table(Path(ledger))
        for _, cells in table.rows:
            row = dict(zip(table.header, cells, strict=False))
            if row.get("state") in _STATES and row.get("copy"):
                place = os.path.join(folder, *text_to_path(row["copy"]).split("/"))
                found[place] = (text_to_path(row.get("source", "")), int(row.get("size") or -1))
    return found


def _holds_artifacts(folder: str) -> bool:
    if is_url(folder):
        return exists(joined(folder, claims.MANIFEST))
    return any(os.path.exists(os.path.join(folder, name)) for name in _SIGNS) and claims.claimed(Path(folder))
