"""Which names are URLs, and what their parts are. Nothing here asks a service."""

import os
import re
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from embedpipe.core.display import on_disk

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
"""Of two letters at least: one letter is a drive of Windows."""


def is_url(path: str) -> bool:
    """Whether a path is a URL, and so of no file system of this machine. URLs of `file://` count until `absolute`."""
    return _URL.match(path) is not None


def scheme_of(url: str) -> str:
    """The scheme of a URL, in lower case."""
    return url.partition("://")[0].lower()


def absolute(path: str) -> str:
    """A path as it is kept: absolute and as on the disk; a URL without the slash at its end, `file://` as a path."""
    if not is_url(path):
        return on_disk(os.path.abspath(path))
    scheme, rest = scheme_of(path), path.partition("://")[2]
    if scheme == "file":
        return on_disk(os.path.abspath(url2pathname(urlsplit(path).path)))
    return f"{scheme}://{rest.rstrip('/')}"


def joined(folder: str, name: str) -> str:
    """The path of something in a folder."""
    return f"{folder.rstrip('/')}/{name}" if is_url(folder) else os.path.join(folder, name)


def bucket_of(url: str) -> str:
    """The URL of the bucket that an object lies in."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"


def as_written(path: str | Path) -> str:
    """A path of the command line as text: `Path` makes one slash of the two in a URL."""
    text = str(path)
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/(?!/)", text)
    return f"{match[1]}://{text[match.end() :]}" if match and not os.path.lexists(text) else text
