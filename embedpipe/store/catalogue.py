"""Several artifacts that are searched as one: named with commas, or by a catalogue, a file that only points to them."""

import logging
import os
from pathlib import Path

from embedpipe.core.errors import ArtifactError, EmbedpipeError
from embedpipe.core.objects.urls import as_written, is_url
from embedpipe.store.workspace import Workspace

log = logging.getLogger(__name__)
_MOST_BYTES = 1 << 20


def listed(artifacts: Path) -> list[str]:
    """The folders and URLs that an option names: one, or several with commas, or those of a catalogue, one a line.

    A folder whose name has a comma is that folder. Lines of a catalogue that begin with `#` say nothing; its folders
    are named from where it lies.

    Raises:
        ArtifactError: A file is no catalogue, or lists nothing.
    """
    text = str(artifacts)
    if os.path.isfile(text):
        return _catalogue(artifacts)
    if "," not in text or os.path.lexists(text):
        return [as_written(artifacts)]
    return [as_written(part.strip()) for part in text.split(",") if part.strip()] or [text]


def _catalogue(file: Path) -> list[str]:
    what = "a catalogue is a text with a folder or a URL of artifacts on each line"
    try:
        content = file.read_bytes()[: _MOST_BYTES + 1]
        lines = [line.strip() for line in content.decode("utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{file} is a file, and cannot be read as a catalogue: {what}") from error
    names = [line for line in lines if line and not line.startswith("#")]
    if not names or len(content) > _MOST_BYTES or any("\0" in name for name in names):
        raise ArtifactError(f"{file} is a file, and lists no artifacts: {what}")
    return [name if is_url(name) else os.path.join(file.parent, os.path.expanduser(name)) for name in names]


def reached(places: list[str], *, share: bool = False) -> tuple[list[Workspace], list[tuple[str, str]]]:
    """Those of several artifacts that can be read.

    Args:
        places: Folders and URLs.
        share: As of `Workspace`.

    Returns:
        Their workspaces, and the others with the reasons, which are warned of.

    Raises:
        ArtifactError: None of them can be read.
    """
    found, lost = [], []
    for place in dict.fromkeys(places):
        try:
            workspace = Workspace(place, share=share)
            if not workspace.spaces():
                raise ArtifactError(f"no features in {place}")
            found.append(workspace)
        except (EmbedpipeError, OSError) as error:
            lost.append((place, str(error)))
    if not found:
        raise ArtifactError(f"none of the {len(lost)} artifacts can be read: {lost[0][1]}")
    for place, why in lost:
        leave_out(place, why)
    return found, lost


def leave_out(place: str, why: str) -> None:
    """Says that some of the artifacts are not among those that are looked into."""
    log.warning("%s is left out: %s", place, why)
