"""Which shard of a run a file belongs to: so many machines can share one heap without speaking to each other.

A file's shard follows from its path below the input and from the number of shards, and from nothing else: not from
other files, nor from what was read before. So files may come and go between the starts of two shards, and every file
still belongs to exactly one of them. The path begins at the input: the heap may be mounted at different places.

A content hash cannot decide this: each shard would have to read every file to know its own, and where only some shards
know a hash, a file could belong to none. Copies in two shards are embedded in both, and `merge` keeps one.
"""

import hashlib
import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from embedpipe.core.objects.places import is_folder
from embedpipe.core.objects.urls import absolute

MOST = 1_000_000
"""Shards of a run; more is a slip."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One of the shards of a run.

    Attributes:
        number: From 1.
        count: Of all.
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        """Raises ValueError for a shard that there is not."""
        if not 1 <= self.number <= self.count <= MOST:
            raise ValueError(f"{self.number}/{self.count}")

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """The shard `I/N`; raises ValueError where it is none."""
        number, mark, count = text.partition("/")
        if not (mark and number.isascii() and count.isascii() and number.isdigit() and count.isdigit()):
            raise ValueError(text)
        return cls(int(number), int(count))

    def holds(self, path: str, roots: Sequence[str]) -> bool:
        """Whether a file belongs to this shard; see `shard_of`."""
        return shard_of(path, roots, self.count) == self.number

    def __str__(self) -> str:
        """As `parse` reads it."""
        return f"{self.number}/{self.count}"


def roots_of(inputs: Iterable[object]) -> list[str]:
    """The folders among the inputs of a run, also in object storage, as absolute paths or URLs."""
    given = (absolute(one) for one in inputs if isinstance(one, str))
    return [root for root in given if is_folder(root)]


def shard_of(path: str, roots: Sequence[str], count: int) -> int:
    """Number of the shard, from 1, that a file belongs to.

    Args:
        path: Absolute path; of a container, whose members stay together.
        roots: Of `roots_of`.
        count: Of the shards.
    """
    starts = (root.rstrip(os.sep) + os.sep for root in roots)
    start = max((start for start in starts if path.startswith(start)), key=len, default=os.path.dirname(path) + os.sep)
    place = unicodedata.normalize("NFC", path[len(start) :]).replace(os.sep, "/")
    digest = hashlib.blake2b(place.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return 1 + int.from_bytes(digest, "big") % count
