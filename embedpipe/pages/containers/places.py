"""Paths of members: the path of a file, and for each container that is gone into `!/` and the name of a member."""

import os

from embedpipe.core.objects.places import exists as is_reached
from embedpipe.core.objects.places import is_file
from embedpipe.core.objects.urls import is_url

MARK = "!" + os.sep
"""Between a container and the name of a member in it. No name of a member holds it, see `naming`."""


def pieces(path: str) -> list[str]:
    """The file that a path leads to, and the names of members on the way to what is meant; no names for a plain file.

    A file or folder that is there under the very path is what is meant, whatever its name looks like.
    """
    if MARK not in path or (not is_url(path) and os.path.lexists(path)):
        return [path]
    at = path.find(MARK)
    while at > 0:
        if is_file(path[:at]):
            return [path[:at], *path[at + len(MARK) :].split(MARK)]
        at = path.find(MARK, at + 1)
    return [path]


def outer(path: str) -> str:
    """The file on the disk that holds what a path means: the path itself, but for members."""
    return pieces(path)[0]


def is_member(path: str) -> bool:
    """Whether a path means a member of a container that is there."""
    return len(pieces(path)) > 1


def holders(path: str) -> list[str]:
    """Every path before a mark in a path, which may be that of a container, whether anything is there or not."""
    found, at = [], path.find(MARK)
    while at > 0:
        found.append(path[:at])
        at = path.find(MARK, at + 1)
    return found


def of_member(container: str, name: str) -> str:
    """The path of a member; `name` has slashes, as members have."""
    return f"{container}{MARK}{name.replace('/', os.sep)}"


def exists(path: str) -> bool:
    """Whether there is a file at a path, or the container of a member, whatever that holds by now."""
    return is_reached(outer(path))
