"""Names of members that can be written, shown and told apart, whatever a container calls them."""

import re

from embedpipe.core.encodings import decode
from embedpipe.core.errors import EmbedpipeError

_DRIVE = re.compile(r"[A-Za-z]:")
_LONGEST = 180  # bytes of a part of a name: of the 255 of file systems, some are left for numbers and hashes
_MOST_PARTS = 32
_LONGEST_SUFFIX = 12


class Names:
    """Gives each member of a container a name of its own; the same ones every time, in the order of the members."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._numbers: dict[str, int] = {}

    def __call__(self, raw: str, otherwise: str = "unnamed") -> str:
        """A name for a member.

        Args:
            raw: What the container calls it: absolute, with `..`, drives, backslashes or control characters.
            otherwise: What it is called where nothing is left of that.
        """
        name = wanted = safe(raw) or otherwise
        number = self._numbers.get(wanted, 1)
        while name in self._taken:
            number += 1
            folder, slash, last = wanted.rpartition("/")
            stem, dot, suffix = last.rpartition(".")
            name = f"{folder}{slash}{stem}~{number}{dot}{suffix}" if stem else f"{wanted}~{number}"
        self._taken.add(name)
        self._numbers[wanted] = number
        return name


def safe(raw: str) -> str:
    """A name with slashes that leads nowhere: without drives, roots, `..`, and characters that cannot be shown."""
    parts: list[str] = []
    for part in raw.replace("\\", "/").split("/"):
        shown = "".join(c if c.isprintable() else "_" for c in part).strip(" ")
        if shown in ("", ".") or (not parts and _DRIVE.fullmatch(shown)):
            continue
        if shown == "..":
            shown = "__"
        if shown.endswith("!"):  # with the slash it would be the mark between container and member
            shown += "_"
        parts.append(_shortened(shown))
    return "/".join(parts[-_MOST_PARTS:])


def _shortened(part: str) -> str:
    if len(part.encode()) <= _LONGEST:
        return part
    stem, dot, suffix = part.rpartition(".")
    if not stem or len(suffix) > _LONGEST_SUFFIX:
        stem, dot, suffix = part, "", ""
    return stem.encode()[: _LONGEST - len(suffix.encode()) - 1].decode("utf-8", "ignore") + dot + suffix


def decoded(raw: list[bytes], otherwise: str) -> list[str]:
    """Names in no encoding that is told: UTF-8, what is plausible for all of them together, or the one given."""
    try:
        return decode(b"\n".join(name.replace(b"\n", b"_") for name in raw), "names").text.split("\n")
    except EmbedpipeError:
        return [name.decode(otherwise, "replace") for name in raw]
