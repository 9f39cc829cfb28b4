"""A finished file under a second name: a hard link where both lie on one disk, else a copy that is compared."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from embedpipe.core.errors import ArtifactError
from embedpipe.core.files import copied, replacing, sha256_of
from embedpipe.store.sources import file_of


def linked(source: Path, target: Path, sha256: str = "") -> bool:
    """Gives a finished file, which nothing ever changes in place, another name.

    Args:
        source: The file.
        target: A name that is free, or the link that a killed run made.
        sha256: Of the file, which a copy is compared with.

    Returns:
        Whether it is a link, and needs no space.

    Raises:
        ArtifactError: The disk is full or cannot be written, or the copy is not what the file was.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and not os.path.samefile(source, target):
        target.unlink()
    try:
        if not target.exists():
            os.link(source, target)
    except OSError:  # another disk, or one without links
        with replacing(target) as temporary:
            copied(source, temporary)
            if sha256 and sha256_of(temporary) != sha256:
                raise ArtifactError(f"{source} changed while it was copied: nothing was listed") from None
        return False
    return True


def remove_links(stray: Sequence[Path], files: Iterable[Path]) -> None:
    """Removes those of some names that are links to files of others."""
    theirs = {file_of(str(file)) for file in files} if stray else set()  # each is asked of the disk
    for name in stray:
        if file_of(str(name)) in theirs:
            name.unlink()
